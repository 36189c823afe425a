//! The table behind the ingest ledger: made, read, appended to, cut back.
//! Runs on: the thread of the connection; blocks.
//! Never: decides what an entry means (`ingest::ledger` does), or updates a row: it is a log.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Int64Array, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt64Array,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Int64Type, Schema, TimeUnit, UInt64Type};

use super::own_table::{append_own, create_own, has_columns, now};
use crate::append::count_rows;
use crate::catalog::{TableName, quote_text};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::internal::{INTERNAL_SCHEMA, own_name};
use crate::introspect::find_table;
use crate::read::{ArraySize, Cursor, parse, query};

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

/// Bytes of an array that the ledger is read in.
const READ_BYTES: usize = 1 << 20;

/// One row of the ledger, `at` apart, as it is found or to be written.
#[derive(Debug, Clone, Default)]
pub struct LedgerRow<'a> {
    /// `schema.table`.
    pub table: Option<&'a str>,
    /// Idempotency key of a stream.
    pub key: Option<&'a str>,
    /// Producer of a batch.
    pub producer: Option<&'a str>,
    /// Its epoch.
    pub epoch: Option<i64>,
    /// The batch's number.
    pub seq: Option<i64>,
    /// Rows of the stream, or of the producer's batches up to this one.
    pub rows: Option<i64>,
    /// Checksum of the content.
    pub checksum: Option<u64>,
    /// The first answer to a stream with a key, as JSON.
    pub answer: Option<Cow<'a, str>>,
}

/// What a cut leaves in the table.
#[derive(Debug, Clone, Copy)]
pub struct LedgerBounds {
    /// Newest rows with a key.
    pub keys: usize,
    /// Producers and tables, those written to last.
    pub lines: usize,
    /// Newest batches of each of them.
    pub batches: usize,
}

fn name(connection: &Connection) -> TableName {
    own_name(connection.database().catalog(), "ingest_ledger")
}

/// Hands every row to `each`, in the order they were written; false when there is no ledger yet.
///
/// Errors: `Invalid` when the table does not have the columns that the server gave it.
pub fn read_ledger(connection: &Connection, each: &mut dyn FnMut(LedgerRow<'_>)) -> Result<bool> {
    let name = name(connection);
    let Some(table) = find_table(connection, &name)? else { return Ok(false) };
    if !has_columns(&table, &COLUMNS) {
        return Err(Error::invalid(format!(
            "table {INTERNAL_SCHEMA}.ingest_ledger has been changed by hand and no longer tells which puts were \
             applied; restore it, or drop it to begin anew (retries of earlier puts are not recognised then)"
        )));
    }
    // The order of a scan is the order of writing; sorting by rowid would only cost.
    let statement = parse(connection, &format!("SELECT {} FROM {}", column_list(), name.to_sql()))?;
    let schema = statement.describe(connection)?.schema;
    let mut cursor =
        Cursor::open(connection, &statement, &schema, ArraySize { bytes: READ_BYTES, rows_max: None })?;
    while let Some(batch) = cursor.next_batch()? {
        read(&batch, each);
    }
    Ok(true)
}

fn read(batch: &RecordBatch, each: &mut dyn FnMut(LedgerRow<'_>)) {
    let texts: [&StringArray; 4] = [0, 1, 2, 7].map(|column| batch.column(column).as_string::<i32>());
    let numbers: [&Int64Array; 3] = [3, 4, 5].map(|column| batch.column(column).as_primitive::<Int64Type>());
    let checksums = batch.column(6).as_primitive::<UInt64Type>();
    for row in 0..batch.num_rows() {
        let [table, key, producer, answer] =
            texts.map(|values| values.is_valid(row).then(|| values.value(row)));
        let [epoch, seq, rows] = numbers.map(|values| value(values, row));
        let checksum = value(checksums, row);
        let answer = answer.map(Cow::Borrowed);
        each(LedgerRow { table, key, producer, epoch, seq, rows, checksum, answer });
    }
}

fn value<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    values.is_valid(row).then(|| values.value(row))
}

fn column_list() -> String {
    COLUMNS.map(|(column, _)| column).join(", ")
}

/// Makes the table, in a transaction of its own.
pub fn create_ledger(connection: &Connection) -> Result<()> {
    create_own(connection, &name(connection), &COLUMNS)
}

/// Appends rows in the connection's transaction.
pub fn append_ledger(connection: &Connection, rows: &[LedgerRow<'_>]) -> Result<()> {
    append_own(connection, &name(connection), &column_list(), &batch(rows)?)
}

fn batch(rows: &[LedgerRow<'_>]) -> Result<RecordBatch> {
    let text =
        |column: fn(&LedgerRow<'_>) -> Option<String>| -> StringArray { rows.iter().map(column).collect() };
    let number =
        |column: fn(&LedgerRow<'_>) -> Option<i64>| -> Int64Array { rows.iter().map(column).collect() };
    let kinds = [("at", DataType::Timestamp(TimeUnit::Microsecond, None))].into_iter().chain(COLUMNS.map(
        |(name, kind)| match kind {
            "BIGINT" => (name, DataType::Int64),
            "UBIGINT" => (name, DataType::UInt64),
            _ => (name, DataType::Utf8),
        },
    ));
    let schema = Schema::new(kinds.map(|(name, kind)| Field::new(name, kind, true)).collect::<Vec<_>>());
    Ok(RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(TimestampMicrosecondArray::from_value(now(), rows.len())),
            Arc::new(text(|row| row.table.map(str::to_owned))),
            Arc::new(text(|row| row.key.map(str::to_owned))),
            Arc::new(text(|row| row.producer.map(str::to_owned))),
            Arc::new(number(|row| row.epoch)),
            Arc::new(number(|row| row.seq)),
            Arc::new(number(|row| row.rows)),
            Arc::new(rows.iter().map(|row| row.checksum).collect::<UInt64Array>()),
            Arc::new(text(|row| row.answer.as_deref().map(str::to_owned))),
        ],
    )?)
}

/// Deletes all but the rows that `bounds` leave, in the connection's transaction, and gives the number of those. Order
/// is the order of writing, as it is for whoever reads the table. Producers and tables in `kept` stay whatever their
/// place is, and the newest epoch of a producer stays as long as any row of it does.
///
/// A row that another transaction commits meanwhile is not looked at, so it stays.
pub fn cut_ledger(connection: &Connection, bounds: LedgerBounds, kept: &[(&str, &str)]) -> Result<u64> {
    let name = name(connection).to_sql();
    let LedgerBounds { keys, lines, batches } = bounds;
    let pair =
        |(producer, table): &(&str, &str)| format!("({}, {})", quote_text(producer), quote_text(table));
    let kept = match kept {
        [] => "false".to_owned(),
        kept => {
            let pairs: Vec<String> = kept.iter().map(pair).collect();
            format!("(producer, table_name) IN ({})", pairs.join(", "))
        }
    };
    connection.execute(&format!(
        "DELETE FROM {name} WHERE rowid IN ( \
             SELECT place FROM ( \
                 SELECT rowid AS place, row_number() OVER (ORDER BY rowid DESC) AS age FROM {name} WHERE key IS NOT NULL) \
             WHERE age > {keys} \
         UNION ALL \
             SELECT place FROM ( \
                 SELECT *, bool_or(stays) OVER (PARTITION BY producer) AS any_stays FROM ( \
                     SELECT *, dense_rank() OVER (ORDER BY newest DESC) <= {lines} OR coalesce({kept}, false) AS stays FROM ( \
                         SELECT rowid AS place, producer, table_name, \
                                max(rowid) OVER (PARTITION BY producer, table_name) AS newest, \
                                row_number() OVER (PARTITION BY producer, table_name \
                                                   ORDER BY seq IS NULL, rowid DESC) AS age, \
                                first_value(rowid) OVER (PARTITION BY producer \
                                                         ORDER BY epoch DESC NULLS LAST, rowid DESC) AS epoch_place \
                         FROM {name} WHERE key IS NULL))) \
             WHERE CASE WHEN place = epoch_place THEN NOT any_stays \
                        WHEN place = newest THEN NOT stays \
                        ELSE NOT stays OR age > {batches} END)"
    ))?;
    count_rows(connection, &self::name(connection))
}

/// The producers and tables that there are rows of.
pub fn ledger_lines(connection: &Connection) -> Result<Vec<(String, String)>> {
    let sql =
        format!("SELECT DISTINCT producer, table_name FROM {} WHERE key IS NULL", name(connection).to_sql());
    let mut lines = Vec::new();
    for batch in query(connection, &sql)? {
        let [producers, tables] = [0, 1].map(|column| batch.column(column).as_string::<i32>());
        let pairs = producers.iter().zip(tables);
        lines.extend(pairs.filter_map(|(producer, table)| Some((producer?.to_owned(), table?.to_owned()))));
    }
    Ok(lines)
}
