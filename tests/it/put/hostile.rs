//! Messages that say other things than they hold, and rows that are far larger than their messages.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, LargeListViewArray, ListArray, NullArray,
    RecordBatch, RunArray, StringArray, StringViewArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightData, FlightDescriptor, SchemaAsIpc};
use futures::{TryStreamExt, stream};
use pintail::client::{Client, from_status};
use pintail::config::Bytes;
use pintail::error::{Error, Kind, Result};
use pintail::flight::{Encoder, Frame};
use serde_json::{Value, json};

use crate::support::batches::{batch, wells};
use crate::support::calls::{number, put, rows};
use crate::support::forged::Forged;
use crate::support::process::{Process, free_port};
use crate::support::put_stream;
use crate::support::server::TestServer;

const MIB: usize = 1 << 20;

/// A server whose puts may hold this much.
async fn limited(mib: u64) -> TestServer {
    TestServer::start_with(|config| {
        config.ingest.memory_limit = Bytes::mib(mib);
        config.ingest.stream_memory_limit = Bytes::mib(mib);
    })
    .await
}

/// The messages of one stream: schema, then dictionaries and rows of each batch.
fn encoded(batches: &[RecordBatch], compression: Option<CompressionType>) -> Vec<FlightData> {
    let schema = batches[0].schema();
    let mut encoder = Encoder::new(&schema, compression).unwrap();
    let mut messages = vec![encoder.schema_frame(&schema).unwrap().into_flight_data()];
    for batch in batches {
        messages.extend(encoder.encode(batch).unwrap().into_iter().map(Frame::into_flight_data));
    }
    messages
}

/// The messages of one batch.
fn alone(batch: &RecordBatch) -> Vec<FlightData> {
    encoded(std::slice::from_ref(batch), None)
}

/// Puts messages as they are; the JSON of every answer.
async fn send(
    client: &mut Client,
    name: &str,
    mut messages: Vec<FlightData>,
    headers: &[(&'static str, &str)],
) -> Result<Vec<Value>> {
    messages[0].flight_descriptor = Some(FlightDescriptor::new_path(vec![name.to_owned()]));
    put_stream::send(client, stream::iter(messages), headers).await
}

async fn exchange(client: &mut Client, mut messages: Vec<FlightData>) -> Result<Vec<FlightData>> {
    messages[0].flight_descriptor = Some(FlightDescriptor::new_cmd("SELECT count(*) FROM input"));
    let answers = client.inner().do_exchange(stream::iter(messages)).await.map_err(from_status)?;
    answers.into_inner().map_err(from_status).try_collect().await
}

fn forged(mut messages: Vec<FlightData>, change: impl FnOnce(Forged) -> Forged) -> Vec<FlightData> {
    let last = messages.pop().unwrap();
    messages.push(change(Forged::new(&last)).message());
    messages
}

/// `rows` rows over ten values of `length` bytes, some of them NULL.
fn words(rows: i32, length: usize) -> DictionaryArray<Int32Type> {
    let values: Vec<String> = (0..10).map(|n| n.to_string().repeat(length)).collect();
    let keys = Int32Array::from_iter((0..rows).map(|row| (row % 11 != 10).then_some(row % 11)));
    DictionaryArray::new(keys, Arc::new(StringArray::from(values)))
}

/// Rows with their numbers, so that their order can be told.
fn numbered(words: ArrayRef) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(0..words.len() as i64);
    batch(vec![("n", Arc::new(numbers)), ("w", words)])
}

/// Every kind of declaration that does not fit is answered with a status, by put and exchange, stores nothing, and the
/// server answers the next client.
#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_server_goes_on() {
    let server = limited(64).await;
    let zeros = || -> ArrayRef { Arc::new(Int64Array::from(vec![0; 50_000])) };
    let texts = || -> ArrayRef { Arc::new(StringArray::from(vec!["some text"; 50_000])) };
    let nulls = || -> ArrayRef { Arc::new(NullArray::new(5)) };
    let runs = RunArray::try_new(&Int32Array::from(vec![5]), &StringArray::from(vec!["x"])).unwrap();
    let deep = (0..60).fold(DataType::Int8, |inner, _| DataType::new_list(inner, true));
    let deep = Schema::new(vec![Field::new("deep", deep, true)]);
    let of = |column: ArrayRef, codec| encoded(&[batch(vec![("c", column)])], codec);
    let zstd = Some(CompressionType::ZSTD);
    let lz4 = Some(CompressionType::LZ4_FRAME);
    let (tib, gib) = (1 << 40, 1 << 33);
    let mut empty_dictionary = of(Arc::new(words(9, 3)), zstd);
    let dictionary = Forged::new(&empty_dictionary[1]).unpacked(2, gib).message();
    empty_dictionary[1] = dictionary;
    let cases: Vec<(&str, Vec<FlightData>, Kind, &str)> = vec![
        ("zstd", forged(of(zeros(), zstd), |f| f.unpacked(1, tib)), Kind::Invalid, "1099511627776 bytes"),
        ("lz4", forged(of(zeros(), lz4), |f| f.unpacked(1, i64::MAX)), Kind::Invalid, "column \"c\""),
        ("text", forged(of(texts(), zstd), |f| f.unpacked(2, gib)), Kind::Exhausted, "stream_memory_limit"),
        ("dictionary", empty_dictionary, Kind::Exhausted, "message 2 of the stream is too large"),
        ("outside", forged(of(zeros(), None), |f| f.buffer(1, 64, tib)), Kind::Invalid, "outside of a body"),
        ("longer", forged(of(zeros(), None), |f| f.rows(tib).node(0, tib, 0)), Kind::Invalid, "are declared"),
        (
            "nulls",
            forged(of(nulls(), None), |f| f.rows(tib).node(0, tib, tib)),
            Kind::Invalid,
            "are declared",
        ),
        ("runs", forged(of(Arc::new(runs), None), |f| f.node(0, tib, 0)), Kind::Invalid, "\"c\""),
        (
            "deep",
            vec![SchemaAsIpc::new(&deep, &IpcWriteOptions::default()).into()],
            Kind::Invalid,
            "message 1 of the stream cannot be decoded",
        ),
    ];
    for (name, messages, kind, says) in cases {
        let mut client = server.client().await;
        let error = send(&mut client, "t", messages.clone(), &[]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
        let error = exchange(&mut client, messages).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        let mut next = server.client().await;
        let there = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'";
        assert_eq!(number(&mut next, there).await, 0, "{name}");
    }
    let mut client = server.client().await;
    put(&mut client, "t", &[wells(0, 10)], "create").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10);
}

/// Batches whose plain form is many times the limit are stored whole and in order, with any encoding.
#[tokio::test]
async fn a_batch_above_the_limit_passes_in_slices() {
    let server = limited(8).await;
    let mut client = server.client().await;
    let rows = 40_000_i32;
    let words: ArrayRef = Arc::new(words(rows, 1000));
    let values = StringArray::from(vec!["x".repeat(100), "y".repeat(2000)]);
    let runs = RunArray::try_new(&Int32Array::from(vec![rows / 2, rows]), &values).unwrap();
    let lists = ListArray::new(
        Arc::new(Field::new("item", words.data_type().clone(), true)),
        OffsetBuffer::from_lengths(vec![1_usize; rows as usize]),
        Arc::clone(&words),
        None,
    );
    let long = StringViewArray::from(vec!["z".repeat(1500)]);
    let views = vec![long.views()[0]; rows as usize];
    let views = StringViewArray::new(views.into(), long.data_buffers().to_vec(), None);
    let plain_bytes = 36_000_000;
    for (name, column, length) in [
        ("words", Arc::clone(&words), "sum(length(w))"),
        ("runs", Arc::new(runs) as ArrayRef, "sum(length(w))"),
        ("lists", Arc::new(lists), "sum(length(w[1]))"),
        ("views", Arc::new(views), "sum(length(w))"),
    ] {
        let encoded = encoded(&[numbered(column)], None);
        assert!(encoded.iter().map(|message| message.data_body.len()).sum::<usize>() < 2 * MIB, "{name}");
        let answers = send(&mut client, name, encoded, &[]).await.unwrap();
        assert_eq!(answers[0]["rows"], rows, "{name}");
        let found = number(&mut client, &format!("SELECT {length} FROM {name}")).await;
        assert!(found >= plain_bytes, "{name}: {found}");
        let in_order = format!("SELECT count(*) FROM {name} WHERE rowid <> n");
        assert_eq!(number(&mut client, &in_order).await, 0, "{name}");
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, i64::from(rows));
    }
    let wrong = "SELECT count(*) FROM words WHERE w IS DISTINCT FROM \
                 CASE WHEN n % 11 <> 10 THEN repeat((n % 11)::VARCHAR, 1000) END";
    assert_eq!(number(&mut client, wrong).await, 0);
    // A value that has no room even alone is named.
    let child = Arc::new(Int64Array::from(vec![1; 100_000]));
    let item = Arc::new(Field::new("item", DataType::Null, true));
    let nulls = Arc::new(NullArray::new(20_000_000));
    let wide = ListArray::new(item, OffsetBuffer::from_lengths(vec![1, 19_999_999]), nulls, None);
    let error = send(&mut client, "wide", encoded(&[numbered(Arc::new(wide))], None), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exhausted, "{error}");
    assert!(error.to_string().contains("row 1 of a batch"), "{error}");
    // Rows of a list view share their values, and are told apart by what they say.
    let shared = LargeListViewArray::new(
        Arc::new(Field::new("item", DataType::Int64, true)),
        vec![0_i64; 100].into(),
        vec![100_000_i64; 100].into(),
        child,
        None,
    );
    send(&mut client, "shared", encoded(&[numbered(Arc::new(shared))], None), &[]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT sum(len(w)) FROM shared").await, 10_000_000);
}

/// Slices are one batch: one number, one checksum, the same as that of the plain rows, all or nothing.
#[tokio::test]
async fn a_batch_in_slices_is_applied_once() {
    let server = limited(8).await;
    let mut client = server.client().await;
    let words: ArrayRef = Arc::new(words(20_000, 1000));
    let plain = cast(&words, &DataType::Utf8).unwrap();
    let (sliced, plain) = (numbered(Arc::clone(&words)), numbered(plain));
    let key = [("pintail-idempotency-key", "load")];
    let first = send(&mut client, "keyed", alone(&sliced), &key).await.unwrap();
    assert_eq!((&first[0]["rows"], &first[0]["duplicate"]), (&json!(20_000), &json!(false)));
    for again in [&sliced, &plain] {
        let again = send(&mut client, "keyed", alone(again), &key).await.unwrap();
        assert_eq!((&again[0]["rows"], &again[0]["duplicate"]), (&json!(20_000), &json!(true)));
    }
    let other = numbered(Arc::new(self::words(19_999, 1000)));
    let error = send(&mut client, "keyed", alone(&other), &key).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM keyed").await, 20_000);

    let with_seq = |batch: &RecordBatch, seq: u64| {
        let mut messages = alone(batch);
        messages.last_mut().unwrap().app_metadata = json!({ "seq": seq }).to_string().into();
        messages
    };
    for commit in ["stream", "progress"] {
        let name = format!("produced_{commit}");
        let headers =
            [("pintail-producer", name.as_str()), ("pintail-epoch", "1"), ("pintail-commit", commit)];
        let done = send(&mut client, &name, with_seq(&sliced, 1), &headers).await.unwrap();
        let last = done.last().unwrap();
        assert_eq!((&last["rows"], &last["seq"]), (&json!(20_000), &json!(1)), "{commit}");
        // Never a part of the batch.
        assert!(done.iter().all(|answer| [json!(0), json!(20_000)].contains(&answer["rows"])), "{done:?}");
        for again in [&sliced, &plain] {
            let again = send(&mut client, &name, with_seq(again, 1), &headers).await.unwrap();
            assert_eq!(again.last().unwrap()["duplicate"], true, "{commit}");
        }
        let error = send(&mut client, &name, with_seq(&other, 1), &headers).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Exists, "{error}");
        let gap = send(&mut client, &name, with_seq(&sliced, 3), &headers).await.unwrap_err();
        assert_eq!(gap.kind(), Kind::Conflict, "{gap}");
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, 20_000);
    }
}

/// What breaks a rule in a late slice takes the slices before along.
#[tokio::test]
async fn a_batch_in_slices_is_stored_whole_or_not_at_all() {
    let server = limited(8).await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (n BIGINT CHECK (n < 39000), w VARCHAR)").await.unwrap();
    let rows = numbered(Arc::new(words(40_000, 1000)));
    let error = send(&mut client, "t", alone(&rows), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    send(&mut client, "t", encoded(&[rows.slice(0, 39_000)], None), &[]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 39_000);
    let ask = [("pintail-mode", "replace")];
    send(&mut client, "t", encoded(&[rows.slice(0, 30_000)], None), &ask).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 30_000);
}

/// Four streams whose rows are gigabytes, in messages of some megabytes, beside each other: memory stays near the
/// engine's limit and the one for rows.
#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_bounded_whatever_rows_stand_for() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("DATABASE__MEMORY_LIMIT", "256 MiB"),
        ("INGEST__MEMORY_LIMIT", "64 MiB"),
        ("INGEST__STREAM_MEMORY_LIMIT", "64 MiB"),
    ];
    let process = Process::start(folder.path(), free_port(), &settings);
    let mut client = Client::connect(&process.uri()).await.unwrap();
    // 300 MB of texts each, that are 1.2 MB of indices.
    let messages = encoded(&[batch(vec![("w", Arc::new(words(300_000, 1000)) as ArrayRef)])], None);
    let puts = (0..4).map(|n| {
        let (uri, messages) = (process.uri(), messages.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(&uri).await?;
            send(&mut client, &format!("t{n}"), messages, &[]).await
        })
    });
    for put in puts.collect::<Vec<_>>() {
        let answers: Result<Vec<Value>, Error> = put.await.unwrap();
        assert_eq!(answers.unwrap()[0]["rows"], 300_000);
    }
    let stored = number(&mut client, "SELECT sum(length(w)) FROM (FROM t0 UNION ALL FROM t3)").await;
    assert!(stored > 500_000_000, "{stored}");
    // All of it at once would be 1.2 GB; bench/memory.py measures against the promised bound.
    let peak = process.peak_memory_mib();
    assert!(peak < 256 + 64 + 256, "{peak} MiB");
}
