//! One stream under way in its writer: gathered, appended, committed, refused.
//! Runs on: the writer thread.
//! Never: gives room back before the engine is done with the rows; commits a stream whose end it has not seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use arrow::array::RecordBatch;
use pintail_protocol::header::Mode;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::event::{self, Event, SLICE_MAX};
use super::record::Record;
use super::table_hold::TableHold;
use crate::engine::{self, Connection};
use crate::error::{Error, Kind, Result};
use crate::ingest::admission::Permit;
use crate::ingest::counts::{Counts, PutSummary, Timings};
use crate::ingest::error::PutError;
use crate::ingest::exactly_once::{Declared, StreamLoad};
use crate::ingest::job::{Job, Message};
use crate::ingest::placement::{self, Placement, Transaction, Wanted};
use crate::ingest::request::{Commit, PutTarget};
use crate::ingest::row_groups::{self, Gather, Rows, Take};
use crate::session::Open;

/// Rolls back. The first error is the one the client needs; a connection that cannot roll back is closed.
pub(in crate::ingest) fn roll_back(connection: &mut Connection) {
    if connection.in_transaction() {
        let _ = connection.rollback();
    }
}

/// One stream under way.
pub(super) struct Writer {
    pub(super) job: Job,
    pub(super) holds: TableHold,
    transaction: Transaction,
    pub(super) placement: Placement,
    /// Whether the old rows of a put that replaces them are away.
    is_clear: bool,
    gather: Gather,
    /// Units that one statement takes: every thread of the engine has one; a single unit would be appended by one thread.
    units_max: usize,
    /// Rows handed to the engine so far, and what became of those not yet committed.
    appended: u64,
    open: Counts,
    record: Record,
    pub(super) summary: PutSummary,
    timings: Timings,
    since_commit: Instant,
    quiet_since: Instant,
}

/// What an event asks for, besides the rows that it may bring.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Go by what has been gathered.
    Gathered,
    /// Give room back: a short unit is better than a standstill.
    Append,
    /// Commit what has come.
    Commit,
}

impl Writer {
    pub(super) fn begin(
        job: Job,
        begun: &[Message],
        connection: &mut Open,
        transaction: Transaction,
    ) -> Result<Self> {
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
        let mut holds = TableHold::enter(&job, transaction)?;
        let started = Instant::now();
        connection.set_purpose(&purpose(&job));
        let wanted = job.wanted(&begun, transaction);
        let placement = match transaction {
            Transaction::Clients => {
                let placement = placement::place(&wanted, connection)?;
                placement.begin(connection)?;
                placement
            }
            Transaction::Own => {
                holds.made_table = placement::prepare(&wanted, connection)?;
                match placement::begin(&wanted, connection) {
                    Ok(placement) => placement,
                    Err(error) => {
                        roll_back(connection);
                        holds.remove_table(&job, connection);
                        return Err(error);
                    }
                }
            }
        };
        let summary = PutSummary {
            durable: transaction == Transaction::Own,
            created: placement.created || holds.made_table,
            rejects: placement.rejected.is_some(),
            ..PutSummary::default()
        };
        Ok(Self {
            gather: Gather::new(Arc::clone(&job.schema)),
            units_max: job.shared.database.options().threads.max(2),
            job,
            holds,
            transaction,
            placement,
            is_clear: false,
            appended: 0,
            open: Counts::default(),
            record: Record::default(),
            summary,
            timings: Timings { conform: started.elapsed(), ..Timings::default() },
            since_commit: Instant::now(),
            quiet_since: Instant::now(),
        })
    }

    pub(super) fn write(
        &mut self,
        connection: &mut Open,
        runtime: &Handle,
        begun: Vec<Message>,
        mut messages: mpsc::Receiver<Message>,
    ) -> Result<(), PutError> {
        let mut begun = begun.into_iter();
        let declared = loop {
            let event = match begun.next() {
                Some(message) => Event::Message(message),
                None => {
                    let has_uncommitted =
                        !self.gather.is_empty() || self.open.rows > 0 || self.record.has_unacknowledged();
                    runtime.block_on(event::next(&self.job, &mut messages, self.quiet_since, has_uncommitted))
                }
            };
            let next = match event {
                Event::Message(message) => {
                    self.quiet_since = Instant::now();
                    match message {
                        Message::Batch(batch, permit, seq) => self.take(batch, permit, seq)?,
                        Message::Large(batch, permit, seq) => {
                            self.take_large(connection, batch, permit, seq)?;
                        }
                        Message::Finish(declared) => break declared,
                    }
                    Next::Gathered
                }
                Event::Pressed => Next::Append,
                Event::Slice => Next::Commit,
                Event::Look => Next::Gathered,
                Event::Gone => return Err(self.gone()),
                Event::Idle => return Err(self.idle()),
                Event::ShutOut(error) => return Err(error.into()),
            };
            connection.check_hold().map_err(|error| PutError::from(error).in_table(&self.job.shown))?;
            self.append_when_due(connection, next)?;
        };
        self.append_until(connection, Take::All)?;
        // A stream without rows replaces as well.
        self.clear(connection)?;
        self.store_sources(connection, declared)?;
        if self.job.left.load(Ordering::Acquire) {
            return Err(self.gone());
        }
        match self.transaction {
            Transaction::Clients => self.summary.ack.counts = self.open,
            Transaction::Own => self.commit(connection)?,
        }
        self.summary.timings = self.timings;
        Ok(())
    }

    /// Appends or commits, when enough has been gathered or `next` asks for it.
    fn append_when_due(&mut self, connection: &mut Open, next: Next) -> Result<(), PutError> {
        let is_full = self.gather.whole_units() >= self.units_max;
        let is_heavy = self.gather.bytes() >= self.job.budget.append_threshold_bytes();
        let in_progress = self.job.terms.commit.is_progress();
        let is_old = || self.since_commit.elapsed() >= SLICE_MAX;
        if next == Next::Commit || in_progress && (is_full || is_heavy || is_old()) {
            // A producer's batch is committed whole; other streams are cut where row groups end.
            let all = !is_full || self.job.terms.claim.is_some();
            self.append_until(connection, if all { Take::All } else { Take::Whole })?;
            self.commit(connection)?;
            self.begin_slice(connection)?;
        } else if is_full || is_heavy || next == Next::Append {
            let has_none = self.gather.whole_units() == 0;
            self.append(connection, if has_none { Take::All } else { Take::Whole })?;
        }
        Ok(())
    }

    /// Opens the transaction of the next slice. The table may be another one by now.
    fn begin_slice(&mut self, connection: &mut Connection) -> Result<()> {
        let started = Instant::now();
        // The first slice has made the table or replaced its rows; the later ones append.
        let target = match &self.job.target {
            PutTarget::Table { table, shown, .. } => {
                &PutTarget::Table { table: table.clone(), shown: shown.clone(), mode: Mode::Append }
            }
            statement @ PutTarget::Statement { .. } => statement,
        };
        connection.set_purpose(&purpose(&self.job));
        let wanted = Wanted { target, ..self.job.wanted(&[], Transaction::Own) };
        self.placement = placement::begin(&wanted, connection)?;
        self.timings.conform += started.elapsed();
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
        batch: RecordBatch,
        permit: Permit,
        seq: Option<u64>,
    ) -> Result<(), PutError> {
        if !self.is_new(&batch, &permit, seq)? {
            return Ok(());
        }
        self.append_until(connection, Take::All)?;
        let row_bytes_max = self.job.budget.row_bytes_max();
        let plain = Arc::clone(&self.job.schema);
        let permit = Arc::new(permit);
        for (rows, bytes) in engine::slices(&batch, &plain, permit.slice_bytes()) {
            if self.job.left.load(Ordering::Acquire) {
                return Err(self.gone());
            }
            if rows.len() == 1 && bytes > row_bytes_max {
                let text = format!(
                    "row {} of a batch takes {bytes} bytes or more, and a stream may hold {row_bytes_max}",
                    rows.start
                );
                let error = Error::exhausted("ingest.stream_memory_limit", text);
                return Err(PutError::from(error).in_table(&self.job.shown));
            }
            let started = Instant::now();
            let slice = engine::plain_batch(engine::slice(&batch, rows)?, &plain)?;
            self.timings.plain += started.elapsed();
            self.gather.push(slice, Arc::clone(&permit))?;
            self.append_until(connection, Take::All)?;
        }
        Ok(())
    }

    fn is_new(&mut self, batch: &RecordBatch, permit: &Permit, seq: Option<u64>) -> Result<bool> {
        self.summary.bytes += permit.bytes();
        self.record.is_new(self.job.terms.claim.as_mut(), batch, seq)
    }

    /// Appends until nothing is left of `what`.
    fn append_until(&mut self, connection: &Connection, what: Take) -> Result<(), PutError> {
        let has_more = |gather: &Gather| match what {
            Take::All => !gather.is_empty(),
            Take::Whole => gather.whole_units() > 0,
        };
        while has_more(&self.gather) {
            self.append(connection, what)?;
        }
        Ok(())
    }

    fn append(&mut self, connection: &Connection, what: Take) -> Result<(), PutError> {
        let started = Instant::now();
        let taken = self.gather.take(self.units_max, what)?;
        if taken.units.is_empty() {
            return Ok(());
        }
        self.clear(connection)?;
        let rows =
            Rows { units: taken.units, before: self.appended, producer: self.job.terms.producer.as_deref() };
        let counts = row_groups::append(connection, &self.placement, rows)
            .map_err(|error| error.in_table(&self.placement.shown))?;
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
    fn store_sources(
        &mut self,
        connection: &Connection,
        declared: Option<Box<Declared>>,
    ) -> Result<(), PutError> {
        let Job { shared, target, terms, .. } = &self.job;
        let (Some(sources), Some(declared), PutTarget::Table { table, shown, .. }) =
            (terms.sources, declared, target)
        else {
            return Ok(());
        };
        if self.holds.turn.is_none() {
            self.holds.turn = Some(shared.tables.turn(table, shown)?);
        }
        let load = StreamLoad {
            sources,
            declared: *declared,
            received: self.appended,
            is_clean: self.placement.forgets(),
        };
        shared
            .loads
            .record(connection, table, load)
            .map_err(|error| PutError::from(error).in_table(&self.placement.shown))
    }

    /// Commits what has been appended, with what is to be remembered of it, and tells the client's side.
    fn commit(&mut self, connection: &mut Connection) -> Result<(), PutError> {
        let started = Instant::now();
        let Job { shared, terms, .. } = &self.job;
        let mut counts = self.summary.ack.counts;
        counts += self.open;
        let entries = self.record.entries(terms.claim.as_ref(), counts, self.placement.on_conflict)?;
        shared.ledger.record(connection, entries)?;
        connection.commit().map_err(|error| PutError::from(error).in_table(&self.placement.shown))?;
        shared.ledger.remember(entries);
        self.open = Counts::default();
        let ack = &mut self.summary.ack;
        ack.counts = counts;
        self.record.committed(terms.claim.as_ref(), ack);
        if let Commit::Progress(progress) = &terms.commit {
            // The client may not read its acknowledgements.
            progress.send_replace(*ack);
        }
        self.since_commit = Instant::now();
        self.timings.commit += started.elapsed();
        Ok(())
    }

    fn gone(&self) -> PutError {
        self.nothing_stored(Kind::Cancelled, "the client left before the end of the stream")
    }

    fn idle(&self) -> PutError {
        let limit = humantime::format_duration(self.job.shared.idle_timeout);
        let cause = format!("no batch arrived for {limit} (limit: ingest.idle_timeout)");
        self.nothing_stored(Kind::Deadline, &cause)
    }

    /// The end of a stream that was not its client's. What a stream that commits as it goes has stored is said with its
    /// progress.
    fn nothing_stored(&self, kind: Kind, cause: &str) -> PutError {
        let error = PutError::new(kind, &self.job.shown, cause);
        if self.job.terms.commit.is_progress() { error } else { error.nothing_stored() }
    }

    /// The error as the client hears it: that of a stream that commits as it goes says what is durable.
    pub(super) fn told(&self, error: PutError) -> Error {
        if self.job.terms.commit.is_progress() {
            error.with_progress(self.summary.ack).into()
        } else {
            error.into()
        }
    }
}

/// What its transaction is for, as `pintail.status` shows it.
fn purpose(job: &Job) -> String {
    format!("a put into table {}", job.shown)
}
