//! SQL text -> the plan that the engine would make of it now, as JSON.
//! Runs on: a blocking thread, on a connection of the server's own.
//! Never: runs the statement.

use duckdb::Parameters;

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::sql::{Class, explained_at};

/// The plan of one query; `None` when the engine gives none.
///
/// Errors: `Invalid` when it is not one query that can be planned without values.
pub fn plan_as_json(connection: &Connection, sql: &str) -> Result<Option<String>> {
    let statement = super::parse(connection, sql)?;
    if statement.class() != Class::Query {
        return Err(Error::invalid("expected a query"));
    }
    let note = |error| connection.database().note(error);
    let text = statement.sql(connection)?;
    let tokens = crate::sql::tokens(connection.duckdb_for_binding(), text).map_err(note)?;
    // An EXPLAIN is its own plan; EXPLAIN ANALYZE would run what is behind it.
    let text = explained_at(&tokens).map_or(text, |inner| &text[inner..]);
    let read = || -> duckdb::Result<Option<String>> {
        let mut result =
            connection.duckdb().query(format!("EXPLAIN (FORMAT json) {text}").as_str(), Parameters::None)?;
        let Some(chunk) = result.next_chunk()? else { return Ok(None) };
        Ok(chunk.get_vector_at::<String>(1)?.reader()?.get(0)?.map(str::to_owned))
    };
    read().map_err(note)
}
