//! Arrow encodings that the engine's importer takes slowly or not at all -> the plain columns they stand for.
//! Runs on: the task that decodes a stream; only for columns that need it. Pure.
//! Never: copies a column that is plain already.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::error::Result;

/// The plain form of a schema, or the schema itself.
pub fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    if fields.iter().zip(schema.fields()).all(|(plain, offered)| Arc::ptr_eq(plain, offered)) {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new(fields))
}

/// `batch` with every column in its plain form; columns that are plain are passed on as they are.
///
/// Errors: `Invalid` when an encoded column is inconsistent.
pub fn plain_batch(batch: RecordBatch, plain: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(plain, batch.schema_ref()) || plain.fields() == batch.schema_ref().fields() {
        return Ok(batch);
    }
    let columns = batch
        .columns()
        .iter()
        .zip(plain.fields())
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                Ok(Arc::clone(column))
            } else {
                cast(column, field.data_type())
            }
        })
        .collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(plain), columns)?)
}

fn plain_field(field: &FieldRef) -> FieldRef {
    match plain_type(field.data_type()) {
        None => Arc::clone(field),
        Some(data_type) => Arc::new(
            Field::new(field.name(), data_type, field.is_nullable()).with_metadata(field.metadata().clone()),
        ),
    }
}

/// `None` when the type is plain.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let child = |field: &FieldRef| {
        let plain = plain_field(field);
        (!Arc::ptr_eq(&plain, field)).then_some(plain)
    };
    match data_type {
        // The importer decodes a dictionary anew for every 2,048 rows; once per batch is cheaper.
        DataType::Dictionary(_, values) => Some(plain_type(values).unwrap_or_else(|| (**values).clone())),
        DataType::RunEndEncoded(_, values) => {
            Some(plain_type(values.data_type()).unwrap_or_else(|| values.data_type().clone()))
        }
        // DuckDB has no half floats; every one of them is a float.
        DataType::Float16 => Some(DataType::Float32),
        DataType::List(field) => child(field).map(DataType::List),
        DataType::LargeList(field) => child(field).map(DataType::LargeList),
        DataType::FixedSizeList(field, size) => {
            child(field).map(|field| DataType::FixedSizeList(field, *size))
        }
        DataType::Map(field, sorted) => child(field).map(|field| DataType::Map(field, *sorted)),
        DataType::Struct(fields) => {
            let plain: Vec<FieldRef> = fields.iter().map(plain_field).collect();
            let same = plain.iter().zip(fields).all(|(plain, field)| Arc::ptr_eq(plain, field));
            (!same).then(|| DataType::Struct(plain.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray, DictionaryArray, Int64Array};
    use arrow::datatypes::Int32Type;

    #[test]
    fn dictionaries_become_plain_and_plain_columns_stay_the_same_arrays() {
        let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let schema = Arc::new(Schema::new(vec![
            Field::new("words", words.data_type().clone(), true),
            Field::new("numbers", DataType::Int64, true),
        ]));
        let batch =
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(words), numbers.clone()]).unwrap();
        let plain = plain_schema(&schema);
        assert_eq!(plain.field(0).data_type(), &DataType::Utf8);
        let batch = plain_batch(batch, &plain).unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(2), "a");
        assert!(batch.column(0).is_null(1));
        assert!(std::ptr::eq(
            batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values().as_ptr(),
            numbers.values().as_ptr()
        ));
    }

    #[test]
    fn a_plain_schema_is_returned_as_it_is() {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
        assert!(Arc::ptr_eq(&plain_schema(&schema), &schema));
    }
}
