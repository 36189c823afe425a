//! What a client sends -> what the engine's importer reads as the same, or a refusal by column and row.
//! Runs on: the task that decodes a stream; only for columns that need it. Pure.
//! Never: copies a column that is plain already.
//!
//! Three steps: [`plain_schema`] says what the columns become, [`check_importable`] refuses what has no form in
//! DuckDB, and [`plain_batch`] brings each batch there and checks its values.

mod blob;
mod encoding;
mod extension;
mod importable;
mod ranges;
mod values;
mod variant;

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::error::Result;

pub(super) use extension::Extension;
pub use extension::{BIT, STANDS_FOR};
pub(super) use importable::check_importable;

/// The plain form of a schema, or the schema itself.
pub fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(encoding::plain_field).collect();
    if fields.iter().zip(schema.fields()).all(|(plain, offered)| Arc::ptr_eq(plain, offered)) {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new(fields))
}

/// `batch` with every column in its plain form; columns that are plain are passed on as they are.
///
/// Errors: `Invalid` when an encoded column is inconsistent, or holds a value that the engine would fail on later
/// or store as another; the text names column, row of the batch and value.
pub fn plain_batch(batch: RecordBatch, plain: &SchemaRef) -> Result<RecordBatch> {
    let is_plain = Arc::ptr_eq(plain, batch.schema_ref()) || plain.fields() == batch.schema_ref().fields();
    let batch = if is_plain { batch } else { converted(&batch, plain)? };
    values::check(&batch)?;
    Ok(batch)
}

fn converted(batch: &RecordBatch, plain: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(plain.fields())
        .map(|(column, field)| {
            encoding::plain_array(column, field)
                .map_err(|error| error.context(format!("column \"{}\"", field.name())))
        })
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(plain), columns, &options)?)
}

#[cfg(test)]
mod expanded;
#[cfg(test)]
mod tests;
