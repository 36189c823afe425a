//! Stop a running statement from another thread, or see how far it is.
//! Runs on: any thread; takes microseconds.
//! Never: reaches a statement other than its own. Connections are pooled, so an interrupt that comes late
//! would otherwise stop whatever runs on the connection next.

use std::sync::{Arc, Mutex, PoisonError};

use duckdb::connection::{Connection, InterruptHandle};
use duckdb::query_progress::QueryProgressTracker;

/// Stops one statement; clones stop the same one.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<Mutex<Option<InterruptHandle>>>);

impl Interrupt {
    pub(super) fn new(connection: &Connection) -> Self {
        Self(Arc::new(Mutex::new(Some(connection.interrupt_handle()))))
    }

    /// Asks the engine to stop the statement at its next step.
    pub fn interrupt(&self) {
        if let Some(handle) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // The only error is a closed connection, and then there is nothing to stop.
            let _ = handle.interrupt();
        }
    }

    /// The statement is over: from now on `interrupt` does nothing.
    pub(super) fn disarm(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// How far the statement of one connection is.
#[derive(Debug, Clone)]
pub struct Progress(QueryProgressTracker);

impl Progress {
    pub(super) fn new(connection: &Connection) -> duckdb::Result<Self> {
        QueryProgressTracker::new(connection).map(Self)
    }

    /// Share done, 0 to 1; `None` while the engine has no estimate.
    pub fn share(&self) -> Option<f64> {
        self.0.snapshot().ok().flatten().map(|progress| (progress.percentage / 100.0).clamp(0.0, 1.0))
    }
}
