//! What is refused, cut off or taken back, in which words, and that nothing of it is stored.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{StreamExt, stream};
use pintail::error::Kind;
use tonic::Code;

use crate::support::batches::{well_batches, well_schema, wells};
use crate::support::calls::{number, put, rows, table};
use crate::support::database::{file, open};
use crate::support::put_stream::endless;
use crate::support::server::TestServer;

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
        let batches = well_batches(400_000, 65_536).into_iter().map(Ok).collect();
        let (batches, arrived) = endless(batches);
        let mut leaving = server.client().await;
        let put = tokio::spawn(async move {
            let schema = well_schema();
            leaving.put(&table(name), schema, batches, &[("pintail-mode", mode.into())]).await
        });
        arrived.await.unwrap();
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
        .put(&table("empty"), well_schema(), stream::empty(), &[("pintail-mode", "create".into())])
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
    let refused = client.put(&table("t"), well_schema(), quiet, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Deadline, "{refused}");
    assert!(refused.message().contains("ingest.idle_timeout"), "{refused}");
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

/// A client that ends its stream and then takes it back, before COMMIT, has stored nothing.
#[tokio::test]
async fn a_put_that_nobody_waits_for_is_not_committed() {
    use pintail::ingest::{Ingest, Mode, Need, PutRequest, PutTarget, Terms};
    use pintail::session::Lease;
    let folder = tempfile::tempdir().unwrap();
    let database = open(file(folder.path()));
    let declarations = Arc::default();
    let ingest =
        Ingest::new(Arc::clone(&database), &pintail::config::Ingest::default(), declarations).unwrap();
    let batches = well_batches(1_500_000, 122_880);
    let target = PutTarget::Table { table: table("wells"), shown: table("wells"), mode: Mode::Create };
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
