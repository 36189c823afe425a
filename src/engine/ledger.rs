//! The table behind the ingest ledger: made, read, appended to, cut back.
//! Runs on: the thread of the session; blocks.
//! Never: decides what an entry means (`ingest::ledger` does), or updates a row: it is a log.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, UInt64Type};

use super::session::Session;
use super::tables::{find_table, query};
use crate::catalog::{TableName, quote_name};
use crate::error::{Error, Result};

/// Schema of the server's own tables.
pub const INTERNAL_SCHEMA: &str = "pintail_internal";
/// Columns of the ledger, `at` apart.
const COLUMNS: [(&str, &str); 8] = [
    ("table_name", "VARCHAR"),
    ("key", "VARCHAR"),
    ("producer", "VARCHAR"),
    ("epoch", "BIGINT"),
    ("seq", "BIGINT"),
    ("row_count", "BIGINT"),
    ("checksum", "UBIGINT"),
    ("answer", "VARCHAR"),
];

/// One row of the ledger, as it is found.
#[derive(Debug, Clone, Default)]
pub struct LedgerRow {
    /// `schema.table`.
    pub table: Option<String>,
    /// Idempotency key of a stream.
    pub key: Option<String>,
    /// Producer of a batch.
    pub producer: Option<String>,
    /// Its epoch.
    pub epoch: Option<u64>,
    /// The batch's number.
    pub seq: Option<u64>,
    /// Rows of the stream, or of the producer's batches up to this one.
    pub rows: Option<u64>,
    /// Checksum of the content.
    pub checksum: Option<u64>,
    /// The first answer to a stream with a key, as JSON.
    pub answer: Option<String>,
}

fn name(session: &Session) -> TableName {
    TableName {
        catalog: Some(session.database().catalog().to_owned()),
        schema: Some(INTERNAL_SCHEMA.into()),
        table: "ingest_ledger".into(),
    }
}

/// Every row in the order it was written, or `None` when there is no ledger yet.
///
/// Errors: `Invalid` when the table does not have the columns that the server gave it.
pub fn read_ledger(session: &Session) -> Result<Option<Vec<LedgerRow>>> {
    let name = name(session);
    let Some(table) = find_table(session, &name)? else { return Ok(None) };
    let found: Vec<(&str, &str)> =
        table.columns.iter().map(|column| (column.name.as_str(), column.duckdb_type.as_str())).collect();
    if found.first().is_none_or(|first| *first != ("at", "TIMESTAMP")) || found[1..] != COLUMNS {
        return Err(Error::invalid(
            "table pintail_internal.ingest_ledger has been changed by hand and no longer tells which puts were \
             applied; restore it, or drop it to begin anew (retries of earlier puts are not recognised then)",
        ));
    }
    let columns: Vec<&str> = COLUMNS.iter().map(|(column, _)| *column).collect();
    let sql = format!("SELECT {} FROM {} ORDER BY rowid", columns.join(", "), name.to_sql());
    let mut rows = Vec::new();
    for batch in query(session, &sql)? {
        rows.extend((0..batch.num_rows()).map(|row| read(&batch, row)));
    }
    Ok(Some(rows))
}

fn read(batch: &RecordBatch, row: usize) -> LedgerRow {
    let text = |column: usize| {
        let values = batch.column(column).as_string::<i32>();
        (!values.is_null(row)).then(|| values.value(row).to_owned())
    };
    let number = |column: usize| {
        let values = batch.column(column).as_primitive::<Int64Type>();
        (!values.is_null(row)).then(|| u64::try_from(values.value(row)).ok()).flatten()
    };
    let checksums = batch.column(6).as_primitive::<UInt64Type>();
    LedgerRow {
        table: text(0),
        key: text(1),
        producer: text(2),
        epoch: number(3),
        seq: number(4),
        rows: number(5),
        checksum: (!checksums.is_null(row)).then(|| checksums.value(row)),
        answer: text(7),
    }
}

/// Makes the table, in a transaction of its own.
pub fn create_ledger(session: &Session) -> Result<()> {
    let name = name(session);
    let schema = [session.database().catalog(), INTERNAL_SCHEMA].map(quote_name).join(".");
    session.execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}"))?;
    let columns: Vec<String> = COLUMNS.iter().map(|(column, kind)| format!("{column} {kind}")).collect();
    session
        .execute(&format!(
            "CREATE TABLE IF NOT EXISTS {} (\"at\" TIMESTAMP, {})",
            name.to_sql(),
            columns.join(", ")
        ))
        .map(|_| ())
}

/// Appends rows, each the SQL values of all columns but `at`, in the session's transaction.
pub fn append_ledger(session: &Session, rows: &[String]) -> Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let at = format!("make_timestamp({})", now.as_micros());
    let rows: Vec<String> = rows.iter().map(|row| row.replacen('(', &format!("({at}, "), 1)).collect();
    session.execute(&format!("INSERT INTO {} VALUES {}", name(session).to_sql(), rows.join(", "))).map(|_| ())
}

/// Deletes all but the newest rows: `keys_max` of keys, `batches_max` of each producer and table, and only the
/// `producers_max` used last.
pub fn cut_ledger(
    session: &Session,
    keys_max: usize,
    batches_max: usize,
    producers_max: usize,
) -> Result<()> {
    let name = name(session).to_sql();
    session
        .execute(&format!(
            "DELETE FROM {name} WHERE rowid IN (SELECT row FROM ( \
                 SELECT rowid AS row, key, \
                        row_number() OVER (PARTITION BY key IS NULL, \
                                           CASE WHEN key IS NULL THEN producer END, \
                                           CASE WHEN key IS NULL THEN table_name END \
                                           ORDER BY rowid DESC) AS age \
                 FROM {name}) \
             WHERE age > CASE WHEN key IS NULL THEN {batches_max} ELSE {keys_max} END) \
             OR (key IS NULL AND (producer, table_name) NOT IN ( \
                 SELECT (producer, table_name) FROM {name} WHERE key IS NULL \
                 GROUP BY producer, table_name ORDER BY max(rowid) DESC LIMIT {producers_max}))"
        ))
        .map(|_| ())
}
