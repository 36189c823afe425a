//! A small query of the server's own -> its rows.
//! Never: for a client's statement, whose result may be of any size.

use arrow::array::RecordBatch;

use super::cursor::{ArraySize, Cursor};
use super::statement::parse_own;
use crate::connection::Connection;
use crate::error::Result;

/// Runs a small query of the server's own and collects it.
pub(crate) fn query(connection: &Connection, sql: &str) -> Result<Vec<RecordBatch>> {
    let statement = parse_own(connection, sql)?;
    let schema = statement.describe(connection)?.schema;
    let mut cursor =
        Cursor::open(connection, &statement, &schema, ArraySize { bytes: 1 << 20, rows_max: None })?;
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    Ok(batches)
}
