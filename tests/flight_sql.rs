//! Flight SQL with arrow-flight's own client: statements, prepared statements, transactions, metadata.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt8Type};
use arrow_flight::FlightInfo;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, CommandStatementIngest, EndTransaction,
    TableDefinitionOptions, TableExistsOption, TableNotExistOption,
};
use common::{TestServer, joined, number, put, rows, wells};
use futures::{TryStreamExt, stream};
use tonic::transport::Channel;

type Sql = FlightSqlServiceClient<Channel>;

async fn sql(server: &TestServer) -> Sql {
    FlightSqlServiceClient::new_from_inner(server.client().await.inner().clone())
}

async fn fetch(client: &mut Sql, info: FlightInfo) -> Vec<RecordBatch> {
    let described = info.clone().try_decode_schema().unwrap();
    let mut batches = Vec::new();
    for endpoint in info.endpoint {
        let found: Vec<RecordBatch> =
            client.do_get(endpoint.ticket.unwrap()).await.unwrap().try_collect().await.unwrap();
        batches.extend(found);
    }
    for batch in &batches {
        assert_eq!(*batch.schema(), described, "DoGet's schema is FlightInfo's");
    }
    batches
}

async fn ask(client: &mut Sql, text: &str) -> Vec<RecordBatch> {
    let info = client.execute(text.into(), None).await.unwrap();
    fetch(client, info).await
}

async fn count(client: &mut Sql, table: &str) -> i64 {
    joined(&ask(client, &format!("SELECT count(*) AS n FROM {table}")).await)
        .column(0)
        .as_primitive::<Int64Type>()
        .value(0)
}

fn parameters(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let column = batch.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

/// DDL and DML run once in GetFlightInfo, prepared or not; what they did comes back as often as it is fetched.
#[tokio::test]
async fn changes_run_exactly_once_on_every_path() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    let created = client.execute("CREATE TABLE t (a INTEGER)".into(), None).await.unwrap();
    assert_eq!(created.total_records, 0);
    let inserted = client.execute("INSERT INTO t VALUES (1), (2)".into(), None).await.unwrap();
    assert_eq!(inserted.total_records, 2);
    for _ in 0..3 {
        let found = fetch(&mut client, inserted.clone()).await;
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 2);
    }
    let mut prepared = client.prepare("INSERT INTO t VALUES (3)".into(), None).await.unwrap();
    assert!(prepared.dataset_schema().unwrap().fields().is_empty(), "an update has no columns");
    let info = prepared.execute().await.unwrap();
    assert_eq!(info.total_records, 1);
    fetch(&mut client, info).await;
    assert_eq!(count(&mut client, "t").await, 3);
    assert_eq!(prepared.execute_update().await.unwrap(), 1);
    prepared.close().await.unwrap();
    let returned = ask(&mut client, "DELETE FROM t WHERE a < 3 RETURNING a").await;
    assert_eq!(joined(&returned).num_rows(), 2);
    assert_eq!(count(&mut client, "t").await, 2);
}

/// Parameters are typed values, matched by position or by name, and checked before anything runs.
#[tokio::test]
async fn prepared_statements_take_typed_parameters() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t (id BIGINT, name VARCHAR, price DECIMAL(9, 2))").await;
    let insert = "INSERT INTO t VALUES ($id, $name, $price)";
    let mut prepared = client.prepare(insert.into(), None).await.unwrap();
    let fields = prepared.parameter_schema().unwrap().fields().clone();
    assert_eq!(fields.iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["id", "name", "price"]);
    assert_eq!(fields[2].data_type(), &DataType::Decimal128(9, 2));
    let prices = Decimal128Array::from(vec![Some(105), None]).with_precision_and_scale(9, 2).unwrap();
    let rows = parameters(vec![
        ("price", Arc::new(prices)),
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("name", Arc::new(StringArray::from(vec![Some("1; DROP TABLE t"), None]))),
    ]);
    prepared.set_parameters(rows).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 2);
    let found = joined(&ask(&mut client, "SELECT * FROM t ORDER BY id").await);
    assert_eq!(texts(&found, "name"), [Some("1; DROP TABLE t".into()), None]);
    let mut by_id = client.prepare("SELECT id, name FROM t WHERE id = ?".into(), None).await.unwrap();
    assert_eq!(by_id.dataset_schema().unwrap().fields().len(), 2);
    let unbound = by_id.execute().await.unwrap_err().to_string();
    assert!(unbound.contains("takes 1 parameters ($1), and none were bound"), "{unbound}");
    // One result for each bound row, one after the other.
    by_id.set_parameters(parameters(vec![("0", Arc::new(Int64Array::from(vec![2, 7, 1])))])).unwrap();
    let info = by_id.execute().await.unwrap();
    let found = joined(&fetch(&mut client, info).await);
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[2, 1]);
    let two: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    by_id.set_parameters(parameters(vec![("a", Arc::clone(&two)), ("b", two)])).unwrap();
    let wrong = by_id.execute().await.unwrap_err().to_string();
    assert!(wrong.contains("takes 1 parameters ($1), and 2 values were bound"), "{wrong}");
    by_id.set_parameters(parameters(vec![("a", Arc::new(StringArray::from(vec!["seven"])))])).unwrap();
    let failed = by_id.execute().await;
    let text = match failed {
        Err(error) => error.to_string(),
        Ok(info) => {
            let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await;
            match stream {
                Err(error) => error.to_string(),
                Ok(stream) => stream.try_collect::<Vec<_>>().await.unwrap_err().to_string(),
            }
        }
    };
    assert!(text.contains("seven"), "{text}");
}

/// A result whose type depends on a parameter has the type of what was bound.
#[tokio::test]
async fn result_types_follow_the_bound_types() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    let mut prepared = client.prepare("SELECT ? AS x, 1 AS one".into(), None).await.unwrap();
    assert_eq!(prepared.dataset_schema().unwrap().field(1).data_type(), &DataType::Int32);
    let values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![i64::MIN])),
        Arc::new(StringArray::from(vec!["ü"])),
        Arc::new(Decimal128Array::from(vec![7]).with_precision_and_scale(20, 3).unwrap()),
        arrow::compute::cast(&Int32Array::from(vec![3]), &DataType::Date32).unwrap(),
    ];
    for value in values {
        prepared.set_parameters(parameters(vec![("0", Arc::clone(&value))])).unwrap();
        let info = prepared.execute().await.unwrap();
        let found = joined(&fetch(&mut client, info).await);
        assert_eq!(found.column(0).to_data(), value.to_data());
    }
}

/// PIVOT knows its columns only once it runs; FlightInfo knows them all the same.
#[tokio::test]
async fn statements_that_expand_are_described_as_they_arrive() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t AS SELECT * FROM (VALUES ('x', 1), ('y', 2), ('x', 3)) v(k, n)").await;
    let pivot = "PIVOT t ON k USING sum(n)";
    let found = joined(&ask(&mut client, pivot).await);
    assert_eq!(
        found.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["x", "y"]
    );
    let mut prepared = client.prepare(pivot.into(), None).await.unwrap();
    let info = prepared.execute().await.unwrap();
    assert_eq!(joined(&fetch(&mut client, info).await), found);
}

/// An INSERT bound with many rows goes in as a bulk load: the table has whole row groups, in the rows' order.
#[tokio::test]
async fn large_binds_go_down_the_bulk_path() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t (a BIGINT, twice BIGINT, s VARCHAR DEFAULT 'd')").await;
    let total = 200_000;
    let batch = parameters(vec![("0", Arc::new(Int64Array::from_iter_values(0..total)))]);
    ask(&mut client, "CREATE TABLE k (a BIGINT PRIMARY KEY)").await;
    for text in [
        "INSERT INTO t (a, twice) VALUES ($1, $1 * 2) -- values (?)",
        "insert into main.t(a, twice) values ($n, /* ? */ 2 * $n);",
        "INSERT INTO k VALUES (?) ON CONFLICT DO NOTHING",
    ] {
        let mut prepared = match client.prepare(text.into(), None).await {
            Ok(prepared) => prepared,
            Err(error) => panic!("{text}: {error}"),
        };
        prepared.set_parameters(batch.clone()).unwrap();
        let started = std::time::Instant::now();
        assert_eq!(prepared.execute_update().await.unwrap(), total, "{text}");
        // Row by row, 200,000 inserts take minutes.
        assert!(started.elapsed() < std::time::Duration::from_secs(20), "{text}");
    }
    assert_eq!(count(&mut client, "t WHERE twice = a * 2 AND s = 'd'").await, 2 * total);
    // DEFAULT has no place in a SELECT, so these go row by row.
    let mut prepared = client.prepare("INSERT INTO t VALUES (?, 1, DEFAULT)".into(), None).await.unwrap();
    prepared.set_parameters(batch.slice(0, 300)).unwrap();
    assert_eq!(prepared.execute_update().await.unwrap(), 300);
    ask(&mut client, "DELETE FROM k").await;
    let mut prepared = client.prepare("INSERT INTO k VALUES (?)".into(), None).await.unwrap();
    prepared
        .set_parameters(parameters(vec![("0", Arc::new(Int64Array::from_iter_values((0..100).chain([7]))))]))
        .unwrap();
    let refused = prepared.execute_update().await.unwrap_err().to_string();
    assert!(refused.contains("uplicate key"), "{refused}");
    assert_eq!(count(&mut client, "k").await, 0, "all rows or none");
}

/// Rows bound to a statement count until they are replaced and their tickets fetched, and no longer.
#[tokio::test]
async fn bound_rows_give_their_room_back() {
    let server = TestServer::start_with(|config| {
        config.session.bound_memory_limit = pintail::config::Bytes::mib(1);
    })
    .await;
    let mut client = sql(&server).await;
    let mut prepared =
        client.prepare("SELECT count(*) FROM range(2) WHERE range < ?".into(), None).await.unwrap();
    let rows = parameters(vec![("0", Arc::new(Int64Array::from_iter_values((0..50_000).map(|n| n % 2))))]);
    let mut first = None;
    for round in 0..2 {
        prepared.set_parameters(rows.clone()).unwrap();
        let info = prepared.execute().await.unwrap();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        if round == 0 {
            // The first row's result is enough; leaving stops the rest.
            let mut stream = client.do_get(ticket.clone()).await.unwrap();
            assert_eq!(stream.try_next().await.unwrap().unwrap().num_rows(), 1);
            first = Some(ticket);
        }
    }
    let again = client.do_get(first.unwrap()).await.err().map(|error| error.to_string());
    assert!(again.as_ref().is_some_and(|text| text.contains("expired ticket")), "{again:?}");
    // The second ticket waits with its rows and a third binding with it; a fourth does not fit.
    // (The first one's query may take a moment to stop.)
    let started = std::time::Instant::now();
    loop {
        prepared.set_parameters(rows.clone()).unwrap();
        match prepared.execute().await {
            Ok(_) => break,
            Err(error) => assert!(started.elapsed() < std::time::Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    prepared.set_parameters(rows).unwrap();
    let full = prepared.execute().await.unwrap_err().to_string();
    assert!(full.contains("session.bound_memory_limit"), "{full}");
}

fn ingest(table: &str, transaction: Option<bytes::Bytes>, temporary: bool) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: TableNotExistOption::Create as i32,
            if_exists: TableExistsOption::Append as i32,
        }),
        table: table.into(),
        transaction_id: transaction,
        temporary,
        ..Default::default()
    }
}

/// Statements, prepared statements, ingest and native puts of one transaction commit or vanish together.
#[tokio::test]
async fn a_transaction_is_one_unit_over_tables_and_paths() {
    let server = TestServer::start().await;
    let mut native = server.client().await;
    let mut client = FlightSqlServiceClient::new_from_inner(native.inner().clone());
    let mut other = sql(&server).await;
    ask(&mut client, "CREATE TABLE a (n BIGINT); ".trim_end_matches("; ")).await;
    for commit in [false, true] {
        let id = client.begin_transaction().await.unwrap();
        assert_eq!(
            client.execute_update("INSERT INTO a VALUES (1)".into(), Some(id.clone())).await.unwrap(),
            1
        );
        let mut prepared = client.prepare("INSERT INTO a VALUES (?)".into(), Some(id.clone())).await.unwrap();
        prepared.set_parameters(parameters(vec![("0", Arc::new(Int64Array::from(vec![2, 3])))])).unwrap();
        assert_eq!(prepared.execute_update().await.unwrap(), 2);
        // Clients never send the id with an ingest, and natives cannot: both join the open transaction.
        let rows = stream::iter([Ok(wells(0, 10))]);
        assert_eq!(client.execute_ingest(ingest("b", None, false), rows).await.unwrap(), 10);
        let answer = put(&mut native, "c", &[wells(0, 5)], "create").await.unwrap();
        assert!(!answer.durable, "durable only once the client commits");
        let inside =
            client.execute("SELECT count(*) AS n FROM a, b, c".into(), Some(id.clone())).await.unwrap();
        assert_eq!(
            joined(&fetch(&mut client, inside).await).column(0).as_primitive::<Int64Type>().value(0),
            150
        );
        assert_eq!(count(&mut other, "a").await, 0, "not seen by others before the end");
        let end = if commit { EndTransaction::Commit } else { EndTransaction::Rollback };
        client.end_transaction(id.clone(), end).await.unwrap();
        let gone = client.end_transaction(id, end).await.unwrap_err().to_string();
        assert!(gone.contains("unknown transaction"), "{gone}");
        let tables = ask(&mut other, "SELECT table_name FROM duckdb_tables() ORDER BY ALL").await;
        assert_eq!(joined(&tables).num_rows(), if commit { 3 } else { 1 });
    }
    assert_eq!(count(&mut other, "a").await, 3);
}

/// A statement that a driver keeps over the end of its transaction runs in the next one.
#[tokio::test]
async fn prepared_statements_outlive_their_transaction() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (sql(&server).await, sql(&server).await);
    ask(&mut client, "CREATE TABLE t (a INTEGER)").await;
    let first = client.begin_transaction().await.unwrap();
    let mut insert = client.prepare("INSERT INTO t VALUES (1)".into(), Some(first.clone())).await.unwrap();
    let mut select = client.prepare("SELECT a FROM t".into(), Some(first.clone())).await.unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 1);
    client.end_transaction(first, EndTransaction::Commit).await.unwrap();
    let second = client.begin_transaction().await.unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 1);
    let info = select.execute().await.unwrap();
    assert_eq!(joined(&fetch(&mut client, info).await).num_rows(), 2);
    assert_eq!(count(&mut other, "t").await, 1, "the second transaction is open");
    client.end_transaction(second, EndTransaction::Rollback).await.unwrap();
    assert_eq!(count(&mut other, "t").await, 1);
}

/// What was prepared for a transaction that expired must not run outside of it.
#[tokio::test]
async fn prepared_statements_do_not_leave_an_expired_transaction() {
    let server = TestServer::start_with(|config| {
        config.session.transaction_idle_timeout =
            pintail::config::Span(std::time::Duration::from_millis(1000));
    })
    .await;
    let mut watcher = server.client().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE t (a INTEGER)").await;
    let id = client.begin_transaction().await.unwrap();
    let mut insert = client.prepare("INSERT INTO t VALUES (1)".into(), Some(id)).await.unwrap();
    let started = std::time::Instant::now();
    while watcher.action("pintail.status").await.unwrap()["session"]["transactions"] != 0 {
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "the transaction does not expire");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let refused = insert.execute_update().await.unwrap_err().to_string();
    assert!(refused.contains("session.transaction_idle_timeout (1s)"), "{refused}");
    assert_eq!(count(&mut client, "t").await, 0);
    // In the next one it runs: drivers keep statements.
    let id = client.begin_transaction().await.unwrap();
    insert.execute_update().await.unwrap();
    client.end_transaction(id, EndTransaction::Rollback).await.unwrap();
    assert_eq!(count(&mut client, "t").await, 0);
}

/// A failed statement says what became of the transaction; a put that fails half way keeps it from committing.
#[tokio::test]
async fn what_fails_in_a_transaction_says_what_became_of_it() {
    let server = TestServer::start().await;
    let mut native = server.client().await;
    let mut client = FlightSqlServiceClient::new_from_inner(native.inner().clone());
    ask(&mut client, "CREATE TABLE k (n BIGINT PRIMARY KEY)").await;
    let id = client.begin_transaction().await.unwrap();
    let wrong =
        client.execute("SELECT nothing FROM k".into(), Some(id.clone())).await.unwrap_err().to_string();
    assert!(wrong.contains("the transaction is still open"), "{wrong}");
    client.execute_update("INSERT INTO k VALUES (1)".into(), Some(id.clone())).await.unwrap();
    let twice = client
        .execute_update("INSERT INTO k VALUES (1)".into(), Some(id.clone()))
        .await
        .unwrap_err()
        .to_string();
    assert!(twice.contains("aborted and can only be rolled back"), "{twice}");
    let refused = client.end_transaction(id, EndTransaction::Commit).await.unwrap_err().to_string();
    assert!(refused.contains("abort"), "{refused}");
    assert_eq!(count(&mut client, "k").await, 0);

    let id = client.begin_transaction().await.unwrap();
    let batch = parameters(vec![("n", Arc::new(Int64Array::from(vec![5])))]);
    // A stream whose source breaks after its first batch.
    let schema = batch.schema();
    let broken = stream::iter([Ok(batch), Err(pintail::error::Error::invalid("the source broke"))]);
    native.put(&common::table("k"), schema, broken, &[]).await.unwrap_err();
    let refused = client.end_transaction(id, EndTransaction::Commit).await;
    assert!(
        refused.is_err_and(|error| error.to_string().contains("rolled back")),
        "half a put must not commit"
    );
    assert_eq!(count(&mut client, "k").await, 0);
}

/// Scripts run in one transaction; an error names the statement, and nothing of the script stays.
#[tokio::test]
async fn scripts_are_all_or_nothing() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    let script = "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2); DELETE FROM t WHERE a = 1;";
    assert_eq!(client.execute_update(script.into(), None).await.unwrap(), 3);
    let broken = "INSERT INTO t VALUES (9); INSERT INTO nothing VALUES (1); INSERT INTO t VALUES (10)";
    let refused = client.execute_update(broken.into(), None).await.unwrap_err().to_string();
    assert!(refused.contains("statement 2 of 3") && refused.contains("nothing was kept"), "{refused}");
    assert_eq!(count(&mut client, "t").await, 1);
    let two = client.execute("SELECT 1; SELECT 2".into(), None).await.unwrap_err().to_string();
    assert!(two.contains("expected one SQL statement"), "{two}");
    for denied in ["BEGIN", "COMMIT", "COPY t TO 'x.csv'", "ATTACH 'x.db'", "SET threads = 1", "USE temp"] {
        client.execute_update(denied.into(), None).await.unwrap_err();
    }
}

/// Handles and transactions belong to the session that made them; made-up ones are not known.
#[tokio::test]
async fn handles_of_others_are_unknown() {
    let server = TestServer::start().await;
    let (mut one, mut other) = (sql(&server).await, sql(&server).await);
    let id = one.begin_transaction().await.unwrap();
    let stolen = other.execute("SELECT 1".into(), Some(id.clone())).await.unwrap_err().to_string();
    assert!(stolen.contains("unknown transaction"), "{stolen}");
    other.end_transaction(id.clone(), EndTransaction::Commit).await.unwrap_err();
    for made_up in [&b"short"[..], &[7; 16], &[0; 40]] {
        let refused = one.execute("SELECT 1".into(), Some(made_up.to_vec().into())).await.unwrap_err();
        assert!(refused.to_string().contains("unknown transaction"), "{refused}");
    }
    one.end_transaction(id, EndTransaction::Rollback).await.unwrap();
}

/// Primary, imported, exported and cross keys, in the schemas of FlightSql.proto.
#[tokio::test]
async fn keys_are_listed_in_the_canonical_schemas() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE parent (a INTEGER, b INTEGER, PRIMARY KEY (b, a))").await;
    ask(
        &mut client,
        "CREATE TABLE child (x INTEGER, y INTEGER, FOREIGN KEY (x, y) REFERENCES parent (b, a))",
    )
    .await;
    let info = client
        .get_primary_keys(CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "parent".into() })
        .await
        .unwrap();
    let keys = joined(&fetch(&mut client, info).await);
    assert_eq!(texts(&keys, "column_name"), [Some("b".into()), Some("a".into())]);
    let imported = client
        .get_imported_keys(CommandGetImportedKeys { catalog: None, db_schema: None, table: "child".into() })
        .await
        .unwrap();
    let exported = client
        .get_exported_keys(CommandGetExportedKeys { catalog: None, db_schema: None, table: "parent".into() })
        .await
        .unwrap();
    let crossed = client
        .get_cross_reference(CommandGetCrossReference {
            pk_table: "parent".into(),
            fk_table: "child".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    for info in [imported, exported, crossed] {
        let keys = joined(&fetch(&mut client, info).await);
        assert_eq!(texts(&keys, "pk_column_name"), [Some("b".into()), Some("a".into())]);
        assert_eq!(texts(&keys, "fk_column_name"), [Some("x".into()), Some("y".into())]);
        assert_eq!(keys.column_by_name("update_rule").unwrap().as_primitive::<UInt8Type>().values(), &[3, 3]);
    }
}

/// Filters, patterns and types of the listing commands; column metadata is filled.
#[tokio::test]
async fn listings_filter_by_pattern_and_type() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    for text in [
        "CREATE TABLE a_b (id INTEGER NOT NULL, price DECIMAL(9, 2))",
        "CREATE TABLE axb (id INTEGER)",
        "CREATE VIEW v AS SELECT * FROM a_b",
        "CREATE SCHEMA other",
        "CREATE TEMP TABLE private (id INTEGER)",
        "COMMENT ON COLUMN a_b.id IS 'the key'",
    ] {
        client.execute_update(text.into(), None).await.unwrap();
    }
    let mut tables = async |pattern: Option<&str>, types: &[&str], include_schema: bool| {
        let command = CommandGetTables {
            table_name_filter_pattern: pattern.map(str::to_owned),
            table_types: types.iter().map(|one| (*one).to_owned()).collect(),
            include_schema,
            ..Default::default()
        };
        let info = client.get_tables(command).await.unwrap();
        joined(&fetch(&mut client, info).await)
    };
    let names = |batch: &RecordBatch| texts(batch, "table_name").into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(names(&tables(None, &[], false).await), ["private", "a_b", "axb", "v"]);
    assert_eq!(names(&tables(Some("a_b"), &[], false).await), ["a_b", "axb"]);
    assert_eq!(names(&tables(Some("a\\_b"), &[], false).await), ["a_b"]);
    assert_eq!(names(&tables(Some("a%"), &["VIEW"], false).await), Vec::<String>::new());
    assert_eq!(names(&tables(None, &["VIEW"], false).await), ["v"]);
    assert_eq!(names(&tables(None, &["LOCAL TEMPORARY"], false).await), ["private"]);
    let described = tables(Some("a\\_b"), &[], true).await;
    let bytes = described.column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
    assert!(!schema.field(0).is_nullable() && schema.field(1).is_nullable());
    let metadata =
        |field: &Field, key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned();
    assert_eq!(metadata(schema.field(1), "TYPE_NAME").as_deref(), Some("DECIMAL(9,2)"));
    assert_eq!(metadata(schema.field(1), "PRECISION").as_deref(), Some("9"));
    assert_eq!(metadata(schema.field(1), "SCALE").as_deref(), Some("2"));
    assert_eq!(metadata(schema.field(0), "REMARKS").as_deref(), Some("the key"));
    let refused = client
        .get_tables(CommandGetTables { table_name_filter_pattern: Some("a\\".into()), ..Default::default() })
        .await
        .unwrap();
    let refused =
        client.do_get(refused.endpoint[0].ticket.clone().unwrap()).await.err().map(|e| e.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("escape")), "{refused:?}");
    let info = client
        .get_db_schemas(CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("o%".into()) })
        .await
        .unwrap();
    assert_eq!(texts(&joined(&fetch(&mut client, info).await), "db_schema_name"), [Some("other".into())]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(joined(&fetch(&mut client, info).await).num_rows(), 3);
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(
        texts(&joined(&fetch(&mut client, info).await), "catalog_name"),
        [Some("temp".into()), Some("test".into())]
    );
    let info = client.get_sql_info(Vec::new()).await.unwrap();
    assert!(joined(&fetch(&mut client, info).await).num_rows() >= 70, "no codes asks for all of them");
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(joined(&fetch(&mut client, info).await).num_rows() >= 20);
}

/// Temporary tables are their session's alone, live beside a table of the same name, and end with it.
#[tokio::test]
async fn temporary_tables_belong_to_their_session() {
    let server = TestServer::start().await;
    let (mut one, mut other) = (sql(&server).await, sql(&server).await);
    assert_eq!(
        one.execute_ingest(ingest("t", None, true), stream::iter([Ok(wells(0, 3))])).await.unwrap(),
        3
    );
    assert_eq!(
        one.execute_ingest(ingest("t", None, false), stream::iter([Ok(wells(0, 5))])).await.unwrap(),
        5
    );
    assert_eq!(count(&mut one, "temp.main.t").await, 3);
    assert_eq!(count(&mut one, "test.main.t").await, 5);
    assert_eq!(count(&mut other, "t").await, 5);
    one.execute_update("CREATE TEMP TABLE mine AS SELECT 1 AS a".into(), None).await.unwrap();
    assert_eq!(count(&mut one, "mine").await, 1);
    let hidden = other.execute("SELECT * FROM mine".into(), None).await.unwrap_err().to_string();
    assert!(hidden.contains("does not exist"), "{hidden}");
    let id = one.begin_transaction().await.unwrap();
    let seen = one.execute("SELECT * FROM mine".into(), Some(id.clone())).await.unwrap();
    assert_eq!(joined(&fetch(&mut one, seen).await).num_rows(), 1, "a transaction sees the session's tables");
    one.end_transaction(id, EndTransaction::Commit).await.unwrap();
    assert_eq!(count(&mut one, "mine").await, 1);
    let mut fresh = server.client().await;
    assert_eq!(number(&mut fresh, "SELECT count(*) FROM duckdb_tables() WHERE temporary").await, 0);
    rows(&mut fresh, "SELECT 1").await.unwrap();
}

/// The handshake of arrow-flight's client: any user is taken, and the token carries a session of its own.
#[tokio::test]
async fn a_handshake_gives_a_session_that_survives_its_connection() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    client.handshake("somebody", "secret").await.unwrap();
    let token = client.token().unwrap().clone();
    client.execute_update("CREATE TEMP TABLE mine (a INTEGER)".into(), None).await.unwrap();
    let mut again = sql(&server).await;
    assert!(again.execute("SELECT * FROM mine".into(), None).await.is_err());
    again.set_token(token);
    assert_eq!(count(&mut again, "mine").await, 0);
}
