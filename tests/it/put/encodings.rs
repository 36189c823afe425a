//! Encodings and layouts that DuckDB does not have, through every way in, under keys and from producers: each stands
//! for plain values, and comes back as those.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewArray, Decimal128Array, Decimal256Array, DictionaryArray,
    DurationMillisecondArray, DurationNanosecondArray, DurationSecondArray, FixedSizeListArray, Float16Array,
    Int8Array, Int16Array, Int32Array, Int64Array, IntervalDayTimeArray, IntervalYearMonthArray,
    LargeListViewArray, LargeStringArray, ListViewArray, RecordBatch, RunArray, StringArray, StringViewArray,
    UInt16Array, UInt64Array, UnionArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, IntervalDayTime, Schema, UnionFields, i256};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::sql::TableExistsOption;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{TryStreamExt, stream};
use half::f16;
use pintail::client::Client;
use pintail::error::{Kind, Result};

use crate::support::calls::{number, put_with, rows, table};
use crate::support::put_stream;
use crate::support::server::TestServer;
use crate::support::session::ingest_into;

/// Three rows, and each as the engine prints it.
struct Case {
    name: &'static str,
    sent: ArrayRef,
    shown: [Option<&'static str>; 3],
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

/// Takes a case by its name, the array that is sent and what is shown of it.
type Add<'a> = &'a mut dyn FnMut(&'static str, ArrayRef, [Option<&'static str>; 3]);

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for add in [encoded_texts, list_views, unions, without_a_type] {
        add(&mut |name, sent, shown| cases.push(Case { name, sent, shown }));
    }
    cases
}

/// Dictionaries, runs and views of texts.
fn encoded_texts(case: Add<'_>) {
    let words: ArrayRef = Arc::new(StringArray::from(vec!["x", "unused", "yy"]));
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["x", "unused", "yy"]));
    let texts = [Some("yy"), None, Some("x")];
    let keys = Int8Array::from(vec![Some(2), None, Some(0)]);
    case("dictionary_i8", Arc::new(DictionaryArray::new(keys, Arc::clone(&words))), texts);
    let keys = UInt16Array::from(vec![Some(2), None, Some(0)]);
    case("dictionary_u16", Arc::new(DictionaryArray::new(keys, Arc::clone(&words))), texts);
    let keys = UInt64Array::from(vec![Some(2), None, Some(0)]);
    case("dictionary_u64", Arc::new(DictionaryArray::new(keys, large)), texts);
    let prices = Decimal128Array::from(vec![Some(150), None]).with_precision_and_scale(9, 2).unwrap();
    let keys = Int64Array::from(vec![Some(0), Some(1), Some(0)]);
    case(
        "dictionary_null",
        Arc::new(DictionaryArray::new(keys, Arc::new(prices))),
        [Some("1.50"), None, Some("1.50")],
    );
    let values = StringArray::from(vec![Some("yy"), None, Some("x")]);
    let ends = || vec![1, 2, 3];
    case("runs_i16", Arc::new(RunArray::try_new(&Int16Array::from(vec![1, 2, 3]), &values).unwrap()), texts);
    case("runs_i32", Arc::new(RunArray::try_new(&Int32Array::from(ends()), &values).unwrap()), texts);
    case("runs_i64", Arc::new(RunArray::try_new(&Int64Array::from(vec![1, 2, 3]), &values).unwrap()), texts);
    case("text_view", Arc::new(StringViewArray::from(vec![Some("yy"), None, Some("x")])), texts);
    case("binary_view", Arc::new(BinaryViewArray::from(vec![Some(&b"yy"[..]), None, Some(b"x")])), texts);
}

fn list_views(case: Add<'_>) {
    // Views lie over each other and out of order.
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let nulls = || Some(vec![true, false, true].into());
    let lists = [Some("[2, 3]"), None, Some("[1, 2, 3]")];
    let views = ListViewArray::new(
        item(DataType::Int64),
        vec![1, 0, 0].into(),
        vec![2, 1, 3].into(),
        Arc::clone(&numbers),
        nulls(),
    );
    case("list_view", Arc::new(views), lists);
    let views = LargeListViewArray::new(
        item(DataType::Int64),
        vec![1, 0, 0].into(),
        vec![2, 1, 3].into(),
        numbers,
        nulls(),
    );
    case("large_list_view", Arc::new(views), lists);
    let none: ArrayRef = Arc::new(Int64Array::from(vec![0; 0]));
    let none = FixedSizeListArray::try_new_with_length(item(DataType::Int64), 0, none, nulls(), 3);
    case("list_of_none", Arc::new(none.unwrap()), [Some("[]"), None, Some("[]")]);
}

fn unions(case: Add<'_>) {
    let members = |codes: [i8; 2]| {
        let fields = [Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)];
        UnionFields::try_new(codes, fields).unwrap()
    };
    let codes = |codes: [i8; 3]| codes.to_vec().into();
    let members_of = |n: Vec<Option<i64>>, s: Vec<Option<&str>>| -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(n)), Arc::new(StringArray::from(s))]
    };
    let shown = [Some("x"), Some("5"), None];
    let children = members_of(vec![Some(9), Some(5), None], vec![Some("x"), Some("below"), None]);
    let union = UnionArray::try_new(members([0, 1]), codes([1, 0, 0]), None, children).unwrap();
    case("sparse_union", Arc::new(union), shown);
    let children = members_of(vec![None, Some(5)], vec![Some("x")]);
    let union =
        UnionArray::try_new(members([7, 3]), codes([3, 7, 7]), Some(vec![0, 1, 0].into()), children).unwrap();
    case("dense_union", Arc::new(union), shown);
}

/// Numbers, durations and intervals of types that the engine does not have.
fn without_a_type(case: Add<'_>) {
    let largest = i256::from_i128(10_i128.pow(38) - 1);
    let wide = Decimal256Array::from(vec![Some(largest), None, Some(i256::from_i128(-5))]);
    case(
        "decimal_256",
        Arc::new(wide.with_precision_and_scale(76, 2).unwrap()),
        [Some("999999999999999999999999999999999999.99"), None, Some("-0.05")],
    );
    let halves = Float16Array::from(vec![Some(f16::from_f32(1.5)), None, Some(f16::from_f32(-2.0))]);
    case("half", Arc::new(halves), [Some("1.5"), None, Some("-2.0")]);
    let times = [Some("00:01:30"), None, Some("-00:00:02")];
    case("duration_s", Arc::new(DurationSecondArray::from(vec![Some(90), None, Some(-2)])), times);
    case(
        "duration_ms",
        Arc::new(DurationMillisecondArray::from(vec![Some(90_000), None, Some(-2000)])),
        times,
    );
    let nanos = DurationNanosecondArray::from(vec![Some(90_000_000_000), None, Some(-2_000_000_000)]);
    case("duration_ns", Arc::new(nanos), times);
    let months = IntervalYearMonthArray::from(vec![Some(14), None, Some(0)]);
    case("months", Arc::new(months), [Some("1 year 2 months"), None, Some("00:00:00")]);
    let days = vec![Some(IntervalDayTime::new(3, 1500)), None, Some(IntervalDayTime::new(0, 0))];
    case(
        "days",
        Arc::new(IntervalDayTimeArray::from(days)),
        [Some("3 days 00:00:01.5"), None, Some("00:00:00")],
    );
}

fn batch(case: &Case) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([("x", Arc::clone(&case.sent), true)]).unwrap()
}

async fn check(client: &mut Client, case: &Case, name: &str) {
    let found = rows(client, &format!("SELECT x::VARCHAR AS x FROM {name}")).await.unwrap();
    let found: Vec<Option<String>> = found
        .iter()
        .flat_map(|batch| {
            batch.column(0).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, case.shown.map(|text| text.map(str::to_owned)), "{name}");
}

/// Through DoPut, Flight SQL ingest and the parameters of an INSERT.
#[tokio::test]
async fn every_encoding_goes_in_on_every_path() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    for case in cases() {
        let sent = batch(&case);
        let put = format!("put_{}", case.name);
        put_with(&mut client, &put, std::slice::from_ref(&sent), &[])
            .await
            .unwrap_or_else(|error| panic!("{put}: {error}"));
        check(&mut client, &case, &put).await;
        let ingested = format!("ingested_{}", case.name);
        let ingest = ingest_into(&ingested, TableExistsOption::Fail);
        let count = sql.execute_ingest(ingest, stream::iter([Ok(sent.clone())])).await;
        assert_eq!(count.unwrap_or_else(|error| panic!("{ingested}: {error}")), 3);
        check(&mut client, &case, &ingested).await;
        let bound = format!("bound_{}", case.name);
        rows(&mut client, &format!("CREATE TABLE {bound} AS FROM {put} LIMIT 0")).await.unwrap();
        let mut prepared = sql.prepare(format!("INSERT INTO {bound} VALUES ($1)"), None).await.unwrap();
        prepared.set_parameters(sent).unwrap();
        let count = prepared.execute_update().await;
        assert_eq!(count.unwrap_or_else(|error| panic!("{bound}: {error}")), 3);
        prepared.close().await.unwrap();
        check(&mut client, &case, &bound).await;
    }
}

/// Sends one numbered batch for a producer.
async fn produce(client: &mut Client, name: &str, batch: &RecordBatch, seq: u64) -> Result<()> {
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(batch.schema())
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![name.to_owned()])))
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter([Ok(batch.clone())]))
        .try_collect()
        .await
        .unwrap();
    messages.last_mut().unwrap().app_metadata = format!("{{\"seq\": {seq}}}").into();
    put_stream::send(client, stream::iter(messages), &[("pintail-producer", name)]).await.map(drop)
}

/// A key and a producer know the values again in any cut of memory, and other values for others.
#[tokio::test]
async fn every_encoding_has_a_checksum() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for case in cases() {
        let name = format!("keyed_{}", case.name);
        let key = [("pintail-idempotency-key", name.as_str())];
        let sent = batch(&case);
        let put = |batch: RecordBatch| vec![batch];
        let first = put_with(&mut client, &name, &put(sent.clone()), &key).await;
        assert!(!first.unwrap_or_else(|error| panic!("{name}: {error}")).duplicate);
        let again = put_with(&mut client, &name, &put(sent.clone()), &key).await.unwrap();
        assert!(again.duplicate, "{name}");
        let other = sent.slice(0, 1);
        let refused = put_with(&mut client, &name, &put(other), &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{name}: {refused}");
        check(&mut client, &case, &name).await;
        let name = format!("made_{}", case.name);
        for _ in 0..2 {
            produce(&mut client, &name, &sent, 1).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        check(&mut client, &case, &name).await;
    }
}

/// Categories that come as the stream goes on, each batch with a dictionary of its own.
#[tokio::test]
async fn dictionaries_grow_over_batches() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let part = |from: i8| {
        let values = StringArray::from_iter_values((0..from + 30).map(|n| format!("category {n}")));
        let keys = Int8Array::from_iter_values(from..from + 30);
        let column: ArrayRef = Arc::new(DictionaryArray::new(keys, Arc::new(values)));
        RecordBatch::try_from_iter([("x", column)]).unwrap()
    };
    let parts: Vec<RecordBatch> = (0..4).map(|n| part(n * 30)).collect();
    let key = [("pintail-idempotency-key", "growing")];
    assert_eq!(put_with(&mut client, "growing", &parts, &key).await.unwrap().rows, 120);
    let plain = |part: &RecordBatch| {
        RecordBatch::try_from_iter([("x", cast(part.column(0), &DataType::Utf8).unwrap())]).unwrap()
    };
    let parts: Vec<RecordBatch> = parts.iter().map(plain).collect();
    // Plain, they are the same values.
    assert!(put_with(&mut client, "growing", &parts, &key).await.unwrap().duplicate);
    assert_eq!(number(&mut client, "SELECT count(DISTINCT x) FROM growing").await, 120);
}

#[tokio::test]
async fn a_wide_decimal_that_does_not_fit_is_named() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let wide = Decimal256Array::from(vec![Some(i256::from_i128(1)), Some(i256::MAX)]);
    let wide: ArrayRef = Arc::new(wide.with_precision_and_scale(76, 2).unwrap());
    let batch = RecordBatch::try_from_iter([("wide", wide)]).unwrap();
    let refused = put_with(&mut client, "t", &[batch], &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(
        refused.message().contains("column \"wide\"") && refused.message().contains("38 digits"),
        "{refused}"
    );
    assert_eq!(number(&mut client, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'").await, 0);
}

/// One huge region of text among short ones: every message keeps below what the server takes, and none is cut to rows.
#[tokio::test]
async fn puts_are_cut_by_bytes() {
    let server = TestServer::start_with(|config| {
        config.server.max_message_bytes = pintail::config::Bytes::mib(48);
    })
    .await;
    let mut client = server.client().await;
    let text = |n: i64| "x".repeat(if (5000..5040).contains(&n) { 2 << 20 } else { 3 });
    let texts: ArrayRef = Arc::new(LargeStringArray::from_iter_values((0..50_000).map(text)));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("t", DataType::LargeUtf8, true),
    ]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![numbers, texts]).unwrap();
    let answer = client.put(&table("t"), schema, stream::iter([Ok(batch)]), &[]).await.unwrap();
    assert_eq!(answer.rows, 50_000);
    let bytes = 40 * (2 << 20) + 49_960 * 3;
    assert_eq!(number(&mut client, "SELECT sum(length(t)) FROM t").await, bytes);
}
