//! Arrow encodings that the engine's importer takes slowly or not at all -> the plain columns they stand for.
//! Runs on: the task that decodes a stream; only for columns that need it. Pure.
//! Never: copies a column that is plain already.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date64Type, DurationNanosecondType, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit,
    Schema, SchemaRef, TimeUnit, UnionMode,
};

use crate::error::{Error, Result};

/// The plain form of a schema, or the schema itself.
pub fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().map(plain_field).collect();
    if fields.iter().zip(schema.fields()).all(|(plain, offered)| Arc::ptr_eq(plain, offered)) {
        return Arc::clone(schema);
    }
    Arc::new(Schema::new(fields))
}

/// Refuses types that the engine's importer mistakes for others or fails on.
///
/// Errors: `Unsupported` naming column and type.
pub(super) fn check_importable(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        if let Some(found) = unsupported(field.data_type()) {
            return Err(Error::unsupported(format!(
                "column \"{}\" is {found}, which has no form in DuckDB; cast it before sending",
                field.name()
            )));
        }
    }
    Ok(())
}

fn unsupported(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Decimal256(..) | DataType::Decimal32(..) | DataType::Decimal64(..) => Some(data_type),
        DataType::Decimal128(_, scale) if *scale < 0 => Some(data_type),
        DataType::Union(_, UnionMode::Dense) => Some(data_type),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            unsupported(field.data_type())
        }
        DataType::ListView(field) | DataType::LargeListView(field) | DataType::Map(field, _) => {
            unsupported(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| unsupported(field.data_type())),
        _ => None,
    }
}

/// Refuses values that the engine's importer would store as others: INTERVAL counts microseconds, DATE whole days.
///
/// Looks at columns of such types alone. Errors: `Invalid` naming column, row of the batch and value.
fn check_exact(batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !may_be_inexact(field.data_type()) {
            continue;
        }
        if let Some(found) = inexact(column) {
            return Err(Error::invalid(format!(
                "column \"{}\" is {} and holds {found}; round it before sending",
                field.name(),
                field.data_type()
            )));
        }
    }
    Ok(())
}

fn may_be_inexact(data_type: &DataType) -> bool {
    match data_type {
        DataType::Duration(TimeUnit::Nanosecond) | DataType::Date64 => true,
        DataType::Interval(IntervalUnit::MonthDayNano) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            may_be_inexact(field.data_type())
        }
        DataType::Map(field, _) => may_be_inexact(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| may_be_inexact(field.data_type())),
        _ => false,
    }
}

/// The first value that would be changed, and the finest unit that is kept.
fn inexact(array: &ArrayRef) -> Option<String> {
    const DAY: i64 = 86_400_000;
    match array.data_type() {
        DataType::Duration(TimeUnit::Nanosecond) => {
            let value =
                array.as_primitive::<DurationNanosecondType>().iter().flatten().find(|n| n % 1000 != 0)?;
            Some(format!("{value} ns, which DuckDB would cut to microseconds"))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>();
            let value = values.iter().flatten().find(|value| value.nanoseconds % 1000 != 0)?;
            Some(format!("{} ns, which DuckDB would cut to microseconds", value.nanoseconds))
        }
        DataType::Date64 => {
            let fits = |value: &i64| value % DAY == 0 && i32::try_from(value / DAY).is_ok();
            let value = array.as_primitive::<Date64Type>().iter().flatten().find(|value| !fits(value))?;
            Some(format!("{value} ms, which is not a whole day within DuckDB's range"))
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            inexact(&list.values().slice(first as usize, (last - first) as usize))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (first, last) = (list.value_offsets()[0], list.value_offsets()[list.len()]);
            inexact(&list.values().slice(first as usize, (last - first) as usize))
        }
        DataType::FixedSizeList(..) => inexact(array.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let map = array.as_map();
            let (first, last) = (map.value_offsets()[0], map.value_offsets()[map.len()]);
            let entries: ArrayRef = Arc::new(map.entries().slice(first as usize, (last - first) as usize));
            inexact(&entries)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(inexact),
        _ => None,
    }
}

/// `batch` with every column in its plain form; columns that are plain are passed on as they are.
///
/// Errors: `Invalid` when an encoded column is inconsistent, or holds a value that would be stored as another.
pub fn plain_batch(batch: RecordBatch, plain: &SchemaRef) -> Result<RecordBatch> {
    check_exact(&batch)?;
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
                // A value that does not fit is an error, never a NULL.
                cast_with_options(
                    column,
                    field.data_type(),
                    &CastOptions { safe: false, ..Default::default() },
                )
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
        // DuckDB's decimals have up to 38 digits and no negative scale.
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *precision <= 38 && *scale >= 0 =>
        {
            Some(DataType::Decimal128(*precision, *scale))
        }
        DataType::Decimal128(precision, scale) if *scale < 0 => {
            let digits = precision.saturating_add(scale.unsigned_abs());
            (digits <= 38).then_some(DataType::Decimal128(digits, 0))
        }
        // DuckDB has no half floats; every one of them is a float.
        DataType::Float16 => Some(DataType::Float32),
        // The importer takes the pair of days and milliseconds for one number of milliseconds.
        DataType::Interval(IntervalUnit::DayTime) => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        DataType::List(field) => child(field).map(DataType::List),
        DataType::LargeList(field) => child(field).map(DataType::LargeList),
        DataType::ListView(field) => child(field).map(DataType::ListView),
        DataType::LargeListView(field) => child(field).map(DataType::LargeListView),
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
    use arrow::array::{Decimal128Array, DictionaryArray, Int64Array};
    use arrow::datatypes::{Decimal128Type, Int32Type};

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
    fn decimals_come_to_a_form_that_fits_or_are_refused() {
        let decimal = Decimal128Array::from(vec![Some(12), None]).with_precision_and_scale(5, -2).unwrap();
        let schema = Arc::new(Schema::new(vec![
            Field::new("d", decimal.data_type().clone(), true),
            Field::new("w", DataType::Decimal256(20, 3), true),
            Field::new("x", DataType::Decimal256(60, 3), true),
        ]));
        let plain = plain_schema(&schema);
        assert_eq!(plain.field(0).data_type(), &DataType::Decimal128(7, 0));
        assert_eq!(plain.field(1).data_type(), &DataType::Decimal128(20, 3));
        let refused = check_importable(&plain).unwrap_err().to_string();
        assert!(refused.contains("\"x\" is Decimal256(60, 3)"), "{refused}");
        let one = Arc::new(Schema::new(vec![schema.field(0).clone()]));
        let batch = RecordBatch::try_new(one, vec![Arc::new(decimal)]).unwrap();
        let batch =
            plain_batch(batch, &plain_schema(&Arc::new(Schema::new(vec![schema.field(0).clone()])))).unwrap();
        assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(0), 1200);
    }

    /// Values that the engine would cut are refused, also inside of lists; others pass.
    #[test]
    fn values_that_would_be_cut_are_refused() {
        use arrow::array::{Date64Array, DurationNanosecondArray, ListArray};
        let one = |column: ArrayRef| {
            let schema = Arc::new(Schema::new(vec![Field::new("c", column.data_type().clone(), true)]));
            plain_batch(
                RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap(),
                &plain_schema(&schema),
            )
        };
        let day = 86_400_000;
        one(Arc::new(DurationNanosecondArray::from(vec![Some(2000), None]))).unwrap();
        one(Arc::new(Date64Array::from(vec![Some(-day), Some(day), None]))).unwrap();
        for (column, part) in [
            (Arc::new(DurationNanosecondArray::from(vec![Some(0), Some(1500)])) as ArrayRef, "1500 ns"),
            (Arc::new(Date64Array::from(vec![Some(-1)])), "-1 ms"),
            (Arc::new(Date64Array::from(vec![Some(i64::MAX / day * day)])), "not a whole day"),
            (
                Arc::new(ListArray::from_iter_primitive::<DurationNanosecondType, _, _>([Some(vec![Some(
                    7,
                )])])),
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
}
