//! Tables of the server's own: made, recognised, appended to.
//! Never: updates a row, for they are logs; only a table's new name is written over the old one.

use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::append::append;
use crate::catalog::{Table, TableName, quote_name};
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::INTERNAL_SCHEMA;
use crate::sql::Insert;
use crate::table_functions::{Segment, UNIT_ROWS, Unit};

/// Whether a table of the server's own still has the columns that it was made with: `at`, and these.
pub(crate) fn has_columns(table: &Table, columns: &[(&str, &str)]) -> bool {
    let found: Vec<(&str, &str)> =
        table.columns.iter().map(|column| (column.name.as_str(), column.duckdb_type.as_str())).collect();
    found.split_first().is_some_and(|(first, rest)| *first == ("at", "TIMESTAMP") && rest == columns)
}

/// Makes a table of the server's own, with the column `at` and these, unless it is there.
pub(crate) fn create_own(connection: &Connection, name: &TableName, columns: &[(&str, &str)]) -> Result<()> {
    // Two that make the schema at the same time are in each other's way.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one_at_a_time = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = [connection.database().catalog(), INTERNAL_SCHEMA].map(quote_name).join(".");
    connection.execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
    let columns: Vec<String> = columns.iter().map(|(column, kind)| format!("{column} {kind}")).collect();
    connection
        .execute(&format!(
            "CREATE TABLE IF NOT EXISTS {} (\"at\" TIMESTAMP, {})",
            name.to_sql(),
            columns.join(", ")
        ))
        .map(|_| ())
}

/// Appends a batch to a table of the server's own: the column `at` and those that `columns` lists.
pub(crate) fn append_own(
    connection: &Connection,
    name: &TableName,
    columns: &str,
    batch: &RecordBatch,
) -> Result<()> {
    let insert = Insert {
        head: format!("INSERT INTO {} (\"at\", {columns}) SELECT \"at\", {columns} FROM ", name.to_sql()),
        tail: String::new(),
    };
    let (schema, units) = units(batch);
    append(connection, &insert, Segment::new(schema, units)).map(|_| ())
}

/// A batch cut into row-group units.
pub(crate) fn units(batch: &RecordBatch) -> (SchemaRef, Vec<Unit>) {
    let slices = (0..batch.num_rows()).step_by(UNIT_ROWS);
    let unit = |from| [batch.slice(from, UNIT_ROWS.min(batch.num_rows() - from))].into();
    (batch.schema(), slices.map(unit).collect())
}

/// What the column `at` says of rows written now.
pub(crate) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    i64::try_from(now).unwrap_or(i64::MAX)
}
