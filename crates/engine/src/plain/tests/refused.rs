//! Every kind of value that is refused, with the row and the words.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UnionFields, UnionMode};

use super::super::{check_importable, plain_batch, plain_schema};
use crate::error::Result;

fn field(column: &ArrayRef, extension: Option<(&str, &str)>) -> Field {
    let field = Field::new("c", column.data_type().clone(), true);
    match extension {
        None => field,
        Some((name, metadata)) => {
            field.with_metadata([("ARROW:extension:name", name), ("ARROW:extension:metadata", metadata)])
        }
    }
}

fn taken(column: ArrayRef, extension: Option<(&str, &str)>) -> Result<RecordBatch> {
    let schema = Arc::new(Schema::new(vec![field(&column, extension)]));
    let plain = plain_schema(&schema);
    check_importable(&plain)?;
    plain_batch(RecordBatch::try_new(schema, vec![column]).unwrap(), &plain)
}

fn opaque(name: &str) -> String {
    format!("{{\"type_name\": \"{name}\", \"vendor_name\": \"DuckDB\"}}")
}

/// Three rows, the last one wrong: the row and the words are in the text, and the same value is let through
/// below a NULL.
#[test]
fn values_out_of_range() {
    fn case<T: ArrowPrimitiveType>(good: T::Native, bad: T::Native) -> (ArrayRef, ArrayRef) {
        let wrong = PrimitiveArray::<T>::from_iter_values([good, good, bad]);
        let nulls = NullBuffer::from(vec![true, false, false]);
        let hidden = PrimitiveArray::<T>::new(wrong.values().clone(), Some(nulls));
        (Arc::new(wrong), Arc::new(hidden))
    }
    use arrow::datatypes::*;
    let day = 86_400_000_000_i64;
    let cases = [
        (case::<Time32SecondType>(86_400, 86_401), "no time of day"),
        (case::<Time32SecondType>(0, -1), "no time of day"),
        (case::<Time32MillisecondType>(86_400_000, 86_400_001), "no time of day"),
        (case::<Time64MicrosecondType>(day, day + 1), "86400000001 us"),
        (case::<Time64NanosecondType>(day * 1000, day * 1000 + 1), "86400000000001 ns"),
        (case::<Date32Type>(i32::MAX, i32::MIN), "-2147483648 days"),
        (case::<TimestampSecondType>(9_223_372_036_854, 9_223_372_036_855), "9223372036855 s"),
        (case::<TimestampSecondType>(i64::MAX, i64::MIN), "-9223372022400 to"),
        (case::<TimestampMillisecondType>(-i64::MAX, 9_223_372_036_854_776), "9223372036854776 ms"),
        (case::<TimestampMicrosecondType>(i64::MAX, i64::MIN), "-9223372036854775808 us"),
        (case::<TimestampMicrosecondType>(-i64::MAX, -9_223_372_022_400_000_001), "no time that DuckDB has"),
        (case::<TimestampNanosecondType>(-i64::MAX, i64::MIN), "-9223372036854775808 ns"),
        (case::<DurationSecondType>(-9_223_372_036_854, 9_223_372_036_855), "INTERVAL ends"),
        (case::<DurationMillisecondType>(0, i64::MIN), "INTERVAL ends"),
        (case::<DurationNanosecondType>(1000, 1001), "1001 ns"),
        (case::<Date64Type>(0, 1), "not a whole day"),
        (case::<Date64Type>(0, 2_147_483_647 * 86_400_000), "not a whole day"),
    ];
    for ((wrong, hidden), part) in cases {
        let refused = taken(Arc::clone(&wrong), None).unwrap_err().to_string();
        assert!(refused.contains("column \"c\""), "{refused}");
        assert!(refused.contains("row 3 of the batch") && refused.contains(part), "{refused}");
        taken(hidden, None).unwrap();
        taken(wrong.slice(0, 2), None).unwrap();
    }
    // With a zone, seconds become microseconds, which have an infinity of their own.
    let zoned = TimestampSecondArray::from(vec![i64::MAX]).with_timezone("UTC");
    assert!(taken(Arc::new(zoned), None).unwrap_err().to_string().contains("row 1"));
}

#[test]
fn decimals_beyond_their_precision() {
    for (precision, limit) in
        [(5, 100_000), (18, 10_i128.pow(18)), (30, 10_i128.pow(30)), (38, 10_i128.pow(38))]
    {
        let of = |values: Vec<Option<i128>>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_data_type(DataType::Decimal128(precision, 2)))
        };
        taken(of(vec![Some(limit - 1), Some(1 - limit), None]), None).unwrap();
        for bad in [limit, -limit, i128::MAX, i128::MIN, 1 << 64, -(1 << 64)] {
            if bad.unsigned_abs() < limit.unsigned_abs() {
                continue;
            }
            let refused = taken(of(vec![None, Some(bad)]), None).unwrap_err().to_string();
            assert!(
                refused.contains("row 2 of the batch") && refused.contains(&bad.to_string()),
                "{refused}"
            );
        }
    }
}

fn bytes(values: &[Option<&[u8]>]) -> ArrayRef {
    Arc::new(BinaryArray::from(values.to_vec()))
}

#[test]
fn bytes_of_another_form() {
    let point = [&[1, 1, 0, 0, 0][..], &[0; 16]].concat();
    for (good, bad, name, metadata, part) in [
        (&[3, 0xf5][..], &[9, 0xf5][..], "arrow.opaque", opaque("bit"), "padding"),
        (&[0x80, 0, 1, 7], &[0x80, 0, 9, 7], "arrow.opaque", opaque("bignum"), "header of 9 bytes"),
        (&point, &point[..9], "geoarrow.wkb", "{}".to_owned(), "breaks off"),
    ] {
        let extension = Some((name, metadata.as_str()));
        taken(bytes(&[Some(good), None]), extension).unwrap();
        let refused = taken(bytes(&[Some(good), None, Some(bad)]), extension).unwrap_err().to_string();
        assert!(refused.contains("row 3 of the batch") && refused.contains(part), "{refused}");
        // As plain bytes they are anything.
        taken(bytes(&[Some(bad)]), None).unwrap();
    }
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("{\"a\": [1]}"), None, Some("{\"a\": ")]));
    let refused = taken(Arc::clone(&texts), Some(("arrow.json", ""))).unwrap_err().to_string();
    assert!(refused.contains("row 3 of the batch") && refused.contains("not valid JSON"), "{refused}");
    taken(texts.slice(0, 2), Some(("arrow.json", ""))).unwrap();
    let times = FixedSizeBinaryArray::try_from_iter([[0_u8; 8], [0xff; 8]].into_iter()).unwrap();
    let refused = taken(Arc::new(times), Some(("arrow.opaque", &opaque("time_tz")))).unwrap_err().to_string();
    assert!(refused.contains("row 2 of the batch") && refused.contains("TIME WITH TIME ZONE"), "{refused}");
    let variant: ArrayRef = Arc::new(StructArray::from(vec![
        (
            Arc::new(Field::new("metadata", DataType::Binary, false)),
            bytes(&[Some(&[1, 0, 0]), Some(&[1, 0, 0])]),
        ),
        (Arc::new(Field::new("value", DataType::Binary, true)), bytes(&[Some(&[0]), Some(&[3 << 2])])),
    ]));
    let refused = taken(variant, Some(("arrow.parquet.variant", ""))).unwrap_err().to_string();
    assert!(refused.contains("row 2 of the batch") && refused.contains("breaks off"), "{refused}");
}

/// A name over a storage that is not its own, each way.
#[test]
fn extension_types_over_another_storage() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let short: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([[0_u8; 4]].into_iter()).unwrap());
    let empty = String::new;
    for (name, metadata, columns, expected) in [
        ("arrow.uuid", empty(), [&numbers, &short], "fixed_size_binary[16]"),
        ("arrow.json", empty(), [&numbers, &short], "string"),
        ("arrow.bool8", empty(), [&numbers, &texts], "int8"),
        ("arrow.opaque", opaque("hugeint"), [&texts, &short], "fixed_size_binary[16]"),
        ("arrow.opaque", opaque("uhugeint"), [&texts, &short], "fixed_size_binary[16]"),
        ("arrow.opaque", opaque("time_tz"), [&numbers, &short], "fixed_size_binary[8]"),
        ("arrow.opaque", opaque("bit"), [&texts, &short], "binary"),
        ("arrow.opaque", opaque("bignum"), [&texts, &numbers], "binary"),
        ("geoarrow.wkb", empty(), [&texts, &short], "binary"),
        ("arrow.parquet.variant", empty(), [&texts, &numbers], "struct<metadata: binary, value: binary>"),
        ("arrow.fixed_shape_tensor", empty(), [&texts, &numbers], "fixed_size_list"),
    ] {
        for column in columns {
            let refused = taken(Arc::clone(column), Some((name, &metadata))).unwrap_err().to_string();
            assert!(refused.contains("column \"c\": extension type"), "{refused}");
            assert!(refused.contains(name) && refused.contains(expected), "{refused}");
            assert!(refused.contains(&format!("found {}", column.data_type())), "{refused}");
        }
    }
    // Metadata that nobody can read.
    let refused = taken(Arc::clone(&texts), Some(("arrow.opaque", "hugeint"))).unwrap_err().to_string();
    assert!(refused.contains("arrow.opaque needs metadata"), "{refused}");
    // What the engine does not know is what it is stored as.
    for name in ["acme.money", "arrow.8bit_bool"] {
        let batch = taken(Arc::clone(&numbers), Some((name, ""))).unwrap();
        assert!(batch.schema().field(0).metadata().is_empty());
    }
    let batch =
        taken(texts, Some(("arrow.opaque", "{\"type_name\": \"geo\", \"vendor_name\": \"Acme\"}"))).unwrap();
    assert!(batch.schema().field(0).metadata().is_empty());
    // Encodings of the right storage are taken.
    let words: DictionaryArray<Int32Type> = vec![Some("{}"), None].into_iter().collect();
    let batch = taken(Arc::new(words), Some(("arrow.json", ""))).unwrap();
    assert_eq!(batch.schema().field(0).data_type(), &DataType::Utf8);
    let flags: ArrayRef = Arc::new(Int8Array::from(vec![Some(0), None, Some(2)]));
    let batch = taken(flags, Some(("arrow.bool8", ""))).unwrap();
    assert_eq!(batch.column(0).as_boolean(), &BooleanArray::from(vec![Some(false), None, Some(true)]));
}

/// A wrong value deep in other types is found at the row around it; the same one below a NULL is not.
#[test]
fn values_within_others() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![0, 1, i32::MIN, 3]));
    let item = Arc::new(Field::new("item", DataType::Date32, true));
    let offsets = |ends: &[i32]| OffsetBuffer::new(ScalarBuffer::from(ends.to_vec()));
    let nulls = |valid: &[bool]| Some(NullBuffer::from(valid.to_vec()));
    let list = |ends: &[i32], valid: &[bool]| -> ArrayRef {
        Arc::new(ListArray::new(Arc::clone(&item), offsets(ends), Arc::clone(&days), nulls(valid)))
    };
    let fixed = |valid: &[bool]| -> ArrayRef {
        Arc::new(FixedSizeListArray::new(Arc::clone(&item), 2, Arc::clone(&days), nulls(valid)))
    };
    let structs = |valid: &[bool]| -> ArrayRef {
        Arc::new(StructArray::new(vec![Arc::clone(&item)].into(), vec![Arc::clone(&days)], nulls(valid)))
    };
    let map = |valid: &[bool]| -> ArrayRef {
        let key = Arc::new(Field::new("key", DataType::Int32, false));
        let value = Arc::new(Field::new("value", DataType::Date32, true));
        let keys = Arc::new(Int32Array::from(vec![1, 2, 1, 2]));
        let pairs = StructArray::from(vec![(key, keys as ArrayRef), (value, Arc::clone(&days))]);
        let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
        Arc::new(MapArray::new(entries, offsets(&[0, 2, 4]), pairs, nulls(valid), false))
    };
    let words: DictionaryArray<Int32Type> = DictionaryArray::new(
        Int32Array::from(vec![1, 2]),
        Arc::new(days.as_primitive::<arrow::datatypes::Date32Type>().clone()),
    );
    for (column, row) in [
        (list(&[0, 2, 4], &[true, true]), 2),
        (list(&[1, 2, 2, 3], &[true, true, true]), 3),
        (fixed(&[true, true]), 2),
        (structs(&[true, true, true, true]), 3),
        (map(&[true, true]), 2),
        (Arc::new(words), 2),
    ] {
        let refused = taken(Arc::clone(&column), None).unwrap_err().to_string();
        assert!(refused.contains(&format!("row {row} of the batch holds -2147483648 days")), "{refused}");
        // Slices count from their own beginning.
        let refused = taken(column.slice(1, column.len() - 1), None).unwrap_err().to_string();
        assert!(refused.contains(&format!("row {} of the batch", row - 1)), "{refused}");
    }
    for hidden in [
        list(&[0, 2, 4], &[true, false]),
        list(&[0, 2, 2], &[true, true]),
        fixed(&[true, false]),
        structs(&[true, true, false, true]),
        map(&[true, false]),
    ] {
        taken(hidden, None).unwrap();
    }
}

#[test]
fn maps_with_one_key_twice() {
    let map = |keys: [&str; 4], valid: Vec<bool>| -> ArrayRef {
        let key = Arc::new(Field::new("key", DataType::Utf8, false));
        let value = Arc::new(Field::new("value", DataType::Int32, true));
        let values = Arc::new(Int32Array::from(vec![1, 2, 3, 4]));
        let keys = Arc::new(StringArray::from(keys.to_vec()));
        let pairs = StructArray::from(vec![(key, keys as ArrayRef), (value, values as ArrayRef)]);
        let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
        let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 4]));
        Arc::new(MapArray::new(entries, offsets, pairs, Some(NullBuffer::from(valid)), false))
    };
    taken(map(["a", "b", "a", "b"], vec![true, true]), None).unwrap();
    taken(map(["a", "b", "a", "a"], vec![true, false]), None).unwrap();
    let refused = taken(map(["a", "b", "a", "a"], vec![true, true]), None).unwrap_err().to_string();
    assert!(refused.contains("row 2 of the batch") && refused.contains("one key twice"), "{refused}");
}

/// Unions of any codes, sparse and dense, become one of DuckDB's; only the member of a row counts.
#[test]
fn unions_become_sparse_with_codes_from_0() {
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), Some(i32::MIN)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x", "y"]));
    let fields = UnionFields::try_new(
        [7, 3],
        [Field::new("d", DataType::Date32, true), Field::new("t", DataType::Utf8, true)],
    )
    .unwrap();
    let union = |codes: Vec<i8>, offsets: Option<Vec<i32>>| -> ArrayRef {
        let children = vec![Arc::clone(&days), Arc::clone(&texts)];
        Arc::new(
            UnionArray::try_new(fields.clone(), codes.into(), offsets.map(ScalarBuffer::from), children)
                .unwrap(),
        )
    };
    for column in [union(vec![7, 3], None), union(vec![7, 3], Some(vec![0, 1]))] {
        let batch = taken(column, None).unwrap();
        let DataType::Union(members, UnionMode::Sparse) = batch.column(0).data_type() else { panic!() };
        assert_eq!(members.iter().map(|(code, _)| code).collect::<Vec<_>>(), [0, 1]);
        let found = batch.column(0).as_any().downcast_ref::<UnionArray>().unwrap();
        assert_eq!(found.type_ids().as_ref(), [0, 1]);
        assert_eq!(found.value(0).as_primitive::<arrow::datatypes::Date32Type>().value(0), 1);
        assert_eq!(found.value(1).as_string::<i32>().value(0), "y");
    }
    for column in [union(vec![3, 7], None), union(vec![7, 7], Some(vec![0, 1]))] {
        let refused = taken(column, None).unwrap_err().to_string();
        assert!(refused.contains("row 2 of the batch") && refused.contains("days"), "{refused}");
    }
}

#[test]
fn types_that_duckdb_would_take_for_others() {
    let two = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        (Arc::new(Field::new("A", DataType::Int32, true)), Arc::new(Int32Array::from(vec![2])) as ArrayRef),
    ]);
    let refused = taken(Arc::new(two), None).unwrap_err().to_string();
    assert!(refused.contains("column \"c\"") && refused.contains("two fields \"A\""), "{refused}");
}

/// DuckDB's ARRAY holds 1 to 100,000 values; lists of other lengths are its LIST.
#[test]
fn fixed_lists_that_are_no_array_become_lists() {
    let nulls = || Some(vec![true, false, true].into());
    for size in [0, 100_001] {
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let values: ArrayRef = Arc::new(Int32Array::from_iter_values(0..size * 4));
        let whole = FixedSizeListArray::try_new_with_length(item, size, values, None, 4).unwrap().slice(1, 3);
        let parts = (whole.values().clone(), nulls());
        let item = Arc::new(Field::new("item", DataType::Int32, true));
        let list = FixedSizeListArray::try_new_with_length(item, size, parts.0, parts.1, 3).unwrap();
        let batch = taken(Arc::new(list), None).unwrap();
        let list = batch.column(0).as_list::<i32>();
        assert_eq!((list.len(), list.null_count(), list.is_null(1)), (3, 1, true));
        assert_eq!(list.value(2).len(), size as usize);
        let first = list.value(2).as_primitive::<Int32Type>().values().first().copied();
        assert_eq!(first, (size > 0).then_some(3 * size));
    }
}

/// Views of lists may lie over each other and out of order.
#[test]
fn list_views_become_lists() {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let values = Arc::new(Int32Array::from(vec![1, 2, 3]));
    let views = ListViewArray::new(item, vec![1, 0].into(), vec![2, 2].into(), values, None);
    let batch = taken(Arc::new(views), None).unwrap();
    let list = batch.column(0).as_list::<i32>();
    assert_eq!(list.value(0).as_primitive::<Int32Type>().values(), &[2, 3]);
    assert_eq!(list.value(1).as_primitive::<Int32Type>().values(), &[1, 2]);
}
