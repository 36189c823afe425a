//! Begin, commit, roll back: transactions that span calls.
//! Runs on: async tasks; the engine's part on blocking threads.
//! Never: commits what is only half there; keeps a transaction that nobody uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::lease::{On, Seat, Seated, blocking};
use super::{ClientSession, Handle, State, locked};
use crate::engine::Session;
use crate::error::{Error, Kind, Result};

/// An open transaction and the connection it is open on.
pub(super) struct Transaction {
    seat: Arc<Seat>,
    used: Instant,
    _place: OwnedSemaphorePermit,
}

/// Expired transactions remembered per session; as many idle timeouts have passed before one is forgotten.
const EXPIRED_MAX: usize = 256;

fn unknown() -> Error {
    Error::not_found(
        "unknown transaction; it was never begun in this session, has ended, or was idle too long",
    )
}

/// The seat of a transaction of this session.
pub(super) fn seat(state: &mut State, handle: Handle) -> Result<Arc<Seat>> {
    let transaction = state.transactions.get_mut(&handle).ok_or_else(unknown)?;
    transaction.used = Instant::now();
    Ok(Arc::clone(&transaction.seat))
}

/// The seat of the session's transaction, if it has one.
pub(super) fn only(state: &mut State) -> Result<Option<Arc<Seat>>> {
    if state.transactions.len() > 1 {
        return Err(Error::new(
            Kind::Conflict,
            "the session has several open transactions, and this call cannot say which one it belongs to; \
             keep one transaction per connection",
        ));
    }
    Ok(state.transactions.values_mut().next().map(|transaction| {
        transaction.used = Instant::now();
        Arc::clone(&transaction.seat)
    }))
}

/// The session's own connection, unless a transaction is open on it.
pub(super) fn idle_home(state: &State) -> Option<Arc<Seat>> {
    let home = state.home.as_ref()?;
    let taken = state.transactions.values().any(|transaction| Arc::ptr_eq(&transaction.seat, home));
    (!taken).then(|| Arc::clone(home))
}

/// Takes out the transactions that nobody has used for `limit` and that run nothing now.
pub(super) fn expired(state: &mut State, limit: Duration) -> Vec<Transaction> {
    let idle: Vec<Handle> = state
        .transactions
        .iter()
        .filter(|(_, transaction)| transaction.used.elapsed() > limit && transaction.seat.try_lock().is_ok())
        .map(|(handle, _)| *handle)
        .collect();
    state.expired.extend(&idle);
    let forgotten = state.expired.len().saturating_sub(EXPIRED_MAX);
    state.expired.drain(..forgotten);
    let over: Vec<Transaction> =
        idle.into_iter().filter_map(|handle| state.transactions.remove(&handle)).collect();
    // A connection with a transaction to be rolled back is nobody's home any more.
    if let Some(home) = &state.home
        && over.iter().any(|transaction| Arc::ptr_eq(&transaction.seat, home))
    {
        state.home = None;
    }
    over
}

impl ClientSession {
    /// Where a prepared statement runs now that was prepared for `on`.
    ///
    /// Drivers keep a prepared statement over the end of its transaction and run it again in the next one,
    /// which they cannot name. One whose transaction was ended by somebody else, for being idle, does not run.
    pub fn now(&self, on: On) -> On {
        let state = self.state();
        match on {
            On::Transaction(handle)
                if !state.transactions.contains_key(&handle) && !state.expired.contains(&handle) =>
            {
                On::Join
            }
            _ => on,
        }
    }

    /// Opens a transaction on a connection of its own.
    ///
    /// Errors: `Exhausted` naming `session.max_transactions`.
    pub async fn begin(self: &Arc<Self>) -> Result<Handle> {
        let place = Arc::clone(&self.limits.transactions).try_acquire_owned().map_err(|_| {
            Error::exhausted(
                "session.max_transactions",
                format!("{} transactions are open; end some", self.limits.config.max_transactions),
            )
        })?;
        let (mut seat, path) = {
            let state = self.state();
            // Temporary tables are visible inside the transaction that is opened on their connection.
            (idle_home(&state).unwrap_or_default(), state.path.clone())
        };
        let mut seated = self.turn(Arc::clone(&seat)).await?;
        if seated.session.as_ref().is_some_and(Session::in_transaction) {
            // Another call of this client was faster.
            seat = Arc::default();
            seated = self.turn(Arc::clone(&seat)).await?;
        }
        let database = Arc::clone(&self.database);
        blocking(move || {
            if seated.session.is_none() {
                seated.session = Some(database.session()?);
            }
            let Seated { session: Some(session), broken } = &mut *seated else { return Ok(()) };
            *broken = None;
            session.use_path(path.as_ref())?;
            session.begin()
        })
        .await?;
        let handle = rand::random();
        let transaction = Transaction { seat, used: Instant::now(), _place: place };
        self.state().transactions.insert(handle, transaction);
        Ok(handle)
    }

    /// Ends a transaction: commits it or rolls it back. Whatever this returns, the transaction has ended.
    ///
    /// Errors: `NotFound` for a transaction that is not this session's; `Aborted` when it could only be rolled
    /// back, or collided with another one.
    pub async fn end(self: &Arc<Self>, handle: Handle, commit: bool) -> Result<()> {
        let seat = seat(&mut self.state(), handle)?;
        let mut seated = self.turn(Arc::clone(&seat)).await?;
        let transaction = self.state().transactions.remove(&handle).ok_or_else(unknown)?;
        let (ended, temporaries) = blocking(move || {
            let Seated { session: Some(session), broken } = &mut *seated else {
                return Ok((Err(Error::internal("a transaction without a connection")), false));
            };
            session.disarm();
            let mut broken = broken.take();
            // DuckDB answers the COMMIT of such a transaction with success, and rolls it back.
            if commit && broken.is_none() && session.is_aborted() {
                broken = Some("a statement in it failed".to_owned());
            }
            let ended = match (commit, broken) {
                (true, None) => session.commit(),
                (false, _) => session.rollback(),
                (true, Some(why)) => session.rollback().and(Err(Error::new(
                    Kind::Aborted,
                    format!("the transaction was rolled back instead of committed: {why}"),
                ))),
            };
            let temporaries = session.has_temporaries()?;
            if temporaries {
                session.spoil();
            } else {
                // Nothing binds the connection to this client any more.
                seated.session = None;
            }
            Ok((ended, temporaries))
        })
        .await?;
        let mut state = locked(&self.state);
        let is_home = state.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &transaction.seat));
        if temporaries && state.home.is_none() {
            state.home = Some(Arc::clone(&transaction.seat));
        } else if is_home && !temporaries {
            state.home = None;
        }
        ended
    }
}
