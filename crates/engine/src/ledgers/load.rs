//! The table behind loads of files: which pieces of which files were stored in which table.
//! Runs on: the thread of the connection; blocks.
//! Never: is held in memory, cut back by count, or changed apart from rows that are added, a table's that are forgotten, and
//! its name where that changes (`connection::dropping`).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::own_table::{append_own, create_own, has_columns, now, units};
use crate::append::rows_of_segment;
use crate::catalog::{TableName, quote_text};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::internal::{INTERNAL_SCHEMA, LOAD_LEDGER, own_name};
use crate::introspect::find_table;
use crate::read::query;
use crate::table_functions::Segment;

/// Columns of the table, `at` apart.
const COLUMNS: [(&str, &str); 4] =
    [("table_name", "VARCHAR"), ("file", "VARCHAR"), ("piece", "UBIGINT"), ("row_count", "BIGINT")];
/// The column of a batch that says how often its sender knows a piece to be stored.
const KNOWN: &str = "known";
/// The one that says how many pieces of the file its sender knows.
const OF_FILE: &str = "of_file";

/// Pieces of files, an array for each property.
#[derive(Debug, Clone)]
pub struct LoadPieces {
    /// Names of the files.
    pub files: StringArray,
    /// What tells a piece from others of its file.
    pub pieces: UInt64Array,
    /// Rows of each.
    pub rows: Int64Array,
    /// How often the sender knows the piece to be stored already.
    pub known: Int64Array,
    /// How many pieces of its file the sender knows to be stored; NULL where that does not matter.
    pub of_file: Int64Array,
}

fn name(connection: &Connection) -> TableName {
    own_name(connection.database().catalog(), LOAD_LEDGER)
}

/// Whether the table is there.
///
/// Errors: `Invalid` when it does not have the columns that the server gave it.
pub fn find_loads(connection: &Connection) -> Result<bool> {
    match find_table(connection, &name(connection))? {
        None => Ok(false),
        Some(table) if has_columns(&table, &COLUMNS) => Ok(true),
        Some(_) => Err(Error::invalid(format!(
            "table {INTERNAL_SCHEMA}.load_ledger has been changed by hand and no longer tells which files were loaded; \
             restore it, or drop it to begin anew (files of earlier loads are not recognised then)"
        ))),
    }
}

/// Whether `table` has a row in the connection's snapshot; false when there is no such table.
pub fn has_rows(connection: &Connection, table: &TableName) -> Result<bool> {
    if find_table(connection, table)?.is_none() {
        return Ok(false);
    }
    let found = query(connection, &format!("SELECT 1 FROM {} LIMIT 1", table.to_sql()))?;
    Ok(found.iter().any(|batch| batch.num_rows() > 0))
}

/// Makes the table, in a transaction of its own.
pub fn create_loads(connection: &Connection) -> Result<()> {
    create_own(connection, &name(connection), &COLUMNS)
}

/// Writes pieces down as stored in `table`, in the connection's transaction.
pub fn append_loads(connection: &Connection, table: &str, pieces: &LoadPieces) -> Result<()> {
    let columns = COLUMNS.map(|(column, _)| column).join(", ");
    append_own(connection, &name(connection), &columns, &batch(table, pieces)?)
}

/// How many of `pieces` are stored in `table` more often than is known, by file and in the files' order.
pub fn stored_loads(connection: &Connection, table: &str, pieces: &LoadPieces) -> Result<Vec<(u64, String)>> {
    let (schema, units) = units(&batch(table, pieces)?);
    let (ledger, table) = (name(connection).to_sql(), quote_text(table));
    rows_of_segment(connection, Segment::new(schema, units), |source| {
        // A file that grows is cut in another way each time, so that its pieces alone do not tell.
        format!(
            "WITH sent AS MATERIALIZED (SELECT file, piece, {KNOWN}, {OF_FILE} FROM {source}), \
             stored AS (SELECT file, piece FROM {ledger} WHERE table_name = {table}) \
             SELECT max(found)::BIGINT, file FROM ( \
                 SELECT count(*) AS found, file FROM ( \
                     SELECT file, piece FROM ( \
                         SELECT file, piece, min({KNOWN}) AS {KNOWN} FROM sent GROUP BY file, piece) \
                     JOIN stored USING (file, piece) \
                     GROUP BY file, piece, {KNOWN} HAVING count(*) > {KNOWN}) \
                 GROUP BY file \
             UNION ALL \
                 SELECT there - known_of_file, file FROM ( \
                     SELECT file, max({OF_FILE}) AS known_of_file FROM sent WHERE {OF_FILE} IS NOT NULL GROUP BY file) \
                 JOIN (SELECT file, count(*) AS there FROM stored GROUP BY file) USING (file) \
                 WHERE there > known_of_file) \
             GROUP BY file ORDER BY file"
        )
    })
}

/// Deletes what is written down for `table`, in the connection's transaction, and gives the number of pieces.
pub fn forget_loads(connection: &Connection, table: &str) -> Result<u64> {
    connection.execute(&forget_loads_sql(connection, table))
}

/// The statement behind [`forget_loads`], for whoever runs it among others.
pub fn forget_loads_sql(connection: &Connection, table: &str) -> String {
    format!("DELETE FROM {} WHERE table_name = {}", name(connection).to_sql(), quote_text(table))
}

fn batch(table: &str, pieces: &LoadPieces) -> Result<RecordBatch> {
    let LoadPieces { files, pieces, rows, known, of_file } = pieces;
    let tables: StringArray = std::iter::repeat_n(Some(table), files.len()).collect();
    let columns: [(&str, DataType, ArrayRef); 7] = [
        (
            "at",
            DataType::Timestamp(TimeUnit::Microsecond, None),
            Arc::new(TimestampMicrosecondArray::from_value(now(), files.len())),
        ),
        ("table_name", DataType::Utf8, Arc::new(tables)),
        ("file", DataType::Utf8, Arc::new(files.clone())),
        ("piece", DataType::UInt64, Arc::new(pieces.clone())),
        ("row_count", DataType::Int64, Arc::new(rows.clone())),
        (KNOWN, DataType::Int64, Arc::new(known.clone())),
        (OF_FILE, DataType::Int64, Arc::new(of_file.clone())),
    ];
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) =
        columns.into_iter().map(|(name, kind, column)| (Field::new(name, kind, true), column)).unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
