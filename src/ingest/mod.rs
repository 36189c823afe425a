//! Bridge for writes: async in front, a thread per stream behind, a budget of bytes between.
//! Runs on: async tasks call [`Ingest::begin`], [`Put::send`] and [`Put::finish`].
//! Never: holds more bytes than the budget, or gives up rows silently.
//!
//! A put is one transaction, or part of one that the client has opened, or, with [`Commit::Progress`], a
//! transaction per slice. Small puts into one table share a transaction (`coalesce`). [`Put::finish`] returns after
//! COMMIT; a [`Put`] that is dropped before that is rolled back.

mod admission;
mod append;
mod blame;
mod checksum;
mod coalesce;
mod gather;
mod ledger;
mod loads;
mod placement;
mod sources;
mod tables;
mod writer;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use admission::Admission;
use checksum::Checksum;
use coalesce::{Coalescer, SmallPut};
use ledger::{Ledger, ledger_name};
use loads::Loads;
use sources::Declared;
use tables::Tables;
use writer::{Job, Message};

pub use admission::{Intake, Permit as Room};
pub use ledger::{Claim, KeyEntry, Keyed, LineStatus, ProducerStatus, sequence};
pub use pintail_protocol::decode::Need;
pub use pintail_protocol::header::{Mode, OnConflict, Sources};

use crate::catalog::{Declaration, Declarations, TableName};
use crate::config;
use crate::engine::{self, BulkInsert, Database};
use crate::error::{Error, Kind, Result};
use crate::session::Lease;

/// Batches queued between the wire and the writer; bytes are bounded by the budget, this bounds tiny ones.
const QUEUE_BATCHES: usize = 256;
/// A put is small, and may share a transaction, up to this many bytes.
const SMALL_BYTES: u64 = 1 << 20;
/// How long a put that could be small is held back for its end before it gets a writer of its own, so that what
/// is wrong with it comes out while its client is quiet.
const SMALL_WAIT: Duration = Duration::from_millis(20);

/// When the rows of a stream are committed.
#[derive(Debug, Default)]
pub enum Commit {
    /// At the end: all of them or none.
    #[default]
    Stream,
    /// As they come; each commit is acknowledged.
    Progress(watch::Sender<Ack>),
}

impl Commit {
    /// Whether rows are committed before the end of their stream.
    pub fn is_progress(&self) -> bool {
        matches!(self, Commit::Progress(_))
    }
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
    Statement {
        /// The statement.
        bulk: Box<BulkInsert>,
        /// The full name of its table, where it is known.
        table: Option<TableName>,
    },
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Table { shown, .. } => shown.fmt(f),
            Target::Statement { table: Some(table), .. } => f.write_str(&table.table),
            Target::Statement { table: None, .. } => f.write_str("of the statement"),
        }
    }
}

/// How a stream wants to be taken.
#[derive(Default)]
pub struct Terms {
    /// About rows whose key is known.
    pub on_conflict: OnConflict,
    /// When to commit.
    pub commit: Commit,
    /// For a stream that is to be applied once.
    pub claim: Option<Claim>,
    /// Who sends it, for the record of rejected rows.
    pub producer: Option<String>,
    /// For a stream that declares what files its rows are from.
    pub sources: Option<Sources>,
}

/// A stream about to begin.
pub struct PutRequest {
    /// Where the rows go.
    pub target: Target,
    /// Schema of the batches as they arrive.
    pub schema: SchemaRef,
    /// The connection to put through.
    pub lease: Lease,
    /// How.
    pub terms: Terms,
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

/// What became of the rows of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows of the stream that are dealt with: the sum of the others.
    pub rows: u64,
    /// New in the table.
    pub inserted: u64,
    /// Left out, because their key was there.
    pub ignored: u64,
    /// Put in the place of a row with their key.
    pub replaced: u64,
    /// Written to the table of rejected rows.
    pub rejected: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.inserted += other.inserted;
        self.ignored += other.ignored;
        self.replaced += other.replaced;
        self.rejected += other.rejected;
    }
}

impl Counts {
    /// Rows of the table that are there or new because of the stream.
    pub fn stored(&self) -> u64 {
        self.inserted + self.replaced
    }
}

/// What is durable of a stream so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack {
    /// Rows, by what became of them.
    pub counts: Counts,
    /// Highest sequence number of a producer.
    pub seq: Option<u64>,
    /// Whether all of it had been applied before.
    pub duplicate: bool,
}

/// What was stored. Exists only after COMMIT has returned, or inside a transaction of the client.
#[derive(Debug, Clone, Default)]
pub struct PutSummary {
    /// Rows and sequence number.
    pub ack: Ack,
    /// Whether the rows are committed; those of a client's transaction are when the client commits it.
    pub durable: bool,
    /// Bytes of batches taken.
    pub bytes: u64,
    /// Whether this put made the table.
    pub created: bool,
    /// Whether rows that break a rule are written down instead of failing the stream.
    pub rejects: bool,
    /// Time per stage.
    pub timings: Timings,
}

/// What every put works on.
struct Shared {
    database: Arc<Database>,
    declarations: Arc<Declarations>,
    ledger: Ledger,
    loads: Loads,
    tables: Arc<Tables>,
    creating: Mutex<()>,
    idle_timeout: Duration,
}

impl Shared {
    /// The declaration of a table, if it is one of the server's own database.
    fn declared(&self, table: &TableName) -> Option<Arc<Declaration>> {
        let own = table
            .catalog
            .as_deref()
            .is_none_or(|catalog| catalog.eq_ignore_ascii_case(self.database.catalog()));
        if own { self.declarations.find(table) } else { None }
    }
}

/// The write side of the server.
pub struct Ingest {
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    coalescer: Option<Arc<Coalescer>>,
}

/// A put stream under way.
pub struct Put {
    plain: SchemaRef,
    may_expand: bool,
    intake: Intake,
    state: State,
    queue: Duration,
    conform: Duration,
    /// What the stream has declared, if it declares its sources.
    declared: Option<Box<Declared>>,
    _left: Left,
}

enum State {
    /// So far it is small enough to share a transaction.
    Held(Box<Held>),
    /// It has a writer of its own.
    Writing { messages: Option<mpsc::Sender<Message>>, writer: JoinHandle<Result<PutSummary>> },
    /// It has ended.
    Over,
}

struct Held {
    since: Instant,
    batches: Vec<Message>,
    rows: usize,
    bytes: u64,
    job: Job,
    lease: Lease,
    coalescer: Arc<Coalescer>,
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
    ///
    /// Errors: `Invalid` when the database's ledger cannot be read.
    pub fn new(
        database: Arc<Database>,
        config: &config::Ingest,
        declarations: Arc<Declarations>,
    ) -> Result<Self> {
        let ledger = Ledger::open(&database, config.ledger_keys, config.ledger_producers)?;
        let loads = Loads::open(&database)?;
        let shared = Arc::new(Shared {
            database,
            declarations,
            ledger,
            loads,
            tables: Arc::default(),
            creating: Mutex::new(()),
            idle_timeout: config.idle_timeout.0,
        });
        let coalescer = (config.group_commit_ms > 0).then(|| {
            let wait = Duration::from_millis(config.group_commit_ms);
            shared.database.group_small_inserts(wait);
            coalesce::coalescer(&shared, wait)
        });
        Ok(Self {
            shared,
            admission: Admission::new(
                config.memory_limit.as_usize(),
                config.stream_memory_limit.as_usize(),
                config.max_streams,
            ),
            coalescer,
        })
    }

    /// The right to apply a stream under an idempotency key, or what it did the first time.
    pub async fn claim_key(&self, key: &str, table: &TableName) -> Result<Keyed> {
        self.shared.ledger.claim_key(key, table).await
    }

    /// The right to send batches for a producer into `table`. A new epoch is durable when this returns.
    pub async fn claim_producer(&self, producer: &str, epoch: u64, table: &TableName) -> Result<Claim> {
        let claim = self.shared.ledger.claim_producer(producer, epoch, table).await?;
        if !claim.has_new_epoch() {
            return Ok(claim);
        }
        let shared = Arc::clone(&self.shared);
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        let written = tokio::task::spawn_blocking(move || {
            shared.ledger.record_epoch(&shared.database, &claim).map(|()| claim)
        });
        written.await.map_err(|error| Error::internal(format!("an epoch was not written down: {error}")))?
    }

    /// Where a producer stands; `None` when nothing of it is known.
    pub fn producer_status(&self, producer: &str) -> Option<ProducerStatus> {
        self.shared.ledger.status(producer)
    }

    /// Reads again what the database remembers, after it was opened anew. Blocks.
    pub fn recover(&self) -> Result<()> {
        self.shared.ledger.reload(&self.shared.database)?;
        self.shared.loads.reload(&self.shared.database)
    }

    /// Forgets what files were stored in `table`, and gives the table's name as it is remembered and the number of their
    /// pieces.
    ///
    /// Errors: `Aborted` while the table is being replaced, or takes files.
    pub async fn forget_loads(&self, table: TableName) -> Result<(String, u64)> {
        let shared = Arc::clone(&self.shared);
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        let forgotten = tokio::task::spawn_blocking(move || {
            let _turn = shared.tables.turn(&table, &table)?;
            let forgotten = shared.loads.forget(&shared.database, &table)?;
            Ok((ledger_name(&table), forgotten))
        });
        forgotten.await.map_err(|error| Error::internal(format!("loads were not forgotten: {error}")))?
    }

    /// Cuts the ledger back when it has grown, on a thread of its own.
    pub fn tidy(self: Arc<Self>) {
        if !self.shared.ledger.has_grown() {
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: the engine blocks")]
        tokio::task::spawn_blocking(move || {
            if let Err(error) = self.shared.ledger.compact(&self.shared.database) {
                // The next round tries again; what is remembered does not depend on it.
                tracing::warn!(%error, "the ingest ledger could not be cut back");
            }
        });
    }

    /// Starts a put. What is wrong with the table or the schema comes out of the first `send` or `finish`.
    ///
    /// Errors: `Exhausted` when `ingest.max_streams` puts are open; `Conflict` for a claim inside a transaction of
    /// the client, whose commit nobody could record.
    pub fn begin(&self, request: PutRequest) -> Result<Put> {
        let PutRequest { target, schema, lease, terms } = request;
        if terms.claim.is_some() && !lease.is_pooled() {
            return Err(Error::new(
                Kind::Conflict,
                "a put with pintail-idempotency-key or pintail-producer commits by itself, so it cannot be part \
                 of a transaction; end that first",
            ));
        }
        if terms.commit.is_progress() && !lease.is_pooled() {
            return Err(Error::new(
                Kind::Conflict,
                "a put with pintail-commit progress commits by itself, so it cannot be part of a transaction; end \
                 that first",
            ));
        }
        if terms.sources.is_some() && !lease.is_pooled() {
            return Err(Error::invalid(
                "a put with pintail-sources commits by itself, so it cannot be part of a transaction; end that first",
            ));
        }
        let gate = Arc::new(self.admission.enter()?);
        let plain = engine::plain_schema(&schema);
        let left = Arc::new(AtomicBool::new(false));
        let declared = terms.sources.map(|_| Box::default());
        let may_share = !terms.commit.is_progress()
            && terms.sources.is_none()
            && lease.is_pooled()
            && matches!(&target, Target::Table { mode: Mode::Append | Mode::CreateAppend, .. });
        let job = Job {
            shared: Arc::clone(&self.shared),
            left: Arc::clone(&left),
            what: target.to_string(),
            target,
            schema: Arc::clone(&plain),
            terms,
            gate: Arc::clone(&gate),
        };
        let state = match &self.coalescer {
            Some(coalescer) if may_share => State::Held(Box::new(Held {
                since: Instant::now(),
                batches: Vec::new(),
                rows: 0,
                bytes: 0,
                job,
                lease,
                coalescer: Arc::clone(coalescer),
            })),
            _ => start_writer(job, lease, Vec::new()),
        };
        Ok(Put {
            may_expand: engine::may_expand(&schema, &plain),
            plain,
            intake: Intake::new(gate),
            state,
            queue: Duration::ZERO,
            conform: Duration::ZERO,
            declared,
            _left: Left(left),
        })
    }

    /// A place for a stream whose rows are looked at and not stored.
    ///
    /// Errors: `Exhausted` when `ingest.max_streams` puts are open.
    pub fn intake(&self) -> Result<Intake> {
        Ok(Intake::new(Arc::new(self.admission.enter()?)))
    }

    /// Bytes that a message of a stream may unpack to.
    pub fn stream_bytes(&self) -> usize {
        self.admission.stream_bytes()
    }

    /// Whether the table with this full name is declared.
    pub fn is_declared(&self, table: &TableName) -> bool {
        self.shared.declared(table).is_some()
    }

    /// What declared tables are held to.
    pub fn declarations(&self) -> &Arc<Declarations> {
        &self.shared.declarations
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

/// Checksum of a stream that is not to be stored.
#[derive(Default)]
pub struct StreamChecksum(Checksum);

impl StreamChecksum {
    /// Adds a batch as it came.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.add(batch)
    }

    /// The checksum of what was added.
    pub fn value(&self) -> u64 {
        self.0.value()
    }

    /// Checks that what was added is what `known` was made from, for the same table, and gives the first answer.
    pub fn answer(&self, known: &KeyEntry, table: &TableName) -> Result<(Ack, OnConflict)> {
        known.check(table, self.0.value())?;
        Ok((Ack { counts: known.counts, seq: None, duplicate: true }, known.on_conflict))
    }
}

fn start_writer(job: Job, lease: Lease, begun: Vec<Message>) -> State {
    let (messages, queue) = mpsc::channel(QUEUE_BATCHES);
    let runtime = Handle::current();
    #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per put stream")]
    let writer = tokio::task::spawn_blocking(move || writer::run(job, lease, &runtime, begun, queue));
    State::Writing { messages: Some(messages), writer }
}

impl Put {
    /// Waits for room for the next batch, which is what slows a client down. To be asked before the batch is decoded.
    pub async fn room(&mut self, need: Need) -> Room {
        if let Some(room) = self.intake.try_room(need) {
            return room;
        }
        let started = Instant::now();
        // Only a writer gives room back while its stream waits for more.
        self.own_writer();
        let room = self.intake.room(need).await;
        self.queue += started.elapsed();
        room
    }

    /// Waits for room for a dictionary, before it is decoded.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when dictionaries would take too much of it.
    pub async fn dictionary(&mut self, id: i64, bytes: usize) -> Result<()> {
        if matches!(&self.state, State::Held(held) if !held.batches.is_empty()) {
            self.own_writer();
        }
        self.intake.dictionary(id, bytes).await
    }

    /// Hands the next batch over, with the room it has; waits while the queue is full. `seq` is its number in a
    /// producer's stream.
    ///
    /// Errors: what made the writer stop; the stream is rolled back then.
    pub async fn send(&mut self, batch: RecordBatch, mut room: Room, seq: Option<u64>) -> Result<()> {
        let started = Instant::now();
        let rows = batch.num_rows();
        let granted = room.expanded_bytes();
        let expanded = if self.may_expand { engine::expansion(&batch, &self.plain, granted) } else { 0 };
        let message = if expanded > granted {
            self.own_writer();
            Message::Large(batch, room, seq)
        } else {
            let batch = engine::plain_batch(batch, &self.plain)?;
            room.expands_to(expanded);
            Message::Batch(batch, room, seq)
        };
        self.conform += started.elapsed();
        let started = Instant::now();
        let sent = match &mut self.state {
            State::Held(held) => {
                held.rows += rows;
                held.bytes += match &message {
                    Message::Batch(_, room, _) | Message::Large(_, room, _) => room.bytes(),
                    Message::Finish(_) => 0,
                };
                held.batches.push(message);
                let is_small = held.rows < engine::UNIT_ROWS
                    && held.bytes < SMALL_BYTES
                    && held.batches.len() < QUEUE_BATCHES
                    && held.since.elapsed() < SMALL_WAIT;
                if !is_small {
                    self.own_writer();
                }
                true
            }
            State::Writing { messages: Some(messages), .. } => messages.send(message).await.is_ok(),
            State::Writing { messages: None, .. } | State::Over => false,
        };
        self.queue += started.elapsed();
        if sent { Ok(()) } else { Err(self.failure().await) }
    }

    /// Takes what a message says besides its rows: the pieces of files that the stream holds, if it declares those.
    ///
    /// Errors: `Invalid` saying what was found; `Exhausted` when they are too many.
    pub fn declare(&mut self, app_metadata: &[u8]) -> Result<()> {
        self.declared.as_mut().map_or(Ok(()), |declared| declared.add(app_metadata))
    }

    /// The put gets a writer of its own, if it has none yet.
    fn own_writer(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Held(held) => start_writer(held.job, held.lease, held.batches),
            other => other,
        };
    }

    /// Commits and says what was stored.
    pub async fn finish(mut self) -> Result<PutSummary> {
        let mut summary = match std::mem::replace(&mut self.state, State::Over) {
            State::Held(held) => {
                let (reply, answer) = oneshot::channel();
                let Held { batches, job, coalescer, .. } = *held;
                let Target::Table { table, .. } = &job.target else { return Err(over()) };
                let table = table.clone();
                coalescer.put(&table, SmallPut { job, batches, reply, runtime: Handle::current() });
                answer
                    .await
                    .unwrap_or_else(|_| Err(Error::internal("the shared transaction's thread failed")))
            }
            State::Writing { messages: Some(messages), mut writer } => {
                // A writer that has stopped does not take the message; its own error comes out of the join.
                let _ = messages.send(Message::Finish(self.declared.take())).await;
                join((&mut writer).await)
            }
            State::Writing { messages: None, .. } | State::Over => Err(over()),
        }?;
        summary.timings.queue += self.queue;
        summary.timings.conform = self.conform;
        Ok(summary)
    }

    /// Gives the put up and waits until it is rolled back, so that a client that retries meets no trace of it.
    pub async fn abort(mut self) {
        if let State::Writing { messages, writer } = &mut self.state {
            *messages = None;
            if !writer.is_finished() {
                // The writer's own complaint about the missing end is not news.
                let _ = writer.await;
            }
        }
    }

    /// Completes when the writer stops on its own, with the reason; to be watched while the client is quiet.
    pub async fn failure(&mut self) -> Error {
        if matches!(self.state, State::Held(_)) {
            tokio::time::sleep(SMALL_WAIT).await;
            self.own_writer();
        }
        let State::Writing { messages, writer } = &mut self.state else { return over() };
        match join(writer.await) {
            Err(error) => {
                *messages = None;
                error
            }
            Ok(_) => Error::internal("the writer ended before the stream did"),
        }
    }
}

fn over() -> Error {
    Error::internal("the put has failed before")
}

fn join(outcome: Result<Result<PutSummary>, tokio::task::JoinError>) -> Result<PutSummary> {
    outcome.unwrap_or_else(|error| Err(Error::internal(format!("the writer thread failed: {error}"))))
}
