//! Plain forms, and what is refused: each with its text.
//! Runs on: `cargo test`. Never: names a value that the engine was seen to fail on.

mod refused;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, DictionaryArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, DurationNanosecondType, Field, Int32Type, Schema};

use super::{check_importable, plain_batch, plain_schema};

#[test]
fn dictionaries_become_plain_and_plain_columns_stay_the_same_arrays() {
    let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let schema = Arc::new(Schema::new(vec![
        Field::new("words", words.data_type().clone(), true),
        Field::new("numbers", DataType::Int64, true),
    ]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(words), numbers.clone()]).unwrap();
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
fn decimals_come_to_a_form_that_fits_or_are_refused() {
    let decimal = Decimal128Array::from(vec![Some(12), None]).with_precision_and_scale(5, -2).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("d", decimal.data_type().clone(), true),
        Field::new("w", DataType::Decimal256(20, 3), true),
        Field::new("v", DataType::Decimal256(76, 38), true),
        Field::new("x", DataType::Decimal256(76, 39), true),
    ]));
    let plain = plain_schema(&schema);
    assert_eq!(plain.field(0).data_type(), &DataType::Decimal128(7, 0));
    assert_eq!(plain.field(1).data_type(), &DataType::Decimal128(20, 3));
    assert_eq!(plain.field(2).data_type(), &DataType::Decimal128(38, 38));
    let refused = check_importable(&plain).unwrap_err().to_string();
    assert!(refused.contains("\"x\" is Decimal256(76, 39)"), "{refused}");
    let one = Arc::new(Schema::new(vec![schema.field(0).clone()]));
    let batch = RecordBatch::try_new(one, vec![Arc::new(decimal)]).unwrap();
    let batch =
        plain_batch(batch, &plain_schema(&Arc::new(Schema::new(vec![schema.field(0).clone()])))).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(0), 1200);
}

/// Wide decimals go by their values: the 38 digits that DuckDB has are taken to the last.
#[test]
fn wide_decimals_are_taken_where_their_values_fit() {
    use arrow::array::Decimal256Array;
    use arrow::datatypes::i256;
    let one = |value: i256| {
        let column = Decimal256Array::from(vec![None, Some(value)]).with_precision_and_scale(76, 2).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
        plain_batch(batch, &plain_schema(&schema))
    };
    let largest = 10_i128.pow(38) - 1;
    for value in [0, -5, largest, -largest] {
        let batch = one(i256::from_i128(value)).unwrap();
        let column = batch.column(0).as_primitive::<Decimal128Type>();
        assert_eq!((column.value(1), column.is_null(0)), (value, true));
    }
    for value in [i256::from_i128(largest + 1), i256::from_i128(-largest - 1), i256::MAX, i256::MIN] {
        let refused = one(value).unwrap_err().to_string();
        assert!(refused.contains("column \"c\"") && refused.contains("more than the 38 digits"), "{refused}");
    }
}

/// Values that the engine would cut are refused, also inside of lists; others pass.
#[test]
fn values_that_would_be_cut_are_refused() {
    use arrow::array::{Date64Array, DurationNanosecondArray, ListArray};
    let one = |column: ArrayRef| {
        let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
        plain_batch(RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap(), &plain_schema(&schema))
    };
    let day = 86_400_000;
    one(Arc::new(DurationNanosecondArray::from(vec![Some(2000), None]))).unwrap();
    one(Arc::new(Date64Array::from(vec![Some(-day), Some(day), None]))).unwrap();
    for (column, part) in [
        (Arc::new(DurationNanosecondArray::from(vec![Some(0), Some(1500)])) as ArrayRef, "1500 ns"),
        (Arc::new(Date64Array::from(vec![Some(-1)])), "-1 ms"),
        (Arc::new(Date64Array::from(vec![Some(i64::MAX / day * day)])), "not a whole day"),
        (
            Arc::new(ListArray::from_iter_primitive::<DurationNanosecondType, _, _>([Some(vec![Some(7)])])),
            "7 ns",
        ),
    ] {
        let refused = one(column).unwrap_err().to_string();
        assert!(refused.contains("column \"c\"") && refused.contains(part), "{refused}");
    }
}

#[test]
fn a_plain_schema_is_returned_as_it_is() {
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
    assert!(Arc::ptr_eq(&plain_schema(&schema), &schema));
}
