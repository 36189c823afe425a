//! Rows to send, and how to compare what came back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// A batch of these columns, all of which may hold NULL.
pub fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// A column of numbers without NULL.
pub fn ids(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

pub fn well_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("well", DataType::Utf8, true),
        Field::new("kbd", DataType::Float64, true),
        Field::new("price", DataType::Decimal128(15, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]))
}

/// Rows `first..first + count`, with nulls and empty texts among them.
pub fn wells(first: i64, count: usize) -> RecordBatch {
    let numbers = || first..first + count as i64;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(StringArray::from_iter(numbers().map(|n| match n % 7 {
            0 => None,
            1 => Some(String::new()),
            _ => Some(format!("well {n} ü")),
        }))),
        Arc::new(Float64Array::from_iter(numbers().map(|n| (n % 5 != 0).then_some(n as f64 * 0.5)))),
        Arc::new(
            Decimal128Array::from_iter(numbers().map(|n| (n % 3 != 0).then_some(i128::from(n) * 101)))
                .with_precision_and_scale(15, 2)
                .unwrap(),
        ),
        Arc::new(Date32Array::from_iter_values(numbers().map(|n| (n % 20_000) as i32))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(numbers().map(|n| n * 1_000_003))
                .with_timezone("UTC"),
        ),
    ];
    RecordBatch::try_new(well_schema(), columns).unwrap()
}

/// `total` rows in batches of `rows`.
pub fn well_batches(total: usize, rows: usize) -> Vec<RecordBatch> {
    (0..total).step_by(rows).map(|first| wells(first as i64, rows.min(total - first))).collect()
}

/// One batch with all rows, for comparisons.
pub fn joined(batches: &[RecordBatch]) -> RecordBatch {
    arrow::compute::concat_batches(&batches[0].schema(), batches).unwrap()
}

/// Column by column equality, schema metadata and nullability aside.
pub fn assert_same(found: &RecordBatch, expected: &RecordBatch) {
    assert_eq!(found.num_rows(), expected.num_rows());
    for (index, field) in expected.schema().fields().iter().enumerate() {
        let column = found.column_by_name(field.name()).unwrap();
        assert_eq!(column.data_type(), expected.column(index).data_type(), "{}", field.name());
        assert_eq!(column.to_data(), expected.column(index).to_data(), "{}", field.name());
    }
}
