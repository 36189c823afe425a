//! Work of the engine on blocking threads: a register of what runs, and the way to stop it.
//! Runs on: any thread.
//! Never: leaves a statement running that nobody waits for.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::engine::Interrupt;
use crate::error::{Error, Kind, Result};

/// Statements under way, to stop one or all of them.
pub struct Running {
    started: Instant,
    next: AtomicU64,
    statements: Mutex<HashMap<u64, Arc<Statement>>>,
    stopping: AtomicBool,
}

struct Statement {
    interrupt: Interrupt,
    manner: Manner,
    // Since when it has worked without giving a batch, in nanoseconds of the register's; `WAITS` while it waits for its reader.
    works_since: AtomicU64,
    // Why it was told to stop, and when.
    sacrificed: OnceLock<(Instant, Error)>,
}

/// Whether a statement may be stopped when memory runs out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A client's, which gets an error and may ask again.
    Client,
    /// One that takes little memory and is long, such as a backup.
    Steady,
}

const WAITS: u64 = u64::MAX;

/// How long a statement that was told to stop may take, before another one is told.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

impl Default for Running {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            next: AtomicU64::new(0),
            statements: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }
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
    pub(crate) fn enter(self: &Arc<Self>, interrupt: Interrupt, manner: Manner) -> Entered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let works_since = AtomicU64::new(self.now());
        let statement = Arc::new(Statement { interrupt, manner, works_since, sacrificed: OnceLock::new() });
        self.statements().insert(number, Arc::clone(&statement));
        Entered { running: Arc::clone(self), number, statement }
    }

    /// Stops every running statement, because the server stops; their callers hear `Unavailable`.
    pub fn stop_all(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.interrupt_all();
    }

    /// Stops every running statement, because the database it runs on is lost.
    pub fn interrupt_all(&self) {
        for statement in self.statements().values() {
            statement.interrupt.interrupt();
        }
    }

    /// Stops the statement that has worked for longest without giving a batch, and says for how long it has; its caller hears
    /// `why`. Nothing of the engine tells what a statement holds, but one that builds a large value gives nothing meanwhile.
    /// `None` when none is at work that can be stopped. To be called again while memory is short: an interrupt between two
    /// statements of a script is lost. A COMMIT is out of reach, because interrupts are disarmed before it.
    pub(crate) fn sacrifice(&self, why: &Error) -> Option<Duration> {
        let statements = self.statements();
        let told = statements.values().filter_map(|one| Some((one.sacrificed.get()?.0, one)));
        let (mut one_is_ending, mut one_is_left) = (false, false);
        for (at, statement) in told {
            statement.interrupt.interrupt();
            one_is_left |= statement.interrupt.is_armed();
            one_is_ending |= statement.interrupt.is_armed() && at.elapsed() < STOPS_WITHIN;
        }
        if one_is_ending {
            return Some(Duration::ZERO);
        }
        let at_work = statements.values().filter(|one| {
            one.manner == Manner::Client && one.sacrificed.get().is_none() && one.interrupt.is_armed()
        });
        let since = |one: &Statement| one.works_since.load(Ordering::Relaxed);
        let Some(longest) = at_work.filter(|one| since(one) != WAITS).min_by_key(|one| since(one)) else {
            return one_is_left.then_some(Duration::ZERO);
        };
        let worked = Duration::from_nanos(self.now().saturating_sub(since(longest)));
        // Nobody else sets it: the register is locked.
        let _ = longest.sacrificed.set((Instant::now(), why.clone()));
        longest.interrupt.interrupt();
        Some(worked)
    }

    fn statements(&self) -> MutexGuard<'_, HashMap<u64, Arc<Statement>>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(WAITS - 1)
    }
}

/// Leaves the register when dropped.
pub(crate) struct Entered {
    running: Arc<Running>,
    number: u64,
    statement: Arc<Statement>,
}

impl Entered {
    /// It has a batch for its reader, and waits until there is room.
    pub(crate) fn waits(&self) {
        self.statement.works_since.store(WAITS, Ordering::Relaxed);
    }

    /// It works on the next batch.
    pub(crate) fn works(&self) {
        self.statement.works_since.store(self.running.now(), Ordering::Relaxed);
    }

    /// What the caller of an interrupted statement should hear.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self.statement.sacrificed.get() {
            Some((_, why)) if error.kind() == Kind::Cancelled => why.clone(),
            _ => self.running.explain(error),
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.running.statements().remove(&self.number);
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
