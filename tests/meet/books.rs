//! What every client was told, against what is stored.
//! Runs on: actors write while they work; the driver compares while everybody rests.
//! Never: asks the server anything; takes an answer that never came for a yes or a no.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::{Entry, Eraser, Found, Part, SHOWN};
pub use super::entry::{Fate, Id};

/// A key of an upserted table.
type Key = (String, i64);
/// Whose row it may be: client and put; `None` stands for no row.
type Writers = BTreeSet<Option<(i64, i64)>>;

#[derive(Debug, Default)]
struct Pages {
    clock: u64,
    next: Id,
    entries: BTreeMap<Id, Entry>,
    erasers: Vec<Eraser>,
    /// Key of an upserted table -> who may have written its row last; `None` is nobody.
    keys: BTreeMap<Key, Writers>,
}

/// The accountant.
#[derive(Debug, Default)]
pub struct Books {
    pages: Mutex<Pages>,
}

impl Pages {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before rows are sent: what is about to be stored, whole or not at all.
    pub fn open(&self, actor: &'static str, client: i64, put: i64, parts: &[(&str, i64)]) -> Id {
        let mut pages = self.pages();
        let began = pages.tick();
        let parts: Vec<Part> = parts
            .iter()
            .map(|(table, rows)| Part { places: vec![(*table).to_owned()], rows: *rows })
            .collect();
        let unit = parts[0].rows;
        let (fate, ended, own) = (Fate::Open, None, None);
        let entry = Entry { actor, client, put, parts, fate, began, ended, unit, floor: 0, own, rests: 0 };
        let id = pages.next;
        pages.next += 1;
        pages.entries.insert(id, entry);
        id
    }

    /// The put commits as rows come, at multiples of `unit`.
    pub fn in_units(&self, id: Id, unit: i64) {
        self.pages().entries.get_mut(&id).unwrap().unit = unit;
    }

    /// These many rows of it have been acknowledged.
    pub fn at_least(&self, id: Id, rows: i64) {
        let mut pages = self.pages();
        let entry = pages.entries.get_mut(&id).unwrap();
        entry.floor = entry.floor.max(rows);
    }

    /// What the client was told in the end.
    pub fn close(&self, id: Id, fate: Fate) {
        let mut pages = self.pages();
        let now = pages.tick();
        let entry = pages.entries.get_mut(&id).unwrap();
        entry.fate = fate;
        entry.ended = Some(now).filter(|_| fate != Fate::Unknown);
    }

    /// Before something takes away what the table holds.
    pub fn erase(&self, table: &str) -> usize {
        let mut pages = self.pages();
        let began = pages.tick();
        pages.erasers.push(Eraser { table: table.to_owned(), began, ended: None, fate: Fate::Open });
        pages.erasers.len() - 1
    }

    /// What became of it.
    pub fn erased(&self, eraser: usize, fate: Fate) {
        let mut pages = self.pages();
        let now = pages.tick();
        if let Some(eraser) = pages.erasers.get_mut(eraser) {
            eraser.fate = fate;
            eraser.ended = Some(now).filter(|_| fate != Fate::Unknown);
        }
    }

    /// Rows that come with an eraser: a put that replaces what was there.
    pub fn open_in_place(
        &self,
        actor: &'static str,
        client: i64,
        put: i64,
        table: &str,
        rows: i64,
    ) -> (Id, usize) {
        let eraser = self.erase(table);
        let id = self.open(actor, client, put, &[(table, rows)]);
        self.pages().entries.get_mut(&id).unwrap().own = Some(eraser);
        (id, eraser)
    }

    /// Both ends of such a put.
    pub fn close_in_place(&self, (id, eraser): (Id, usize), fate: Fate) {
        self.close(id, fate);
        self.erased(eraser, fate);
    }

    /// Before stored rows are moved to another table.
    pub fn moving(&self, id: Id, to: &str) {
        let mut pages = self.pages();
        pages.entries.get_mut(&id).unwrap().parts[0].places.push(to.to_owned());
    }

    /// What became of the move; with `Unknown` they are in one of both.
    pub fn moved(&self, id: Id, fate: Fate) {
        let mut pages = self.pages();
        let places = &mut pages.entries.get_mut(&id).unwrap().parts[0].places;
        match fate {
            Fate::Stored => drop(places.remove(0)),
            Fate::Absent => drop(places.pop()),
            Fate::Open | Fate::Unknown => {}
        }
    }

    /// A key was written for certain by `writer`, or perhaps, or is gone.
    pub fn wrote(&self, table: &str, key: i64, writer: (i64, i64), is_certain: bool) {
        let mut pages = self.pages();
        let writers = pages.keys.entry((table.to_owned(), key)).or_insert_with(|| BTreeSet::from([None]));
        if is_certain {
            writers.clear();
        }
        writers.insert(Some(writer));
    }

    /// Whether it is certain that there is, or is not, a row with this key.
    pub fn holds(&self, table: &str, key: i64) -> Option<bool> {
        let pages = self.pages();
        match pages.keys.get(&(table.to_owned(), key)) {
            None => Some(false),
            Some(writers) if writers.contains(&None) => None,
            Some(_) => Some(true),
        }
    }

    /// Every table that is named here.
    pub fn tables(&self) -> BTreeSet<String> {
        let pages = self.pages();
        let places =
            pages.entries.values().flat_map(|entry| entry.parts.iter().flat_map(|part| &part.places));
        let erased = pages.erasers.iter().map(|eraser| &eraser.table);
        places.chain(erased).chain(pages.keys.keys().map(|(table, _)| table)).cloned().collect()
    }

    /// Entries, and rows of those that are stored.
    pub fn size(&self) -> (usize, i64) {
        let pages = self.pages();
        let rows = pages.entries.values().filter(|entry| entry.fate == Fate::Stored);
        let rows = rows.flat_map(|entry| &entry.parts).map(|part| part.rows).sum();
        (pages.entries.len(), rows)
    }

    /// Forgets tables that are gone.
    pub fn forget(&self, is_gone: impl Fn(&str) -> bool) {
        let mut pages = self.pages();
        pages
            .entries
            .retain(|_, entry| !entry.parts.iter().all(|part| part.places.iter().all(|at| is_gone(at))));
        pages.keys.retain(|(table, _), _| !is_gone(table));
        if pages.erasers.iter().all(|eraser| is_gone(&eraser.table)) {
            pages.erasers.clear();
        }
    }

    /// The differences between what was told and what is stored, while nobody works. `last_wins` are tables of
    /// which every write replaces the whole content.
    pub fn compare(&self, found: &Found, last_wins: &[&str]) -> Vec<String> {
        let mut pages = self.pages();
        let Pages { entries, erasers, keys, .. } = &mut *pages;
        let mut differences = Vec::new();
        let mut claimed: BTreeSet<(&str, i64, i64)> = BTreeSet::new();
        for entry in entries.values_mut() {
            let look = entry.look(found, erasers);
            for part in &entry.parts {
                for place in &part.places {
                    if let Some((table, _)) = found.get_key_value(place) {
                        claimed.insert((table, entry.client, entry.put));
                    }
                }
            }
            match look {
                Ok(is_there) => entry.rest(is_there),
                Err(what) => differences.push(what),
            }
        }
        for (table, puts) in found {
            if keys.keys().any(|(known, _)| known == table) {
                continue;
            }
            let strangers: Vec<_> =
                puts.iter().filter(|((client, put), _)| !claimed.contains(&(table, *client, *put))).collect();
            if !strangers.is_empty() {
                let examples = strangers.iter().take(SHOWN);
                let examples = examples.map(|((client, put), seen)| {
                    format!("{} rows of client {client}, put {put}", seen.count)
                });
                differences.push(format!(
                    "table {table} holds rows of {} puts that nobody sent there: {}",
                    strangers.len(),
                    examples.collect::<Vec<_>>().join("; ")
                ));
            }
        }
        for table in last_wins {
            let puts = found.get(*table).map_or(0, HashMap::len);
            if puts > 1 {
                differences.push(format!(
                    "table {table} holds the rows of {puts} puts that replace each other: {:?}",
                    found[*table].keys().take(SHOWN).collect::<Vec<_>>()
                ));
            }
            let told = entries
                .values()
                .filter(|entry| entry.fate == Fate::Stored && entry.parts[0].places[0] == *table);
            let own: Vec<usize> = told.filter_map(|entry| entry.own).collect();
            let others = erasers.iter().enumerate().any(|(index, eraser)| {
                eraser.table == *table && eraser.fate != Fate::Absent && !own.contains(&index)
            });
            if puts == 0 && !own.is_empty() && !others {
                differences.push(format!(
                    "table {table} is empty after {} acknowledged puts that replace its rows",
                    own.len()
                ));
            }
        }
        differences
    }

    /// The keys of upserted tables against the rows that hold them: `rows` are key -> (client, put).
    pub fn compare_keys(&self, table: &str, rows: &HashMap<i64, (i64, i64)>) -> Vec<String> {
        let mut pages = self.pages();
        let mut wrong = Vec::new();
        for ((name, key), writers) in &mut pages.keys {
            if name != table {
                continue;
            }
            let holder = rows.get(key).copied();
            if !writers.contains(&holder) {
                wrong.push(format!(
                    "key {key}: found {holder:?}, expected one of {writers:?} as (client, put)"
                ));
            }
            // What has been seen is the truth from here on.
            *writers = BTreeSet::from([holder]);
        }
        let known: BTreeSet<i64> =
            pages.keys.keys().filter(|(name, _)| name == table).map(|(_, key)| *key).collect();
        wrong.extend(
            rows.iter()
                .filter(|(key, _)| !known.contains(key))
                .map(|(key, holder)| format!("key {key} of {holder:?} was never written")),
        );
        if wrong.is_empty() {
            return wrong;
        }
        let count = wrong.len();
        wrong.truncate(SHOWN);
        vec![format!("table {table}: {count} keys are wrong: {}", wrong.join("; "))]
    }
}

#[cfg(test)]
mod tests;
