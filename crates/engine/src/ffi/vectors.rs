//! Vectors of DuckDB's: lent the buffers of batches, or filled with lists.
//! Runs on: DuckDB's worker threads.

use std::mem::transmute;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use duckdb::Result;
use duckdb::arrow::ArrowImporter;
use duckdb::connection::Context;
use duckdb::data_chunk::{DataChunk, DataChunkRef};
use duckdb::types::List;
use duckdb::vector::{Unknown, Vector, WritableVectorElement};

use super::arrow::{export_batch, export_schema};

/// Rows per data chunk: DuckDB's vector size.
const CHUNK_ROWS: usize = 2048;

/// Turns batches of one schema into data chunks that borrow the batches' buffers.
///
/// Lives in a table function's local state: one per DuckDB thread and statement.
pub(crate) struct Importer {
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
    pub(crate) fn new(context: &Context, schema: &Schema) -> Result<Self> {
        let importer = ArrowImporter::new(context, export_schema(schema)?, Some(CHUNK_ROWS))?;
        // SAFETY: only the lifetime changes. The C API promises that an importer made in a bind or init
        // callback may be used from the exec callbacks of the same statement and destroyed with its state;
        // DuckDB destroys local state before the client context behind `context`. `Importer` is private to
        // the segment function, which keeps it nowhere but in that state.
        let importer = unsafe { transmute::<ArrowImporter<'_>, ArrowImporter<'static>>(importer) };
        Ok(Self { lent: None, importer })
    }

    /// The engine's names and types for the schema.
    pub(crate) fn schema(&self) -> Result<duckdb::schema::Schema> {
        self.importer.schema()
    }

    /// Takes the next batch; call it when `lend_next` returned false.
    pub(crate) fn feed(&mut self, batch: RecordBatch) -> Result<()> {
        self.importer.append_consumed(export_batch(batch), true)
    }

    /// Lets `output` refer to the next chunk of the batch fed last; false when that batch is used up.
    pub(crate) fn lend_next(&mut self, output: &mut DataChunkRef<'_>) -> Result<bool> {
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
pub(crate) fn write_lists<T>(mut output: Vector<'_, List<T>>, rows: Vec<Option<Vec<T>>>) -> Result<()>
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
