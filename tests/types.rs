//! Every type, in through DoPut, ingest and parameters, and out again equal: values, nulls, units, scale.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, MapBuilder, RecordBatch, RunArray,
    StringArray, StringBuilder, StringViewArray, StructArray, Time32MillisecondArray, Time32SecondArray,
    Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::{cast, concat};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit,
};
use arrow_flight::FlightDescriptor;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use common::{TestServer, joined, rows, table};
use futures::{TryStreamExt, stream};
use half::f16;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

/// A column with a value to start from and what comes back for it, where DuckDB has no such type.
struct Case {
    name: &'static str,
    sent: ArrayRef,
    back: DataType,
}

fn case(name: &'static str, sent: ArrayRef) -> Case {
    let back = sent.data_type().clone();
    Case { name, sent, back }
}

fn becomes(name: &'static str, sent: ArrayRef, back: DataType) -> Case {
    Case { name, sent, back }
}

/// Extremes, ordinary values and nulls of every type, five of each.
fn cases() -> Vec<Case> {
    let utc = || Some("UTC".to_owned());
    let words: DictionaryArray<Int32Type> =
        vec![Some("a"), None, Some("b"), Some("a"), Some("")].into_iter().collect();
    let runs =
        RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 5]), &StringArray::from(vec!["x", "y"]))
            .unwrap();
    let mut maps = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    for (key, value) in [("k", Some(1)), ("", None), ("ü", Some(3)), ("z", Some(4)), ("q", Some(5))] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
        maps.append(true).unwrap();
    }
    let structs = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("ü"), Some("y")])) as ArrayRef,
        ),
    ]);
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(i64::MAX)]),
        Some(vec![None]),
    ]);
    let halves = Float16Array::from(vec![
        Some(f16::from_f32(1.5)),
        None,
        Some(f16::MAX),
        Some(f16::MIN),
        Some(f16::ZERO),
    ]);
    let binary: ArrayRef =
        Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b""), Some(b"abc"), Some(b"d")]));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some(b"ab"), None, Some(b"\0\0"), Some(b"\xff\xff"), Some(b"zz")].into_iter(),
        2,
    )
    .unwrap();
    let texts =
        vec![Some("x"), None, Some(""), Some("ü 世界 🚀"), Some("a text that is longer than twelve bytes")];
    let micros = DataType::Time64(TimeUnit::Microsecond);
    vec![
        case("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]))),
        case("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX), Some(0), Some(1)]))),
        case("i16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX), Some(0), Some(1)]))),
        case("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX), Some(0), Some(1)]))),
        case("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(0), Some(1)]))),
        case("u8", Arc::new(UInt8Array::from(vec![Some(u8::MIN), None, Some(u8::MAX), Some(0), Some(1)]))),
        case("u16", Arc::new(UInt16Array::from(vec![Some(0), None, Some(u16::MAX), Some(0), Some(1)]))),
        case("u32", Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX), Some(0), Some(1)]))),
        case("u64", Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX), Some(0), Some(1)]))),
        becomes("f16", Arc::new(halves), DataType::Float32),
        case(
            "f32",
            Arc::new(Float32Array::from(vec![
                Some(f32::MIN),
                None,
                Some(f32::NAN),
                Some(-0.0),
                Some(f32::INFINITY),
            ])),
        ),
        case(
            "f64",
            Arc::new(Float64Array::from(vec![
                Some(f64::MIN),
                None,
                Some(f64::NAN),
                Some(-0.0),
                Some(f64::INFINITY),
            ])),
        ),
        case(
            "dec4",
            Arc::new(
                Decimal128Array::from(vec![Some(9999), None, Some(-9999), Some(0), Some(1)])
                    .with_precision_and_scale(4, 2)
                    .unwrap(),
            ),
        ),
        case(
            "dec38",
            Arc::new(
                Decimal128Array::from(vec![
                    Some(10_i128.pow(38) - 1),
                    None,
                    Some(1 - 10_i128.pow(38)),
                    Some(0),
                    Some(1),
                ])
                .with_precision_and_scale(38, 10)
                .unwrap(),
            ),
        ),
        case("utf8", Arc::new(StringArray::from(texts.clone()))),
        becomes("large_utf8", Arc::new(LargeStringArray::from(texts.clone())), DataType::Utf8),
        becomes("utf8_view", Arc::new(StringViewArray::from(texts)), DataType::Utf8),
        becomes("dictionary", Arc::new(words), DataType::Utf8),
        becomes("run_end", Arc::new(runs), DataType::Utf8),
        becomes("large_binary", cast(&binary, &DataType::LargeBinary).unwrap(), DataType::Binary),
        becomes("binary_view", cast(&binary, &DataType::BinaryView).unwrap(), DataType::Binary),
        case("binary", binary),
        becomes("fixed_binary", Arc::new(fixed), DataType::Binary),
        case(
            "date32",
            Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896), Some(0), Some(1)])),
        ),
        becomes(
            "date64",
            Arc::new(Date64Array::from(vec![Some(0), None, Some(86_400_000), Some(-86_400_000), Some(0)])),
            DataType::Date32,
        ),
        becomes(
            "time_s",
            Arc::new(Time32SecondArray::from(vec![Some(0), None, Some(86_399), Some(1), Some(2)])),
            micros.clone(),
        ),
        becomes(
            "time_ms",
            Arc::new(Time32MillisecondArray::from(vec![Some(0), None, Some(86_399_999), Some(1), Some(2)])),
            micros,
        ),
        case(
            "time_us",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999_999),
                Some(1),
                Some(2),
            ])),
        ),
        case(
            "time_ns",
            Arc::new(Time64NanosecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999_999_999),
                Some(1),
                Some(2),
            ])),
        ),
        case(
            "ts_s",
            Arc::new(TimestampSecondArray::from(vec![
                Some(-62_135_596_800),
                None,
                Some(253_402_300_799),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_ms",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-62_135_596_800_000),
                None,
                Some(253_402_300_799_999),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_us",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(-62_135_596_800_000_000),
                None,
                Some(253_402_300_799_999_999),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_ns",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(i64::MAX - 1),
                None,
                Some(-9_223_286_400_000_000_000),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_utc",
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(-62_135_596_800_000_000),
                    None,
                    Some(253_402_300_799_999_999),
                    Some(0),
                    Some(1),
                ])
                .with_timezone_opt(utc()),
            ),
        ),
        case(
            "interval",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(14, -3, 1_000)),
                None,
                Some(IntervalMonthDayNano::new(0, 0, 0)),
                Some(IntervalMonthDayNano::new(-1, 0, -5_000)),
                Some(IntervalMonthDayNano::new(0, 400, 86_400_000_000_000)),
            ])),
        ),
        case("list", Arc::new(lists)),
        case("struct", Arc::new(structs)),
        case("map", Arc::new(maps.finish())),
    ]
}

fn batch(cases: &[Case], arrays: Vec<ArrayRef>) -> RecordBatch {
    let fields: Vec<Field> = cases
        .iter()
        .zip(&arrays)
        .map(|(case, array)| Field::new(case.name, array.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Values as text, so that field names inside nested types do not matter.
fn shown(array: &dyn Array) -> Vec<String> {
    let options = arrow::util::display::FormatOptions::new().with_null("NULL");
    let formatter = arrow::util::display::ArrayFormatter::try_new(array, &options).unwrap();
    (0..array.len()).map(|row| formatter.value(row).to_string()).collect()
}

fn same(case: &Case, found: &dyn Array, expected: &dyn Array) {
    let nested = matches!(case.back, DataType::Map(..) | DataType::List(_) | DataType::Struct(_));
    if !nested {
        assert_eq!(found.data_type(), &case.back, "{}", case.name);
    }
    let expected = if nested {
        arrow::array::make_array(expected.to_data())
    } else {
        cast(expected, &case.back).unwrap()
    };
    assert_eq!(shown(found), shown(&expected), "{}", case.name);
}

/// Every type through DoPut, Flight SQL ingest and statement parameters.
#[tokio::test]
async fn every_type_comes_back_equal_on_every_path() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let cases = cases();
    let sent = batch(&cases, cases.iter().map(|case| Arc::clone(&case.sent)).collect());
    let items = stream::iter([Ok(sent.clone())]);
    client.put(&table("put"), sent.schema(), items, &[]).await.unwrap();
    let ingest = CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: TableExistsOption::Fail as i32,
        }),
        table: "ingested".into(),
        ..Default::default()
    };
    assert_eq!(sql.execute_ingest(ingest, stream::iter([Ok(sent.clone())])).await.unwrap(), 5);
    rows(&mut client, "CREATE TABLE bound AS FROM put LIMIT 0").await.unwrap();
    let places: Vec<String> = (1..=cases.len()).map(|number| format!("${number}")).collect();
    let insert = format!("INSERT INTO bound VALUES ({})", places.join(", "));
    // Five rows go one by one, as values; a hundred as a bulk load.
    for repeats in [1, 20] {
        let many: Vec<RecordBatch> = vec![sent.clone(); repeats];
        let many = joined(&many);
        let mut prepared = sql.prepare(insert.clone(), None).await.unwrap();
        prepared.set_parameters(many.clone()).unwrap();
        assert_eq!(prepared.execute_update().await.unwrap(), many.num_rows() as i64);
        prepared.close().await.unwrap();
        let found = joined(&rows(&mut client, "FROM bound").await.unwrap());
        for (index, case) in cases.iter().enumerate() {
            same(case, found.column(index), many.column(index));
        }
        rows(&mut client, "DELETE FROM bound").await.unwrap();
    }
    for name in ["put", "ingested"] {
        let found = joined(&rows(&mut client, &format!("FROM {name}")).await.unwrap());
        for (index, case) in cases.iter().enumerate() {
            same(case, found.column(index), &case.sent);
        }
    }
    // And as a parameter of a SELECT, whose result has the parameter's own type.
    for case in &cases {
        let mut prepared = sql.prepare("SELECT ? AS x".into(), None).await.unwrap();
        prepared
            .set_parameters(RecordBatch::try_from_iter([("0", Arc::clone(&case.sent))]).unwrap())
            .unwrap();
        let info = prepared.execute().await.unwrap();
        let described = info.clone().try_decode_schema().unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let found: Vec<RecordBatch> = sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
        assert_eq!(*found[0].schema(), described, "{}", case.name);
        same(case, joined(&found).column(0), &case.sent);
        prepared.close().await.unwrap();
    }
}

/// Slices with offsets, empty batches and batches of any cut arrive as if they were sent whole.
#[tokio::test]
async fn any_cut_of_the_rows_arrives_whole() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let cases = cases();
    let mut runner = TestRunner::new(Config::with_cases(1));
    let cuts = prop::collection::vec((0_usize..5, 0_usize..6), 1..40);
    for round in 0..24 {
        let cut = cuts.new_tree(&mut runner).unwrap().current();
        let whole = batch(&cases, cases.iter().map(|case| Arc::clone(&case.sent)).collect());
        let parts: Vec<RecordBatch> =
            cut.iter().map(|(from, len)| whole.slice(*from, (*len).min(5 - from))).collect();
        let name = format!("t{round}");
        let items: Vec<pintail::error::Result<RecordBatch>> = parts.iter().cloned().map(Ok).collect();
        client.put(&table(&name), whole.schema(), stream::iter(items), &[]).await.unwrap();
        let found = rows(&mut client, &format!("FROM {name}")).await.unwrap();
        let total: usize = parts.iter().map(RecordBatch::num_rows).sum();
        assert_eq!(found.iter().map(RecordBatch::num_rows).sum::<usize>(), total, "{cut:?}");
        if total == 0 {
            continue;
        }
        let found = joined(&found);
        for (index, case) in cases.iter().enumerate() {
            // Run-end arrays do not concatenate; their plain form does.
            let pieces: Vec<ArrayRef> = parts
                .iter()
                .map(|part| match part.column(index).data_type() {
                    DataType::RunEndEncoded(..) => cast(part.column(index), &DataType::Utf8).unwrap(),
                    _ => Arc::clone(part.column(index)),
                })
                .collect();
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            same(case, found.column(index), &concat(&pieces).unwrap());
        }
    }
}

/// What GetFlightInfo says and what DoGet sends is one schema, for every type that DuckDB can return.
#[tokio::test]
async fn every_result_type_is_described_as_it_arrives() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TYPE mood AS ENUM ('sad', 'ok')").await.unwrap();
    for expression in [
        "NULL",
        "true",
        "1::TINYINT",
        "1::SMALLINT",
        "1::INTEGER",
        "1::BIGINT",
        "1::HUGEINT",
        "1::UTINYINT",
        "1::USMALLINT",
        "1::UINTEGER",
        "1::UBIGINT",
        "1::UHUGEINT",
        "1.5::FLOAT",
        "1.5::DOUBLE",
        "1.5::DECIMAL(4,1)",
        "1.5::DECIMAL(9,2)",
        "1.5::DECIMAL(18,3)",
        "1.5::DECIMAL(38,4)",
        "'x'",
        "'x'::BLOB",
        "uuid()",
        "DATE '2020-01-01'",
        "TIME '12:00:00'",
        "'12:00:00+02'::TIMETZ",
        "'2020-01-01'::TIMESTAMP_S",
        "'2020-01-01'::TIMESTAMP_MS",
        "'2020-01-01'::TIMESTAMP",
        "'2020-01-01'::TIMESTAMP_NS",
        "'2020-01-01 00:00:00+00'::TIMESTAMPTZ",
        "INTERVAL 3 MONTH",
        "'ok'::mood",
        "'101'::BIT",
        "123456789012345678901234567890::BIGNUM",
        "[1, 2]",
        "[[1], NULL]",
        "array_value(1, 2)",
        "{'a': 1, 'b': [DATE '2020-01-01']}",
        "MAP {'k': [1]}",
        "union_value(a := 1)",
        "'{\"a\": 1}'::JSON",
        "1::VARIANT",
        "row(1, 'x')",
        "TIME_NS '12:00:00.123456789'",
        "[{'e': 'ok'::mood, 'u': uuid()}]",
        "[{'a': 1::UHUGEINT}]",
        "'POINT (1 2)'::GEOMETRY",
    ] {
        let sql = format!("SELECT {expression} AS x");
        let info = client.inner().get_flight_info(FlightDescriptor::new_cmd(sql.clone())).await;
        let info = info.unwrap_or_else(|refused| panic!("{expression}: {refused}")).into_inner();
        let described = info.try_decode_schema().unwrap();
        let found = rows(&mut client, &sql).await.unwrap();
        assert_eq!(*found[0].schema(), described, "{expression}");
        assert_eq!(found[0].num_rows(), 1, "{expression}");
    }
    let month = DataType::Interval(IntervalUnit::MonthDayNano);
    let found = rows(&mut client, "SELECT INTERVAL 1 MONTH AS i").await.unwrap();
    assert_eq!(found[0].schema().field(0).data_type(), &month);
}
