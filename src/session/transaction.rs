//! An open transaction, from its BEGIN to what is left of its connection afterwards.
//! Runs on: blocking threads.
//! Never: commits what is only half there; keeps a transaction that nobody took over.

use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};

use super::seat::{Seat, Seated, drop_aside};
use super::share::Counted;
use super::usage::Usage;
use crate::engine::{Connection, Database, SchemaPath};
use crate::error::{Error, Kind, Result};

/// An open transaction and the connection it is open on.
pub(super) struct Transaction {
    pub(super) seat: Arc<Seat>,
    pub(super) usage: Arc<Usage>,
    _place: (OwnedSemaphorePermit, Counted),
}

impl Transaction {
    /// One that has been opened on `seat`; `place` is its place among those allowed to all, and to its client.
    pub(super) fn new(seat: Arc<Seat>, place: (OwnedSemaphorePermit, Counted)) -> Self {
        Self { seat, usage: Usage::new(), _place: place }
    }
}

/// How a transaction is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// What was done in it is kept.
    Commit,
    /// Nothing of it is kept.
    Rollback,
}

/// A transaction that has just been opened. Unless somebody takes it over, it is rolled back.
pub(super) struct NewTransaction(Option<OwnedMutexGuard<Seated>>);

impl NewTransaction {
    /// Opens it, on a blocking thread.
    pub(super) fn new(
        database: &Arc<Database>,
        mut seated: OwnedMutexGuard<Seated>,
        path: Option<&SchemaPath>,
    ) -> Result<Self> {
        if seated.connection.is_none() {
            seated.connection = Some(database.connection()?);
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

    /// Somebody has taken it over.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for NewTransaction {
    fn drop(&mut self) {
        let Some(seated) = self.0.take() else { return };
        drop_aside(RollBack(seated));
    }
}

/// Rolls back when dropped, which takes its time.
pub(super) struct RollBack(pub(super) OwnedMutexGuard<Seated>);

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
pub(super) struct Left {
    pub(super) outcome: Result<()>,
    // The connection stays with the session, because temporary objects are on it.
    pub(super) is_kept: bool,
    // It was closed, and may have held temporary objects.
    pub(super) lost_temporaries: bool,
}

/// Ends the transaction on a connection. Blocks.
pub(super) fn settle(mut seated: OwnedMutexGuard<Seated>, ending: Ending) -> Left {
    let Seated { connection: Some(connection), broken, temporary: temporaries_expected, .. } = &mut *seated
    else {
        let outcome = Err(Error::internal("a transaction without a connection"));
        return Left { outcome, is_kept: false, lost_temporaries: false };
    };
    // What was to stop a statement must not stop the end of its transaction.
    connection.disarm();
    let mut broken = broken.take();
    // DuckDB answers the COMMIT of such a transaction with success, and rolls it back.
    if ending == Ending::Commit && broken.is_none() && connection.is_aborted() {
        broken = Some("a statement in it failed".to_owned());
    }
    let (ended, outcome) = match (ending, broken) {
        (Ending::Commit, None) => {
            let ended = connection.commit();
            (ended.is_ok(), ended.map_err(not_committed))
        }
        (Ending::Rollback, _) => {
            let ended = connection.rollback();
            let failed = |error: Error| {
                let text = format!(
                    "{} (nothing of the transaction is kept: its connection was closed)",
                    error.message()
                );
                error.reworded(text)
            };
            (ended.is_ok(), ended.map_err(failed))
        }
        (Ending::Commit, Some(why)) => {
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
    error.reworded(format!("{} ({state})", error.message()))
}
