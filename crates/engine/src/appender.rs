//! Segment -> table: one `INSERT ... SELECT ... FROM pintail_segment(token)` per segment.
//! Runs on: the writer thread that owns the connection and its open transaction; DuckDB's workers join in.
//! Never: touches single rows, commits, or waits for a client.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::connection::Connection;
use super::judge::Class;
use super::plain::check_importable;
use super::segment::Segment;
use super::tables::query;
use crate::catalog::TableName;
use crate::error::{Error, Result};

/// Rows up to which an INSERT is prepared once per connection.
const FEW_ROWS: u64 = 4096;

/// Where the rows of a stream go, decided once per stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// `INSERT INTO "t" ("a", "b") SELECT "a", CAST("b" AS BIGINT) FROM `; the segment follows.
    pub head: String,
    /// What follows the segment: names for its columns, an ON CONFLICT; often nothing.
    pub tail: String,
}

/// An INSERT of a client's own over whole batches of its parameters, and where their values go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkInsert {
    /// The statement as it is.
    pub insert: Insert,
    /// `INSERT INTO t (a, b) `, up to its values.
    pub into: String,
    /// The table, as the statement names it; `None` where that is not a plain name.
    pub table: Option<TableName>,
    /// The columns it names; `None` for all of the table's.
    pub columns: Option<Vec<String>>,
    /// Its values as expressions over the batch, with the parameter that each is, if it is nothing else.
    pub values: Vec<(String, Option<usize>)>,
    /// Whether a row may see what the rows before it did: it has an ON CONFLICT, or a value that is looked up. Rows are
    /// then inserted one after the other, as the statement says.
    pub is_one_by_one: bool,
    /// The columns of `ON CONFLICT (…) DO …`, where nothing else makes rows depend on each other: rows whose keys differ can
    /// go in together. Empty for the only key that the table has.
    pub conflict_key: Option<Vec<String>>,
}

impl BulkInsert {
    /// The same INSERT with other values.
    pub fn with_values(&self, values: &[String]) -> Insert {
        Insert {
            head: format!("{}SELECT {} FROM ", self.into, values.join(", ")),
            tail: self.insert.tail.clone(),
        }
    }
}

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
    let _turn = may_delete.then(|| connection.turn(Class::Change, &format!("{head}{tail}")));
    let sql = |source: &str| format!("{head}{source}{tail}");
    let appended = if rows <= FEW_ROWS {
        // Reading and planning the statement would take longer than running it, and it will come again.
        let published = connection.publish_again(segment);
        connection.execute_again(&sql(&source(published.token())))?
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
    connection.execute(&sql(&source(published.token())))
}

/// As [`over_segment`], for a query of a number and a text; NULL is read as `NULL`.
pub fn rows_of_segment(
    connection: &Connection,
    segment: Segment,
    sql: impl FnOnce(&str) -> String,
) -> Result<Vec<(u64, String)>> {
    let published = connection.publish(segment);
    let mut rows = Vec::new();
    for batch in query(connection, &sql(&source(published.token())))? {
        let (numbers, texts) =
            (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
        for row in 0..batch.num_rows() {
            let text = if texts.is_null(row) { "NULL" } else { texts.value(row) };
            rows.push((u64::try_from(numbers.value(row)).unwrap_or_default(), text.to_owned()));
        }
    }
    Ok(rows)
}

pub(super) fn source(token: &str) -> String {
    // By its full name: a client's macro of that name would come first.
    format!("system.main.pintail_segment('{token}')")
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
    let sql = format!("FROM {}", source(published.token()));
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
