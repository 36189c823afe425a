//! Which schemas are one, which are not, and that a batch keeps its values on its way into it.

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, FixedSizeListArray, Float64Array, Int16Array,
    Int32Array, Int64Array, ListArray, NullArray, RecordBatch, StringArray, StructArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{
    Decimal128Type, Float64Type, Int32Type, Int64Type, Metadata, TimeUnit, TimestampNanosecondType,
};

use super::*;

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), false);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

fn structure(fields: &[(&str, DataType)]) -> DataType {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    DataType::Struct(fields.iter().map(field).collect())
}

fn map(key: DataType, value: DataType) -> DataType {
    let pair = vec![Field::new("key", key, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), false)
}

fn dictionary(values: DataType) -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(values))
}

fn at(unit: TimeUnit, zone: Option<&str>) -> DataType {
    DataType::Timestamp(unit, zone.map(Into::into))
}

/// The type that two files' columns get, in either order.
fn both(one: &DataType, other: &DataType) -> Result<DataType> {
    let files = (schema(&[("c", one.clone())]), schema(&[("C", other.clone())]));
    let joined = join(&[("a.arrow", &files.0), ("b.arrow", &files.1)], None, Options::default())?;
    Ok(joined.schema.field(0).data_type().clone())
}

#[test]
fn the_type_of_a_column_holds_the_values_of_all_files() {
    use DataType as T;
    for (one, other, expected) in [
        (T::Int8, T::Int64, T::Int64),
        (T::UInt8, T::Int8, T::Int16),
        (T::UInt32, T::Int16, T::Int64),
        (T::UInt64, T::Int8, T::Decimal128(20, 0)),
        (T::Int16, T::Float32, T::Float32),
        (T::Int64, T::Float32, T::Float64),
        (T::Float16, T::Float64, T::Float64),
        (T::Int64, T::Decimal128(9, 2), T::Decimal128(21, 2)),
        (T::Decimal64(9, 2), T::Decimal128(10, 6), T::Decimal128(13, 6)),
        (T::Decimal128(5, -2), T::Int8, T::Decimal128(7, 0)),
        (T::Decimal128(38, 2), T::Decimal256(76, 2), T::Decimal256(76, 2)),
        (T::Date32, at(TimeUnit::Millisecond, None), at(TimeUnit::Millisecond, None)),
        (at(TimeUnit::Second, None), at(TimeUnit::Nanosecond, None), at(TimeUnit::Nanosecond, None)),
        (
            at(TimeUnit::Second, Some("Europe/Berlin")),
            at(TimeUnit::Microsecond, Some("Asia/Tokyo")),
            at(TimeUnit::Microsecond, Some("UTC")),
        ),
        (T::Time32(TimeUnit::Second), T::Time64(TimeUnit::Nanosecond), T::Time64(TimeUnit::Nanosecond)),
        (T::Utf8, T::LargeUtf8, T::LargeUtf8),
        (dictionary(T::Utf8), T::Utf8View, T::Utf8View),
        (dictionary(T::Utf8), dictionary(T::Utf8), dictionary(T::Utf8)),
        (T::FixedSizeBinary(3), T::FixedSizeBinary(4), T::Binary),
        (T::Null, list(T::Utf8), list(T::Utf8)),
        (list(T::Null), list(structure(&[("a", T::Int8)])), list(structure(&[("a", T::Int8)]))),
        (list(T::Int8), T::FixedSizeList(Arc::new(Field::new("item", T::Int32, true)), 2), list(T::Int32)),
        (map(T::Utf8, T::Null), map(T::Utf8, T::Date32), map(T::Utf8, T::Date32)),
    ] {
        assert_eq!(both(&one, &other).unwrap(), expected, "{one} and {other}");
        assert_eq!(both(&other, &one).unwrap(), expected, "{other} and {one}");
    }
    let joined =
        both(&structure(&[("a", T::Int8), ("b", T::Null)]), &structure(&[("B", T::Utf8), ("c", T::Date32)]));
    assert_eq!(joined.unwrap(), structure(&[("a", T::Int8), ("b", T::Utf8), ("c", T::Date32)]));
}

#[test]
fn what_no_type_holds_is_refused_by_column_types_and_files() {
    use DataType as T;
    for (one, other) in [
        (T::Int64, T::Utf8),
        (T::Boolean, T::Int8),
        (T::Utf8, T::Binary),
        (T::Decimal128(9, 2), T::Float64),
        (T::Decimal128(38, 0), T::Decimal128(10, 5)),
        (at(TimeUnit::Second, None), at(TimeUnit::Second, Some("UTC"))),
        (T::Date32, at(TimeUnit::Second, Some("UTC"))),
        (list(T::Int8), T::Int8),
        (structure(&[("a", T::Int8)]), structure(&[("a", T::Utf8)])),
        (map(T::Utf8, T::Int8), map(T::Int8, T::Int8)),
    ] {
        let refused = both(&one, &other).unwrap_err().to_string();
        for says in ["column \"c\"", "a.arrow", "b.arrow", "no type holds"] {
            assert!(refused.contains(says), "{one} and {other}: {refused}");
        }
    }
    let uuid = |name: &str| {
        let metadata = Metadata::from([(pintail_protocol::extension::NAME.to_owned(), name.to_owned())]);
        let field = Field::new("u", T::FixedSizeBinary(16), true).with_metadata(metadata);
        Arc::new(Schema::new(vec![field]))
    };
    let (one, other) = (uuid("arrow.uuid"), schema(&[("u", T::FixedSizeBinary(16))]));
    let two = |one, other| join(&[("a", one), ("b", other)], None, Options::default());
    assert_eq!(two(&one, &one).unwrap().schema.field(0).metadata(), one.field(0).metadata());
    let refused = two(&one, &other).unwrap_err().to_string();
    assert!(refused.contains("arrow.uuid"), "{refused}");
    let open = schema(&[("u", T::Null)]);
    assert!(two(&one, &open).is_ok());
    let twice = schema(&[("a", T::Int8), ("A", T::Int8)]);
    let refused = two(&twice, &twice).unwrap_err().to_string();
    assert!(refused.contains("a has two columns \"a\" and \"A\""), "{refused}");
}

#[test]
fn a_new_table_gets_every_column_and_every_file_sends_all() {
    let one = schema(&[("b", DataType::Int8), ("a", DataType::Utf8)]);
    let other = schema(&[("A", DataType::Null), ("c", DataType::Date32)]);
    let joined = join(&[("x", &one), ("y", &other)], None, Options::default()).unwrap();
    let names: Vec<&String> = joined.schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(names, ["b", "a", "c"]);
    assert!(joined.schema.fields().iter().all(|field| field.is_nullable()));
    assert!(joined.sent.iter().all(|sent| *sent == joined.schema));
}

#[test]
fn a_table_that_is_there_decides() {
    use DataType as T;
    let table = schema(&[("id", T::Int64), ("at", at(TimeUnit::Microsecond, None)), ("more", T::Utf8)]);
    let narrow = schema(&[("ID", T::Int16), ("at", at(TimeUnit::Nanosecond, None))]);
    let allowed = |file: &SchemaRef, options| join(&[("f", file)], Some(&table), options);
    // Narrower is widened by the server, and nanoseconds go by their values; the default fills the third.
    let joined = allowed(&narrow, Options::default()).unwrap();
    assert_eq!(joined.sent[0].fields().len(), 2);
    assert_eq!(joined.sent[0].field(0).data_type(), &T::Int16);
    assert!(joined.added.is_empty() && joined.widened.is_empty());

    let new = schema(&[("id", T::Int64), ("new", T::Date32)]);
    let refused = allowed(&new, Options::default()).unwrap_err().to_string();
    for says in ["\"new\"", "Date32", "in f", "--on-new-column add"] {
        assert!(refused.contains(says), "{refused}");
    }
    let joined = allowed(&new, Options { add_columns: true, ..Default::default() }).unwrap();
    assert_eq!(joined.added, [Arc::new(Field::new("new", T::Date32, true))]);

    let table_too_narrow = schema(&[("Id", T::Int16)]);
    let wide = schema(&[("id", T::Int64)]);
    let refused = join(&[("f", &wide)], Some(&table_too_narrow), Options::default()).unwrap_err().to_string();
    for says in ["\"Id\"", "SMALLINT", "Int64", "found in f", "--widen", "BIGINT"] {
        assert!(refused.contains(says), "{refused}");
    }
    let widen = Options { widen: true, ..Default::default() };
    let joined = join(&[("f", &wide)], Some(&table_too_narrow), widen).unwrap();
    assert_eq!(joined.widened, [Arc::new(Field::new("Id", T::Int64, true))]);
    let text = schema(&[("id", T::Utf8)]);
    let refused = join(&[("f", &text)], Some(&table_too_narrow), widen).unwrap_err().to_string();
    assert!(refused.contains("no type holds both"), "{refused}");
    // The declaration is the server's.
    let declared = Options { is_declared: true, ..Default::default() };
    assert!(join(&[("f", &wide)], Some(&table_too_narrow), declared).unwrap().widened.is_empty());
}

/// Fields of a struct are brought to the table's order, and each file keeps its own type where no other holds all.
#[test]
fn files_that_differ_go_into_one_table() {
    use DataType as T;
    let table = schema(&[("s", structure(&[("a", T::Int32), ("b", T::Utf8)])), ("x", T::Float64)]);
    let one = schema(&[("s", structure(&[("b", T::Utf8)])), ("x", T::Int32)]);
    let other = schema(&[("s", structure(&[("B", T::LargeUtf8), ("A", T::Int8)])), ("x", T::Float32)]);
    let joined = join(&[("f", &one), ("g", &other)], Some(&table), Options::default()).unwrap();
    let expected = structure(&[("a", T::Int32), ("b", T::LargeUtf8)]);
    assert_eq!(joined.sent[0].field(0).data_type(), &expected);
    assert_eq!(joined.sent[0], joined.sent[1]);

    let table = schema(&[("u", T::Utf8)]);
    let (one, other) = (schema(&[("u", T::Null)]), schema(&[("u", dictionary(T::Utf8))]));
    let joined = join(&[("f", &one), ("g", &other)], Some(&table), Options::default()).unwrap();
    assert_eq!(joined.sent[0], joined.sent[1]);
}

fn adapted(array: ArrayRef, to: DataType) -> Result<ArrayRef> {
    let own = schema(&[("C", array.data_type().clone())]);
    let own = Arc::new(Schema::new(vec![own.field(0).clone().with_nullable(true)]));
    let sent = Arc::new(Schema::new(vec![Field::new("c", to, true)]));
    let batch = RecordBatch::try_new(Arc::clone(&own), vec![array]).unwrap();
    Ok(Arc::clone(Adapter::new("dir/f.arrow", &own, &sent).adapt(&batch)?.column(0)))
}

#[test]
fn values_stay_the_same_in_the_wider_type() {
    let wide = adapted(Arc::new(UInt64Array::from(vec![u64::MAX, 0])), DataType::Decimal128(20, 0)).unwrap();
    assert_eq!(wide.as_primitive::<Decimal128Type>().value(0), i128::from(u64::MAX));
    let floats = adapted(Arc::new(Int64Array::from(vec![Some(1 << 53), None])), DataType::Float64).unwrap();
    assert_eq!(
        (floats.as_primitive::<Float64Type>().value(0), floats.is_null(1)),
        (9_007_199_254_740_992.0, true)
    );
    let nanos = at(TimeUnit::Nanosecond, None);
    let days = adapted(Arc::new(Date32Array::from(vec![1])), nanos.clone()).unwrap();
    assert_eq!(days.as_primitive::<TimestampNanosecondType>().value(0), 86_400_000_000_000);
    assert!(adapted(Arc::new(NullArray::new(3)), list(nanos)).unwrap().null_count() == 3);
    let decimals = Decimal128Array::from(vec![125]).with_precision_and_scale(5, 2).unwrap();
    let decimals = adapted(Arc::new(decimals), DataType::Decimal128(12, 4)).unwrap();
    assert_eq!(decimals.as_primitive::<Decimal128Type>().value(0), 12_500);
}

/// A value that the joined type does not hold is named, with its row, however deep it lies.
#[test]
fn a_value_that_does_not_fit_is_named() {
    let large = (1 << 53) + 1;
    let check = |array: ArrayRef, to: DataType, says: &str| {
        let refused = adapted(array, to).unwrap_err().to_string();
        for says in ["dir/f.arrow", "column \"c\", row 3 of a batch", says] {
            assert!(refused.contains(says), "{refused}");
        }
    };
    check(
        Arc::new(Int64Array::from(vec![Some(1), None, Some(large)])),
        DataType::Float64,
        "9007199254740993",
    );
    check(Arc::new(Int64Array::from(vec![0, 0, i64::MAX])), DataType::Float64, "9223372036854775807");
    let nanos = at(TimeUnit::Nanosecond, None);
    check(Arc::new(TimestampSecondArray::from(vec![0, 1, 253_402_300_799])), nanos.clone(), "9999");
    check(Arc::new(Date32Array::from(vec![0, 1, 2_932_896])), nanos, "9999-12-31");
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
        Some(vec![Some(1), Some(2)]),
        None,
        Some(vec![Some(3), Some(large)]),
    ]);
    check(Arc::new(lists.clone()), list(DataType::Float64), "9007199254740993");
    // What other rows hold does not matter.
    adapted(Arc::new(lists.slice(0, 2)), list(DataType::Float64)).unwrap();
}

#[test]
fn nested_parts_are_found_by_name() {
    let numbers: ArrayRef = Arc::new(Int16Array::from(vec![Some(1), None]));
    let words: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let parts = StructArray::from(vec![
        (Arc::new(Field::new("W", DataType::Utf8, true)), words),
        (Arc::new(Field::new("n", DataType::Int16, true)), numbers),
    ]);
    let to = structure(&[("n", DataType::Int32), ("more", list(DataType::Int8)), ("w", DataType::LargeUtf8)]);
    let found = adapted(Arc::new(parts), to.clone()).unwrap();
    assert_eq!(found.data_type(), &to);
    let found = found.as_struct();
    assert_eq!(found.column(0).as_primitive::<Int32Type>().value(0), 1);
    assert_eq!(found.column(1).null_count(), 2);
    assert_eq!(found.column(2).as_string::<i64>().value(1), "y");

    let values: ArrayRef = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let fixed = FixedSizeListArray::new(item, 2, values, None);
    let found = adapted(Arc::new(fixed.slice(1, 1)), list(DataType::Float64)).unwrap();
    assert_eq!(*found.as_list::<i32>().value(0), Float64Array::from(vec![3.0, 4.0]));
}

/// Columns change places, and what a file lacks is NULL.
#[test]
fn columns_are_found_by_name() {
    let own = schema(&[("a", DataType::Int32), ("b", DataType::Utf8)]);
    let sent = Arc::new(Schema::new(vec![
        Field::new("B", DataType::Utf8, true),
        Field::new("c", DataType::Date32, true),
        Field::new("a", DataType::Int32, true),
    ]));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![7])), Arc::new(StringArray::from(vec!["x"]))];
    let batch = RecordBatch::try_new(Arc::clone(&own), columns).unwrap();
    let found = Adapter::new("f", &own, &sent).adapt(&batch).unwrap();
    assert_eq!(found.schema(), sent);
    assert_eq!(found.column(2).as_primitive::<Int32Type>().value(0), 7);
    assert_eq!(found.column(1).null_count(), 1);
    // Rows without a column that is sent are rows all the same.
    let none = Arc::new(Schema::new(vec![Field::new("z", DataType::Null, true)]));
    assert_eq!(Adapter::new("f", &own, &none).adapt(&batch).unwrap().num_rows(), 1);
}
