//! A session's claim -> the connection that one statement runs on.
//! Runs on: async tasks wait for a turn; the connection is opened and used on a blocking thread.
//! Never: lets two statements use one connection at a time; waits for a turn without end.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{ClientSession, Handle, locked};
use crate::engine::{self, Database, SchemaPath};
use crate::error::{Error, Kind, Result};

/// Where a statement wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Inside this transaction.
    Transaction(Handle),
    /// In a transaction of its own.
    Auto,
    /// Inside the session's open transaction if it has one, else in one of its own.
    Join,
    /// As `Join`, on a connection that stays with the session: the statement makes temporary objects.
    Own,
}

/// A connection kept for one client; statements on it take turns.
pub(super) type Seat = Mutex<Seated>;

/// What is on a seat.
#[derive(Default)]
pub(super) struct Seated {
    pub(super) session: Option<engine::Session>,
    /// Why the open transaction cannot be committed.
    pub(super) broken: Option<String>,
}

/// The right to run one statement, to be opened on the thread that runs it.
pub struct Lease {
    place: Place,
    path: Option<SchemaPath>,
}

enum Place {
    Pool(Arc<Database>, Weak<ClientSession>),
    Seat(OwnedMutexGuard<Seated>),
}

/// A connection for one statement. Dropping it gives the connection back to where it belongs.
pub struct Open {
    place: Opened,
}

enum Opened {
    // `None` only once the session has kept the connection.
    Pooled(Option<engine::Session>, Weak<ClientSession>),
    Seated(OwnedMutexGuard<Seated>),
}

impl Lease {
    /// A pooled connection on behalf of nobody.
    pub fn pooled(database: Arc<Database>) -> Self {
        Self { place: Place::Pool(database, Weak::new()), path: None }
    }

    /// Whether the connection is one of the pool, on which nothing of the client is open.
    pub fn is_pooled(&self) -> bool {
        matches!(self.place, Place::Pool(..))
    }

    /// Opens the connection. Blocks.
    ///
    /// Errors: `Aborted` when the transaction it belongs to can only be rolled back; `NotFound` when the
    /// session's schema is gone.
    pub fn open(self) -> Result<Open> {
        let place = match self.place {
            Place::Pool(database, owner) => Opened::Pooled(Some(database.session()?), owner),
            Place::Seat(seated) => {
                if let Some(why) = &seated.broken {
                    return Err(Error::new(
                        Kind::Aborted,
                        format!("the transaction can only be rolled back: {why}"),
                    ));
                }
                Opened::Seated(seated)
            }
        };
        let mut open = Open { place };
        open.use_path(self.path.as_ref())?;
        Ok(open)
    }
}

impl Open {
    /// Whether what runs here belongs to a transaction that the client will end.
    pub fn joins_transaction(&self) -> bool {
        matches!(self.place, Opened::Seated(_)) && self.in_transaction()
    }

    /// The client's transaction can no longer be committed, because half of something is in it.
    pub fn break_transaction(&mut self, why: &str) {
        if let Opened::Seated(seated) = &mut self.place {
            seated.broken = Some(why.to_owned());
        }
    }

    /// `error`, with what became of the client's transaction.
    pub fn explain(&self, error: Error) -> Error {
        if !self.joins_transaction() {
            return error;
        }
        let state = if self.is_aborted() {
            "the transaction is aborted and can only be rolled back"
        } else {
            "the transaction is still open"
        };
        Error::new(error.kind(), format!("{} ({state})", error.message()))
    }

    /// After the definition `sql`, which may have made temporary objects: those stay with the client's
    /// session. The lease is over then.
    pub fn keep_temporaries(mut self, sql: &str) -> Result<()> {
        // Nothing temporary is made without the word.
        if !sql.to_ascii_lowercase().contains("temp") && !self.looks_in("temp") {
            return Ok(());
        }
        self.expect_temporaries();
        let Opened::Pooled(session, owner) = &mut self.place else { return Ok(()) };
        let Some(open) = session else { return Ok(()) };
        if !open.has_temporaries()? {
            return Ok(());
        }
        let Some(owner) = owner.upgrade() else {
            open.spoil();
            return Ok(());
        };
        open.spoil();
        let mut state = locked(&owner.state);
        if state.home.is_none() {
            open.disarm();
            let seated = Seated { session: session.take(), broken: None };
            state.home = Some(Arc::new(Mutex::new(seated)));
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "the session's own connection was busy, so the temporary object was not made; try again",
        ))
    }
}

impl Deref for Open {
    type Target = engine::Session;

    fn deref(&self) -> &engine::Session {
        let session = match &self.place {
            Opened::Pooled(session, _) => session.as_ref(),
            Opened::Seated(seated) => seated.session.as_ref(),
        };
        session.expect("a lease is opened with a connection, and keeping it is the last thing done with it")
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut engine::Session {
        let session = match &mut self.place {
            Opened::Pooled(session, _) => session.as_mut(),
            Opened::Seated(seated) => seated.session.as_mut(),
        };
        session.expect("a lease is opened with a connection, and keeping it is the last thing done with it")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The connection goes on; what would stop this statement must not stop the next one.
        if let Opened::Seated(seated) = &self.place
            && let Some(session) = &seated.session
        {
            session.disarm();
        }
    }
}

impl ClientSession {
    /// The right to run one statement where `on` says.
    ///
    /// Errors: `NotFound` for a transaction that is not this session's or has ended; `Exhausted` when the
    /// connection stays busy (`query.queue_timeout`).
    pub async fn lease(self: &Arc<Self>, on: On) -> Result<Lease> {
        let (seat, path) = {
            let mut state = self.state();
            let path = state.path.clone();
            let seat = match on {
                On::Transaction(handle) => Some(super::transaction::seat(&mut state, handle)?),
                On::Auto => super::transaction::idle_home(&state),
                On::Join | On::Own => match super::transaction::only(&mut state)? {
                    Some(seat) => Some(seat),
                    None if on == On::Own => {
                        Some(Arc::clone(state.home.get_or_insert_with(|| Arc::new(Seat::default()))))
                    }
                    None => state.home.clone(),
                },
            };
            (seat, path)
        };
        let place = match seat {
            None => Place::Pool(Arc::clone(&self.database), Arc::downgrade(self)),
            Some(seat) => {
                let mut seated = self.turn(seat).await?;
                if seated.session.is_none() {
                    let database = Arc::clone(&self.database);
                    seated.session = Some(blocking(move || database.session()).await?);
                }
                if on == On::Own
                    && let Some(session) = &mut seated.session
                {
                    // What is made on it must not reach the pool.
                    session.spoil();
                    session.expect_temporaries();
                }
                let in_transaction = seated.session.as_ref().is_some_and(engine::Session::in_transaction);
                if on == On::Auto && in_transaction {
                    // A transaction was begun on it while this statement waited.
                    Place::Pool(Arc::clone(&self.database), Arc::downgrade(self))
                } else {
                    Place::Seat(seated)
                }
            }
        };
        Ok(Lease { place, path })
    }

    /// Waits for a seat's turn.
    pub(super) async fn turn(&self, seat: Arc<Seat>) -> Result<OwnedMutexGuard<Seated>> {
        let wait = self.limits.seat_wait;
        tokio::time::timeout(wait, seat.lock_owned()).await.map_err(|_| {
            Error::exhausted(
                "query.queue_timeout",
                "the session's connection is busy with another statement or a result that has not been read \
                 to its end; read or cancel that first",
            )
        })
    }
}

/// Runs `work` on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "this is a bridge: the engine blocks")]
    let done = tokio::task::spawn_blocking(work);
    done.await.unwrap_or_else(|error| Err(Error::internal(format!("a session's thread failed: {error}"))))
}

/// Drops something that holds connections: a rollback may take its time.
pub(super) fn drop_aside<T: Send + 'static>(held: T) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn_blocking(move || drop(held));
        }
        Err(_) => drop(held),
    }
}
