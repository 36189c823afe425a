//! Views and macros by name, with what is behind them.
//! Runs on: the threads that parse, one at a time when something is noted.
//! Never: forgets; what was once a view may be one again in another transaction, or in another schema.

use std::collections::{HashMap, HashSet};

use super::reach::Reach;
use crate::error::{Error, Result};

/// Names remembered at most; beyond that every name may stand for anything.
const NAMES_MAX: usize = 100_000;
/// Names in the text of a view that are remembered with it.
const MENTIONED_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Names {
    /// What may be anything behind its name.
    opaque: HashSet<String>,
    /// What changes something when it is read: views, macros, and tables with such a column.
    changing: HashSet<String>,
    /// What reaches something that is refused here, with the refusal.
    refused: HashMap<String, Error>,
    /// What is proven to read, as long as that holds for all names in its text, which are kept with it.
    plain: HashMap<String, HashSet<String>>,
    /// Counts what was found not to be proven.
    version: u64,
}

impl Names {
    /// Refuses a name that reaches something refused.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        self.refused.get(name).map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn changes(&self, name: &str) -> bool {
        self.changing.contains(name)
    }

    /// Whether the name is that of nothing which may change something.
    pub(super) fn is_proven(&self, name: &str) -> bool {
        !self.opaque.contains(name)
    }

    /// Whether the name is that of a view or macro which is proven to read.
    pub(super) fn is_plain(&self, name: &str) -> bool {
        self.plain.contains_key(name)
    }

    /// Whether nothing of a client's has this name.
    pub(super) fn is_free(&self, name: &str) -> bool {
        ![&self.opaque, &self.changing].iter().any(|names| names.contains(name))
            && !self.refused.contains_key(name)
            && !self.plain.contains_key(name)
    }

    /// Version counter, counted up when a name has become one that may change something.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn is_full(&self) -> bool {
        self.opaque.len() + self.plain.len() >= NAMES_MAX
    }

    /// A table that changes something when it is read.
    pub(super) fn note_changing(&mut self, table: String) {
        self.changing.insert(table);
    }

    /// A view or macro `name`, in whose text the names `mentioned` stand. Whether anything is known now that was not.
    pub(super) fn note(&mut self, name: &str, mentioned: HashSet<String>, reach: Reach) -> bool {
        if self.is_full() {
            self.version += 1;
            return false;
        }
        if reach.is_proven && !reach.changes && mentioned.len() <= MENTIONED_MAX {
            self.plain.entry(name.to_owned()).or_default().extend(mentioned);
            return false;
        }
        let mut found = false;
        let mut open = vec![name.to_owned()];
        while let Some(name) = open.pop() {
            let is_new =
                self.opaque.insert(name.clone()) | (reach.changes && self.changing.insert(name.clone()));
            if is_new {
                found = true;
                let behind = self.plain.iter().filter(|(_, mentioned)| mentioned.contains(&name));
                open.extend(behind.map(|(view, _)| view.clone()));
            }
        }
        self.version += u64::from(found);
        found
    }

    /// As `note`, for one whose text is refused.
    pub(super) fn note_refused(&mut self, name: &str, error: &Error) -> bool {
        if self.refused.contains_key(name) {
            return false;
        }
        let text = format!("{} (through \"{name}\")", error.message());
        self.refused.insert(name.to_owned(), error.reworded(text));
        true
    }

    /// Gives `new` what is known of any of the names `old`.
    pub(super) fn rename(&mut self, old: &HashSet<String>, new: &str) {
        let changes = old.iter().any(|name| self.changing.contains(name));
        if old.iter().any(|name| self.opaque.contains(name)) {
            self.note(new, HashSet::new(), Reach { changes, is_proven: false, seeds: false });
        }
        let mentioned: Vec<HashSet<String>> =
            old.iter().filter_map(|name| self.plain.get(name)).cloned().collect();
        if !mentioned.is_empty() {
            self.plain.entry(new.to_owned()).or_default().extend(mentioned.into_iter().flatten());
        }
    }
}
