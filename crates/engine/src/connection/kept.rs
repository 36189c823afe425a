//! Statements that a connection keeps prepared: its client's, and those of the server's own that come again.
//! Never: keeps more than a few; the one unused for longest goes first.

use arrow::datatypes::Schema;
use duckdb::connection::SettingScope;
use duckdb::logical_type::LogicalType;
use duckdb::statement::{PreparedStatement, Statement};

use super::connection::Connection;
use crate::database::LOSSLESS;
use crate::error::{Error, Result};

/// Prepared statements kept per connection.
const PREPARED_MAX: usize = 32;
/// And of the server's own.
const OWN_MAX: usize = 8;
/// Bytes of text of the statements that are kept as they were read; what the engine makes of a text is far larger.
const RECENT_BYTES_MAX: usize = 8 << 10;

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

    /// The statement that `keep` was last called for.
    pub(crate) fn kept(&self, sql: &str) -> Result<&PreparedStatement<'_>> {
        self.is_at_rest.set(false);
        self.raw().last(sql).ok_or_else(|| Error::internal("a prepared statement was not kept"))
    }

    /// A client's statement, if this connection has read the text `sql` a moment ago. It is only read: what it means is
    /// looked up each time that it is bound.
    pub(crate) fn take_recent(&self, sql: &str) -> Option<Statement<'static>> {
        self.raw().take_recent(sql)
    }

    /// Keeps a client's statement for the next call, which often describes or runs it once more.
    pub(crate) fn keep_recent(&self, sql: &str, statement: Statement<'static>) {
        self.raw().keep_recent(sql, statement, RECENT_BYTES_MAX);
    }

    /// The Arrow schema that a result of `columns` has on this connection.
    pub(crate) fn describe_columns(&self, columns: Vec<(String, LogicalType)>) -> duckdb::Result<Schema> {
        self.database.descriptions.arrow_schema(self.raw(), columns)
    }

    /// Lets results that begin from now on leave in the engine's lossless form, or in its default one.
    pub(crate) fn set_lossless(&self, lossless: bool) -> duckdb::Result<()> {
        let is = self.raw().lossless();
        if is.get() != lossless {
            let value = if lossless { "true" } else { "false" };
            self.duckdb_for_binding().config()?.set_text(LOSSLESS, value, SettingScope::Session)?;
            is.set(lossless);
        }
        Ok(())
    }
}
