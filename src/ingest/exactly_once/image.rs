//! The ledger's image in memory: what is remembered of keys and producers, within its bounds.
//! Runs on: whoever holds the ledger's lock; pure values.
//! Never: forgets a producer that is at work; takes longer to forget because much is remembered.
//!
//! Keys go in the order they were written down. A *line* is one producer's batches for one table; lines go in the
//! order of their use, which is a commit, or a stream that is open when the line's turn to go comes. The table may still
//! have rows of a line that is forgotten here. Its producer is told that nothing is known, and numbers anew; so the
//! first thing written down then says that the line begins anew, and no start takes the older rows for its own.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex as Turn, watch};

use super::entry::{Entry, KeyEntry, Line};

/// Batches of a producer whose checksums are kept: how far back a changed retry is noticed.
pub(super) const CHECKSUMS_KEPT: usize = 64;

/// How much is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) keys: usize,
    pub(super) lines: usize,
}

/// What is remembered.
pub(super) struct LedgerImage {
    bounds: Bounds,
    keys: HashMap<Arc<str>, (KeyEntry, u64)>,
    // A key that was written down twice stands here twice; the number says which place is its own.
    key_order: VecDeque<(Arc<str>, u64)>,
    producers: HashMap<Arc<str>, Producer>,
    // By use, the oldest first.
    lines: BTreeMap<u64, Line>,
    // Lines forgotten while the table may have rows of them, and when.
    forgotten: HashMap<Line, u64>,
    turns: HashMap<TurnOf, Weak<Turn<()>>>,
    clock: u64,
    // Checksums of all lines, to know how many rows of the table are needed.
    checksums: usize,
}

#[derive(Default)]
struct Producer {
    newest: Arc<Newest>,
    tables: HashMap<Arc<str>, LineEntry>,
}

/// Newest epoch of a producer: seen, and written down. Whoever is at work for the producer holds it.
#[derive(Debug, Default)]
pub(super) struct Newest {
    pub(super) seen: watch::Sender<u64>,
    durable: AtomicU64,
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

/// Where a line stands.
#[derive(Debug, Clone, Default)]
pub(super) struct LineEntry {
    pub(super) last: Option<u64>,
    pub(super) rows: u64,
    pub(super) recent: Recent,
    // Its place in the order of use, and when it was last written to.
    used: u64,
    written: u64,
}

/// Checksums of the last batches, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent(VecDeque<(u64, u64)>);

/// What only one stream may have at a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum TurnOf {
    Key(String),
    Line(Line),
}

impl LedgerImage {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            keys: HashMap::new(),
            key_order: VecDeque::new(),
            producers: HashMap::new(),
            lines: BTreeMap::new(),
            forgotten: HashMap::new(),
            turns: HashMap::new(),
            clock: 0,
            checksums: 0,
        }
    }

    /// Takes over what was read again. Streams that are open go on holding their turn and their producer's epochs.
    pub(super) fn replace_with(&mut self, mut read: LedgerImage) {
        read.turns = std::mem::take(&mut self.turns);
        for (name, known) in self.producers.drain() {
            let producer = read.producers.entry(name).or_default();
            let (read, durable) =
                (*producer.newest.seen.borrow(), producer.newest.durable.load(Ordering::Acquire));
            known.newest.raise(read);
            known.newest.durable.fetch_max(durable, Ordering::AcqRel);
            producer.newest = known.newest;
        }
        *self = read;
    }

    /// What was stored under a key.
    pub(super) fn key(&self, key: &str) -> Option<&KeyEntry> {
        self.keys.get(key).map(|(entry, _)| entry)
    }

    /// Where a line stands, from which a stream goes on.
    pub(super) fn line(&self, line: &Line) -> LineEntry {
        let producer = self.producers.get(&line.producer);
        producer.and_then(|producer| producer.tables.get(&line.table)).cloned().unwrap_or_default()
    }

    /// A producer's epochs. As long as the caller keeps them, they are not forgotten.
    pub(super) fn epochs(&mut self, producer: &str) -> Arc<Newest> {
        if self.producers.len() > self.bounds.lines.saturating_mul(2) {
            // Those that came and never had anything written down.
            self.producers.retain(|_, producer| !producer.tables.is_empty() || producer.is_at_work());
        }
        let epochs = &self.producers.entry(producer.into()).or_default().newest;
        Arc::clone(epochs)
    }

    pub(super) fn turn(&mut self, of: TurnOf) -> Arc<Turn<()>> {
        self.turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = self.turns.get(&of).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        self.turns.insert(of, Arc::downgrade(&turn));
        turn
    }

    /// Where a producer stands; `None` when it has never sent anything durable.
    pub(super) fn status(&self, producer: &str) -> Option<ProducerStatus> {
        let producer = self.producers.get(producer)?;
        let status = |(table, entry): (&Arc<str>, &LineEntry)| {
            let LineEntry { last, rows, written, .. } = entry;
            Some(LineStatus { table: table.to_string(), seq: (*last)?, rows: *rows, used: *written })
        };
        let mut tables: Vec<LineStatus> = producer.tables.iter().filter_map(status).collect();
        tables.sort();
        let epoch = *producer.newest.seen.borrow();
        (!tables.is_empty()).then_some(ProducerStatus { epoch, tables })
    }

    /// Every producer with its newest epoch, and where it stands with each table.
    pub(super) fn all(&self) -> Vec<(String, u64, LineStatus)> {
        let mut all: Vec<(String, u64, LineStatus)> = self
            .producers
            .keys()
            .filter_map(|name| Some((name, self.status(name)?)))
            .flat_map(|(name, ProducerStatus { epoch, tables })| {
                tables.into_iter().map(move |line| (name.to_string(), epoch, line))
            })
            .collect();
        all.sort();
        all
    }

    /// Takes over what has been written down.
    pub(super) fn remember(&mut self, entry: &Entry) {
        self.clock += 1;
        match entry {
            Entry::Key { key, entry } => {
                self.keys.insert(Arc::clone(key), (entry.clone(), self.clock));
                self.key_order.push_back((Arc::clone(key), self.clock));
                while self.keys.len() > self.bounds.keys {
                    let Some((oldest, place)) = self.key_order.pop_front() else { break };
                    if self.keys.get(&oldest).is_some_and(|(_, own)| *own == place) {
                        self.keys.remove(&oldest);
                    }
                }
            }
            Entry::Batch { line, epoch, seq, rows, checksum } => {
                let entry = self.write(line, *epoch);
                let before = entry.recent.0.len();
                if entry.last.is_some_and(|last| *seq <= last) {
                    // Numbers go up as long as a line is known: it was not when this was written.
                    entry.begin_anew();
                }
                entry.last = Some(*seq);
                entry.rows = *rows;
                entry.recent.push(*seq, *checksum);
                let after = entry.recent.0.len();
                self.checksums = self.checksums + after - before;
                self.forget();
            }
            Entry::Epoch { line, epoch, anew } => {
                let entry = self.write(line, *epoch);
                if *anew {
                    let before = entry.recent.0.len();
                    entry.begin_anew();
                    self.checksums -= before;
                }
                self.forget();
            }
        }
    }

    /// A line of which something has just been written down.
    fn write(&mut self, line: &Line, epoch: u64) -> &mut LineEntry {
        let producer = self.producers.entry(Arc::clone(&line.producer)).or_default();
        producer.newest.raise(epoch);
        producer.newest.durable.fetch_max(epoch, Ordering::AcqRel);
        let entry = producer.tables.entry(Arc::clone(&line.table)).or_default();
        self.forgotten.remove(line);
        self.lines.remove(&entry.used);
        entry.used = self.clock;
        entry.written = self.clock;
        self.lines.insert(entry.used, line.clone());
        entry
    }

    /// Forgets the lines beyond the bound, those used longest ago first. Those at work are being used.
    fn forget(&mut self) {
        for _ in 0..self.lines.len() {
            if self.lines.len() <= self.bounds.lines {
                return;
            }
            let Some((_, line)) = self.lines.pop_first() else { return };
            let is_at_work = self.is_at_work(&line);
            let Some(producer) = self.producers.get_mut(&line.producer) else { continue };
            if is_at_work {
                self.clock += 1;
                if let Some(entry) = producer.tables.get_mut(&line.table) {
                    entry.used = self.clock;
                    self.lines.insert(entry.used, line);
                }
                continue;
            }
            if let Some(entry) = producer.tables.remove(&line.table) {
                self.checksums -= entry.recent.0.len();
            }
            // A producer with an open stream keeps its last line, so this one has no open stream.
            if producer.tables.is_empty() {
                self.producers.remove(&line.producer);
            }
            self.forgotten.insert(line, self.clock);
        }
    }

    /// Whether a stream of this line is open, or one of its producer and there is no other line to tell its epoch.
    fn is_at_work(&self, line: &Line) -> bool {
        let Some(producer) = self.producers.get(&line.producer) else { return false };
        producer.is_at_work()
            && (producer.tables.len() == 1
                || self.turns.get(&TurnOf::Line(line.clone())).is_some_and(|turn| turn.strong_count() > 0))
    }

    /// The lines that the order of writing alone would not keep.
    pub(super) fn kept_by_use(&self) -> Vec<Line> {
        let entry = |line: &Line| self.producers.get(&line.producer)?.tables.get(&line.table);
        let by_use = |line: &&Line| entry(line).is_some_and(|entry| entry.used != entry.written);
        self.lines.values().filter(|line| by_use(line) || self.is_at_work(line)).cloned().collect()
    }

    /// Whether the table may have rows of a line of which nothing is known.
    pub(super) fn was_forgotten(&self, line: &Line) -> bool {
        self.forgotten.contains_key(line)
    }

    /// Counts what was written down: a later event has a higher number.
    pub(super) fn clock(&self) -> u64 {
        self.clock
    }

    /// Takes note of the lines that the table still had rows of, at a moment after `clock`.
    pub(super) fn table_has(&mut self, lines: &HashSet<Line>, clock: u64) {
        self.forgotten.retain(|line, since| *since > clock || lines.contains(line));
    }

    /// Rows of the table that what is remembered needs, or a few less.
    pub(super) fn rows_needed(&self) -> u64 {
        (self.keys.len() + self.checksums) as u64
    }
}

impl LineEntry {
    fn begin_anew(&mut self) {
        self.last = None;
        self.rows = 0;
        self.recent.0.clear();
    }
}

impl Producer {
    fn is_at_work(&self) -> bool {
        Arc::strong_count(&self.newest) > 1
    }
}

impl Newest {
    /// Takes note of an epoch, tells those that wait, and gives the newest one before it.
    pub(super) fn raise(&self, epoch: u64) -> u64 {
        let mut before = 0;
        self.seen.send_if_modified(|newest| {
            before = *newest;
            *newest = epoch.max(before);
            epoch > before
        });
        before
    }

    /// Whether an epoch as new as this one is written down.
    pub(super) fn is_durable(&self, epoch: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= epoch
    }
}

impl Recent {
    /// Adds a batch; the lowest number goes when there are too many.
    pub(super) fn push(&mut self, seq: u64, checksum: u64) {
        let at = self.0.partition_point(|(known, _)| *known < seq);
        match self.0.get_mut(at) {
            Some(known) if known.0 == seq => known.1 = checksum,
            _ => self.0.insert(at, (seq, checksum)),
        }
        if self.0.len() > CHECKSUMS_KEPT {
            self.0.pop_front();
        }
    }

    pub(super) fn checksum(&self, seq: u64) -> Option<u64> {
        self.0.iter().find(|(known, _)| *known == seq).map(|(_, checksum)| *checksum)
    }
}

#[cfg(test)]
mod tests;
