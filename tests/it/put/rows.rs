//! What is acknowledged is stored: by every mode, batch size, shape of table and number of writers.

use std::sync::Arc;

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::FlightDataEncoderBuilder;
use futures::{StreamExt, TryStreamExt, stream};
use pintail::error::Kind;

use crate::support::batches::{assert_same, joined, well_batches, wells};
use crate::support::calls::{number, put, rows, table};
use crate::support::server::TestServer;
use crate::support::session::ingest_into;

/// Rows of every kind of batch size come back equal and in order: single rows, odd sizes, whole row groups.
#[tokio::test]
async fn what_is_put_comes_back_equal_and_in_order() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (name, total, size) in
        [("ones", 300, 1), ("odd", 10_000, 777), ("chunks", 20_000, 2_048), ("groups", 400_000, 65_536)]
    {
        let batches = well_batches(total, size);
        let answer = put(&mut client, name, &batches, "create_append").await.unwrap();
        assert_eq!((answer.rows, answer.durable, answer.duplicate), (total as u64, true, false), "{name}");
        let stored = rows(&mut client, &format!("SELECT * FROM {name}")).await.unwrap();
        assert_same(&joined(&stored), &joined(&batches));
    }
}

/// An acknowledged put is in the file: a server started anew on the same file has it.
#[tokio::test]
async fn acknowledged_rows_survive_a_restart() {
    let server = TestServer::start().await;
    let batches = well_batches(150_000, 65_536);
    put(&mut server.client().await, "wells", &batches, "create").await.unwrap();
    let directory = server.stop().await;
    assert!(!directory.path().join("test.duckdb.wal").exists(), "the drain writes the log into the file");
    let server = TestServer::start_in(directory, |_| {}).await;
    let stored = rows(&mut server.client().await, "SELECT * FROM wells").await.unwrap();
    assert_same(&joined(&stored), &joined(&batches));
}

#[tokio::test]
async fn modes_do_what_they_say() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batch = [wells(0, 10)];
    let refused = put(&mut client, "t", &batch, "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    assert!(refused.message().contains("table t "), "{refused}");
    put(&mut client, "t", &batch, "create").await.unwrap();
    let refused = put(&mut client, "t", &batch, "create").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Exists);
    put(&mut client, "t", &batch, "append").await.unwrap();
    put(&mut client, "t", &batch, "create_append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 30);
    put(&mut client, "t", &[wells(0, 3)], "replace").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 3);
    let refused = put(&mut client, "t", &batch, "upsert").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("pintail-mode"), "{refused}");
}

/// With auto_create off, a put without a mode does not make tables.
#[tokio::test]
async fn auto_create_can_be_switched_off() {
    let server = TestServer::start_with(|config| config.ingest.auto_create = false).await;
    let mut client = server.client().await;
    let batches = stream::iter([Ok(wells(0, 5))]);
    let refused = client.put(&table("t"), wells(0, 1).schema(), batches, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
}

/// Many clients create one new table at the same time; every row of every client is there once.
#[tokio::test]
async fn many_writers_share_a_new_table() {
    let server = TestServer::start().await;
    let mut writers = Vec::new();
    for writer in 0..16_i64 {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            for round in 0..5 {
                put(&mut client, "shared", &[wells(writer * 1000 + round * 100, 100)], "create_append")
                    .await
                    .unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let mut client = server.client().await;
    assert_eq!(number(&mut client, "SELECT count(*) FROM shared").await, 8000);
    assert_eq!(number(&mut client, "SELECT count(DISTINCT id) FROM shared").await, 8000);
}

/// Columns are matched by name; missing ones take their default; lossless types are widened.
#[tokio::test]
async fn columns_match_by_name() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (a BIGINT, b VARCHAR DEFAULT 'none', c DOUBLE, u UUID)").await.unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("u", DataType::Utf8, true),
        Field::new("A", DataType::Int32, true),
    ]));
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    let batch = RecordBatch::try_new(
        Arc::clone(&schema),
        vec![Arc::new(StringArray::from(vec![Some(uuid), None])), Arc::new(Int32Array::from(vec![7, 8]))],
    )
    .unwrap();
    put(&mut client, "t", &[batch], "append").await.unwrap();
    let check = format!("SELECT count(*) FROM t WHERE a = 7 AND b = 'none' AND c IS NULL AND u = '{uuid}'");
    assert_eq!(number(&mut client, &check).await, 1);
    // A value that does not fit fails the whole stream, naming table and value.
    let bad = RecordBatch::try_new(
        schema,
        vec![Arc::new(StringArray::from(vec![uuid, "not a uuid"])), Arc::new(Int32Array::from(vec![1, 2]))],
    )
    .unwrap();
    let refused = put(&mut client, "t", &[bad], "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("table t") && refused.message().contains("not a uuid"), "{refused}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
}

/// What a table looks like is found out once for small puts that follow each other, and again when it has changed.
#[tokio::test]
async fn small_puts_follow_their_table() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    let batch = |id: i64| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(vec![id])) as _),
            ("name", Arc::new(StringArray::from(vec!["a"])) as _),
        ])
        .unwrap()
    };
    for id in 0..3 {
        let answer = put(&mut client, "t", &[batch(id)], "create_append").await.unwrap();
        assert_eq!(answer.rows, 1);
    }
    rows(&mut other, "ALTER TABLE t ADD COLUMN extra BIGINT DEFAULT 7").await.unwrap();
    put(&mut client, "t", &[batch(3)], "append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT sum(extra)::BIGINT FROM t").await, 28);
    rows(&mut other, "ALTER TABLE t DROP COLUMN name").await.unwrap();
    let refused = put(&mut client, "t", &[batch(4)], "append").await.unwrap_err();
    assert!(refused.kind() == Kind::Invalid && refused.message().contains("name"), "{refused:?}");
    rows(&mut other, "CREATE OR REPLACE TABLE t (name VARCHAR, id HUGEINT)").await.unwrap();
    put(&mut client, "t", &[batch(5)], "append").await.unwrap();
    put(&mut client, "t", &[batch(6)], "append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT sum(id)::BIGINT FROM t WHERE name = 'a'").await, 11);
    rows(&mut other, "DROP TABLE t").await.unwrap();
    let refused = put(&mut client, "t", &[batch(7)], "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound, "{refused}");
    put(&mut client, "t", &[batch(8)], "create_append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT id FROM t").await, 8);
}

/// A budget smaller than the streams together want slows them down and loses nothing.
#[tokio::test]
async fn a_small_budget_slows_streams_down_and_loses_nothing() {
    let server = TestServer::start_with(|config| {
        config.ingest.memory_limit = pintail::config::Bytes::mib(12);
        config.ingest.stream_memory_limit = pintail::config::Bytes::mib(8);
    })
    .await;
    let mut writers = Vec::new();
    for writer in 0..6_i64 {
        let mut client = server.client().await;
        writers.push(tokio::spawn(async move {
            let batches: Vec<RecordBatch> =
                (0..30).map(|n| wells(writer * 1_000_000 + n * 10_000, 10_000)).collect();
            put(&mut client, "t", &batches, "create_append").await.unwrap().rows
        }));
    }
    for writer in writers {
        assert_eq!(writer.await.unwrap(), 300_000);
    }
    assert_eq!(number(&mut server.client().await, "SELECT count(DISTINCT id) FROM t").await, 1_800_000);
}

/// A bulk load leaves no partial row groups: every segment but the last is whole.
#[tokio::test]
async fn a_bulk_load_leaves_whole_row_groups() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &well_batches(1_000_000, 50_000), "create").await.unwrap();
    let groups = "SELECT count(*) FROM (SELECT row_group_id, sum(count) AS n FROM pragma_storage_info('t') \
                  WHERE column_name = 'id' AND segment_type <> 'VALIDITY' GROUP BY ALL HAVING n < 122880)";
    assert_eq!(number(&mut client, groups).await, 1);
}

/// Dictionary columns and compressed bodies arrive as the values they stand for.
#[tokio::test]
async fn dictionaries_and_compressed_bodies_are_taken() {
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let words: arrow::array::DictionaryArray<arrow::datatypes::Int32Type> =
        (0..5000).map(|n| (n % 3 != 0).then(|| ["oil", "gas", "water"][n % 3])).collect();
    let schema = Arc::new(Schema::new(vec![Field::new("kind", words.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(words)]).unwrap();
    for (name, compression) in
        [("plain", None), ("lz4", Some(CompressionType::LZ4_FRAME)), ("zstd", Some(CompressionType::ZSTD))]
    {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let messages = FlightDataEncoderBuilder::new()
            .with_options(options)
            .with_dictionary_handling(arrow_flight::encode::DictionaryHandling::Resend)
            .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![name.into()])))
            .build(stream::iter([Ok(batch.clone()), Ok(batch.clone())]))
            .map(Result::unwrap);
        let answers = client.inner().do_put(messages).await.unwrap().into_inner();
        let answers: Vec<_> = answers.try_collect().await.unwrap();
        assert_eq!(answers.len(), 1);
        let gas = format!("SELECT count(*) FROM {name} WHERE kind = 'gas'");
        assert_eq!(number(&mut client, &gas).await, 2 * 1667, "{name}");
        let nulls = format!("SELECT count(*) FROM {name} WHERE kind IS NULL");
        assert_eq!(number(&mut client, &nulls).await, 2 * 1667, "{name}");
    }
}

/// Flight SQL's own ingest and update, from arrow-flight's client: each answers with the one count.
#[tokio::test]
async fn flight_sql_ingest_and_update_answer_with_counts() {
    use arrow_flight::sql::TableExistsOption;
    use arrow_flight::sql::client::FlightSqlServiceClient;
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let ingest = |exists: TableExistsOption| ingest_into("wells", exists);
    for (exists, stored) in
        [(TableExistsOption::Fail, 100), (TableExistsOption::Append, 200), (TableExistsOption::Replace, 100)]
    {
        let rows = stream::iter([Ok(wells(0, 100))]);
        assert_eq!(sql.execute_ingest(ingest(exists), rows).await.unwrap(), 100);
        assert_eq!(number(&mut client, "SELECT count(*) FROM wells").await, stored);
    }
    let rows = stream::iter([Ok(wells(0, 1))]);
    let refused = sql.execute_ingest(ingest(TableExistsOption::Fail), rows).await.unwrap_err();
    assert!(refused.to_string().contains("already exists"), "{refused}");
    assert_eq!(sql.execute_update("DELETE FROM wells WHERE id < 10".into(), None).await.unwrap(), 10);
    assert_eq!(number(&mut client, "SELECT count(*) FROM wells").await, 90);
}
