//! Running statement -> RecordBatches that DuckDB's worker threads build.
//! Runs on: the one thread that opened it. `next` blocks and lends the thread to the execution.
//! Never: waits for a reader; holds more than the engine's result buffer and the batch in hand.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Fields, SchemaRef};
use duckdb::arrow::ArrowArray;
use duckdb::query_result::ArrowResultStep;
use duckdb::value::Value;

use super::export::{Exported, Form, needs_lossless};
use super::statement::Parsed;
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::ffi::{self, Arrays, Bounds};
use crate::table_functions::UNIT_ROWS;

/// Outcome of one [`Cursor::step`].
pub enum Step {
    /// The next rows, in order.
    Batch(RecordBatch),
    /// Nothing is ready yet.
    NotReady,
    /// The result is complete.
    Finished,
}

/// A running query.
pub struct Cursor<'connection> {
    result: Arrays<'connection>,
    connection: &'connection Connection,
    exported: Exported,
    // An array that had to be waited for before the schema was known.
    first: Option<ArrowArray>,
    // Given so far.
    rows: u64,
    // Whether no transaction was open before: the query's own ends with its result.
    was_at_rest: bool,
    // Whether the last row has come.
    is_over: bool,
}

/// How large the arrays of a result are to be.
#[derive(Debug, Clone, Copy)]
pub struct ArraySize {
    /// Bytes that are aimed at.
    pub bytes: usize,
    /// Rows at most.
    pub rows_max: Option<usize>,
}

/// Vectors (2,048 rows) per array that divide a row group evenly. Arrays end at row groups, so any other number
/// leaves a short array behind every one of them, and splits vectors.
const VECTORS: [usize; 12] = [60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2, 1];
/// Rows of a vector.
const VECTOR_ROWS: usize = UNIT_ROWS / VECTORS[0];

/// When an array is full.
fn bounds(connection: &Connection, schema: &SchemaRef, size: ArraySize) -> Bounds {
    if connection.database().options().engine_arrays {
        return Bounds::Rows(array_rows(schema, size) as u64);
    }
    let rows = size.rows_max.unwrap_or(UNIT_ROWS).clamp(1, UNIT_ROWS);
    Bounds::Bytes(size.bytes as u64, rows as u64)
}

/// Rows of the engine's own arrays, from the schema: what the bytes hold, a fifth more at most. Of values of variable
/// length nothing is known, so there are no more than a vector of them.
fn array_rows(schema: &SchemaRef, ArraySize { bytes, rows_max }: ArraySize) -> usize {
    let vectors_max = match row_bytes(schema.fields()) {
        Some(width) => (bytes + bytes / 5) / width.max(1).saturating_mul(VECTOR_ROWS),
        None => 1,
    };
    let vectors = VECTORS.into_iter().find(|vectors| *vectors <= vectors_max).unwrap_or(1);
    rows_max.map_or(vectors * VECTOR_ROWS, |limit| (vectors * VECTOR_ROWS).min(limit.max(1)))
}

/// Bytes of a row, unless that differs from row to row. Arrays of arrays of arrays have more bytes than there are numbers
/// for.
fn row_bytes(fields: &Fields) -> Option<usize> {
    fields
        .iter()
        .try_fold(0_usize, |bytes, field| Some(bytes.saturating_add(value_bytes(field.data_type())?)))
}

fn value_bytes(data_type: &DataType) -> Option<usize> {
    Some(match data_type {
        DataType::FixedSizeList(child, size) => {
            value_bytes(child.data_type())?.saturating_mul(usize::try_from(*size).unwrap_or(1))
        }
        DataType::FixedSizeBinary(size) => usize::try_from(*size).unwrap_or(16),
        DataType::Struct(fields) => row_bytes(fields)?,
        DataType::Boolean | DataType::Null => 1,
        other => other.primitive_width()?,
    })
}

impl<'connection> Cursor<'connection> {
    /// Starts `statement`, whose result has `schema`.
    pub fn open(
        connection: &'connection Connection,
        statement: &Parsed,
        schema: &SchemaRef,
        size: ArraySize,
    ) -> Result<Self> {
        Self::open_with(connection, statement, &[], schema, size)
    }

    /// Starts `statement` without describing it first, where its result says by itself what its columns are, as the `likely`
    /// one did: so it is bound once. `None` where it does not, or where the engine refuses it, which a description explains.
    ///
    /// Errors: `Cancelled`.
    pub fn open_evident(
        connection: &'connection Connection,
        statement: &Parsed,
        likely: &SchemaRef,
        size: ArraySize,
    ) -> Result<Option<Self>> {
        let note = |error| connection.database().note(error);
        let bounds = bounds(connection, likely, size);
        let was_at_rest = connection.rests();
        // Only in this form nothing stands for something else.
        Form::Lossless.set(connection).map_err(note)?;
        let started = Arrays::of(connection.duckdb(), &statement.statement, &[], bounds)
            .and_then(|result| Ok((result.schema().and_then(ffi::import_schema)?, result)));
        let (raw, result) = match started.map_err(note) {
            Ok(started) => started,
            Err(error) if error.kind() == Kind::Cancelled => return Err(error),
            Err(_) => return Ok(None),
        };
        let Some(exported) = Exported::evident(raw) else {
            stop(connection);
            return Ok(None);
        };
        Ok(Some(Self { result, connection, exported, first: None, rows: 0, was_at_rest, is_over: false }))
    }

    /// Starts a statement with the values of one row for its parameters.
    pub(crate) fn open_with(
        connection: &'connection Connection,
        statement: &Parsed,
        values: &[(&str, &Value)],
        schema: &SchemaRef,
        size: ArraySize,
    ) -> Result<Self> {
        let bounds = bounds(connection, schema, size);
        let was_at_rest = connection.rests();
        Self::started(connection, schema, was_at_rest, || {
            Arrays::of(connection.duckdb(), &statement.statement, values, bounds)
        })
    }

    /// Starts the prepared statement `sql` with the values of one row.
    pub(crate) fn open_bound(
        connection: &'connection Connection,
        sql: &str,
        values: &[(&str, &Value)],
        schema: &SchemaRef,
        size: ArraySize,
    ) -> Result<Self> {
        let bounds = bounds(connection, schema, size);
        let was_at_rest = connection.rests();
        let kept = connection.kept(sql)?;
        Self::started(connection, schema, was_at_rest, || {
            Arrays::of_prepared(connection.duckdb(), kept, values, bounds)
        })
    }

    fn started(
        connection: &'connection Connection,
        schema: &SchemaRef,
        was_at_rest: bool,
        start: impl FnOnce() -> duckdb::Result<Arrays<'connection>>,
    ) -> Result<Self> {
        let note = |error| connection.database().note(error);
        // The form is fixed when the result knows its columns.
        let form = if needs_lossless(schema) { Form::Lossless } else { Form::Default };
        form.set(connection).map_err(note)?;
        let mut result = start().map_err(note)?;
        let mut first = None;
        let raw = match result.schema().and_then(ffi::import_schema) {
            Ok(raw) => raw,
            // Statements that expand to several, such as PIVOT, know their columns only once they run.
            Err(_) => {
                first = result.next_array().map_err(note)?;
                result.schema().and_then(ffi::import_schema).map_err(note)?
            }
        };
        let exported = Exported::new(raw, form, schema)?;
        Ok(Self { result, connection, exported, first, rows: 0, was_at_rest, is_over: false })
    }

    /// Schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        self.exported.schema()
    }

    /// One bounded unit of execution; returns at once when nothing is ready.
    pub fn step(&mut self) -> Result<Step> {
        if let Some(first) = self.first.take() {
            return self.import(first).map(Step::Batch);
        }
        match self.result.step().map_err(|error| self.connection.database().note(error))? {
            ArrowResultStep::Array(array) => self.import(array).map(Step::Batch),
            ArrowResultStep::Waiting => Ok(Step::NotReady),
            ArrowResultStep::Finished => {
                self.end();
                Ok(Step::Finished)
            }
            ArrowResultStep::Canceled => Err(Error::new(Kind::Cancelled, "the query was interrupted")),
        }
    }

    /// Blocks until the next batch, or returns `None` at the end of the result.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(first) = self.first.take() {
            return self.import(first).map(Some);
        }
        match self.result.next_array().map_err(|error| self.connection.database().note(error))? {
            Some(array) => self.import(array).map(Some),
            None => {
                self.end();
                Ok(None)
            }
        }
    }

    fn end(&mut self) {
        self.is_over = true;
        if self.was_at_rest {
            self.connection.rests_again();
        }
    }

    fn import(&mut self, array: ArrowArray) -> Result<RecordBatch> {
        let batch = ffi::import_batch(array, self.exported.raw())
            .map_err(|error| self.connection.database().note(error))?;
        let first_row = self.rows + 1;
        self.rows += batch.num_rows() as u64;
        self.exported.batch(batch, first_row)
    }
}

impl Drop for Cursor<'_> {
    /// The engine closes a result only after its threads have come to the end of what they are at, which can be hours away,
    /// unless they are interrupted.
    fn drop(&mut self) {
        if !self.is_over {
            stop(self.connection);
        }
    }
}

/// Stops what runs on a connection.
fn stop(connection: &Connection) {
    // The only error is a closed connection, and then there is nothing to stop.
    let _ = connection.duckdb().interrupt_handle().interrupt();
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    /// Nobody has to interrupt what is merely let go of.
    #[test]
    fn a_cursor_that_is_dropped_stops_its_query() {
        let database = crate::Database::open(crate::Options::in_memory()).unwrap();
        let connection = database.connection().unwrap();
        let sql = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b";
        let statement = crate::parse(&connection, sql).unwrap();
        let described = statement.describe(&connection).unwrap();
        let size = ArraySize { bytes: 1 << 20, rows_max: None };
        for _ in 0..3 {
            let started = std::time::Instant::now();
            let mut cursor = Cursor::open(&connection, &statement, &described.schema, size).unwrap();
            // The engine's threads are at it.
            while started.elapsed() < std::time::Duration::from_millis(50) {
                assert!(matches!(cursor.step().unwrap(), Step::NotReady));
            }
            drop(cursor);
            assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
            connection.execute("SELECT 1").unwrap();
        }
    }

    /// The widest type that can be written down still gives a number of rows.
    #[test]
    fn arrays_of_arrays_have_a_width() {
        let mut data_type = DataType::Int64;
        for _ in 0..12 {
            data_type = DataType::FixedSizeList(Arc::new(Field::new("item", data_type, true)), 100_000);
        }
        let field = Field::new("c", data_type, true);
        let schema = Arc::new(Schema::new(vec![field.clone(), field]));
        assert_eq!(array_rows(&schema, ArraySize { bytes: usize::MAX / 2, rows_max: None }), VECTOR_ROWS);
    }
}
