//! Temporary tables: on their client's own connection by every way in, and never in the pool.

use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{CommandGetPrimaryKeys, EndTransaction};
use arrow_flight::{FlightDescriptor, Ticket};
use futures::TryStreamExt;
use pintail::client::Client;
use pintail::error::Kind;
use tonic::Code;

use crate::support::batches::{joined, wells};
use crate::support::calls::{number, put, put_with, query_error, rows};
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, ROLLBACK, act, begin, end, exchange, ingest, ingest_command, set};

/// Temporary objects of every kind, in number.
const TEMPORARIES: &str = "\
    (SELECT count(*) FROM duckdb_tables() WHERE temporary) + (SELECT count(*) FROM duckdb_views() WHERE temporary AND NOT internal) \
    + (SELECT count(*) FROM duckdb_sequences() WHERE temporary) \
    + (SELECT count(*) FROM duckdb_types() WHERE database_name = 'temp' AND NOT internal) \
    + (SELECT count(*) FROM duckdb_functions() WHERE database_name = 'temp' AND NOT internal)";

/// Every connection of the pool is asked: as many clients ask at one time as there can be connections.
async fn assert_pool_is_clean(server: &TestServer) {
    let asking = (0..8).map(|_| async {
        let mut client = server.client().await;
        let slow = format!(
            "SELECT {TEMPORARIES} + (SELECT count(*) * 0 FROM range(3000000) r WHERE r.range % 7 = 3)"
        );
        number(&mut client, &slow).await
    });
    assert_eq!(futures::future::join_all(asking).await, [0; 8]);
}

#[tokio::test]
async fn rows_for_the_catalog_temp_stay_with_their_client() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    put(&mut client, "t", &[wells(0, 5)], "create").await.unwrap();
    put(&mut client, "temp.main.t", &[wells(0, 2)], "create_append").await.unwrap();
    put(&mut client, "TEMP.MAIN.T", &[wells(2, 1)], "append").await.unwrap();
    ingest(&mut client, ingest_command("t", Some("Temp"), false), vec![wells(3, 4)]).await.unwrap();
    ingest(&mut client, ingest_command("t", None, true), vec![wells(7, 1)]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 8, "the temporary one hides the other");
    assert_eq!(number(&mut client, "SELECT count(*) FROM test.main.t").await, 5);
    assert_eq!(number(&mut other, "SELECT count(*) FROM t").await, 5);
    // Rows without a catalog go where they go without the temporary table, also under a key.
    put_with(&mut client, "t", &[wells(5, 1)], &[("pintail-idempotency-key", "k")]).await.unwrap();
    assert_eq!(number(&mut other, "SELECT count(*) FROM t").await, 6);
    assert_pool_is_clean(&server).await;
    for headers in [("pintail-idempotency-key", "other"), ("pintail-commit", "progress")] {
        let refused = put_with(&mut client, "temp.main.t", &[wells(0, 1)], &[headers]).await.unwrap_err();
        assert!(refused.kind() == Kind::Invalid && refused.message().contains("temporary"), "{refused}");
    }
    act(&mut client, "CloseSession", Vec::new()).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 6);
}

#[tokio::test]
async fn a_temporary_table_of_a_transaction_stays_with_its_client() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for keeps in [false, true] {
        let id = begin(&mut client).await;
        let command = arrow_flight::sql::CommandStatementIngest {
            transaction_id: Some(id.clone()),
            ..ingest_command("mine", None, true)
        };
        ingest(&mut client, command, vec![wells(0, 3)]).await.unwrap();
        rows(&mut client, "CREATE TEMP VIEW seen AS SELECT * FROM mine").await.unwrap();
        let how = if keeps { COMMIT } else { ROLLBACK };
        end(&mut client, &id, how).await.unwrap();
        assert_pool_is_clean(&server).await;
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM seen").await, 3);
}

#[tokio::test]
async fn other_catalogs_are_refused_by_name() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for catalog in ["system", "nowhere", "SYSTEM"] {
        let name = format!("{catalog}.main.t");
        let refused = put(&mut client, &name, &[wells(0, 1)], "create_append").await.unwrap_err();
        assert!(refused.kind() == Kind::NotFound && refused.message().contains(catalog), "{refused}");
        let command = ingest_command("t", Some(catalog), false);
        let refused = ingest(&mut client, command, vec![wells(0, 1)]).await.unwrap_err();
        assert!(refused.code() == Code::NotFound && refused.message().contains(catalog), "{refused}");
        let path = FlightDescriptor::new_path(vec![catalog.into(), "main".into(), "t".into()]);
        let refused = client.inner().get_flight_info(path).await.unwrap_err();
        assert!(refused.code() == Code::NotFound && refused.message().contains(catalog), "{refused}");
        assert_eq!(set(&mut client, "catalog", Some(catalog)).await["catalog"].why, 2);
    }
    assert_eq!(set(&mut client, "catalog", Some("temp")).await["catalog"].why, 2);
    let elsewhere = put(&mut client, "temp.s.t", &[wells(0, 1)], "create_append").await.unwrap_err();
    assert!(elsewhere.kind() == Kind::Invalid && elsewhere.message().contains("main"), "{elsewhere}");
    // The database's own, in any spelling.
    put(&mut client, "TEST.MAIN.T", &[wells(0, 1)], "create_append").await.unwrap();
    put(&mut client, "t", &[wells(1, 1)], "append").await.unwrap();
    assert!(set(&mut client, "catalog", Some("Test")).await.is_empty());
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2);
    assert_pool_is_clean(&server).await;
}

#[tokio::test]
async fn definitions_of_temporary_objects_stay_with_their_client_by_every_call() {
    let server = TestServer::start().await;
    let mut native = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(native.inner().clone());
    rows(&mut native, "CREATE TABLE p AS SELECT range % 3 AS k, range AS v FROM range(9)").await.unwrap();
    for name in ["a", "b"] {
        // With no connection of the session's own yet, and with one.
        let made = |kind: &str| format!("CREATE TEMP TABLE {name}_{kind} AS SELECT 1 AS id");
        rows(&mut native, &made("ticket")).await.unwrap();
        native.inner().get_flight_info(FlightDescriptor::new_cmd(made("info"))).await.unwrap();
        sql.execute_update(made("update"), None).await.unwrap();
        let script = format!("{}; CREATE TABLE {name}_beside (a INTEGER)", made("script"));
        sql.execute_update(script, None).await.unwrap();
        sql.prepare(made("prepared"), None).await.unwrap().execute_update().await.unwrap();
        let id = sql.begin_transaction().await.unwrap();
        sql.execute_update(made("inside"), Some(id.clone())).await.unwrap();
        sql.end_transaction(id, EndTransaction::Commit).await.unwrap();
        for kind in ["ticket", "info", "update", "script", "prepared", "inside"] {
            assert_eq!(number(&mut native, &format!("SELECT id FROM {name}_{kind}")).await, 1, "{kind}");
        }
        assert_pool_is_clean(&server).await;
    }
    for other in [
        "CREATE TEMP SEQUENCE steps",
        "CREATE TEMP MACRO twice(x) AS 2 * x",
        "CREATE TEMP TYPE mood AS ENUM ('good')",
    ] {
        rows(&mut native, other).await.unwrap();
    }
    assert_eq!(number(&mut native, "SELECT twice(nextval('steps'))").await, 2);
    assert_pool_is_clean(&server).await;
    let mut fresh = server.client().await;
    rows(&mut fresh, "PIVOT p ON k USING sum(v)").await.unwrap();
    rows(&mut fresh, "CREATE TABLE pivoted AS PIVOT p ON k USING sum(v)").await.unwrap();
    assert_pool_is_clean(&server).await;
    let refused = exchange(&mut fresh, "CREATE TEMP TABLE lost AS FROM input", vec![wells(0, 1)]).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("DoExchange"), "{refused}");
    let refused = exchange(&mut fresh, "CREATE TEMP TABLE lost (a INTEGER)", Vec::new()).await.unwrap_err();
    assert!(refused.to_string().contains("DoExchange"), "{refused}");
    assert_eq!(number(&mut fresh, &format!("SELECT {TEMPORARIES}")).await, 0);
    let missing = query_error(&mut fresh, "SELECT * FROM a_ticket").await;
    assert!(missing.to_string().contains("a_ticket"), "{missing}");
}

/// Bound rows for `INSERT INTO temp.t` go to the client's own table, few or many.
#[tokio::test]
async fn bound_rows_for_a_temporary_table_stay_with_their_client() {
    let server = TestServer::start().await;
    let mut native = server.client().await;
    let mut sql = FlightSqlServiceClient::new_from_inner(native.inner().clone());
    rows(&mut native, "CREATE TABLE t (n BIGINT)").await.unwrap();
    rows(&mut native, "CREATE TEMP TABLE t (n BIGINT)").await.unwrap();
    let mut insert = sql.prepare("INSERT INTO temp.t VALUES (?)".into(), None).await.unwrap();
    for count in [3, 3000] {
        let numbers = std::sync::Arc::new(arrow::array::Int64Array::from_iter_values(0..count));
        let bound =
            arrow::array::RecordBatch::try_from_iter([("0", numbers as arrow::array::ArrayRef)]).unwrap();
        insert.set_parameters(bound).unwrap();
        assert_eq!(insert.execute_update().await.unwrap(), count);
    }
    assert_eq!(number(&mut native, "SELECT count(*) FROM temp.t").await, 3003);
    assert_eq!(
        number(&mut native, "SELECT count(*) FROM main.t").await,
        3003,
        "main.t is found in temp first"
    );
    assert_eq!(number(&mut server.client().await, "SELECT count(*) FROM t").await, 0);
    assert_pool_is_clean(&server).await;
}

async fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let found = rows(client, sql).await.unwrap();
    let text = |batch: &arrow::array::RecordBatch| {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
        arrow::array::AsArray::as_string::<i32>(&column)
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    found.iter().flat_map(text).collect()
}

/// The paths of all flights, each read by its ticket and by that of its path, as it is described.
async fn flights_read(client: &mut Client) -> Vec<String> {
    let mut listed: Vec<String> = Vec::new();
    for info in client.list().await.unwrap() {
        let path = info.flight_descriptor.clone().unwrap().path;
        listed.push(path.join("/"));
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let described = info.try_decode_schema().unwrap();
        for ticket in [ticket, {
            let again = client.inner().get_flight_info(FlightDescriptor::new_path(path)).await.unwrap();
            again.into_inner().endpoint[0].ticket.clone().unwrap()
        }] {
            let messages = client.inner().do_get(ticket).await.unwrap().into_inner().map_err(Into::into);
            let mut batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
            while let Some(batch) = batches.try_next().await.unwrap() {
                assert_eq!(*batch.schema(), described);
            }
        }
    }
    listed
}

/// Schemas inside schemas are listed as SQL spells them, can be read, and take rows by INSERT alone.
#[tokio::test]
async fn nested_schemas_are_listed_and_refuse_puts_by_name() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for sql in [
        "CREATE SCHEMA a",
        "CREATE SCHEMA a.b",
        "CREATE SCHEMA a.b.\"c.d\"",
        "CREATE SCHEMA b",
        "CREATE TABLE b.t (other TEXT)",
        "CREATE TABLE a.b.t (n INTEGER PRIMARY KEY)",
        "CREATE TABLE a.b.u (n INTEGER REFERENCES a.b.t(n))",
        "CREATE VIEW a.b.\"c.d\".v AS SELECT 7 AS seven",
        "INSERT INTO a.b.t VALUES (1), (2)",
    ] {
        rows(&mut client, sql).await.unwrap();
    }
    let mut listed = flights_read(&mut client).await;
    listed.sort_unstable();
    assert_eq!(listed, ["test/a/b/c.d/v", "test/a/b/t", "test/a/b/u", "test/b/t"]);

    let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let mut all = async |info: arrow_flight::FlightInfo, column: &str| {
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let batches: Vec<arrow::array::RecordBatch> =
            sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
        let batch = joined(&batches);
        let texts = arrow::array::AsArray::as_string::<i32>(batch.column_by_name(column).unwrap()).clone();
        texts.iter().map(|text| text.unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    let mut asking = FlightSqlServiceClient::new_from_inner(client.inner().clone());
    let schemas = asking
        .get_db_schemas(arrow_flight::sql::CommandGetDbSchemas {
            catalog: Some("TEST".into()),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(all(schemas, "db_schema_name").await, ["a", "a.b", "a.b.\"c.d\"", "b", "main"]);
    let tables = asking
        .get_tables(arrow_flight::sql::CommandGetTables {
            db_schema_filter_pattern: Some("a.b%".into()),
            include_schema: true,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(all(tables, "table_name").await, ["t", "u", "v"]);
    let keys = CommandGetPrimaryKeys { catalog: None, db_schema: Some("A.B".into()), table: "T".into() };
    let keys = asking.get_primary_keys(keys).await.unwrap();
    assert_eq!(all(keys, "column_name").await, ["n"]);

    let refused = put(&mut client, "\"a.b\".t", &[wells(0, 1)], "append").await.unwrap_err();
    assert!(
        refused.kind() == Kind::Unsupported && refused.message().contains("INSERT INTO a.b."),
        "{refused}"
    );
    let path = FlightDescriptor::new_path(["test", "a", "b", "t"].map(str::to_owned).to_vec());
    let messages: Vec<arrow_flight::FlightData> = arrow_flight::encode::FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(path))
        .build(futures::stream::iter([Ok(wells(0, 1))]))
        .try_collect()
        .await
        .unwrap();
    let refused = client.inner().do_put(futures::stream::iter(messages)).await.map(|_| ()).unwrap_err();
    assert!(
        refused.code() == Code::InvalidArgument && refused.message().contains("nested schema"),
        "{refused}"
    );
    // A schema of its own with a dot in its name is another thing.
    rows(&mut client, "CREATE SCHEMA \"a.b\"").await.unwrap();
    put(&mut client, "\"a.b\".t", &[wells(0, 1)], "create").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM \"a.b\".t").await, 1);
    assert_eq!(texts(&mut client, "SELECT n FROM a.b.t ORDER BY n").await, ["1", "2"]);
    let gone = client.inner().do_get(Ticket::new("SELECT * FROM a.c.t")).await.map(|_| ()).unwrap_err();
    assert!(gone.message().contains("a.c"), "{gone}");
}
