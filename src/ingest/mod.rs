//! Bridge for writes: async in front, a thread per stream behind, a budget of bytes between.
//! Runs on: async tasks call [`Ingest::begin`], [`Put::send`] and [`Put::finish`].
//! Never: holds more bytes than the budget, or gives up rows silently.
//!
//! A put is one transaction, or part of one that the client has opened. [`Put::finish`] returns after COMMIT; a
//! [`Put`] that is dropped before that is rolled back by its writer.

mod admission;
mod gather;

mod writer;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use admission::{Admission, Gate};
use writer::{Job, Message};

use crate::catalog::{Declarations, TableName};
use crate::config;
use crate::engine::{self, Database, Insert};
use crate::error::{Error, Result};
use crate::session::Lease;

/// Batches queued between the wire and the writer; bytes are bounded by the budget, this bounds tiny ones.
const QUEUE_BATCHES: usize = 256;

/// What a put does about its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The table must exist.
    Append,
    /// The table must not exist.
    Create,
    /// Create the table when it does not exist.
    CreateAppend,
    /// Drop what is there and create the table anew, in the same transaction as the rows.
    Replace,
    /// Like `Replace`, but the table must exist.
    ReplaceExisting,
}

/// Where the rows of a stream go.
#[derive(Debug, Clone)]
pub enum Target {
    /// Into a table.
    Table {
        /// Its full name.
        table: TableName,
        /// Its name as the client gave it, for texts.
        shown: TableName,
        /// What to do about it.
        mode: Mode,
    },
    /// Into an INSERT of the client's own, whose parameters they are.
    Statement(Insert),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Table { shown, .. } => shown.fmt(f),
            Target::Statement(_) => f.write_str("of the statement"),
        }
    }
}

/// A stream about to begin.
pub struct PutRequest {
    /// Where the rows go.
    pub target: Target,
    /// Schema of the batches as they arrive.
    pub schema: SchemaRef,
    /// The connection to put through.
    pub lease: Lease,
}

/// How long the stages of a put took, added up over its batches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Waiting for room in the byte budget or the queue.
    pub queue: Duration,
    /// Bringing columns to their plain form.
    pub conform: Duration,
    /// INSERT statements.
    pub append: Duration,
    /// COMMIT.
    pub commit: Duration,
}

/// What was stored. Exists only after COMMIT has returned, or inside a transaction of the client.
#[derive(Debug, Clone, Default)]
pub struct PutSummary {
    /// Rows appended.
    pub rows: u64,
    /// Whether the rows are committed; those of a client's transaction are when the client commits it.
    pub durable: bool,
    /// Bytes of batches taken.
    pub bytes: u64,
    /// Whether this put made the table.
    pub created: bool,
    /// Time per stage.
    pub timings: Timings,
}

/// The write side of the server.
pub struct Ingest {
    database: Arc<Database>,
    admission: Arc<Admission>,
    idle_timeout: Duration,
    creating: Arc<Mutex<()>>,
    declarations: Arc<Declarations>,
}

/// A put stream under way.
pub struct Put {
    plain: SchemaRef,
    gate: Arc<Gate>,
    messages: Option<mpsc::Sender<Message>>,
    writer: JoinHandle<Result<PutSummary>>,
    queue: Duration,
    conform: Duration,
    _left: Left,
}

/// Tells the writer, when dropped, that nobody waits for the put any more. A client may end its stream and take
/// it back a moment later; until COMMIT that still counts.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Ingest {
    /// A write side over `database` within the bounds of `config`, held to `declarations`.
    pub fn new(database: Arc<Database>, config: &config::Ingest, declarations: Arc<Declarations>) -> Self {
        Self {
            database,
            admission: Admission::new(
                config.memory_limit.as_usize(),
                config.stream_memory_limit.as_usize(),
                config.max_streams,
            ),
            idle_timeout: config.idle_timeout.0,
            creating: Arc::new(Mutex::new(())),
            declarations,
        }
    }

    /// Starts a put. What is wrong with the table or the schema comes out of the first `send` or `finish`.
    ///
    /// Errors: `Exhausted` when `ingest.max_streams` puts are open.
    pub fn begin(&self, request: PutRequest) -> Result<Put> {
        let gate = Arc::new(self.admission.enter()?);
        let plain = engine::plain_schema(&request.schema);
        let (messages, queue) = mpsc::channel(QUEUE_BATCHES);
        let left = Arc::new(AtomicBool::new(false));
        let job = Job {
            left: Arc::clone(&left),
            what: request.target.to_string(),
            target: request.target,
            schema: Arc::clone(&plain),
            threads: self.database.options().threads,
            gate: Arc::clone(&gate),
            idle_timeout: self.idle_timeout,
            creating: Arc::clone(&self.creating),
        };
        let runtime = tokio::runtime::Handle::current();
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the bridge: one blocking thread per put stream"
        )]
        let writer = {
            let lease = request.lease;
            tokio::task::spawn_blocking(move || writer::run(&job, lease, &runtime, queue))
        };
        Ok(Put {
            plain,
            gate,
            messages: Some(messages),
            writer,
            queue: Duration::ZERO,
            conform: Duration::ZERO,
            _left: Left(left),
        })
    }

    /// What declared tables are held to.
    pub fn declarations(&self) -> &Arc<Declarations> {
        &self.declarations
    }

    /// Bytes of batches between the wire and the commit.
    pub fn inflight_bytes(&self) -> u64 {
        self.admission.inflight_bytes()
    }

    /// Put streams open.
    pub fn streams_open(&self) -> u64 {
        self.admission.streams_open()
    }
}

impl Put {
    /// Hands the next batch over; waits while the budget or the queue is full, which is what slows a client
    /// down. `held_bytes` is the memory the batch keeps alive, parent buffers included.
    ///
    /// Errors: what made the writer stop; the stream is rolled back then.
    pub async fn send(&mut self, batch: RecordBatch, held_bytes: usize) -> Result<()> {
        let started = Instant::now();
        let batch = engine::plain_batch(batch, &self.plain)?;
        self.conform += started.elapsed();
        let started = Instant::now();
        let permit = self.gate.acquire(held_bytes).await;
        let sent = match &self.messages {
            Some(messages) => messages.send(Message::Batch(batch, permit)).await.is_ok(),
            None => false,
        };
        self.queue += started.elapsed();
        if sent { Ok(()) } else { Err(self.failure().await) }
    }

    /// Commits and says what was stored.
    pub async fn finish(mut self) -> Result<PutSummary> {
        let Some(messages) = self.messages.take() else {
            return Err(Error::internal("the put has failed before"));
        };
        // A writer that has stopped does not take the message; its own error comes out of the join.
        let _ = messages.send(Message::Finish).await;
        let mut summary = join((&mut self.writer).await)?;
        summary.timings.queue = self.queue;
        summary.timings.conform = self.conform;
        Ok(summary)
    }

    /// Gives the put up and waits until it is rolled back, so that a client that retries meets no trace of it.
    pub async fn abort(mut self) {
        self.messages = None;
        if !self.writer.is_finished() {
            // The writer's own complaint about the missing end is not news.
            let _ = (&mut self.writer).await;
        }
    }

    /// Completes when the writer stops on its own, with the reason; to be watched while the client is quiet.
    pub async fn failure(&mut self) -> Error {
        match join((&mut self.writer).await) {
            Err(error) => {
                self.messages = None;
                error
            }
            Ok(_) => Error::internal("the writer ended before the stream did"),
        }
    }
}

fn join(outcome: Result<Result<PutSummary>, tokio::task::JoinError>) -> Result<PutSummary> {
    outcome.unwrap_or_else(|error| Err(Error::internal(format!("the writer thread failed: {error}"))))
}
