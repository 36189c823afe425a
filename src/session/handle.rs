//! How sessions, transactions and statements are named, and where a statement wants to run.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// An unguessable name of a session, transaction or prepared statement.
pub type Handle = u128;

/// Where a statement wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Inside this transaction.
    Transaction(Handle),
    /// In a transaction of its own.
    Auto,
    /// Inside the session's open transaction if it has one, else in one of its own.
    Join,
    /// As `Join`, for rows into a table that is named in full: outside of a transaction any connection will do.
    Rows,
    /// As `Join`, on a connection that stays with the session: the statement makes temporary objects.
    Own,
}

/// What a mutex guards, also after a panic: nothing here is left half changed.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
