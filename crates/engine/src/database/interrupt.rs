//! Stop a running statement from another thread, or see how far it is.
//! Runs on: any thread; takes microseconds.
//! Never: reaches a statement other than its own. Connections are pooled, so an interrupt that comes late
//! would otherwise stop whatever runs on the connection next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use duckdb::connection::{Connection as DuckDBConnection, InterruptHandle};
use duckdb::query_progress::QueryProgressTracker;

/// Stops one statement; clones stop the same one.
#[derive(Debug, Clone)]
pub struct Interrupt(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    handle: Mutex<Option<InterruptHandle>>,
    asked: AtomicBool,
}

impl Interrupt {
    pub(crate) fn new(connection: &DuckDBConnection) -> Self {
        let handle = Mutex::new(Some(connection.interrupt_handle()));
        Self(Arc::new(Shared { handle, asked: AtomicBool::new(false) }))
    }

    /// Asks the engine to stop the statement at its next step.
    pub fn interrupt(&self) {
        self.0.asked.store(true, Ordering::Release);
        if let Some(handle) = &*self.0.handle.lock().unwrap_or_else(PoisonError::into_inner) {
            // The only error is a closed connection, and then there is nothing to stop.
            let _ = handle.interrupt();
        }
    }

    /// The statement is over: from now on `interrupt` does nothing.
    pub(crate) fn disarm(&self) {
        self.0.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether it still reaches a statement.
    pub fn is_armed(&self) -> bool {
        self.0.handle.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether the statement was asked to stop, also when it runs on another connection.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }
}

/// How far the statement of one connection is.
#[derive(Debug, Clone)]
pub struct Progress(QueryProgressTracker);

impl Progress {
    pub(crate) fn new(connection: &DuckDBConnection) -> duckdb::Result<Self> {
        QueryProgressTracker::new(connection).map(Self)
    }

    /// Share done, 0 to 1; `None` while the engine has no estimate.
    pub fn share(&self) -> Option<f64> {
        self.0.snapshot().ok().flatten().map(|progress| (progress.percentage / 100.0).clamp(0.0, 1.0))
    }
}
