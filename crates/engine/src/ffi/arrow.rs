//! Arrow schemas and batches across the C Data Interface, both ways.
//! Never: copies a buffer.

use std::mem::transmute;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use duckdb::arrow::{ArrowArray, ArrowSchema};
use duckdb::{Result, ffi};

/// An Arrow schema as DuckDB takes it.
pub(super) fn export_schema(schema: &Schema) -> Result<ArrowSchema> {
    let exported = FFI_ArrowSchema::try_from(schema).map_err(|error| {
        duckdb::Error::invalid_input(format!("schema cannot cross to the engine: {error}"))
    })?;
    // SAFETY: both types are the `ArrowSchema` struct of the C Data Interface, field for field; the duty to
    // call `release` moves with the value, because `FFI_ArrowSchema` is consumed by the transmute.
    Ok(unsafe { ArrowSchema::from_raw(transmute::<FFI_ArrowSchema, ffi::ArrowSchema>(exported)) })
}

/// An Arrow schema as DuckDB gives it.
pub(crate) fn import_schema(schema: ArrowSchema) -> Result<Schema> {
    // SAFETY: the same struct layout as above; ownership moves out with `into_raw`, and `FFI_ArrowSchema`
    // calls `release` when dropped.
    let imported = unsafe { transmute::<ffi::ArrowSchema, FFI_ArrowSchema>(schema.into_raw()) };
    Schema::try_from(&imported)
        .map_err(|error| duckdb::Error::api_error(format!("result type has no Arrow form: {error}")))
}

/// Hands a batch over as one struct array. Buffers are shared, not copied: the release callback of the
/// exported array drops the reference counts.
pub(super) fn export_batch(batch: RecordBatch) -> ArrowArray {
    // `StructArray::from` puts slices into the children and keeps the top level at offset 0, which is the
    // form DuckDB's importer handles for every type.
    let array = FFI_ArrowArray::new(&StructArray::from(batch).into_data());
    // SAFETY: both types are the `ArrowArray` struct of the C Data Interface; the transmute consumes the
    // arrow-rs value, so exactly one owner calls `release`.
    unsafe { ArrowArray::from_raw(transmute::<FFI_ArrowArray, ffi::ArrowArray>(array)) }
}

/// Takes an array that DuckDB built. Buffers are owned by the returned batch and freed by DuckDB's own
/// release callback when its last slice is dropped, on whatever thread that happens.
pub(crate) fn import_batch(array: ArrowArray, schema: &SchemaRef) -> Result<RecordBatch> {
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
