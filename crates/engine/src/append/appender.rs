//! Segment -> table: one `INSERT ... SELECT ... FROM pintail_segment(token)` per segment.
//! Runs on: the writer thread that owns the connection and its open transaction; DuckDB's workers join in.
//! Never: touches single rows, commits, or waits for a client.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, SchemaRef};

use crate::catalog::TableName;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::plain::check_importable;
use crate::read::query;
use crate::sql::{Class, Insert};
use crate::table_functions::Segment;

/// Rows up to which an INSERT is prepared once per connection.
const FEW_ROWS: u64 = 4096;

/// Appends all rows of `segment` and returns their number.
///
/// Shape: the segment's columns are those the insert's SELECT list names (`catalog::conform`).
/// Errors: `Conflict` when a constraint fails, `Invalid` when a value does not fit its column. After an
/// error the transaction is to be rolled back. Blocks.
pub fn append(connection: &Connection, insert: &Insert, segment: Segment) -> Result<u64> {
    let rows = segment.rows() as u64;
    let Insert { head, tail } = insert;
    // An upsert deletes, as a trigger may, and the tail of a client's own INSERT may be anything.
    let may_delete =
        !tail.is_empty() || (connection.in_transaction() && connection.database().surface().has_triggers());
    connection.touches(Class::Change, head)?;
    let _turn = if may_delete { connection.turn(Class::Change, &format!("{head}{tail}"))? } else { None };
    let sql = |source: &str| format!("{head}{source}{tail}");
    let appended = if rows <= FEW_ROWS {
        // Reading and planning the statement would take longer than running it, and it will come again.
        let published = connection.publish_again(segment);
        connection.execute_again(&sql(&published.source_of_few()))?
    } else {
        over_segment(connection, segment, sql)?
    };
    // An ON CONFLICT of the client's own may leave rows out; nothing else may.
    if appended != rows && tail.is_empty() {
        return Err(Error::internal(format!("the engine appended {appended} of {rows} rows")));
    }
    Ok(appended)
}

/// Runs the statement that `sql` makes of a source, `pintail_segment(…)`, which gives the rows of `segment` once.
///
/// Returns the changed-row count.
pub fn over_segment(
    connection: &Connection,
    segment: Segment,
    sql: impl FnOnce(&str) -> String,
) -> Result<u64> {
    let published = connection.publish(segment);
    connection.execute(&sql(&published.source()))
}

/// As [`over_segment`], for a query of a number and a text; NULL is read as `NULL`.
pub fn rows_of_segment(
    connection: &Connection,
    segment: Segment,
    sql: impl FnOnce(&str) -> String,
) -> Result<Vec<(u64, String)>> {
    let published = connection.publish(segment);
    let mut rows = Vec::new();
    for batch in query(connection, &sql(&published.source()))? {
        let (numbers, texts) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let text = if texts.is_null(row) { "NULL" } else { texts.value(row) };
            rows.push((u64::try_from(numbers.value(row)).unwrap_or_default(), text.to_owned()));
        }
    }
    Ok(rows)
}

/// Rows of a table, as the connection's transaction sees it.
pub fn count_rows(connection: &Connection, table: &TableName) -> Result<u64> {
    let batches = query(connection, &format!("SELECT count(*) FROM {}", table.to_sql()))?;
    let count = batches.first().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
}

/// Column names and DuckDB types, as text, that batches of `schema` arrive with.
///
/// The engine's own importer answers, so what CREATE TABLE is given is what INSERT will see.
/// Errors: `Invalid` naming the Arrow type that has no DuckDB form.
pub fn describe_rows(connection: &Connection, schema: &SchemaRef) -> Result<Vec<(String, String)>> {
    let note = |error| connection.database().note(error);
    check_importable(schema)?;
    let segment = Segment::new(Arc::clone(schema), Vec::new());
    let published = connection.publish(segment);
    let sql = format!("FROM {}", published.source());
    let statement = connection
        .duckdb()
        .parse(sql)
        .map_err(note)?
        .next()
        .ok_or_else(|| Error::internal("segment statement vanished while parsing"))?
        .map_err(note)?;
    let bound = statement.bind(connection.duckdb()).map_err(note)?;
    let mut columns = Vec::new();
    for (field, (_, logical_type)) in schema.fields().iter().zip(bound.schema.get_all().map_err(note)?) {
        // The stream's own spelling: the importer renames columns whose names differ only by case.
        columns.push((field.name().clone(), logical_type.to_text().map_err(note)?));
    }
    Ok(columns)
}
