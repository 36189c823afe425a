//! What has been applied before: idempotency keys, and producers with their epoch and sequence.
//! Runs on: async tasks claim; the thread that commits records, in the transaction of the rows themselves.
//! Never: forgets a commit it has recorded before its bound says so; goes by the clock; lets two streams with one
//! key, or two of one producer, be applied at the same time.
//!
//! The table `pintail_internal.ingest_ledger` is appended to and read once, at start; while the server runs, what
//! is in memory counts. A key keeps its first answer. A producer keeps its highest sequence number per table, and
//! the checksums of the last few batches, to tell a retry from a mistake.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, watch};

use super::checksum::Checksum;
use super::{Counts, OnConflict};
use crate::catalog::{TableName, quote_text};
use crate::engine::{self, Database, LedgerRow, Session};
use crate::error::{Error, Kind, Result, shorten};

/// Batches of a producer whose checksums are kept: how far back a changed retry is noticed.
const CHECKSUMS_KEPT: usize = 64;
/// Longest idempotency key or producer id, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// How long a stream waits for another one with its key, or of its producer, to end.
const WAIT_FOR_TURN: Duration = Duration::from_secs(20);
/// Rows appended to the ledger's table after which it is cut back.
const COMPACT_AFTER: u64 = 20_000;

/// The ledger of one database.
pub(super) struct Ledger {
    state: Mutex<State>,
    has_table: AtomicBool,
    making: Mutex<()>,
    keys_max: usize,
    producers_max: usize,
    appended: AtomicU64,
}

#[derive(Default)]
struct State {
    keys: HashMap<String, KeyEntry>,
    key_order: VecDeque<String>,
    lines: HashMap<Line, LineEntry>,
    epochs: HashMap<String, Arc<Newest>>,
    turns: HashMap<TurnOf, Weak<Turn<()>>>,
    clock: u64,
}

/// Newest epoch of a producer: seen, and written down.
#[derive(Debug, Default)]
struct Newest {
    seen: watch::Sender<u64>,
    durable: AtomicU64,
}

/// One producer's batches for one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Line {
    producer: String,
    table: String,
}

#[derive(Debug, Clone, Default)]
struct LineEntry {
    last: Option<u64>,
    rows: u64,
    recent: VecDeque<(u64, u64)>,
    // Counts up with every use, so that the producers unused for longest go first.
    used: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum TurnOf {
    Key(String),
    Line(Line),
}

/// What was stored under a key.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// The table, as the ledger spells it.
    pub(super) table: String,
    pub(super) checksum: u64,
    /// The first answer.
    pub(super) counts: Counts,
    pub(super) on_conflict: OnConflict,
}

/// The right to apply a stream: nobody else has it at the same time.
pub struct Claim(pub(super) ClaimKind);

pub(super) enum ClaimKind {
    Key(KeyClaim),
    Producer(ProducerClaim),
}

pub(super) struct KeyClaim {
    key: String,
    table: String,
    _turn: OwnedMutexGuard<()>,
}

pub(super) struct ProducerClaim {
    line: Line,
    epoch: u64,
    newest_epoch: Arc<Newest>,
    last: Option<u64>,
    rows: u64,
    recent: VecDeque<(u64, u64)>,
    _turn: OwnedMutexGuard<()>,
}

/// What to do about a stream with a key.
pub enum Keyed {
    /// Apply it.
    New(Claim),
    /// It has been applied before.
    Known(KeyEntry),
}

/// Something to be written down with the rows it belongs to.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Key { key: String, entry: KeyEntry },
    Batch { producer: String, table: String, epoch: u64, seq: u64, rows: u64, checksum: u64 },
    Epoch { producer: String, table: String, epoch: u64 },
}

/// Where a producer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerStatus {
    /// Newest epoch seen.
    pub epoch: u64,
    /// Per table, by name.
    pub tables: Vec<LineStatus>,
}

/// Where a producer stands with one table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineStatus {
    /// `schema.table`, in lower case.
    pub table: String,
    /// Highest durable sequence number.
    pub seq: u64,
    /// Durable rows.
    pub rows: u64,
    /// The higher, the later it was written to.
    pub used: u64,
}

impl Ledger {
    /// Reads what the database remembers.
    ///
    /// Errors: `Invalid` when the ledger's table is not as the server made it.
    pub(super) fn open(database: &Arc<Database>, keys_max: usize, producers_max: usize) -> Result<Self> {
        let session = database.session()?;
        let rows = engine::read_ledger(&session)?;
        let ledger = Self {
            state: Mutex::new(State::default()),
            has_table: AtomicBool::new(rows.is_some()),
            making: Mutex::new(()),
            keys_max,
            producers_max,
            appended: AtomicU64::new(0),
        };
        let mut unreadable = 0_u64;
        for row in rows.unwrap_or_default() {
            match entry(row) {
                Some(entry) => ledger.remember(&[entry]),
                None => unreadable += 1,
            }
        }
        if unreadable > 0 {
            tracing::warn!(
                rows = unreadable,
                "rows of pintail_internal.ingest_ledger make no sense and are left out; was it changed by hand?"
            );
        }
        Ok(ledger)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to apply a stream under `key`, or what it did the first time. Waits for a stream with the same key.
    ///
    /// Errors: `Invalid` for a key that is empty or too long, `Aborted` when the other stream does not end.
    pub(super) async fn claim_key(&self, key: &str, table: &TableName) -> Result<Keyed> {
        check_name("pintail-idempotency-key", key)?;
        let turn = self.turn(TurnOf::Key(key.to_owned())).await.ok_or_else(|| {
            Error::new(
                Kind::Aborted,
                "another stream with this pintail-idempotency-key is still open; send it again later, it will \
                 be applied once",
            )
        })?;
        if let Some(entry) = self.state().keys.get(key) {
            return Ok(Keyed::Known(entry.clone()));
        }
        let claim = KeyClaim { key: key.to_owned(), table: ledger_name(table), _turn: turn };
        Ok(Keyed::New(Claim(ClaimKind::Key(claim))))
    }

    /// The right to send batches for a producer. A newer epoch shuts out the older ones at once.
    ///
    /// Errors: `Aborted` when a newer epoch has been seen, or a stream of the same epoch does not end.
    pub(super) async fn claim_producer(
        &self,
        producer: &str,
        epoch: u64,
        table: &TableName,
    ) -> Result<Claim> {
        check_name("pintail-producer", producer)?;
        let line = Line { producer: producer.to_owned(), table: ledger_name(table) };
        let newest_epoch = {
            let mut state = self.state();
            if state.epochs.len() > self.producers_max.saturating_mul(2) {
                forget_unused_epochs(&mut state);
            }
            Arc::clone(state.epochs.entry(producer.to_owned()).or_default())
        };
        let newest = newest_epoch.raise(epoch);
        if newest > epoch {
            return Err(fenced(producer, epoch, newest));
        }
        let turn = self.turn(TurnOf::Line(line.clone())).await.ok_or_else(|| {
            Error::new(
                Kind::Aborted,
                format!(
                    "another stream of producer \"{producer}\" into this table is still open; end it first, or \
                     come back with a higher pintail-epoch to shut it out"
                ),
            )
        })?;
        let LineEntry { last, rows, recent, .. } = self.state().lines.get(&line).cloned().unwrap_or_default();
        let claim = ProducerClaim { line, epoch, newest_epoch, last, rows, recent, _turn: turn };
        claim.check_fence()?;
        Ok(Claim(ClaimKind::Producer(claim)))
    }

    /// Writes a claim's epoch down, unless it is: after a crash it still shuts out the older ones. Blocks.
    pub(super) fn record_epoch(&self, database: &Arc<Database>, claim: &Claim) -> Result<()> {
        let ClaimKind::Producer(claim) = &claim.0 else { return Ok(()) };
        let mut session = database.session()?;
        self.prepare(&session)?;
        let Line { producer, table } = claim.line.clone();
        let entries = [Entry::Epoch { producer, table, epoch: claim.epoch }];
        session.begin()?;
        self.record(&session, &entries)?;
        session.commit()?;
        self.remember(&entries);
        Ok(())
    }

    async fn turn(&self, of: TurnOf) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut state = self.state();
            state.turns.retain(|_, turn| turn.strong_count() > 0);
            match state.turns.get(&of).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(Turn::new(()));
                    state.turns.insert(of, Arc::downgrade(&turn));
                    turn
                }
            }
        };
        tokio::time::timeout(WAIT_FOR_TURN, turn.lock_owned()).await.ok()
    }

    /// Where a producer stands; `None` when it has never sent anything durable.
    pub(super) fn status(&self, producer: &str) -> Option<ProducerStatus> {
        let state = self.state();
        let mut tables: Vec<LineStatus> = state
            .lines
            .iter()
            .filter(|(line, _)| line.producer == producer)
            .filter_map(|(line, entry)| {
                let (last, rows, used) = (entry.last, entry.rows, entry.used);
                Some(LineStatus { table: line.table.clone(), seq: last?, rows, used })
            })
            .collect();
        tables.sort();
        let epoch = state.epochs.get(producer).map_or(0, |newest| *newest.seen.borrow());
        (!tables.is_empty()).then_some(ProducerStatus { epoch, tables })
    }

    /// Makes the ledger's table, before the transaction that will write into it.
    pub(super) fn prepare(&self, session: &Session) -> Result<()> {
        if self.has_table.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.has_table.load(Ordering::Acquire) {
            engine::create_ledger(session)?;
            self.has_table.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Writes entries down in the open transaction.
    pub(super) fn record(&self, session: &Session, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let rows: Vec<String> = entries.iter().map(values).collect();
        engine::append_ledger(session, &rows)?;
        self.appended.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Takes entries over into memory, once their transaction is committed.
    pub(super) fn remember(&self, entries: &[Entry]) {
        let mut state = self.state();
        for entry in entries {
            match entry {
                Entry::Key { key, entry } => {
                    if state.keys.insert(key.clone(), entry.clone()).is_none() {
                        state.key_order.push_back(key.clone());
                    }
                    while state.key_order.len() > self.keys_max {
                        let oldest = state.key_order.pop_front();
                        oldest.and_then(|oldest| state.keys.remove(&oldest));
                    }
                }
                Entry::Batch { producer, table, epoch, seq, rows, checksum } => {
                    let entry = state.line(producer, table, *epoch);
                    entry.last = Some(entry.last.map_or(*seq, |last| last.max(*seq)));
                    entry.rows = entry.rows.max(*rows);
                    push_recent(&mut entry.recent, *seq, *checksum);
                }
                Entry::Epoch { producer, table, epoch } => {
                    state.line(producer, table, *epoch);
                }
            }
            if state.lines.len() > self.producers_max {
                forget_oldest(&mut state);
            }
        }
    }

    /// Whether so much has been appended since the last cut that another one pays.
    pub(super) fn has_grown(&self) -> bool {
        self.appended.load(Ordering::Relaxed) >= COMPACT_AFTER
    }

    /// Cuts the table back to what is remembered. Blocks.
    pub(super) fn compact(&self, database: &Arc<Database>) -> Result<()> {
        self.appended.store(0, Ordering::Relaxed);
        let mut session = database.session()?;
        session.begin()?;
        {
            let _turn = session.deletes();
            engine::cut_ledger(&session, self.keys_max, CHECKSUMS_KEPT, self.producers_max)?;
        }
        session.commit()
    }
}

impl State {
    /// What is known of a producer's batches for a table, of which something has just been written down.
    fn line(&mut self, producer: &str, table: &str, epoch: u64) -> &mut LineEntry {
        let newest = self.epochs.entry(producer.to_owned()).or_default();
        newest.raise(epoch);
        newest.durable.fetch_max(epoch, Ordering::AcqRel);
        self.clock += 1;
        let line = Line { producer: producer.to_owned(), table: table.to_owned() };
        let entry = self.lines.entry(line).or_default();
        entry.used = self.clock;
        entry
    }
}

impl Newest {
    /// Takes note of an epoch, tells those that wait, and gives the newest one before it.
    fn raise(&self, epoch: u64) -> u64 {
        let mut before = 0;
        self.seen.send_if_modified(|newest| {
            before = *newest;
            *newest = epoch.max(before);
            epoch > before
        });
        before
    }
}

/// Producers that came and never had anything written down; those at work keep their epoch.
fn forget_unused_epochs(state: &mut State) {
    let State { lines, epochs, .. } = state;
    let known: HashSet<&str> = lines.keys().map(|line| line.producer.as_str()).collect();
    epochs.retain(|producer, newest| Arc::strong_count(newest) > 1 || known.contains(producer.as_str()));
}

fn forget_oldest(state: &mut State) {
    let oldest = state.lines.iter().min_by_key(|(_, entry)| entry.used).map(|(line, _)| line.clone());
    if let Some(oldest) = oldest {
        state.lines.remove(&oldest);
        if !state.lines.keys().any(|line| line.producer == oldest.producer) {
            state.epochs.remove(&oldest.producer);
        }
    }
}

impl KeyClaim {
    pub(super) fn entry(&self, checksum: u64, counts: Counts, on_conflict: OnConflict) -> Entry {
        let entry = KeyEntry { table: self.table.clone(), checksum, counts, on_conflict };
        Entry::Key { key: self.key.clone(), entry }
    }
}

impl KeyEntry {
    /// Refuses a stream that comes under a known key and is another one.
    pub(super) fn check(&self, table: &TableName, checksum: u64) -> Result<()> {
        let table = ledger_name(table);
        if self.table != table {
            return Err(Error::new(
                Kind::Exists,
                format!("this pintail-idempotency-key was used for table {}, not {table}", self.table),
            ));
        }
        if self.checksum != checksum {
            return Err(Error::new(
                Kind::Exists,
                "this pintail-idempotency-key was used for a stream with other content; a retry must send the \
                 same rows, and new rows need a new key",
            ));
        }
        Ok(())
    }
}

impl Claim {
    /// Whether its epoch is yet to be written down.
    pub(super) fn has_new_epoch(&self) -> bool {
        match &self.0 {
            ClaimKind::Key(_) => false,
            ClaimKind::Producer(claim) => claim.newest_epoch.durable.load(Ordering::Acquire) < claim.epoch,
        }
    }
}

impl ProducerClaim {
    /// Highest sequence number taken so far, those of this stream included.
    pub(super) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Errors: `Aborted` once a newer epoch has been seen.
    pub(super) fn check_fence(&self) -> Result<()> {
        let newest = *self.newest_epoch.seen.borrow();
        if newest > self.epoch { Err(fenced(&self.line.producer, self.epoch, newest)) } else { Ok(()) }
    }

    /// Completes once a newer epoch has been seen, so that a quiet stream does not keep its successor waiting.
    pub(super) async fn shut_out(&self) -> Error {
        let mut changes = self.newest_epoch.seen.subscribe();
        match changes.wait_for(|newest| *newest > self.epoch).await {
            Ok(newest) => fenced(&self.line.producer, self.epoch, *newest),
            // The claim itself holds the sender.
            Err(_) => Error::internal("a producer's epoch is gone"),
        }
    }

    /// As `judge`, for a batch as it came.
    pub(super) fn judge_batch(&mut self, seq: Option<u64>, batch: &RecordBatch) -> Result<Option<Entry>> {
        let seq = seq.ok_or_else(|| Error::internal("a producer's batch has no number"))?;
        self.judge(seq, Checksum::of(batch)?, batch.num_rows() as u64)
    }

    /// What to write down for a new batch; `None` for one that has been taken before.
    ///
    /// Errors: `Exists` for a known number with other content, `Conflict` for a gap.
    fn judge(&mut self, seq: u64, checksum: u64, rows: u64) -> Result<Option<Entry>> {
        self.check_fence()?;
        let producer = &self.line.producer;
        match self.last {
            Some(last) if seq <= last => {
                let known = self.recent.iter().find(|(known, _)| *known == seq);
                if known.is_some_and(|(_, known)| *known != checksum) {
                    return Err(Error::new(
                        Kind::Exists,
                        format!(
                            "producer \"{producer}\": batch {seq} was stored before with other content; a retry \
                             must send the same rows under the same seq"
                        ),
                    ));
                }
                return Ok(None);
            }
            Some(last) if seq == last + 1 => {}
            None if seq <= 1 => {}
            last => {
                let expected = last.map_or_else(|| "0 or 1".to_owned(), |last| (last + 1).to_string());
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "producer \"{producer}\": batch {seq} leaves a gap, expected seq {expected}; \
                         pintail.ingest_status tells where to resume"
                    ),
                ));
            }
        }
        self.last = Some(seq);
        self.rows += rows;
        push_recent(&mut self.recent, seq, checksum);
        Ok(Some(Entry::Batch {
            producer: producer.clone(),
            table: self.line.table.clone(),
            epoch: self.epoch,
            seq,
            rows: self.rows,
            checksum,
        }))
    }
}

/// Only the last few batches of a commit need a row of their own.
pub(super) fn tail(entries: &[Entry]) -> &[Entry] {
    &entries[entries.len().saturating_sub(CHECKSUMS_KEPT)..]
}

fn push_recent(recent: &mut VecDeque<(u64, u64)>, seq: u64, checksum: u64) {
    recent.push_back((seq, checksum));
    if recent.len() > CHECKSUMS_KEPT {
        recent.pop_front();
    }
}

fn fenced(producer: &str, epoch: u64, newest: u64) -> Error {
    Error::new(
        Kind::Aborted,
        format!(
            "producer \"{producer}\" is fenced: epoch {epoch} is older than {newest}, which has been seen; another \
             instance has taken over"
        ),
    )
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

/// A table as the ledger spells it: names are compared without case, and the database is always the server's.
fn ledger_name(table: &TableName) -> String {
    format!("{}.{}", table.schema.as_deref().unwrap_or("main"), table.table).to_lowercase()
}

/// An entry as a row of the table.
fn values(entry: &Entry) -> String {
    match entry {
        Entry::Key { key, entry } => format!(
            "({}, {}, NULL, NULL, NULL, {}, {}, {})",
            quote_text(&entry.table),
            quote_text(key),
            entry.counts.rows,
            entry.checksum,
            quote_text(&answer_text(entry))
        ),
        Entry::Batch { producer, table, epoch, seq, rows, checksum } => format!(
            "({}, NULL, {}, {epoch}, {seq}, {rows}, {checksum}, NULL)",
            quote_text(table),
            quote_text(producer)
        ),
        Entry::Epoch { producer, table, epoch } => {
            format!("({}, NULL, {}, {epoch}, NULL, 0, 0, NULL)", quote_text(table), quote_text(producer))
        }
    }
}

fn answer_text(entry: &KeyEntry) -> String {
    let counts = &entry.counts;
    serde_json::json!({
        "inserted": counts.inserted,
        "ignored": counts.ignored,
        "replaced": counts.replaced,
        "rejected": counts.rejected,
        "on_conflict": entry.on_conflict.name(),
    })
    .to_string()
}

/// A row of the table as an entry; `None` when it is not one that the server wrote.
fn entry(row: LedgerRow) -> Option<Entry> {
    let table = row.table?;
    let (rows, checksum) = (row.rows?, row.checksum?);
    if let Some(key) = row.key {
        let answer: serde_json::Value = serde_json::from_str(&row.answer?).ok()?;
        let number = |name: &str| answer.get(name).and_then(serde_json::Value::as_u64);
        let counts = Counts {
            rows,
            inserted: number("inserted")?,
            ignored: number("ignored")?,
            replaced: number("replaced")?,
            rejected: number("rejected")?,
        };
        let on_conflict = OnConflict::from_name(answer.get("on_conflict")?.as_str()?)?;
        return Some(Entry::Key { key, entry: KeyEntry { table, checksum, counts, on_conflict } });
    }
    let producer = row.producer.filter(|producer| !producer.is_empty())?;
    let epoch = row.epoch?;
    Some(match row.seq {
        Some(seq) => Entry::Batch { producer, table, epoch, seq, rows, checksum },
        None => Entry::Epoch { producer, table, epoch },
    })
}

/// Reads `{"seq": n}` of a batch's `app_metadata`.
///
/// Errors: `Invalid` saying what was found.
pub fn sequence(app_metadata: &[u8]) -> Result<u64> {
    let wrong = |found: &str| {
        Error::invalid(format!(
            "with header pintail-producer every batch carries app_metadata {{\"seq\": n}}, n a whole number from 0; \
             found {found}"
        ))
    };
    if app_metadata.is_empty() {
        return Err(wrong("none"));
    }
    let text = || shorten(&String::from_utf8_lossy(app_metadata), 100);
    let value: serde_json::Value = serde_json::from_slice(app_metadata).map_err(|_| wrong(&text()))?;
    let seq = value.get("seq").and_then(serde_json::Value::as_u64).ok_or_else(|| wrong(&text()))?;
    // The table holds it as BIGINT.
    if i64::try_from(seq).is_err() { Err(wrong(&text())) } else { Ok(seq) }
}
