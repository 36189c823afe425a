//! Types, names and defaults of declarations are what the engine makes of them.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Schema;
use pintail::catalog::{TableName, adopt, from_duckdb, parse_type};
use pintail::engine::{Connection, actual_table, describe_rows, plain_schema};

use super::{Fixture, declared};

/// The one table of types says what the engine's own importer says, for every type a declaration can have.
#[test]
fn every_type_is_what_the_engine_makes_of_it() {
    let fixture = Fixture::new();
    let texts = [
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "halffloat",
        "float",
        "double",
        "string",
        "large_string",
        "string_view",
        "binary",
        "large_binary",
        "binary_view",
        "fixed_size_binary[7]",
        "date32[day]",
        "date64[ms]",
        "time32[s]",
        "time32[ms]",
        "time64[us]",
        "time64[ns]",
        "timestamp[s]",
        "timestamp[ms]",
        "timestamp[us]",
        "timestamp[ns]",
        "timestamp[s, tz=UTC]",
        "timestamp[ms, tz=Europe/Berlin]",
        "timestamp[us, tz=+02:00]",
        "timestamp[ns, tz=UTC]",
        "duration[s]",
        "duration[ms]",
        "duration[us]",
        "duration[ns]",
        "month_interval",
        "day_time_interval",
        "month_day_nano_interval",
        "decimal128(4, 0)",
        "decimal128(38, 38)",
        "decimal32(9, 2)",
        "decimal64(18, 2)",
        "decimal256(38, 2)",
        "list<item: int32>",
        "large_list<item: string>",
        "list_view<item: int32>",
        "large_list_view<item: int32>",
        "fixed_size_list<item: float>[3]",
        "struct<a b: int64, select: string not null, date: bool, A1: int8, ü: int8, \"q\"\"r\": int8>",
        "map<string, int32>",
        "map<string, list<item: int32>, keys_sorted>",
        "dictionary<values=string, indices=int8, ordered=0>",
        "dictionary<values=int64, indices=uint32, ordered=1>",
        "run_end_encoded<run_ends: int32, values: string>",
        "extension<arrow.uuid>",
        "extension<arrow.json>",
        "list<item: extension<arrow.uuid>>",
        "list<item: struct<a: list<item: timestamp[us, tz=UTC]>>>",
        "struct<m: map<int8, struct<x: decimal128(9, 3)>>, l: fixed_size_list<item: list<item: date32[day]>>[2]>",
    ];
    let types: Vec<_> = texts.iter().map(|text| parse_type(text).unwrap()).collect();
    let fields: Vec<_> =
        types.iter().enumerate().map(|(index, one)| one.field(&format!("c{index}"), true)).collect();
    let described =
        describe_rows(&fixture.connection, &plain_schema(&Arc::new(Schema::new(fields)))).unwrap();
    let columns: Vec<String> =
        types.iter().enumerate().map(|(index, one)| format!("c{index} {}", one.duckdb)).collect();
    // And the catalog prints the type of a column in the same words.
    fixture.run(&format!("CREATE TABLE t ({})", columns.join(", ")));
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    for ((one, (_, imported)), column) in types.iter().zip(&described).zip(&actual.columns) {
        assert_eq!(&one.duckdb, imported, "{}", one.text);
        assert_eq!(one.duckdb, column.duckdb_type, "{}", one.text);
        assert_eq!(from_duckdb(&column.duckdb_type).unwrap().duckdb, one.duckdb, "{}", one.text);
    }
}

/// Names inside a type are quoted by the list of words that the engine itself has.
#[test]
fn words_are_quoted_as_the_engine_quotes_them() {
    let fixture = Fixture::new();
    fixture.run("CREATE TABLE words AS SELECT DISTINCT keyword_name AS word FROM duckdb_keywords()");
    let mut cursor = Vec::new();
    for batch in collect(&fixture.connection, "SELECT word FROM words ORDER BY 1") {
        cursor.extend(batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    assert!(cursor.len() > 400, "{}", cursor.len());
    let text =
        cursor.iter().map(|word| format!("{word}: int8, _{word}: int8")).collect::<Vec<_>>().join(", ");
    let one = parse_type(&format!("struct<{text}>")).unwrap();
    fixture.run(&format!("CREATE TABLE t (a {})", one.duckdb));
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    assert_eq!(actual.columns[0].duckdb_type, one.duckdb);
}

fn collect(connection: &Connection, sql: &str) -> Vec<arrow::array::RecordBatch> {
    let parsed = pintail::engine::parse(connection, sql).unwrap();
    let schema = parsed.describe(connection).unwrap().schema;
    let size = pintail::engine::ArraySize { bytes: 1 << 20, rows_max: None };
    let mut cursor = pintail::engine::Cursor::open(connection, &parsed, &schema, size).unwrap();
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch().unwrap() {
        batches.push(batch);
    }
    batches
}

/// A default is a value of its column, whatever the type: the engine takes every literal.
#[test]
fn the_engine_takes_every_default() {
    let mut fixture = Fixture::new();
    let fields: Vec<String> = [
        ("bool", "true"),
        ("int8", "-128"),
        ("uint64", "9223372036854775807"),
        ("halffloat", "0.5"),
        ("double", "nan"),
        ("float", "-inf"),
        ("string", "\"it's\\n\""),
        ("binary", "'a\\xFF'"),
        ("fixed_size_binary[2]", "'ab'"),
        ("date32[day]", "2026-01-31"),
        ("time32[ms]", "\"10:30:00.125\""),
        ("time64[ns]", "\"10:30:00.123456789\""),
        ("timestamp[s]", "2026-01-31T10:00:00"),
        ("timestamp[ns]", "\"2026-01-31T10:00:00.123456789\""),
        ("timestamp[us, tz=UTC]", "2026-01-31T10:00:00+02:00"),
        ("timestamp[ns, tz=UTC]", "2026-01-31T10:00:00Z"),
        ("decimal128(38, 2)", "\"-999999999999999999999999999999999999.99\""),
        ("uuid", "\"6BA7B810-9dad-11d1-80b4-00c04fd430c8\""),
        ("json", "'{\"a\": [1]}'"),
        ("dictionary<values=string, indices=int8>", "\"d\""),
    ]
    .iter()
    .enumerate()
    .map(|(index, (data_type, value))| {
        format!("[[field]]\nname = \"c{index}\"\ntype = \"{data_type}\"\ndefault = {value}\n")
    })
    .collect();
    let text = format!("[[field]]\nname = \"id\"\ntype = \"int8\"\n{}", fields.join(""));
    fixture.apply(&text).unwrap();
    fixture.run("INSERT INTO t (id) VALUES (1)");
    fixture.holds("(SELECT c1 = -128 AND c6 = E'it''s\\n' AND c7 = 'a\\xFF'::BLOB AND isnan(c4) FROM t)");
    fixture.holds("(SELECT c14 = TIMESTAMPTZ '2026-01-31 08:00:00+00' FROM t)");
    let actual = actual_table(&fixture.connection, &TableName::from_text("t").unwrap()).unwrap().unwrap();
    assert_eq!(adopt(&actual, Some(&declared(&text)[0])).0, declared(&text)[0]);
}
