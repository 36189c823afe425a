//! One promise, and whether what is stored keeps it.
//! Runs on: any thread; pure.
//! Never: asks the server anything; takes an answer that never came for a yes or a no.

use std::collections::{BTreeMap, HashMap};

/// Examples that a difference is shown with.
pub const SHOWN: usize = 4;
/// Rests after which rows that nobody has been told of, and nobody has seen, must not appear any more.
const PATIENCE: u32 = 2;

/// What a client knows about its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not answered yet.
    Open,
    /// Acknowledged.
    Stored,
    /// Refused, rolled back or deleted: none of them may be there.
    Absent,
    /// The answer never came: all or none.
    Unknown,
}

/// Rows of one put in one table; while they are moved between tables, in one of these.
#[derive(Debug, Clone)]
pub struct Part {
    pub places: Vec<String>,
    pub rows: i64,
}

/// One promise: rows of a put, or of a transaction over several tables.
#[derive(Debug, Clone)]
pub struct Entry {
    pub actor: &'static str,
    pub client: i64,
    pub put: i64,
    pub parts: Vec<Part>,
    pub fate: Fate,
    pub began: u64,
    pub ended: Option<u64>,
    /// Rows that are stored together; fewer than the part's where a put commits as rows come.
    pub unit: i64,
    /// Rows known to be durable of such a put.
    pub floor: i64,
    /// The eraser that these rows came with.
    pub own: Option<usize>,
    pub rests: u32,
}

/// Something that takes away what a table held: a DROP, a `replace`, a DELETE of everything.
#[derive(Debug)]
pub struct Eraser {
    pub table: String,
    pub began: u64,
    pub ended: Option<u64>,
    pub fate: Fate,
}

/// Handle of an entry.
pub type Id = u64;

/// The rows of one put as a table holds them.
#[derive(Debug, Default)]
pub struct Seen {
    pub count: i64,
    rows: Vec<u64>,
}

impl Seen {
    /// Notes a row; says whether it was there before.
    pub fn add(&mut self, row: i64) -> bool {
        let (word, bit) = ((row / 64) as usize, 1 << (row % 64));
        if self.rows.len() <= word {
            self.rows.resize(word + 1, 0);
        }
        let doubled = self.rows[word] & bit != 0;
        self.rows[word] |= bit;
        self.count += 1;
        doubled
    }

    fn has(&self, row: i64) -> bool {
        self.rows.get((row / 64) as usize).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    fn missing(&self, rows: i64) -> Vec<i64> {
        (0..rows).filter(|row| !self.has(*row)).take(SHOWN).collect()
    }
}

/// Table -> (client, put) -> rows.
pub type Found = BTreeMap<String, HashMap<(i64, i64), Seen>>;

impl Entry {
    /// Whether the rows are there, when that can be as the client was told.
    pub fn look(&self, found: &Found, erasers: &[Eraser]) -> Result<bool, String> {
        let text = format!("{}: client {}, put {} ", self.actor, self.client, self.put);
        let shares = self.shares(&text, found)?;
        let describe = |text: String, told: &str| {
            let parts: Vec<String> = self
                .parts
                .iter()
                .zip(&shares)
                .map(|(part, (count, rows))| {
                    format!("{count} of {rows} rows in {}", part.places.join(" or "))
                })
                .collect();
            Err(format!("{text}was {told}, and there are {}", parts.join(", ")))
        };
        let whole = shares.iter().all(|(count, rows)| count == rows);
        let none = shares.iter().all(|(count, _)| *count == 0);
        if self.unit == self.parts[0].rows && !whole && !none {
            return describe(text, "one transaction");
        }
        if shares[0].0 < self.floor {
            return describe(text, &format!("acknowledged up to {} rows", self.floor));
        }
        let table = &self.parts[0].places[0];
        let others = || {
            erasers
                .iter()
                .enumerate()
                .filter(|(index, eraser)| {
                    eraser.table == *table && eraser.fate != Fate::Absent && self.own != Some(*index)
                })
                .map(|(_, eraser)| eraser)
        };
        let may_be_gone = others().any(|eraser| eraser.ended.is_none_or(|ended| ended > self.began));
        let must_be_gone = self
            .ended
            .is_some_and(|ended| others().any(|eraser| eraser.fate == Fate::Stored && eraser.began > ended));
        match self.fate {
            Fate::Open => Err(format!("{text}was left open by its actor")),
            Fate::Stored if must_be_gone && !none => describe(text, "stored, and taken away afterwards"),
            Fate::Stored if !whole && !may_be_gone => describe(text, "acknowledged"),
            Fate::Absent if shares[0].0 > self.floor => describe(text, "refused, rolled back or deleted"),
            Fate::Unknown if self.rests >= PATIENCE && !none && self.unit == self.parts[0].rows => {
                describe(text, "never answered, and not there for a long time")
            }
            _ => Ok(whole),
        }
    }

    /// Rows stored and rows told of each part, where they are in one place and not in part.
    fn shares(&self, text: &str, found: &Found) -> Result<Vec<(i64, i64)>, String> {
        let mut shares = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let holding: Vec<(&String, &Seen)> = part
                .places
                .iter()
                .filter_map(|place| Some((place, found.get(place)?.get(&(self.client, self.put))?)))
                .collect();
            let places = part.places.join(" or ");
            match holding.as_slice() {
                [] => shares.push((0, part.rows)),
                [(_, seen)] => {
                    shares.push((seen.count, part.rows));
                    let stored = seen.count.min(part.rows);
                    if seen.count > part.rows || !seen.missing(stored).is_empty() {
                        let missing = seen.missing(part.rows);
                        return Err(format!(
                            "{text}has {} rows in {places} of {}; missing are {missing:?}",
                            seen.count, part.rows
                        ));
                    }
                }
                several => {
                    return Err(format!("{text}is in {} tables at once: {:?}", several.len(), part.places));
                }
            }
            if let Some((place, seen)) = holding.first()
                && seen.count < part.rows
                && seen.count % self.unit != 0
            {
                return Err(format!(
                    "{text}is stored in part: {} of {} rows in {place}, missing are {:?}",
                    seen.count,
                    part.rows,
                    seen.missing(part.rows)
                ));
            }
        }
        Ok(shares)
    }

    /// What has been seen of an unanswered put is the truth from here on.
    pub fn rest(&mut self, is_there: bool) {
        if self.fate != Fate::Unknown {
            return;
        }
        if is_there && self.own.is_none() {
            self.fate = Fate::Stored;
        } else {
            self.rests += 1;
        }
    }
}
