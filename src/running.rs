//! Work of the engine on blocking threads: a register of what runs, and the way to stop it.
//! Runs on: any thread.
//! Never: leaves a statement running that nobody waits for.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::engine::Interrupt;
use crate::error::{Error, Kind, Result};

/// Statements under way, to stop them all at the end of a drain.
#[derive(Default)]
pub struct Running {
    next: AtomicU64,
    interrupts: Mutex<HashMap<u64, Interrupt>>,
    stopping: AtomicBool,
}

impl Running {
    /// What the caller of an interrupted statement should hear: a server that stops is not a caller that
    /// gave up, and pyarrow takes CANCELLED for a Ctrl-C of its own user.
    pub(crate) fn explain(&self, error: Error) -> Error {
        if error.kind() == Kind::Cancelled && self.stopping.load(Ordering::SeqCst) {
            return Error::new(Kind::Unavailable, "the server is stopping and interrupted the query");
        }
        error
    }

    /// Enters a statement, so that it can be stopped until what this gives is dropped.
    pub(crate) fn enter(self: &Arc<Self>, interrupt: Interrupt) -> Entered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.interrupts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, interrupt);
        Entered { running: Arc::clone(self), number }
    }

    /// Stops every running statement, because the server stops; their callers hear `Unavailable`.
    pub fn stop_all(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.interrupt_all();
    }

    /// Stops every running statement, because the database it runs on is lost.
    pub fn interrupt_all(&self) {
        for interrupt in self.interrupts.lock().unwrap_or_else(PoisonError::into_inner).values() {
            interrupt.interrupt();
        }
    }
}

/// Leaves the register when dropped.
pub(crate) struct Entered {
    running: Arc<Running>,
    number: u64,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.interrupts.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// How often a reader that nobody waits for is asked to stop. An interrupt that falls between two statements
/// of the thread is lost, so one is not enough.
pub(crate) const INTERRUPT_EVERY: Duration = Duration::from_millis(20);

/// A thread that runs a statement, and the way to stop it. Dropping it stops the statement, at any moment of its life.
pub(crate) struct EngineThread {
    // Set by the thread once it has a connection.
    interrupt: Arc<OnceLock<Interrupt>>,
    handle: Option<JoinHandle<Result<()>>>,
}

impl EngineThread {
    /// A thread that gives its interrupt before it runs anything.
    pub(crate) fn new(interrupt: Arc<OnceLock<Interrupt>>, handle: JoinHandle<Result<()>>) -> Self {
        Self { interrupt, handle: Some(handle) }
    }

    /// Whether it has a connection, and may run something.
    pub(crate) fn has_started(&self) -> bool {
        self.interrupt.get().is_some()
    }

    /// What the thread ended with, once it has.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        poll_fn(|context| self.poll(context)).await
    }

    /// It has run to its end and needs no stopping.
    pub(crate) fn has_ended(mut self) {
        self.handle = None;
    }

    /// Interrupts what it runs.
    pub(crate) fn ask_to_stop(&self) {
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
    }

    /// What the thread ended with.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(handle) = &mut self.handle else { return Poll::Ready(Ok(())) };
        let ended = ready!(handle.poll_unpin(context));
        self.handle = None;
        Poll::Ready(
            ended.unwrap_or_else(|error| Err(Error::internal(format!("the query thread failed: {error}")))),
        )
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        let Some(mut handle) = self.handle.take() else { return };
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
        let interrupt = Arc::clone(&self.interrupt);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                while tokio::time::timeout(INTERRUPT_EVERY, &mut handle).await.is_err() {
                    if let Some(interrupt) = interrupt.get() {
                        interrupt.interrupt();
                    }
                }
            });
        }
    }
}
