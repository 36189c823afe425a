//! What has been applied before: idempotency keys, and producers with their epoch and sequence.
//! Runs on: async tasks claim; the thread that commits records, in the transaction of the rows themselves.
//! Never: forgets a commit it has recorded before its bound says so; goes by the clock; lets two streams with one
//! key, or two of one producer, be applied at the same time.
//!
//! The table `pintail_internal.ingest_ledger` is appended to and read once, at start; while the server runs, what
//! is in memory counts. A key keeps its first answer. A producer keeps its highest sequence number per table, and
//! the checksums of the last few batches, to tell a retry from a mistake.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use pintail_protocol::answer::fenced;
use pintail_protocol::header::{EPOCH, IDEMPOTENCY_KEY, PRODUCER};
use tokio::sync::OwnedMutexGuard;

use super::claim::{Claim, ClaimKind, KeyClaim, Keyed, ProducerClaim};
use super::entry::{Entry, Line, Reader};
use super::image::{Bounds, CHECKSUMS_KEPT, LedgerImage, LineEntry, LineStatus, ProducerStatus, TurnOf};
use super::own_table::OwnTable;
use crate::catalog::TableName;
use crate::engine::{self, Connection, Database, LedgerBounds, LedgerRow};
use crate::error::{Error, Result};

/// Longest idempotency key or producer id, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How long a stream waits for another one with its key, or of its producer, to end.
const WAIT_FOR_TURN: Duration = Duration::from_secs(20);
/// Rows of the table beyond those that are needed, from which on it is cut back. A quarter of those needed, when that
/// is more: a cut reads them all.
const SPARE_ROWS: u64 = 20_000;

/// The ledger of one database.
pub(in crate::ingest) struct Ledger {
    image: Mutex<LedgerImage>,
    table: OwnTable,
    bounds: Bounds,
    // Rows in the table, those of commits that failed included.
    rows: AtomicU64,
    // Rows from which on the next cut is tried; held by the one that cuts.
    cut_from: Mutex<u64>,
}

impl Ledger {
    /// Reads what the database remembers.
    ///
    /// Errors: `Invalid` when the ledger's table is not as the server made it.
    pub(in crate::ingest) fn open(
        database: &Arc<Database>,
        keys_max: usize,
        producers_max: usize,
    ) -> Result<Self> {
        let bounds = Bounds { keys: keys_max, lines: producers_max };
        let (image, rows) = read(database, bounds)?;
        Ok(Self {
            image: Mutex::new(image),
            table: OwnTable::new(rows.is_some()),
            bounds,
            rows: AtomicU64::new(rows.unwrap_or(0)),
            cut_from: Mutex::new(0),
        })
    }

    /// Reads it again, after the database was opened anew: a commit may be durable that nobody was told of.
    pub(in crate::ingest) fn reload(&self, database: &Arc<Database>) -> Result<()> {
        let (image, rows) = read(database, self.bounds)?;
        self.image().replace_with(image);
        self.table.note(rows.is_some());
        self.rows.store(rows.unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }

    fn image(&self) -> MutexGuard<'_, LedgerImage> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to apply a stream under `key`, or what it did the first time. Waits for a stream with the same key.
    ///
    /// Errors: `Invalid` for a key that is empty or too long, `Aborted` when the other stream does not end.
    pub(in crate::ingest) async fn claim_key(&self, key: &str, table: &TableName) -> Result<Keyed> {
        check_name(IDEMPOTENCY_KEY, key)?;
        let turn = self.turn(TurnOf::Key(key.to_owned())).await.ok_or_else(|| {
            Error::collided(
                format!(
                    "another stream with this {IDEMPOTENCY_KEY} is still open; send it again later, it will be applied \
                     once"
                ),
            )
        })?;
        if let Some(entry) = self.image().key(key) {
            return Ok(Keyed::Known(entry.clone()));
        }
        let claim = KeyClaim { key: key.into(), table: table.in_ledger().into(), _turn: turn };
        Ok(Keyed::New(Claim(ClaimKind::Key(claim))))
    }

    /// The right to send batches for a producer. A newer epoch shuts out the older ones at once.
    ///
    /// Errors: `Aborted` when a newer epoch has been seen, or a stream of the same epoch does not end.
    pub(in crate::ingest) async fn claim_producer(
        &self,
        producer: &str,
        epoch: u64,
        table: &TableName,
    ) -> Result<Claim> {
        check_name(PRODUCER, producer)?;
        let line = Line { producer: producer.into(), table: table.in_ledger().into() };
        let newest_epoch = self.image().epochs(producer);
        let newest = newest_epoch.raise(epoch);
        if newest > epoch {
            return Err(fenced(producer, epoch, newest));
        }
        let turn = self.turn(TurnOf::Line(line.clone())).await.ok_or_else(|| {
            Error::collided(format!(
                "another stream of producer \"{producer}\" into this table is still open; end it first, or \
                     come back with a higher {EPOCH} to shut it out"
            ))
        })?;
        let (LineEntry { last, rows, recent, .. }, begins_anew) = {
            let image = self.image();
            (image.line(&line), image.was_forgotten(&line))
        };
        let claim = ProducerClaim { line, epoch, newest_epoch, begins_anew, last, rows, recent, _turn: turn };
        claim.check_fence()?;
        Ok(Claim(ClaimKind::Producer(claim)))
    }

    /// Writes a claim's epoch down, unless it is: after a crash it still shuts out the older ones. Blocks.
    pub(in crate::ingest) fn record_epoch(&self, database: &Arc<Database>, claim: &Claim) -> Result<()> {
        let ClaimKind::Producer(claim) = &claim.0 else { return Ok(()) };
        let mut connection = database.connection()?;
        self.prepare(&connection)?;
        let anew = claim.last().is_none();
        let entries = [Entry::Epoch { line: claim.line.clone(), epoch: claim.epoch, anew }];
        connection.begin()?;
        self.record(&connection, &entries)?;
        connection.commit()?;
        self.remember(&entries);
        Ok(())
    }

    async fn turn(&self, of: TurnOf) -> Option<OwnedMutexGuard<()>> {
        let turn = self.image().turn(of);
        tokio::time::timeout(WAIT_FOR_TURN, turn.lock_owned()).await.ok()
    }

    /// Where a producer stands; `None` when it has never sent anything durable.
    pub(in crate::ingest) fn status(&self, producer: &str) -> Option<ProducerStatus> {
        self.image().status(producer)
    }

    /// Every producer with its newest epoch, and where it stands with each table.
    pub(in crate::ingest) fn producers(&self) -> Vec<(String, u64, LineStatus)> {
        self.image().all()
    }

    /// Makes the ledger's table, before the transaction that will write into it.
    pub(in crate::ingest) fn prepare(&self, connection: &Connection) -> Result<()> {
        self.table.ensure(|| engine::create_ledger(connection))
    }

    /// Writes entries down in the open transaction.
    pub(in crate::ingest) fn record(&self, connection: &Connection, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let rows: Vec<LedgerRow<'_>> = entries.iter().map(Entry::row).collect::<Result<_>>()?;
        engine::append_ledger(connection, &rows)?;
        self.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Takes entries over into memory, once their transaction is committed.
    pub(in crate::ingest) fn remember(&self, entries: &[Entry]) {
        let mut image = self.image();
        entries.iter().for_each(|entry| image.remember(entry));
    }

    /// Whether the table has so many rows more than are needed that cutting it back pays.
    pub(in crate::ingest) fn has_grown(&self) -> bool {
        match self.cut_from.try_lock() {
            Ok(cut_from) => self.rows.load(Ordering::Relaxed) > self.enough().max(*cut_from),
            // Another thread is cutting it back.
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Poisoned(_)) => true,
        }
    }

    fn enough(&self) -> u64 {
        let needed = self.image().rows_needed();
        needed + SPARE_ROWS.max(needed / 4)
    }

    /// Cuts the table back to what is remembered. Blocks.
    pub(in crate::ingest) fn compact(&self, database: &Arc<Database>) -> Result<()> {
        let mut cut_from = self.cut_from.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.rows.load(Ordering::Relaxed);
        // A cut that fails, or that finds nothing to cut, is not tried again at once.
        *cut_from = before + SPARE_ROWS;
        let (kept, clock) = {
            let image = self.image();
            (image.kept_by_use(), image.clock())
        };
        let kept: Vec<(&str, &str)> = kept.iter().map(|line| (&*line.producer, &*line.table)).collect();
        let bounds =
            LedgerBounds { keys: self.bounds.keys, lines: self.bounds.lines, batches: CHECKSUMS_KEPT };
        let mut connection = database.connection()?;
        connection.begin()?;
        let (left, lines) = {
            let _turn = connection.deletes();
            (engine::cut_ledger(&connection, bounds, &kept)?, engine::ledger_lines(&connection)?)
        };
        connection.commit()?;
        let lines = lines
            .into_iter()
            .map(|(producer, table)| Line { producer: producer.into(), table: table.into() });
        let lines: HashSet<Line> = lines.collect();
        self.image().table_has(&lines, clock);
        // Rows written during the cut stay counted.
        self.rows.fetch_sub(before.saturating_sub(left), Ordering::Relaxed);
        *cut_from = left + SPARE_ROWS;
        Ok(())
    }
}

/// Only the last few batches of a commit need a row of their own.
pub(in crate::ingest) fn tail(entries: &[Entry]) -> &[Entry] {
    &entries[entries.len().saturating_sub(CHECKSUMS_KEPT)..]
}

/// What the database remembers, and the rows of its table, if there is one.
fn read(database: &Arc<Database>, bounds: Bounds) -> Result<(LedgerImage, Option<u64>)> {
    let connection = database.connection()?;
    let mut image = LedgerImage::new(bounds);
    let mut reader = Reader::default();
    let mut rows = 0;
    let has_table = engine::read_ledger(&connection, &mut |row| {
        rows += 1;
        if let Some(entry) = reader.entry(&row) {
            image.remember(&entry);
        }
    })?;
    if reader.unreadable > 0 {
        tracing::warn!(
            rows = reader.unreadable,
            "rows of pintail_internal.ingest_ledger make no sense and are left out; was it changed by hand?"
        );
    }
    Ok((image, has_table.then_some(rows)))
}

fn check_name(header: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::invalid(format!(
            "header {header}: expected 1 to {NAME_BYTES_MAX} bytes, found {}",
            name.len()
        )));
    }
    Ok(())
}
