//! What columns of every kind are sent as.

use std::collections::HashSet;

use arrow::array::{AsArray, DictionaryArray};
use arrow::datatypes::{DataType, Field, Int8Type, TimeUnit};
use parquet::arrow::ArrowWriter;

use super::*;

fn int96(day: u32, nanos: u64) -> Int96 {
    let mut value = Int96::new();
    value.set_data(u32::try_from(nanos & 0xffff_ffff).unwrap(), u32::try_from(nanos >> 32).unwrap(), day);
    value
}

#[test]
fn every_type_is_what_the_specification_says() {
    use Column as C;
    let uuid: Vec<u8> = (0..16).collect();
    let mut interval = vec![0; 12];
    (interval[0], interval[4], interval[8]) = (14, 3, 5);
    let mut wide = vec![0xff; 20];
    wide[19] = 0x85;
    let cases: Vec<(&str, Column, &str, &str)> = vec![
        ("BOOLEAN c", C::Bool(vec![true]), "c Boolean", "true"),
        ("INT32 c", C::Int32(vec![-1]), "c Int32", "-1"),
        ("INT32 c (INTEGER(8,true))", C::Int32(vec![-5]), "c Int8", "-5"),
        ("INT32 c (INTEGER(16,false))", C::Int32(vec![65535]), "c UInt16", "65535"),
        ("INT32 c (UINT_8)", C::Int32(vec![255]), "c UInt8", "255"),
        ("INT32 c (INTEGER(32,false))", C::Int32(vec![-1]), "c UInt32", "4294967295"),
        ("INT64 c (UINT_64)", C::Int64(vec![-1]), "c UInt64", "18446744073709551615"),
        ("FLOAT c", C::Float(vec![1.5]), "c Float32", "1.5"),
        ("DOUBLE c", C::Double(vec![1.5]), "c Float64", "1.5"),
        ("FIXED_LEN_BYTE_ARRAY (2) c (FLOAT16)", C::Fixed(vec![vec![0, 0x3e]]), "c Float16", "1.5"),
        ("INT32 c (DATE)", C::Int32(vec![1]), "c Date32", "1970-01-02"),
        ("INT32 c (DECIMAL(9,2))", C::Int32(vec![-123]), "c Decimal32(9, 2)", "-1.23"),
        ("INT64 c (DECIMAL(18,2))", C::Int64(vec![-123]), "c Decimal64(18, 2)", "-1.23"),
        ("BYTE_ARRAY c (DECIMAL(30,2))", C::Bytes(vec![b"\xff\x85"]), "c Decimal128(30, 2)", "-1.23"),
        ("FIXED_LEN_BYTE_ARRAY (20) c (DECIMAL(38,2))", C::Fixed(vec![wide]), "c Decimal128(38, 2)", "-1.23"),
        ("INT32 c (TIME(MILLIS,false))", C::Int32(vec![1]), "c Time32(ms)", "00:00:00.001"),
        ("INT64 c (TIME(NANOS,false))", C::Int64(vec![1]), "c Time64(ns)", "00:00:00.000000001"),
        ("INT64 c (TIME_MICROS)", C::Int64(vec![1]), "c Time64(µs)", "00:00:00.000001"),
        (
            "INT64 c (TIME(MICROS,true))",
            C::Int64(vec![1]),
            "c FixedSizeBinary(8) arrow.opaque",
            "ffe0000100000000",
        ),
        (
            "INT64 c (TIMESTAMP(MILLIS,false))",
            C::Int64(vec![1]),
            "c Timestamp(ms)",
            "1970-01-01T00:00:00.001",
        ),
        (
            "INT64 c (TIMESTAMP(NANOS,true))",
            C::Int64(vec![1]),
            "c Timestamp(ns, \"UTC\")",
            "1970-01-01T00:00:00.000000001Z",
        ),
        (
            "INT64 c (TIMESTAMP_MICROS)",
            C::Int64(vec![1]),
            "c Timestamp(µs, \"UTC\")",
            "1970-01-01T00:00:00.000001Z",
        ),
        ("INT96 c", C::Int96(vec![int96(1_721_426, 0)]), "c Timestamp(µs)", "0001-01-01T00:00:00"),
        ("BYTE_ARRAY c", C::Bytes(vec![b"\xff"]), "c Binary", "ff"),
        ("BYTE_ARRAY c (UTF8)", C::Bytes(vec![b"x"]), "c Utf8", "x"),
        ("BYTE_ARRAY c (STRING)", C::Bytes(vec![b"x"]), "c Utf8", "x"),
        ("BYTE_ARRAY c (ENUM)", C::Bytes(vec![b"x"]), "c Utf8", "x"),
        ("BYTE_ARRAY c (JSON)", C::Bytes(vec![b"{}"]), "c Utf8 arrow.json", "{}"),
        ("BYTE_ARRAY c (BSON)", C::Bytes(vec![b"x"]), "c Binary", "78"),
        (
            "FIXED_LEN_BYTE_ARRAY (16) c (UUID)",
            C::Fixed(vec![uuid]),
            "c FixedSizeBinary(16) arrow.uuid",
            "000102030405060708090a0b0c0d0e0f",
        ),
        (
            "FIXED_LEN_BYTE_ARRAY (12) c (INTERVAL)",
            C::Fixed(vec![interval]),
            "c Interval(MonthDayNano)",
            "14 mons 3 days 0.005000000 secs",
        ),
    ];
    for (column, values, expected, value) in cases {
        let bytes = bytes_of(&format!("message m {{ REQUIRED {column}; }}"), &[], &[vec![flat(values)]]);
        assert_eq!(shown(&bytes), [(expected.to_owned(), value.to_owned())], "{column}");
    }
}

/// The first and the last day of INT96 that everybody has, within a list as well.
#[test]
fn int96_keeps_all_years() {
    let message = "message m { REQUIRED INT96 a; OPTIONAL group b (LIST) { REPEATED group list { OPTIONAL INT96 element; } } }";
    let last = int96(5_373_484, 7_200_000_000_000);
    let bytes = bytes_of(
        message,
        &[],
        &[vec![
            flat(Column::Int96(vec![last])),
            (Column::Int96(vec![int96(1_721_426, 0), last]), vec![3, 3], vec![0, 1]),
        ]],
    );
    let expected = [("a", "9999-12-31T02:00:00"), ("b", "[0001-01-01T00:00:00, 9999-12-31T02:00:00]")];
    for ((_, value), (_, expected)) in shown(&bytes).into_iter().zip(expected) {
        assert_eq!(value, expected);
    }
}

#[test]
fn old_lists_and_maps_are_lists_and_maps() {
    let cases = [
        ("REPEATED INT32 c;", vec![1, 1], "c List(non-null Int32)", "[1, 2]"),
        (
            "OPTIONAL group c (LIST) { REPEATED INT32 element; }",
            vec![2, 2],
            "c List(non-null Int32)",
            "[1, 2]",
        ),
        (
            "OPTIONAL group c (LIST) { REPEATED group bag { OPTIONAL INT32 array_element; } }",
            vec![3, 3],
            "c List(Int32)",
            "[1, 2]",
        ),
        (
            "OPTIONAL group c (LIST) { REPEATED group array { REQUIRED INT32 a; } }",
            vec![2, 2],
            "c List(non-null Struct(\"a\": non-null Int32))",
            "[{a: 1}, {a: 2}]",
        ),
        (
            "OPTIONAL group c (LIST) { REPEATED group c_tuple { REQUIRED INT32 a; } }",
            vec![2, 2],
            "c List(non-null Struct(\"a\": non-null Int32))",
            "[{a: 1}, {a: 2}]",
        ),
    ];
    for (column, defined, expected, value) in cases {
        let column = format!("message m {{ {column} }}");
        let bytes = bytes_of(&column, &[], &[vec![(Column::Int32(vec![1, 2]), defined, vec![0, 1])]]);
        assert_eq!(shown(&bytes), [(expected.to_owned(), value.to_owned())], "{column}");
    }
    let message = "message m { OPTIONAL group c (MAP_KEY_VALUE) { REPEATED group map { \
        REQUIRED BYTE_ARRAY k (UTF8); OPTIONAL INT32 v; } } }";
    let keys = (Column::Bytes(vec![b"x", b"y"]), vec![2, 2], vec![0, 1]);
    let values = (Column::Int32(vec![1]), vec![3, 2], vec![0, 1]);
    let shown = shown(&bytes_of(message, &[], &[vec![keys, values]]));
    assert!(shown[0].0.starts_with("c Map("), "{shown:?}");
    assert_eq!(shown[0].1, "{x: 1, y: NULL}");
}

#[test]
fn geometries_keep_their_reference_system() {
    let geo = r#"{"columns": {"c": {"encoding": "WKB", "crs": {"id": 7}}}}"#;
    let point: &[u8] =
        b"\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\x00\x00\x00\x00\x00\x40";
    let message = "message m { REQUIRED BYTE_ARRAY c; REQUIRED BYTE_ARRAY d; }";
    let bytes = bytes_of(
        message,
        &[("geo", geo)],
        &[vec![flat(Column::Bytes(vec![point])), flat(Column::Bytes(vec![point]))]],
    );
    let on_disk = OnDisk::of(&bytes);
    let file = on_disk.open().unwrap();
    let [c, d] = [0, 1].map(|index| file.schema().field(index).metadata().clone());
    assert_eq!(c.get(pintail_protocol::extension::NAME).map(String::as_str), Some("geoarrow.wkb"));
    assert_eq!(
        c.get(pintail_protocol::extension::METADATA).map(String::as_str),
        Some(r#"{"crs":{"id":7},"crs_type":"projjson"}"#)
    );
    assert!(d.is_empty());
}

#[test]
fn what_has_no_home_is_refused_by_name() {
    let empty = |columns: &str| bytes_of(&format!("message m {{ {columns} }}"), &[], &[]);
    refused(&empty(""), "it has no columns");
    refused(&empty("REQUIRED BYTE_ARRAY c (DECIMAL(77,2));"), "column \"c\" is DECIMAL(77,2)");
    refused(&empty("REQUIRED BYTE_ARRAY c (DECIMAL(60,39));"), "column \"c\" is DECIMAL(60,39)");
    refused(&empty("REQUIRED INT32 a; REQUIRED INT32 A;"), "two columns \"A\"");
    refused(
        &empty("REQUIRED group g { REQUIRED INT32 a; REQUIRED INT32 A; }"),
        "column \"g\" the group has two columns",
    );
    refused(&empty("REQUIRED FIXED_LEN_BYTE_ARRAY (0) c;"), "column \"c\" has values of 0 bytes");
    refused(&empty("REQUIRED INT32 c (UNKNOWN);"), "column \"c\" is annotated as always NULL, and required");
    refused(
        &empty("REQUIRED group v (VARIANT) { REQUIRED BYTE_ARRAY metadata; OPTIONAL INT32 typed_value; }"),
        "column \"v\" is a VARIANT without",
    );
}

/// A VARIANT with a number in a column of its own.
#[test]
fn variants_are_put_together() {
    let message = "message m { OPTIONAL group v (VARIANT) { REQUIRED BYTE_ARRAY metadata; \
        OPTIONAL BYTE_ARRAY value; OPTIONAL INT32 typed_value; } }";
    let bytes = bytes_of(
        message,
        &[],
        &[vec![
            (Column::Bytes(vec![b"\x01\x00\x00"]), vec![1], Vec::new()),
            (Column::Bytes(Vec::new()), vec![1], Vec::new()),
            (Column::Int32(vec![7]), vec![2], Vec::new()),
        ]],
    );
    let on_disk = OnDisk::of(&bytes);
    let file = on_disk.open().unwrap();
    let batches = read(file.as_ref()).unwrap();
    let structs = batches[0].column(0).as_struct();
    let value = structs.column_by_name("value").unwrap().as_binary::<i32>().value(0);
    // An INT32 of four bytes.
    assert_eq!(value, [0x14, 7, 0, 0, 0]);
    assert_eq!(structs.num_columns(), 2);
}

/// Categories of which there are more over all row groups than their keys can number.
#[test]
fn categories_may_outgrow_their_keys() {
    let of = |from: i32| -> DictionaryArray<Int8Type> {
        let values: Vec<String> = (from..from + 100).map(|number| format!("c{number}")).collect();
        values.iter().map(String::as_str).collect()
    };
    let batch = |from| RecordBatch::try_from_iter([("c", Arc::new(of(from)) as _)]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch(0).schema(), None).unwrap();
    for from in [0, 100, 200] {
        writer.write(&batch(from)).unwrap();
    }
    let on_disk = OnDisk::of(&writer.into_inner().unwrap());
    let file = on_disk.open().unwrap();
    assert_eq!(file.schema().field(0).data_type(), &DataType::Utf8);
    let batches = read(file.as_ref()).unwrap();
    let texts = batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>());
    assert_eq!(texts.flatten().collect::<HashSet<_>>().len(), 300);
}

/// What the embedded schema adds, and what it must not change.
#[test]
fn the_embedded_schema_adds_what_parquet_cannot_say() {
    let kept = [
        DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into())),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::FixedSizeList(Arc::new(Field::new_list_field(DataType::Int32, true)), 2),
        DataType::Null,
    ];
    for data_type in kept {
        let schema = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), true)]));
        let batch = RecordBatch::new_empty(Arc::clone(&schema));
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
        writer.write(&batch).unwrap();
        let on_disk = OnDisk::of(&writer.into_inner().unwrap());
        let file = on_disk.open().unwrap();
        assert_eq!(file.schema().field(0).data_type(), &data_type);
        assert!(file.pieces().is_empty());
    }
}
