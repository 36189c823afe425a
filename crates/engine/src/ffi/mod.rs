//! The only unsafe code: Arrow structs across the C Data Interface, vectors lent to DuckDB, and prepared
//! statements kept beside the connection they belong to.
//! Runs on: DuckDB's worker threads and the thread that owns the connection.
//! Never: decides anything; each function is one conversion or one loan.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::mem::transmute;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use duckdb::arrow::{ArrowArray, ArrowImporter, ArrowSchema};
use duckdb::connection::{Connection as DuckDBConnection, Context};
use duckdb::data_chunk::{DataChunk, DataChunkRef};
use duckdb::statement::{PreparedStatement, Statement};
use duckdb::types::List;
use duckdb::vector::{Unknown, Vector, WritableVectorElement};
use duckdb::{Parameters, Result, ffi};

/// Rows per data chunk: DuckDB's vector size.
const CHUNK_ROWS: usize = 2048;

/// An Arrow schema as DuckDB takes it.
fn export_schema(schema: &Schema) -> Result<ArrowSchema> {
    let exported = FFI_ArrowSchema::try_from(schema).map_err(|error| {
        duckdb::Error::invalid_input(format!("schema cannot cross to the engine: {error}"))
    })?;
    // SAFETY: both types are the `ArrowSchema` struct of the C Data Interface, field for field; the duty to
    // call `release` moves with the value, because `FFI_ArrowSchema` is consumed by the transmute.
    Ok(unsafe { ArrowSchema::from_raw(transmute::<FFI_ArrowSchema, ffi::ArrowSchema>(exported)) })
}

/// An Arrow schema as DuckDB gives it.
pub(super) fn import_schema(schema: ArrowSchema) -> Result<Schema> {
    // SAFETY: the same struct layout as above; ownership moves out with `into_raw`, and `FFI_ArrowSchema`
    // calls `release` when dropped.
    let imported = unsafe { transmute::<ffi::ArrowSchema, FFI_ArrowSchema>(schema.into_raw()) };
    Schema::try_from(&imported)
        .map_err(|error| duckdb::Error::api_error(format!("result type has no Arrow form: {error}")))
}

/// Hands a batch over as one struct array. Buffers are shared, not copied: the release callback of the
/// exported array drops the reference counts.
fn export_batch(batch: RecordBatch) -> ArrowArray {
    // `StructArray::from` puts slices into the children and keeps the top level at offset 0, which is the
    // form DuckDB's importer handles for every type.
    let array = FFI_ArrowArray::new(&StructArray::from(batch).into_data());
    // SAFETY: both types are the `ArrowArray` struct of the C Data Interface; the transmute consumes the
    // arrow-rs value, so exactly one owner calls `release`.
    unsafe { ArrowArray::from_raw(transmute::<FFI_ArrowArray, ffi::ArrowArray>(array)) }
}

/// Takes an array that DuckDB built. Buffers are owned by the returned batch and freed by DuckDB's own
/// release callback when its last slice is dropped, on whatever thread that happens.
pub(super) fn import_batch(array: ArrowArray, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = array.len();
    // SAFETY: the same struct layout; ownership moves out with `into_raw` and into `FFI_ArrowArray`.
    let array = unsafe { transmute::<ffi::ArrowArray, FFI_ArrowArray>(array.into_raw()) };
    // SAFETY: DuckDB built the array for exactly the schema that the same result reported, so lengths,
    // offsets and children fit `schema`; the array is live because `len` was read from it above.
    let data = unsafe { from_ffi_and_data_type(array, DataType::Struct(schema.fields().clone())) }
        .map_err(|error| duckdb::Error::api_error(format!("result array cannot be imported: {error}")))?;
    let (_, columns, _) = StructArray::from(data).into_parts();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| duckdb::Error::api_error(format!("result array does not fit its schema: {error}")))
}

/// Turns batches of one schema into data chunks that borrow the batches' buffers.
///
/// Lives in a table function's local state: one per DuckDB thread and statement.
pub(super) struct Importer {
    // The chunk that the last output vectors refer to; replaced only by the next call. Declared first, so
    // that it is dropped before the importer that made it.
    lent: Option<DataChunk<'static>>,
    importer: ArrowImporter<'static>,
}

// SAFETY: DuckDB moves local state between threads only between callbacks and never runs two callbacks on
// one local state at a time. The importer's handle has no thread affinity: it holds Arrow arrays, whose
// reference counts are atomic, and a client context pointer that is only used inside callbacks. Not `Sync`:
// two threads must not drive one importer.
unsafe impl Send for Importer {}

impl Importer {
    /// An importer for batches of `schema`, made inside a bind or init callback.
    pub(super) fn new(context: &Context, schema: &Schema) -> Result<Self> {
        let importer = ArrowImporter::new(context, export_schema(schema)?, Some(CHUNK_ROWS))?;
        // SAFETY: only the lifetime changes. The C API promises that an importer made in a bind or init
        // callback may be used from the exec callbacks of the same statement and destroyed with its state;
        // DuckDB destroys local state before the client context behind `context`. `Importer` is private to
        // the segment function, which keeps it nowhere but in that state.
        let importer = unsafe { transmute::<ArrowImporter<'_>, ArrowImporter<'static>>(importer) };
        Ok(Self { lent: None, importer })
    }

    /// The engine's names and types for the schema.
    pub(super) fn schema(&self) -> Result<duckdb::schema::Schema> {
        self.importer.schema()
    }

    /// Takes the next batch; call it when `lend_next` returned false.
    pub(super) fn feed(&mut self, batch: RecordBatch) -> Result<()> {
        self.importer.append_consumed(export_batch(batch), true)
    }

    /// Lets `output` refer to the next chunk of the batch fed last; false when that batch is used up.
    pub(super) fn lend_next(&mut self, output: &mut DataChunkRef<'_>) -> Result<bool> {
        let Some(chunk) = self.importer.next_chunk()? else { return Ok(false) };
        for column in 0..chunk.col_count() {
            let source = chunk.get_vector_at::<Unknown>(column)?;
            let target = output.get_vector_at_mut::<Unknown>(column)?;
            // SAFETY: the source chunk is stored in `self.lent` below and stays there, unchanged, until the
            // next call on this state, which DuckDB makes only after it has consumed the output chunk. The
            // buffers belong to the Arrow array, which the chunk keeps alive. Column counts are equal: both
            // come from the same importer schema, declared in bind.
            let _ = unsafe { target.reference(source) }?;
        }
        self.lent = Some(chunk);
        Ok(true)
    }
}

/// Writes one list per row; `None` is NULL.
pub(super) fn write_lists<T>(mut output: Vector<'_, List<T>>, rows: Vec<Option<Vec<T>>>) -> Result<()>
where
    T: for<'a> WritableVectorElement<Write<'a> = T>,
{
    output.set_size(rows.len())?;
    let elements = rows.iter().flatten().map(Vec::len).sum();
    // SAFETY: the loop below writes every one of the `elements` before DuckDB reads the vector: lists take
    // consecutive elements, and their lengths add up to the size. When a write fails, so does the statement.
    unsafe { output.set_child_size(elements) }?;
    let mut writer = output.writer()?;
    for (row, list) in rows.into_iter().enumerate() {
        writer.set(row, list.map(|list| List(list.into_iter().map(Some).collect())))?;
    }
    Ok(())
}

/// A connection and the statements prepared on it, so that preparing happens once per connection.
pub(super) struct RawConnection {
    // Boxed, because a prepared statement refers to the statement's connection by address. Declared first, so
    // that the statements are dropped before the connection.
    kept: Vec<(String, Box<PreparedStatement<'static>>)>,
    // The server's own, which run to their end: prepared, and those that cannot be only read once.
    own: RefCell<Vec<(String, Box<PreparedStatement<'static>>)>>,
    read: RefCell<Vec<(&'static str, Statement<'static>)>>,
    duckdb: Box<DuckDBConnection>,
    token: String,
    // Dropped last: as long as it is there, so may be the connection.
    _alive: Arc<()>,
}

// SAFETY: a connection may move between threads (`DuckDBConnection` is `Send`). A prepared statement is a handle to an
// object that holds the connection's shared client context and no thread of its own; every call on it goes
// through that context. A statement that was only read is a syntax tree of its own. `RawConnection` is not `Sync`, so
// connection and statements are used by one thread at a time.
unsafe impl Send for RawConnection {}

impl RawConnection {
    /// `token`: a word that no other connection has. `alive` is held for as long as the connection is open.
    pub(super) fn new(duckdb: DuckDBConnection, token: String, alive: Arc<()>) -> Self {
        Self {
            kept: Vec::new(),
            own: RefCell::default(),
            read: RefCell::default(),
            duckdb: Box::new(duckdb),
            token,
            _alive: alive,
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn duckdb(&self) -> &DuckDBConnection {
        &self.duckdb
    }

    /// Prepares `statement` and keeps it under `sql`, forgetting the one unused for longest when there are
    /// `kept_max` already.
    pub(super) fn keep(&mut self, sql: &str, statement: &Statement<'static>, kept_max: usize) -> Result<()> {
        let prepared = self.prepare(statement)?;
        if self.kept.len() >= kept_max {
            self.kept.remove(0);
        }
        self.kept.push((sql.to_owned(), prepared));
        Ok(())
    }

    fn prepare(&self, statement: &Statement<'static>) -> Result<Box<PreparedStatement<'static>>> {
        let prepared = statement.prepare(&self.duckdb, false)?;
        // SAFETY: only the lifetime changes. The statement refers to `*self.duckdb`, which is boxed and
        // never replaced, and `kept` and `own` are dropped before it. The longer lifetime does not leave this
        // type: `last` gives the statement out for as long as `self` is borrowed, `run_own` not at all.
        Ok(Box::new(unsafe { transmute::<PreparedStatement<'_>, PreparedStatement<'static>>(prepared) }))
    }

    fn parse(&self, sql: &str) -> Result<Statement<'static>> {
        let mut statements = self.duckdb.parse(sql)?;
        statements
            .next()
            .unwrap_or_else(|| Err(duckdb::Error::api_error("a statement vanished while parsing")))
    }

    /// Runs a statement of the server's own to its end, which is prepared the first time, and gives the changed
    /// rows. The `own_max` used last are remembered.
    pub(super) fn run_own(&self, sql: &str, own_max: usize) -> Result<usize> {
        let mut own = self.own.borrow_mut();
        let entry = match own.iter().position(|(known, _)| known == sql) {
            Some(index) => own.remove(index),
            None => (sql.to_owned(), self.prepare(&self.parse(sql)?)?),
        };
        // One that fails is forgotten: it may have been bound to what is no longer there.
        let rows = entry.1.execute(Parameters::None)?.drain()?;
        if own.len() >= own_max {
            own.remove(0);
        }
        own.push(entry);
        Ok(rows)
    }

    /// Runs a statement that is always the same, such as COMMIT, to its end; it is parsed the first time.
    pub(super) fn run_same(&self, sql: &'static str) -> Result<usize> {
        let mut read = self.read.borrow_mut();
        let index = match read.iter().position(|(known, _)| *known == sql) {
            Some(index) => index,
            None => {
                read.push((sql, self.parse(sql)?));
                read.len() - 1
            }
        };
        read[index].1.query(&self.duckdb, Parameters::None)?.drain()
    }

    /// Whether `sql` is kept; marks it as the one used last.
    pub(super) fn touch(&mut self, sql: &str) -> bool {
        let Some(index) = self.kept.iter().position(|(kept, _)| kept == sql) else { return false };
        let entry = self.kept.remove(index);
        self.kept.push(entry);
        true
    }

    /// The statement used last, if it is `sql`.
    pub(super) fn last<'raw>(&'raw self, sql: &str) -> Option<&'raw PreparedStatement<'raw>> {
        let (kept, prepared) = self.kept.last()?;
        (kept == sql).then_some(&**prepared)
    }

    /// Forgets every statement: an object they refer to may be gone.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.own.get_mut().clear();
    }
}
