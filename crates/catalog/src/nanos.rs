//! Which type a new table gives a column of nanoseconds.
//! Runs on: any thread, once per new table; reads the columns in question.
//! Never: leaves a digit out.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, TimeUnit, TimestampNanosecondType};

/// The types of a new table's columns: `types` of the stream, but TIMESTAMPTZ for nanoseconds with a zone that are whole
/// microseconds in all of `begun`, the batches that the stream begins with.
///
/// Some clients know no other unit, and the engine can do little with TIMESTAMPTZ_NS. What comes later and is not
/// whole is refused by its row. A stream that begins without a batch shows nothing, and keeps its type.
pub fn stored_types(schema: &Schema, types: &[String], begun: &[RecordBatch]) -> Vec<String> {
    let stored =
        |(index, (field, duckdb_type)): (usize, (&std::sync::Arc<arrow::datatypes::Field>, &String))| {
            if is_nanos(field.data_type())
                && !begun.is_empty()
                && begun.iter().all(|batch| is_whole(batch.column(index)))
            {
                "TIMESTAMP WITH TIME ZONE".to_owned()
            } else {
                duckdb_type.clone()
            }
        };
    schema.fields().iter().zip(types).enumerate().map(stored).collect()
}

/// Whether the type of one of the columns of a new table depends on the values.
pub fn depends_on_values(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| is_nanos(field.data_type()))
}

fn is_nanos(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Nanosecond, Some(_)))
}

fn is_whole(array: &dyn Array) -> bool {
    let values = array.as_primitive_opt::<TimestampNanosecondType>();
    values.is_some_and(|values| values.iter().flatten().all(|nanos| nanos % 1000 == 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampNanosecondArray;
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn nanoseconds_with_a_zone_are_stored_as_microseconds_where_they_are() {
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
        let schema = Arc::new(Schema::new(vec![Field::new("at", nanos, true)]));
        let types = ["TIMESTAMPTZ_NS".to_owned()];
        let batch = |values: Vec<Option<i64>>| {
            let array = TimestampNanosecondArray::from(values).with_timezone("UTC");
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(array)]).unwrap()
        };
        let whole = batch(vec![Some(1000), None, Some(-2000)]);
        let micros = ["TIMESTAMP WITH TIME ZONE".to_owned()];
        assert!(depends_on_values(&schema));
        assert_eq!(stored_types(&schema, &types, &[]), types);
        assert_eq!(stored_types(&schema, &types, &[whole.clone(), batch(vec![None])]), micros);
        assert_eq!(stored_types(&schema, &types, &[whole, batch(vec![Some(1)])]), types);
    }
}
