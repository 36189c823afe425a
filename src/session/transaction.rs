//! Begin, commit, roll back: transactions that span calls.
//! Runs on: async tasks; the engine's part on blocking threads.
//! Never: commits what is only half there; keeps a transaction that nobody uses; leaves one half ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, oneshot};

use super::lease::{On, Seat, Seated, blocking, drop_aside};
use super::usage::{InUse, Usage};
use super::{ClientSession, Handle, State};
use crate::engine::{Connection, SchemaPath};
use crate::error::{Error, Kind, Result};

/// An open transaction and the connection it is open on.
pub(super) struct Transaction {
    seat: Arc<Seat>,
    usage: Arc<Usage>,
    _place: OwnedSemaphorePermit,
}

/// The seat of a transaction of this session, in use from now on.
pub(super) fn seat(state: &State, handle: Handle) -> Result<(Arc<Seat>, InUse)> {
    match state.transactions.get(&handle) {
        Some(transaction) => Ok((Arc::clone(&transaction.seat), transaction.usage.enter())),
        None => Err(state.ended.unknown(handle)),
    }
}

/// The seat of the session's transaction, if it has one.
pub(super) fn only(state: &State) -> Result<Option<(Arc<Seat>, InUse)>> {
    if state.transactions.len() > 1 {
        return Err(Error::new(
            Kind::Conflict,
            "the session has several open transactions, and this call cannot say which one it belongs to; \
             keep one transaction per connection",
        ));
    }
    let only = state.transactions.values().next();
    Ok(only.map(|transaction| (Arc::clone(&transaction.seat), transaction.usage.enter())))
}

/// A use of the transaction that is open on `seat`.
pub(super) fn use_of(state: &State, seat: &Arc<Seat>) -> Option<InUse> {
    let on_seat = |transaction: &&Transaction| Arc::ptr_eq(&transaction.seat, seat);
    state.transactions.values().find(on_seat).map(|transaction| transaction.usage.enter())
}

/// The session's own connection, unless a transaction is open on it.
pub(super) fn idle_home(state: &State) -> Option<Arc<Seat>> {
    let home = state.home.as_ref()?;
    let taken = state.transactions.values().any(|transaction| Arc::ptr_eq(&transaction.seat, home));
    (!taken).then(|| Arc::clone(home))
}

/// Takes out the transactions that nobody has used for `limit`; dropping them rolls them back, which takes its time.
pub(super) fn expired(state: &mut State, limit: Duration) -> Vec<(Transaction, Option<RollBack>)> {
    let idle: Vec<Handle> = state
        .transactions
        .iter()
        .filter(|(_, transaction)| transaction.usage.is_idle_for(limit))
        .map(|(handle, _)| *handle)
        .collect();
    let mut over = Vec::with_capacity(idle.len());
    for handle in idle {
        let Some(transaction) = state.transactions.remove(&handle) else { continue };
        let limit = humantime::format_duration(limit);
        let why = format!(
            "the transaction was idle for longer than session.transaction_idle_timeout ({limit}) and was rolled back"
        );
        state.ended.transaction(handle, why);
        // The session's own connection goes on, for the sake of its temporary tables. Nobody else has its turn now.
        let is_home = state.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &transaction.seat));
        let turn = if is_home { Arc::clone(&transaction.seat).try_lock_owned().ok() } else { None };
        over.push((transaction, turn.map(RollBack)));
    }
    over
}

/// A transaction that has just been opened. Unless somebody takes it over, it is rolled back.
struct Opened(Option<OwnedMutexGuard<Seated>>);

impl Opened {
    /// Opens it, on a blocking thread.
    fn new(
        session: &ClientSession,
        mut seated: OwnedMutexGuard<Seated>,
        path: Option<&SchemaPath>,
    ) -> Result<Self> {
        if seated.connection.is_none() {
            seated.connection = Some(session.database.connection()?);
        }
        seated.broken = None;
        if let Some(connection) = &mut seated.connection {
            connection.use_path(path)?;
            if let Err(error) = connection.begin() {
                seated.connection = None;
                return Err(error);
            }
        }
        Ok(Self(Some(seated)))
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(seated) = self.0.take() else { return };
        drop_aside(RollBack(seated));
    }
}

/// Rolls back when dropped, which takes its time.
pub(super) struct RollBack(OwnedMutexGuard<Seated>);

impl Drop for RollBack {
    fn drop(&mut self) {
        self.0.broken = None;
        let rolled_back = self.0.connection.as_mut().map(Connection::rollback);
        if rolled_back.is_some_and(|rolled_back| rolled_back.is_err()) {
            self.0.connection = None;
        }
    }
}

/// What is left of a connection after its transaction.
struct Left {
    outcome: Result<()>,
    // The connection stays with the session, because temporary objects are on it.
    is_kept: bool,
    // It was closed, and may have held temporary objects.
    lost_temporaries: bool,
}

impl ClientSession {
    /// Where a prepared statement runs now that was prepared for `on`.
    ///
    /// Drivers keep a prepared statement over the end of its transaction and run it again in the next one,
    /// which they cannot name. One whose transaction was ended by the server does not run before the client has
    /// begun another one, or has said that there is none.
    pub fn now(&self, on: On) -> On {
        let state = self.state();
        match on {
            On::Transaction(handle)
                if !state.transactions.contains_key(&handle)
                    && (state.ended.is_settled() || !state.ended.has(handle)) =>
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
        if seated.connection.as_ref().is_some_and(Connection::in_transaction) {
            // Another call of this client was faster.
            seat = Arc::default();
            seated = self.turn(Arc::clone(&seat)).await?;
        }
        let session = Arc::clone(self);
        let (tell, told) = oneshot::channel();
        blocking(move || {
            // A client that has left meanwhile is nobody to open a transaction for: it is dropped, and rolled back.
            let _ = tell.send(Opened::new(&session, seated, path.as_ref())?);
            Ok(())
        })
        .await?;
        let mut opened = told.await.map_err(|_| Error::internal("a transaction was opened for nobody"))?;
        let handle = rand::random();
        let mut state = self.state();
        let transaction = Transaction { seat, usage: Usage::new(), _place: place };
        state.transactions.insert(handle, transaction);
        state.ended.begin_transaction();
        opened.0 = None;
        Ok(handle)
    }

    /// Keeps the open transactions from being taken for idle while this lives: a call goes on beside them.
    pub fn hold_transactions(&self) -> Vec<InUse> {
        self.state().transactions.values().map(|transaction| transaction.usage.enter()).collect()
    }

    /// Ends a transaction: commits it or rolls it back. Whatever this returns, the transaction has ended.
    ///
    /// Errors: `NotFound` for a transaction that is not this session's, or was ended by the server; `Aborted` when it
    /// could only be rolled back, or collided with another one.
    pub async fn end(self: &Arc<Self>, handle: Handle, ending: Ending) -> Result<()> {
        let (seat, in_use) = {
            let mut state = self.state();
            if !commit && !state.transactions.contains_key(&handle) && state.ended.has(handle) {
                // It is what the client wants. Drivers begin the next transaction only after a rollback that worked.
                state.ended.settle();
                return Ok(());
            }
            seat(&state, handle)?
        };
        let seated = self.turn(seat).await?;
        let transaction = {
            let mut state = self.state();
            state.transactions.remove(&handle).ok_or_else(|| state.ended.unknown(handle))?
        };
        let session = Arc::clone(self);
        // In a task of its own: a client that leaves now does not leave the transaction half ended.
        let ended = tokio::spawn(async move {
            let _in_use = in_use;
            session.finish(handle, &transaction, seated, commit).await
        });
        ended
            .await
            .unwrap_or_else(|error| Err(Error::internal(format!("a transaction's end failed: {error}"))))
    }

    async fn finish(
        &self,
        handle: Handle,
        transaction: &Transaction,
        seated: OwnedMutexGuard<Seated>,
        commit: bool,
    ) -> Result<()> {
        let left = blocking(move || Ok(settle(seated, commit))).await?;
        let mut state = self.state();
        let is_home = state.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &transaction.seat));
        if left.is_kept && state.home.is_none() {
            state.home = Some(Arc::clone(&transaction.seat));
        } else if is_home && !left.is_kept {
            state.home = None;
        }
        let Err(error) = &left.outcome else { return left.outcome };
        let why = format!("the transaction has ended: {}", error.message());
        if commit {
            // Until the client has rolled back, it may go on as if the transaction were open, to commit it again.
            state.ended.transaction(handle, why);
        } else {
            state.ended.remember(handle, why);
        }
        if left.lost_temporaries {
            let text = format!(
                "{}; the connection was closed, and the session's temporary tables are gone with it",
                error.message()
            );
            state.ended.lose_told(text.clone());
            return Err(Error::new(error.kind(), text));
        }
        left.outcome
    }
}

/// Ends the transaction on a connection. Blocks.
fn settle(mut seated: OwnedMutexGuard<Seated>, commit: bool) -> Left {
    let Seated { connection: Some(connection), broken, temporary: temporaries_expected, .. } = &mut *seated
    else {
        let outcome = Err(Error::internal("a transaction without a connection"));
        return Left { outcome, is_kept: false, lost_temporaries: false };
    };
    // What was to stop a statement must not stop the end of its transaction.
    connection.disarm();
    let mut broken = broken.take();
    // DuckDB answers the COMMIT of such a transaction with success, and rolls it back.
    if commit && broken.is_none() && connection.is_aborted() {
        broken = Some("a statement in it failed".to_owned());
    }
    let (ended, outcome) = match (commit, broken) {
        (true, None) => {
            let ended = connection.commit();
            (ended.is_ok(), ended.map_err(not_committed))
        }
        (false, _) => {
            let ended = connection.rollback();
            let failed = |error: Error| {
                let text = format!(
                    "{} (nothing of the transaction is kept: its connection was closed)",
                    error.message()
                );
                Error::new(error.kind(), text)
            };
            (ended.is_ok(), ended.map_err(failed))
        }
        (true, Some(why)) => {
            let text = format!("the transaction was rolled back instead of committed: {why}");
            (connection.rollback().is_ok(), Err(Error::new(Kind::Aborted, text)))
        }
    };
    // A connection on which COMMIT or ROLLBACK failed is not asked anything any more: closing it rolls back.
    let temporaries = if ended { connection.has_temporaries() } else { Ok(false) };
    match temporaries {
        Ok(true) => {
            connection.spoil();
            Left { outcome, is_kept: true, lost_temporaries: false }
        }
        Ok(false) if ended => {
            // Nothing binds the connection to this client any more.
            seated.connection = None;
            Left { outcome, is_kept: false, lost_temporaries: false }
        }
        Ok(false) | Err(_) => {
            let lost_temporaries = *temporaries_expected;
            connection.spoil();
            seated.connection = None;
            Left { outcome, is_kept: false, lost_temporaries }
        }
    }
}

/// The error of a COMMIT, with what became of the transaction.
fn not_committed(error: Error) -> Error {
    let state = match error.kind() {
        Kind::Unavailable | Kind::Internal => {
            "the transaction has ended, and whether it was committed is not known: look before you do it again"
        }
        _ => "the transaction has ended, and nothing of it is kept",
    };
    Error::new(error.kind(), format!("{} ({state})", error.message()))
}
