//! Statements that a connection keeps prepared: its client's, and those of the server's own that come again.
//! Never: keeps more than a few; the one unused for longest goes first.

use duckdb::statement::{PreparedStatement, Statement};

use super::connection::Connection;
use crate::error::{Error, Result};

/// Prepared statements kept per connection.
const PREPARED_MAX: usize = 32;
/// And of the server's own.
const OWN_MAX: usize = 8;

impl Connection {
    /// Runs a statement of the server's own that comes again and again to its end; it is prepared once per connection.
    pub(crate) fn execute_again(&self, sql: &str) -> Result<u64> {
        let changed = self.raw().run_own(sql, OWN_MAX);
        if changed.is_err() {
            self.is_at_rest.set(false);
        }
        changed.map(|rows| rows as u64).map_err(|error| self.database.note(error))
    }

    /// Prepares the statement with the text `sql`, unless this connection has it already.
    pub(crate) fn keep(
        &mut self,
        sql: &str,
        statement: impl FnOnce(&Self) -> Result<Statement<'static>>,
    ) -> Result<()> {
        if self.raw_mut().touch(sql) {
            return Ok(());
        }
        let statement = statement(self)?;
        let kept = self.raw_mut().keep(sql, &statement, PREPARED_MAX);
        kept.map_err(|error| self.database.note(error))
    }

    /// Prepares the statement with the text `sql` in the place of one with that text: what its sender may do is looked at
    /// whenever it runs.
    pub(crate) fn keep_anew(&mut self, sql: &str, statement: &Statement<'static>) -> Result<()> {
        self.raw_mut().forget();
        let kept = self.raw_mut().keep(sql, statement, PREPARED_MAX);
        kept.map_err(|error| self.database.note(error))
    }

    /// The statement that `keep` was last called for.
    pub(crate) fn kept(&self, sql: &str) -> Result<&PreparedStatement<'_>> {
        self.is_at_rest.set(false);
        self.raw().last(sql).ok_or_else(|| Error::internal("a prepared statement was not kept"))
    }
}
