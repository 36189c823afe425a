//! Puts over a real socket into a real database file: what is stored, and what is refused with nothing stored.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use common::{TestServer, assert_same, joined, number, put, rows, table, well_batches, wells};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::error::Kind;
use tonic::Code;

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

/// Each misfit is refused with table, column and rule, and nothing of its stream is stored.
#[tokio::test]
async fn what_does_not_fit_is_refused_by_name() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "wells", &[wells(0, 10)], "create").await.unwrap();
    let int = |name: &str| Field::new(name, DataType::Int64, true);
    let numbers = || Arc::new(Int64Array::from(vec![1, 2]));
    for (fields, parts) in [
        (vec![int("id"), int("depth")], &["table wells", "\"depth\"", "\"kbd\""][..]),
        (vec![int("well")], &["table wells", "\"well\"", "VARCHAR", "BIGINT", "lossless"]),
        (vec![int("id"), int("ID")], &["table wells", "\"ID\"", "twice"]),
    ] {
        let columns = fields.iter().map(|_| numbers() as Arc<dyn Array>).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let refused = put(&mut client, "wells", &[batch], "append").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
        for part in parts {
            assert!(refused.message().contains(part), "{refused} lacks {part}");
        }
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM wells").await, 10);
}

#[tokio::test]
async fn new_tables_need_columns_with_distinct_names() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let none = Arc::new(Schema::empty());
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let batch = RecordBatch::try_new_with_options(none, vec![], &options).unwrap();
    let refused = put(&mut client, "t", &[batch], "create_append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.message().contains("no columns"), "{refused}");
    let schema =
        Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("a", DataType::Int32, true)]);
    let column = || Arc::new(Int32Array::from(vec![1])) as Arc<dyn Array>;
    let batch = RecordBatch::try_new(Arc::new(schema), vec![column(), column()]).unwrap();
    let refused = put(&mut client, "t", &[batch], "create").await.unwrap_err();
    assert!(refused.message().contains("table t") && refused.message().contains("twice"), "{refused}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM duckdb_tables()").await, 0);
}

/// A constraint that fails in the last rows takes the whole stream back, and the table it made with it.
#[tokio::test]
async fn a_failed_stream_leaves_nothing() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (id BIGINT CHECK (id <> 299999))").await.unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let batches: Vec<RecordBatch> = (0..5)
        .map(|n| {
            let ids = Int64Array::from_iter_values(n * 60_000..(n + 1) * 60_000);
            RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids)]).unwrap()
        })
        .collect();
    let refused = put(&mut client, "t", &batches, "append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    assert!(refused.message().contains("table t"), "{refused}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    // The same connection goes on working.
    put(&mut client, "t", &batches[..2], "append").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 120_000);
}

/// A stream that is cut in the middle, after row groups have been appended, leaves no rows and no table.
#[tokio::test]
async fn a_client_that_leaves_takes_its_rows_along() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for (name, mode) in [("cut_created", "create"), ("cut_appended", "create_append")] {
        let (sent, mut arrived) = tokio::sync::mpsc::channel::<()>(1);
        let batches =
            stream::iter(well_batches(400_000, 65_536).into_iter().map(Ok)).chain(stream::once(async move {
                let _ = sent.send(()).await;
                std::future::pending().await
            }));
        let mut leaving = server.client().await;
        let put = tokio::spawn(async move {
            let schema = common::well_schema();
            leaving.put(&table(name), schema, batches, &[("pintail-mode", mode.into())]).await
        });
        arrived.recv().await.unwrap();
        put.abort();
        let _ = put.await;
        // The server notices and rolls back; wait for that, not for a time.
        let tables = format!("SELECT count(*) FROM duckdb_tables() WHERE table_name = '{name}'");
        while number(&mut client, &tables).await > 0
            || client.action("pintail.status").await.unwrap()["ingest"]["streams"] != 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    put(&mut client, "cut_created", &[wells(0, 5)], "create").await.unwrap();
}

/// Streams without rows: with a schema they succeed with 0 rows, without one they are refused.
#[tokio::test]
async fn streams_without_rows_are_told_apart() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let none = client
        .put(&table("empty"), common::well_schema(), stream::empty(), &[("pintail-mode", "create".into())])
        .await
        .unwrap();
    assert_eq!(none.rows, 0);
    let empties: Vec<RecordBatch> = (0..3).map(|_| wells(0, 0)).collect();
    assert_eq!(put(&mut client, "empty", &empties, "append").await.unwrap().rows, 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM empty").await, 0);
    let raw = |messages: Vec<FlightData>| {
        let mut client = client.clone();
        async move {
            match client.inner().do_put(stream::iter(messages)).await {
                Err(status) => status,
                Ok(answers) => answers.into_inner().message().await.unwrap_err(),
            }
        }
    };
    let nothing = raw(vec![]).await;
    assert_eq!(nothing.code(), Code::InvalidArgument);
    assert!(nothing.message().contains("empty"), "{nothing}");
    let descriptor = FlightDescriptor::new_path(vec!["t".into()]);
    let no_schema = raw(vec![FlightData::new().with_descriptor(descriptor)]).await;
    assert_eq!(no_schema.code(), Code::InvalidArgument);
    assert!(no_schema.message().contains("table t") && no_schema.message().contains("schema"), "{no_schema}");
    let no_descriptor = raw(vec![FlightData::new()]).await;
    assert_eq!(no_descriptor.code(), Code::InvalidArgument);
}

/// A message above the limit is refused, naming the setting.
#[tokio::test]
async fn a_message_above_the_limit_names_the_setting() {
    let server = TestServer::start_with(|config| {
        config.server.max_message_bytes = pintail::config::Bytes::mib(1);
    })
    .await;
    let mut client = server.client().await;
    let refused = put(&mut client, "t", &[wells(0, 100_000)], "create_append").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Exhausted, "{refused}");
    assert!(refused.message().contains("server.max_message_bytes"), "{refused}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM duckdb_tables()").await, 0);
    put(&mut client, "t", &[wells(0, 1_000)], "create_append").await.unwrap();
}

/// A client that opens a stream and goes quiet is cut after the limit, and told so.
#[tokio::test]
async fn an_idle_stream_is_ended() {
    let server = TestServer::start_with(|config| {
        config.ingest.idle_timeout = "300 ms".parse().unwrap();
    })
    .await;
    let mut client = server.client().await;
    let quiet = stream::iter([Ok(wells(0, 10))]).chain(stream::pending());
    let refused = client.put(&table("t"), common::well_schema(), quiet, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Deadline, "{refused}");
    assert!(refused.message().contains("ingest.idle_timeout"), "{refused}");
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

#[tokio::test]
async fn views_do_not_take_rows() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE VIEW v AS SELECT 1 AS id").await.unwrap();
    for mode in ["append", "create_append"] {
        let refused = put(&mut client, "v", &[wells(0, 1)], mode).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
        assert!(refused.message().contains("view"), "{refused}");
    }
}

/// Flight SQL's own ingest and update, from arrow-flight's client: each answers with the one count.
#[tokio::test]
async fn flight_sql_ingest_and_update_answer_with_counts() {
    use arrow_flight::sql::client::FlightSqlServiceClient;
    use arrow_flight::sql::{
        CommandStatementIngest, TableDefinitionOptions, TableExistsOption, TableNotExistOption,
    };
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let ingest = |exists: TableExistsOption| CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: exists as i32,
        }),
        table: "wells".into(),
        ..Default::default()
    };
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

/// A client that ends its stream and then takes it back, before COMMIT, has stored nothing.
#[tokio::test]
async fn a_put_that_nobody_waits_for_is_not_committed() {
    use pintail::engine::{Database, Options};
    use pintail::ingest::{Ingest, Mode, Need, PutRequest, Target, Terms};
    use pintail::session::Lease;
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(Options {
        path: folder.path().join("test.duckdb").display().to_string(),
        memory_limit_bytes: 1 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        icu_extension: None,
    })
    .unwrap();
    let declarations = Arc::default();
    let ingest =
        Ingest::new(Arc::clone(&database), &pintail::config::Ingest::default(), declarations).unwrap();
    let batches = well_batches(1_500_000, 122_880);
    let target = Target::Table { table: table("wells"), shown: table("wells"), mode: Mode::Create };
    let lease = Lease::pooled(Arc::clone(&database));
    let mut put = ingest
        .begin(PutRequest { target, schema: batches[0].schema(), lease, terms: Terms::default() })
        .unwrap();
    for batch in batches {
        let need = Need { held: batch.get_array_memory_size(), ..Need::default() };
        let room = put.room(need).await;
        put.send(batch, room, None).await.unwrap();
    }
    // The end is behind all the rows in the queue, so the writer has not come to its COMMIT yet.
    let ended = tokio::time::timeout(Duration::from_millis(1), put.finish()).await;
    assert!(ended.is_err(), "the put was over before it could be left");
    while ingest.streams_open() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let missing = database.connection().unwrap().execute("FROM wells").unwrap_err();
    assert!(missing.to_string().contains("does not exist"), "{missing}");
}
