//! Queue of batches -> segments -> one transaction -> one commit, or a commit per slice.
//! Runs on: a blocking thread of its own for the length of one put stream; it owns session and transaction.
//! Never: acknowledges before COMMIT has returned, or commits a stream whose end it has not seen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::admission::{Gate, Permit};
use super::append::{self, Rows};
use super::checksum::Checksum;
use super::gather::Gather;
use super::ledger::{self, ClaimKind, Entry};
use super::placement::{self, Placement};
use super::sources::Declared;
use super::tables::{TableTurn, User};
use super::{Ack, Commit, Counts, Mode, PutSummary, Shared, Target, Terms, Timings};
use crate::catalog;
use crate::engine::{self, Connection};
use crate::error::{Error, Kind, Result};
use crate::session::{Lease, Open};

/// How long a stream in progress mode may be quiet before what has come is committed.
const SLICE_QUIET: Duration = Duration::from_millis(5);
/// How long rows of a stream in progress mode wait for their commit at most.
const SLICE_MAX: Duration = Duration::from_millis(500);

/// How often a quiet stream is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the async side sends.
pub(super) enum Message {
    /// The next batch, plain, in the stream's schema, and its number in a producer's stream.
    Batch(RecordBatch, Permit, Option<u64>),
    /// A batch as it came, whose plain form is larger than its room; it is made plain in slices.
    Large(RecordBatch, Permit, Option<u64>),
    /// The stream is complete, and has declared these pieces of files: append the rest and commit.
    Finish(Option<Box<Declared>>),
}

/// What a writer needs to know about its stream.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    /// Set when nobody waits for the put any more.
    pub(super) left: Arc<AtomicBool>,
    pub(super) what: String,
    pub(super) target: Target,
    pub(super) schema: SchemaRef,
    pub(super) terms: Terms,
    pub(super) gate: Arc<Gate>,
}

impl Job {
    /// Whether the table may be made by this put, with columns whose type its first batch decides. A producer that has
    /// been replaced is shut out by its writer, so that one does not wait.
    fn waits_for_values(&self) -> bool {
        let makes = matches!(self.target, Target::Table { mode, .. } if mode != Mode::Append);
        let claims = self.terms.claim.as_ref().map(|claim| &claim.0);
        makes && !matches!(claims, Some(ClaimKind::Producer(_))) && catalog::depends_on_values(&self.schema)
    }
}

enum Event {
    Message(Message),
    Pressed,
    /// Time to commit what has come.
    Slice,
    /// Time to look whether the transaction may go on.
    Look,
    Gone,
    Idle,
    /// A newer instance of the producer has come.
    ShutOut(Error),
}

/// Runs one put stream to its commit, or rolls it back. Blocks for as long as the client sends.
pub(super) fn run(
    job: Job,
    lease: Lease,
    runtime: &Handle,
    mut begun: Vec<Message>,
    mut messages: mpsc::Receiver<Message>,
) -> Result<PutSummary> {
    if begun.is_empty() && job.waits_for_values() {
        // A client that has left or sends nothing is noticed below.
        let limit = job.shared.idle_timeout;
        let first = runtime.block_on(async { tokio::time::timeout(limit, messages.recv()).await });
        begun.extend(first.ok().flatten());
    }
    let mut connection = lease.open()?;
    let joins = connection.joins_transaction();
    let mut writer = match Writer::begin(job, &begun, &mut connection, joins) {
        Ok(writer) => writer,
        Err(error) if joins => return Err(connection.explain(error)),
        Err(error) => {
            give_up(&mut connection);
            return Err(error);
        }
    };
    match writer.write(&mut connection, runtime, begun, messages) {
        Ok(summary) => Ok(summary),
        Err(error) if joins => {
            // DuckDB has no savepoints: what was appended before the error cannot be taken back alone.
            let what = &writer.placement.what;
            connection.break_transaction(&format!("a put into {what} failed half way: {error}"));
            Err(connection.explain(error))
        }
        Err(error) => {
            give_up(&mut connection);
            if writer.summary.ack.counts.rows == 0 {
                writer.holds.remove_table(&writer.job, &mut connection);
            }
            Err(writer.with_progress(error))
        }
    }
}

/// Rolls back. The first error is the one the client needs; a connection that cannot roll back is closed.
pub(super) fn give_up(connection: &mut Connection) {
    if connection.in_transaction() {
        let _ = connection.rollback();
    }
}

/// What a put holds of its table until it ends.
struct Holds {
    user: Option<User>,
    /// The table's turn, for a put that replaces it.
    turn: Option<TableTurn>,
    /// Whether the put made the table, in a transaction of its own.
    made_table: bool,
}

impl Holds {
    fn enter(job: &Job, joins: bool) -> Result<Self> {
        let Target::Table { table, shown, mode } = &job.target else {
            return Ok(Self { user: None, turn: None, made_table: false });
        };
        let tables = &job.shared.tables;
        let replaces = !joins && matches!(mode, Mode::Replace | Mode::ReplaceExisting);
        let turn = replaces.then(|| tables.turn(table, shown)).transpose()?;
        Ok(Self { user: Some(tables.enter(table)), turn, made_table: false })
    }

    /// Takes back the table that the put made, if nobody uses it.
    fn remove_table(&self, job: &Job, connection: &mut Connection) {
        if let (true, Some(user), Target::Table { table, .. }) = (self.made_table, &self.user, &job.target) {
            placement::remove_if_empty(&job.shared, connection, table, user);
        }
    }
}

/// One stream under way.
struct Writer {
    job: Job,
    holds: Holds,
    joins: bool,
    placement: Placement,
    /// Whether the old rows of a put that replaces them are away.
    is_clear: bool,
    gather: Gather,
    /// Rows handed to the engine so far, and what became of those not yet committed.
    appended: u64,
    open: Counts,
    /// What is written down at the next commit.
    entries: Vec<Entry>,
    checksum: Checksum,
    has_new: bool,
    has_duplicates: bool,
    duplicate_rows: u64,
    summary: PutSummary,
    timings: Timings,
    since_commit: Instant,
    quiet_since: Instant,
}

impl Writer {
    fn begin(job: Job, begun: &[Message], connection: &mut Open, joins: bool) -> Result<Self> {
        if job.terms.claim.is_some() {
            job.shared.ledger.prepare(connection)?;
        }
        if job.terms.sources.is_some() {
            job.shared.loads.prepare(connection)?;
        }
        let begun: Vec<RecordBatch> = begun
            .iter()
            .filter_map(|message| match message {
                Message::Batch(batch, ..) => Some(batch.clone()),
                Message::Large(..) | Message::Finish(_) => None,
            })
            .collect();
        let mut holds = Holds::enter(&job, joins)?;
        connection.set_purpose(&format!("a put into table {}", job.what));
        let Job { shared, target, schema, terms, .. } = &job;
        let stream = (schema, &begun[..]);
        let placement = if joins {
            let placement = placement::place(shared, target, stream, terms.on_conflict, connection, true)?;
            placement.begin(connection)?;
            placement
        } else {
            holds.made_table = placement::prepare(shared, target, stream, connection)?;
            match placement::begin(shared, target, stream, terms.on_conflict, connection) {
                Ok(placement) => placement,
                Err(error) => {
                    give_up(connection);
                    holds.remove_table(&job, connection);
                    return Err(error);
                }
            }
        };
        let summary = PutSummary {
            durable: !joins,
            created: placement.created || holds.made_table,
            rejects: placement.rejected.is_some(),
            ..PutSummary::default()
        };
        Ok(Self {
            gather: Gather::new(Arc::clone(&job.schema)),
            job,
            holds,
            joins,
            placement,
            is_clear: false,
            appended: 0,
            open: Counts::default(),
            entries: Vec::new(),
            checksum: Checksum::default(),
            has_new: false,
            has_duplicates: false,
            duplicate_rows: 0,
            summary,
            timings: Timings::default(),
            since_commit: Instant::now(),
            quiet_since: Instant::now(),
        })
    }

    fn write(
        &mut self,
        connection: &mut Open,
        runtime: &Handle,
        begun: Vec<Message>,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<PutSummary> {
        // Enough units that every thread of the engine has one; a single unit would be appended by one thread.
        let units_per_statement = self.job.shared.database.options().threads.max(2);
        let threshold = self.job.gate.append_threshold_bytes();
        let in_progress = self.job.terms.commit.is_progress();
        let mut begun = begun.into_iter();
        let declared = loop {
            let event = match begun.next() {
                Some(message) => Event::Message(message),
                None => runtime.block_on(self.next_event(&mut messages)),
            };
            let mut press = false;
            let mut slice = false;
            if matches!(event, Event::Message(_)) {
                self.quiet_since = Instant::now();
            }
            match event {
                Event::Message(Message::Batch(batch, permit, seq)) => self.take(batch, permit, seq)?,
                Event::Message(Message::Large(batch, permit, seq)) => {
                    self.take_large(connection, units_per_statement, batch, permit, seq)?;
                }
                Event::Message(Message::Finish(declared)) => break declared,
                Event::Pressed => press = true,
                Event::Slice => slice = true,
                Event::Look => {}
                Event::Gone => return Err(self.gone()),
                Event::Idle => return Err(self.idle()),
                Event::ShutOut(error) => return Err(error),
            }
            connection.check_hold().map_err(|error| in_table(&self.job.what, error))?;
            let full = self.gather.whole_units() >= units_per_statement;
            let heavy = self.gather.bytes() >= threshold;
            slice |= in_progress && (full || heavy || self.since_commit.elapsed() >= SLICE_MAX);
            if slice {
                // A producer's batch is committed whole; other streams are cut where row groups end.
                let all = !full || self.job.terms.claim.is_some();
                self.append_all(connection, units_per_statement, all)?;
                self.commit(connection)?;
                self.begin_slice(connection)?;
            } else if full || heavy || press {
                // Under pressure a short unit is better than a standstill; otherwise only whole ones go.
                let all = (heavy || press) && self.gather.whole_units() == 0;
                self.append(connection, units_per_statement, all)?;
            }
        };
        self.append_all(connection, units_per_statement, true)?;
        // A stream without rows replaces as well.
        self.clear(connection)?;
        self.store_sources(connection, declared)?;
        if self.job.left.load(Ordering::Acquire) {
            return Err(self.gone());
        }
        if self.joins {
            self.summary.ack.counts = self.open;
        } else {
            self.commit(connection)?;
        }
        self.summary.timings = self.timings;
        Ok(self.summary.clone())
    }

    /// Opens the transaction of the next slice. The table may be another one by now.
    fn begin_slice(&mut self, connection: &mut Connection) -> Result<()> {
        let Job { shared, target, schema, terms, .. } = &self.job;
        // What came first has been done; the slices after it add to what is there.
        let target = match target {
            Target::Table { table, shown, .. } => {
                &Target::Table { table: table.clone(), shown: shown.clone(), mode: Mode::Append }
            }
            statement => statement,
        };
        connection.set_purpose(&format!("a put into table {}", self.job.what));
        self.placement = placement::begin(shared, target, (schema, &[]), terms.on_conflict, connection)?;
        Ok(())
    }

    /// Puts a batch behind those that wait, unless it has been applied before.
    fn take(&mut self, batch: RecordBatch, permit: Permit, seq: Option<u64>) -> Result<()> {
        if self.is_new(&batch, &permit, seq)? { self.gather.push(batch, Arc::new(permit)) } else { Ok(()) }
    }

    /// Makes a batch plain slice by slice, each appended before the next, in the room of one. It stays one batch: its
    /// checksum is that of the whole, and there is no commit before its last slice.
    fn take_large(
        &mut self,
        connection: &Connection,
        units_max: usize,
        batch: RecordBatch,
        permit: Permit,
        seq: Option<u64>,
    ) -> Result<()> {
        if !self.is_new(&batch, &permit, seq)? {
            return Ok(());
        }
        self.append_all(connection, units_max, true)?;
        let row_bytes_max = self.job.gate.row_bytes_max();
        let plain = Arc::clone(&self.job.schema);
        let permit = Arc::new(permit);
        for (rows, bytes) in engine::slices(&batch, &plain, permit.slice_bytes()) {
            if self.job.left.load(Ordering::Acquire) {
                return Err(self.gone());
            }
            if rows.len() == 1 && bytes > row_bytes_max {
                let text = format!(
                    "table {}: row {} of a batch takes {bytes} bytes or more, and a stream may hold {row_bytes_max}",
                    self.job.what, rows.start
                );
                return Err(Error::exhausted("ingest.stream_memory_limit", text));
            }
            let slice = engine::plain_batch(engine::slice(&batch, rows)?, &plain)?;
            self.gather.push(slice, Arc::clone(&permit))?;
            self.append_all(connection, units_max, true)?;
        }
        Ok(())
    }

    /// Whether a batch is to be stored; what is to be remembered of it is noted.
    fn is_new(&mut self, batch: &RecordBatch, permit: &Permit, seq: Option<u64>) -> Result<bool> {
        self.summary.bytes += permit.bytes();
        match &mut self.job.terms.claim {
            None => {}
            Some(claim) => match &mut claim.0 {
                ClaimKind::Key(_) => self.checksum.add(batch)?,
                ClaimKind::Producer(producer) => match producer.judge_batch(seq, batch)? {
                    Some(entry) => self.entries.push(entry),
                    None => {
                        self.has_duplicates = true;
                        self.duplicate_rows += batch.num_rows() as u64;
                        return Ok(false);
                    }
                },
            },
        }
        self.has_new = true;
        Ok(true)
    }

    fn append_all(&mut self, connection: &Connection, units_max: usize, all: bool) -> Result<()> {
        while if all { !self.gather.is_empty() } else { self.gather.whole_units() > 0 } {
            self.append(connection, units_max, all)?;
        }
        Ok(())
    }

    fn append(&mut self, connection: &Connection, units_max: usize, all: bool) -> Result<()> {
        let started = Instant::now();
        let taken = self.gather.take(units_max, all)?;
        if taken.units.is_empty() {
            return Ok(());
        }
        self.clear(connection)?;
        let rows =
            Rows { units: taken.units, before: self.appended, producer: self.job.terms.producer.as_deref() };
        let counts = append::append(connection, &self.placement, rows)
            .map_err(|error| in_table(&self.placement.what, error))?;
        // Only now may the room be used again: until the statement was over, the engine read these buffers.
        drop(taken.permits);
        self.appended += counts.rows;
        self.open += counts;
        self.timings.append += started.elapsed();
        Ok(())
    }

    /// Takes the old rows away as late as can be: a quiet stream must not keep checkpoints off.
    fn clear(&mut self, connection: &Connection) -> Result<()> {
        if !self.is_clear {
            self.placement.clear(connection)?;
            self.is_clear = true;
        }
        Ok(())
    }

    /// Writes down what files the rows are from. Until the put is over nobody else does so for the table.
    fn store_sources(&mut self, connection: &Connection, declared: Option<Box<Declared>>) -> Result<()> {
        let Job { shared, target, terms, .. } = &self.job;
        let (Some(sources), Some(declared), Target::Table { table, shown, .. }) =
            (terms.sources, declared, target)
        else {
            return Ok(());
        };
        if self.holds.turn.is_none() {
            self.holds.turn = Some(shared.tables.turn(table, shown)?);
        }
        let is_clean = self.placement.forgets();
        shared
            .loads
            .record(connection, table, (sources, *declared), self.appended, is_clean)
            .map_err(|error| in_table(&self.placement.what, error))
    }

    /// Commits what has been appended, with what is to be remembered of it, and tells the client's side.
    fn commit(&mut self, connection: &mut Connection) -> Result<()> {
        let started = Instant::now();
        if let Some(claim) = &self.job.terms.claim {
            match &claim.0 {
                ClaimKind::Producer(producer) => producer.check_fence()?,
                ClaimKind::Key(key) => {
                    let mut counts = self.summary.ack.counts;
                    counts += self.open;
                    self.entries = vec![key.entry(self.checksum.value(), counts, self.placement.on_conflict)];
                }
            }
        }
        let entries = ledger::tail(&self.entries);
        self.job.shared.ledger.record(connection, entries)?;
        connection.commit().map_err(|error| in_table(&self.placement.what, error))?;
        self.job.shared.ledger.remember(entries);
        self.entries.clear();
        let ack = &mut self.summary.ack;
        ack.counts += std::mem::take(&mut self.open);
        ack.counts.rows += std::mem::take(&mut self.duplicate_rows);
        ack.duplicate = self.has_duplicates && !self.has_new;
        if let Some(ClaimKind::Producer(producer)) = self.job.terms.claim.as_ref().map(|claim| &claim.0) {
            ack.seq = producer.last();
        }
        if let Commit::Progress(progress) = &self.job.terms.commit {
            // Nobody need be listening.
            progress.send_replace(*ack);
        }
        self.since_commit = Instant::now();
        self.timings.commit += started.elapsed();
        Ok(())
    }

    async fn next_event(&self, messages: &mut mpsc::Receiver<Message>) -> Event {
        let waits = self.job.terms.commit.is_progress()
            && (!self.gather.is_empty() || self.open.rows > 0 || self.duplicate_rows > 0);
        let quiet = async {
            if waits {
                tokio::time::sleep(SLICE_QUIET).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let shut_out = async {
            match self.job.terms.claim.as_ref().map(|claim| &claim.0) {
                Some(ClaimKind::Producer(producer)) => producer.shut_out().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = messages.recv() => message.map_or(Event::Gone, Event::Message),
            () = self.job.gate.pressed() => Event::Pressed,
            error = shut_out => Event::ShutOut(error),
            () = quiet => Event::Slice,
            () = tokio::time::sleep(LOOK_EVERY) => {
                if self.quiet_since.elapsed() >= self.job.shared.idle_timeout { Event::Idle } else { Event::Look }
            }
        }
    }

    fn gone(&self) -> Error {
        let text = format!("table {}: the client left before the end of the stream", self.job.what);
        Error::new(Kind::Cancelled, self.nothing_stored(text))
    }

    fn idle(&self) -> Error {
        let limit = humantime::format_duration(self.job.shared.idle_timeout);
        let text =
            format!("table {}: no batch arrived for {limit} (limit: ingest.idle_timeout)", self.job.what);
        Error::new(Kind::Deadline, self.nothing_stored(text))
    }

    fn nothing_stored(&self, text: String) -> String {
        if self.job.terms.commit.is_progress() { text } else { format!("{text}; nothing was stored") }
    }

    /// An error of a stream that commits as it goes says what is durable.
    fn with_progress(&self, error: Error) -> Error {
        if !self.job.terms.commit.is_progress() {
            return error;
        }
        let Ack { counts, seq, .. } = self.summary.ack;
        let seq = seq.map_or(String::new(), |seq| format!(", up to seq {seq}"));
        let message = error.message().replace("; nothing was stored", "; this batch was not stored");
        Error::new(error.kind(), format!("{message}; {} rows of this stream are durable{seq}", counts.rows))
    }
}

/// `error` with the table in front, unless it says so already.
pub(super) fn in_table(what: &str, error: Error) -> Error {
    let said = error.message().starts_with("table ");
    if said { error } else { error.context(format!("table {what}")) }
}
