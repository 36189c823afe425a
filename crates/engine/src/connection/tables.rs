//! What a transaction that drops or renames tables has to know: which tables there were, and what they are called now.
//! Runs on: any thread; values.
//! Never: asks the database.

use std::collections::HashMap;

use crate::catalog::TableName;
use crate::internal::{INTERNAL_SCHEMA, LOAD_LEDGER};

/// What has to be known about a transaction that drops or renames tables.
#[derive(Default)]
pub(super) struct Dropping {
    /// Commits of rows when the transaction began: its snapshot is later.
    pub(super) began: u64,
    /// A DROP by itself takes whatever rows there are.
    pub(super) is_meant: bool,
    /// The tables that were there before the first statement that may drop or rename one.
    pub(super) before: Option<Tables>,
}

/// Tables by their numbers, which a new name or column does not change; a table that is made has another one, and after a
/// restart all have.
pub(super) type Tables = HashMap<String, Name>;

/// What a table is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// In lower case, without its schema.
    pub(super) table: String,
    /// As ledgers have it.
    pub(super) in_ledger: String,
}

impl Name {
    pub(super) fn new(schema: &str, table: &str) -> Self {
        let name = TableName { catalog: None, schema: Some(schema.to_owned()), table: table.to_owned() };
        Self { table: table.to_lowercase(), in_ledger: name.in_ledger() }
    }
}

/// Whether anything is remembered of files.
pub(super) fn remembers(tables: &Tables) -> bool {
    let ledger = Name::new(INTERNAL_SCHEMA, LOAD_LEDGER);
    tables.values().any(|name| *name == ledger)
}

/// Tables with a new name: before and after.
pub(super) fn changed<'a>(
    before: &'a Tables,
    after: &'a Tables,
) -> impl Iterator<Item = (&'a Name, &'a Name)> {
    before
        .iter()
        .filter_map(|(number, old)| Some((old, after.get(number)?)))
        .filter(|(old, new)| old.in_ledger != new.in_ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table is what has its number; a name that another has got is a new name for both.
    #[test]
    fn tables_are_known_by_their_numbers() {
        let tables = |names: &[(&str, &str)]| -> Tables {
            names.iter().map(|(number, name)| ((*number).to_owned(), Name::new("main", name))).collect()
        };
        let before = tables(&[("1", "a"), ("2", "B"), ("3", "c")]);
        let after = tables(&[("1", "b"), ("2", "A"), ("4", "c")]);
        let mut found: Vec<_> = changed(&before, &after)
            .map(|(old, new)| (old.in_ledger.as_str(), new.in_ledger.as_str()))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("main.a", "main.b"), ("main.b", "main.a")]);
        assert!(changed(&before, &tables(&[("2", "b")])).next().is_none());
        assert!(!remembers(&before));
        assert!(remembers(&Tables::from([("9".to_owned(), Name::new(INTERNAL_SCHEMA, LOAD_LEDGER))])));
    }
}
