//! Transactions that drop or rename tables: not over rows that were acknowledged and that they have not seen
//! (`database::row_commits`), and what is remembered of files goes with the table.
//! Never: takes a table that was renamed or altered for one that is gone.

use duckdb::Parameters;

use super::connection::Connection;
use super::tables::{Dropping, Name, Tables, changed, remembers};
use crate::catalog::quote_text;
use crate::database::{CommitKind, Replacing};
use crate::error::{Error, Result};
use crate::internal::{LOAD_LEDGER, own_name};
use crate::sql::{Class, may_drop_or_rename, renamed_table, replaced_table, written_table};

impl Connection {
    /// Opens a transaction for `statements` of a client that belong to none of its own. While one of them replaces or renames a
    /// table, no others commit rows into it; the turn is to be kept until the transaction is over.
    pub fn begin_for(&mut self, statements: &[impl AsRef<str>]) -> Result<Replacing> {
        // What writes into a table before it renames it must not wait for itself.
        let is_single = statements.len() == 1;
        let tables: Vec<String> = statements
            .iter()
            .map(AsRef::as_ref)
            .filter_map(|sql| replaced_table(sql).or_else(|| renamed_table(sql).filter(|_| is_single)))
            .collect();
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
                if self.in_transaction && dropping.before.is_none() && may_drop_or_rename(sql) {
                    dropping.before = Some(self.stored_tables()?);
                }
            }
        }
        Ok(())
    }

    /// The tables as the transaction sees them.
    fn stored_tables(&self) -> Result<Tables> {
        let sql = format!(
            "SELECT table_oid::VARCHAR, schema_name, table_name FROM duckdb_tables() \
             WHERE NOT temporary AND database_name = {}",
            quote_text(self.database.catalog())
        );
        let read = || -> duckdb::Result<_> {
            let mut result = self.duckdb().query(&sql, Parameters::None)?;
            let mut found = Tables::new();
            while let Some(chunk) = result.next_chunk()? {
                let columns = [0, 1, 2].map(|column| chunk.get_vector_at::<String>(column));
                let [numbers, schemas, tables] = columns;
                let (numbers, schemas, tables) = (numbers?, schemas?, tables?);
                let (numbers, schemas, tables) = (numbers.reader()?, schemas.reader()?, tables.reader()?);
                for row in 0..chunk.row_count()? {
                    if let (Some(number), Some(schema), Some(table)) =
                        (numbers.get(row)?, schemas.get(row)?, tables.get(row)?)
                    {
                        found.insert(number.to_owned(), Name::new(schema, table));
                    }
                }
            }
            Ok(found)
        };
        read().map_err(|error| self.database.note(error))
    }

    /// Takes what is remembered of files along to the new names of tables, and forgets that of tables that are gone, in the
    /// open transaction. To be done before the commit's turn.
    pub(super) fn follow_tables(&self) -> Result<()> {
        let dropping = self.dropping.borrow();
        let Some(before) = &dropping.before else { return Ok(()) };
        if !remembers(before) {
            return Ok(());
        }
        let after = self.stored_tables()?;
        let ledger = own_name(self.database.catalog(), LOAD_LEDGER).to_sql();
        let gone: Vec<String> = before
            .iter()
            .filter(|(number, _)| !after.contains_key(*number))
            .map(|(_, name)| quote_text(&name.in_ledger))
            .collect();
        let renamed: Vec<String> = changed(before, &after)
            .map(|(old, new)| format!("({}, {})", quote_text(&old.in_ledger), quote_text(&new.in_ledger)))
            .collect();
        if !remembers(&after) || (gone.is_empty() && renamed.is_empty()) {
            return Ok(());
        }
        let _turn = self.deletes();
        if !gone.is_empty() {
            self.execute(&format!("DELETE FROM {ledger} WHERE table_name IN ({})", gone.join(", ")))?;
        }
        if !renamed.is_empty() {
            // All at once, for tables may change places.
            let names = renamed.join(", ");
            self.execute(&format!(
                "UPDATE {ledger} SET table_name = names.becomes FROM (VALUES {names}) names(was, becomes) WHERE table_name = names.was"
            ))?;
        }
        Ok(())
    }

    /// Refuses to drop or rename a table that rows were committed into since the transaction began. To be asked in the
    /// commit's turn.
    ///
    /// Errors: `Aborted` naming the table.
    pub(super) fn check_dropped(&self) -> Result<()> {
        let dropping = self.dropping.borrow();
        let Some(before) = &dropping.before else { return Ok(()) };
        let after = self.stored_tables()?;
        let gone = before.iter().filter(|(number, _)| !dropping.is_meant && !after.contains_key(*number));
        let mut lost: Vec<String> = gone.map(|(_, name)| name.table.clone()).collect();
        if remembers(before) {
            // Rows go along, but what they are from would stay behind.
            lost.extend(changed(before, &after).map(|(old, _)| old.table.clone()));
        }
        match self.database.row_commits.since(dropping.began, &lost) {
            None => Ok(()),
            Some(table) => Err(Error::collided(format!(
                "rows were committed into table {table} after this transaction had begun, and it drops, replaces or renames the \
                 table without having seen them; nothing was changed; run it again"
            ))),
        }
    }
}
