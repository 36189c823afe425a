//! Transactions that drop tables: not over rows that were acknowledged and that they have not seen (`database::row_commits`).
//! Never: takes a table that was renamed or altered for one that is gone.

use duckdb::Parameters;
use std::collections::HashMap;

use super::connection::Connection;
use crate::database::{CommitKind, Replacing};
use crate::error::{Error, Result};
use crate::sql::{Class, may_drop, replaced_table, written_table};

/// What has to be known about a transaction that drops tables.
#[derive(Default)]
pub(super) struct Dropping {
    /// Commits of rows when the transaction began: its snapshot is later.
    began: u64,
    /// A DROP by itself takes whatever rows there are.
    is_meant: bool,
    /// The tables that were there before the first statement that may drop one: number and name.
    before: Option<HashMap<String, String>>,
}

impl Connection {
    /// Opens a transaction for `statements` of a client that belong to none of its own. While one of them replaces a table, no
    /// others commit rows into it; the turn is to be kept until the transaction is over.
    pub fn begin_for(&mut self, statements: &[impl AsRef<str>]) -> Result<Replacing> {
        let tables: Vec<String> = statements.iter().filter_map(|sql| replaced_table(sql.as_ref())).collect();
        let waits = !tables.is_empty();
        let replacing = self.database.row_commits.replacing(tables);
        if waits {
            // Commits under way come before the snapshot.
            drop(self.database.gate.commit(CommitKind::Reshapes));
        }
        self.begin()?;
        let is_drop =
            |sql: &str| sql.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("drop"));
        self.dropping.get_mut().is_meant = matches!(statements, [only] if is_drop(only.as_ref()));
        Ok(replacing)
    }

    /// A transaction begins.
    pub(super) fn sees_commits(&mut self) {
        *self.touched.get_mut() = Default::default();
        *self.dropping.get_mut() =
            Dropping { began: self.database.row_commits.made(), ..Dropping::default() };
    }

    /// Rows of the table that the statement `sql` of a class begins with are changed, or of any.
    pub(crate) fn touches(&self, class: Class, sql: &str) -> Result<()> {
        match class {
            Class::Query => {}
            Class::Change => {
                let mut touched = self.touched.borrow_mut();
                match written_table(sql).filter(|_| !self.database.surface().has_triggers()) {
                    Some(table) => drop(touched.tables.insert(table)),
                    None => touched.anywhere = true,
                }
            }
            Class::Definition => {
                let mut dropping = self.dropping.borrow_mut();
                if self.in_transaction && !dropping.is_meant && dropping.before.is_none() && may_drop(sql) {
                    dropping.before = Some(self.stored_tables()?);
                }
            }
        }
        Ok(())
    }

    /// The tables as the transaction sees them: their numbers, which a new name or column does not change, and their
    /// names in lower case.
    fn stored_tables(&self) -> Result<HashMap<String, String>> {
        const SQL: &str =
            "SELECT table_oid::VARCHAR, lower(table_name) FROM duckdb_tables() WHERE NOT temporary";
        let read = || -> duckdb::Result<_> {
            let mut result = self.duckdb().query(SQL, Parameters::None)?;
            let mut found = HashMap::new();
            while let Some(chunk) = result.next_chunk()? {
                let (numbers, names) = (chunk.get_vector_at::<String>(0)?, chunk.get_vector_at::<String>(1)?);
                let (numbers, names) = (numbers.reader()?, names.reader()?);
                for row in 0..chunk.row_count()? {
                    if let (Some(number), Some(name)) = (numbers.get(row)?, names.get(row)?) {
                        found.insert(number.to_owned(), name.to_owned());
                    }
                }
            }
            Ok(found)
        };
        read().map_err(|error| self.database.note(error))
    }

    /// Refuses to drop a table that rows were committed into since the transaction began. To be asked in the commit's turn.
    ///
    /// Errors: `Aborted` naming the table.
    pub(super) fn check_dropped(&self) -> Result<()> {
        let dropping = self.dropping.borrow();
        let Some(before) = &dropping.before else { return Ok(()) };
        let after = self.stored_tables()?;
        let gone: Vec<String> = before
            .iter()
            .filter(|(number, _)| !after.contains_key(*number))
            .map(|(_, name)| name.clone())
            .collect();
        match self.database.row_commits.since(dropping.began, &gone) {
            None => Ok(()),
            Some(table) => Err(Error::collided(format!(
                "rows were committed into table {table} after this transaction had begun, and it drops or replaces the table \
                 without having seen them; nothing was changed; run it again"
            ))),
        }
    }
}
