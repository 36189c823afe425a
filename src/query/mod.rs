//! Bridge for reads: a thread per running query behind, a stream in front, a bounded queue between.
//! Runs on: async tasks call [`Query::describe`] and [`Query::run`].
//! Never: collects a result; runs more queries than allowed; leaves one running that nobody reads.

mod admission;
mod backup;
mod bound;
mod reader;
mod returned;
mod shape;
mod stream;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use stream::ResultStream;

use returned::Limits;

use crate::config;
use crate::engine::{Bound, Database, Described, Interrupt, Progress};
use crate::error::{Error, Kind, Result};
use crate::session::{Lease, Open};

/// How one call wants its result.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Upper bound of rows per batch.
    pub batch_rows_max: Option<usize>,
    /// When the caller stops waiting; the server's own limit holds as well.
    pub deadline: Option<Instant>,
    /// Filled when the statement has started, for a caller who wants to know how far it is.
    pub progress: Option<Arc<OnceLock<Progress>>>,
    /// The statement was taken for a query before: it is refused if it is not one any more.
    pub only_reads: bool,
    /// Bytes that the rows which a change gives back may take, for a caller who keeps them.
    pub returned_bytes_max: Option<u64>,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub enum Statement {
    /// One statement.
    Text(String),
    /// Statements one after the other, all or nothing; the result is the count of changed rows.
    Script(String),
    /// A prepared statement, once for each row bound to it.
    Bound(Bound, Described),
}

/// The read side of the server.
pub struct Query {
    database: Arc<Database>,
    admission: admission::Admission,
    running: Arc<Running>,
    config: config::Query,
}

/// Statements under way, to stop them all at the end of a drain.
#[derive(Default)]
pub(crate) struct Running {
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

    pub(crate) fn enter(self: &Arc<Self>, interrupt: Interrupt) -> Entered {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.interrupts.lock().unwrap_or_else(PoisonError::into_inner).insert(number, interrupt);
        Entered { running: Arc::clone(self), number }
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

impl Query {
    /// A read side over `database` within the bounds of `config`.
    pub fn new(database: Arc<Database>, config: &config::Query) -> Self {
        Self {
            database,
            admission: admission::Admission::new(
                config.max_concurrent,
                config.max_queued,
                config.queue_timeout.0,
            ),
            running: Arc::new(Running::default()),
            config: config.clone(),
        }
    }

    /// Writes the log into the database file.
    pub async fn checkpoint(&self) -> Result<()> {
        self.look(Lease::pooled(Arc::clone(&self.database)), |connection| connection.database().checkpoint())
            .await
            .map(|_| ())
    }

    /// Runs a query of one row, past the places and the queue: says whether the engine answers at all.
    pub async fn probe(&self) -> Result<()> {
        self.look(Lease::pooled(Arc::clone(&self.database)), |connection| {
            connection.execute("SELECT 1").map(|_| ())
        })
        .await
    }

    /// Runs short catalog work, such as describing a statement, past the places and the queue.
    pub async fn look<T: Send + 'static>(
        &self,
        lease: Lease,
        work: impl FnOnce(&mut Open) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the bridge: catalog work blocks for microseconds"
        )]
        let done = tokio::task::spawn_blocking(move || {
            let mut connection = lease.open()?;
            work(&mut connection).map_err(|error| connection.explain(error))
        });
        done.await.unwrap_or_else(|error| Err(Error::internal(format!("the catalog thread failed: {error}"))))
    }

    /// Starts a statement. A SELECT streams; a change has been committed when the stream ends, unless it
    /// belongs to a transaction of the client.
    ///
    /// Errors: as `engine::describe`; `Exhausted` when neither a place nor a seat in the queue is free.
    pub async fn run(&self, lease: Lease, statement: Statement, options: RunOptions) -> Result<ResultStream> {
        let started = Instant::now();
        let place = self.admission.enter(options.deadline).await?;
        let queued = started.elapsed();
        let own_limit = (!self.config.timeout.0.is_zero()).then(|| started + self.config.timeout.0);
        let deadline = match (options.deadline, own_limit) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let (opened, opening) = oneshot::channel();
        let (queue, results) =
            stream::queue(self.config.buffer_bytes.as_usize(), self.config.stall_timeout.0);
        let interrupt = Arc::new(OnceLock::new());
        let running = Arc::clone(&self.running);
        let in_use = lease.in_use();
        let job = reader::Job {
            lease,
            statement,
            running: Arc::clone(&self.running),
            interrupt: Arc::clone(&interrupt),
            progress: options.progress,
            batch_bytes: self.config.batch_bytes.as_usize(),
            batch_rows_max: options.batch_rows_max,
            only_reads: options.only_reads,
            returned: Limits {
                memory: self.config.buffer_bytes.as_usize(),
                file: self.database.options().max_temp_bytes,
                all: options.returned_bytes_max,
            },
        };
        let runtime = tokio::runtime::Handle::current();
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per query")]
        let handle = tokio::task::spawn_blocking(move || {
            let _place = place;
            reader::run(job, &runtime, opened, &queue).map_err(|error| running.explain(error))
        });
        // From here on, dropping this future (the call was dropped) stops the thread.
        let mut reader = stream::ReaderThread { interrupt, handle: Some(handle) };
        match stream::opened(deadline, opening, &mut reader).await? {
            Ok(start) => {
                let mut result = ResultStream::new(start, results, reader, deadline, queued, started);
                result.hold(in_use);
                result.settle().await?;
                Ok(result)
            }
            // The reader ended before it could start; its own error says why.
            Err(_) => match std::future::poll_fn(|context| reader.poll(context)).await {
                Err(error) => Err(error),
                Ok(()) => Err(Error::internal("the query ended before it began")),
            },
        }
    }

    /// Stops every running statement, because the server stops; their streams end with `Unavailable`.
    pub fn interrupt_all(&self) {
        self.running.stopping.store(true, Ordering::SeqCst);
        self.interrupt_running();
    }

    /// Stops every running statement, because the database it runs on is lost.
    pub fn interrupt_running(&self) {
        for interrupt in self.running.interrupts.lock().unwrap_or_else(PoisonError::into_inner).values() {
            interrupt.interrupt();
        }
    }

    /// Queries running.
    pub fn running(&self) -> u64 {
        self.admission.running()
    }

    /// Queries waiting for a place.
    pub fn queued(&self) -> u64 {
        self.admission.queued()
    }
}

/// Rounds a duration for texts.
fn readable(span: Duration) -> impl std::fmt::Display {
    humantime::format_duration(span)
}
