//! Transactions, and what belongs to the session that made it.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use arrow_flight::sql::EndTransaction;
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::stream;

use super::{ask, count, fetch, parameters, sql};
use crate::support::batches::{joined, wells};
use crate::support::calls::{number, put, rows, table};
use crate::support::server::TestServer;
use crate::support::session::ingest_command;

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
        assert_eq!(client.execute_ingest(ingest_command("b", None, false), rows).await.unwrap(), 10);
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
    native.put(&table("k"), schema, broken, &[]).await.unwrap_err();
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

/// Temporary tables are their session's alone, live beside a table of the same name, and end with it.
#[tokio::test]
async fn temporary_tables_belong_to_their_session() {
    let server = TestServer::start().await;
    let (mut one, mut other) = (sql(&server).await, sql(&server).await);
    assert_eq!(
        one.execute_ingest(ingest_command("t", None, true), stream::iter([Ok(wells(0, 3))])).await.unwrap(),
        3
    );
    assert_eq!(
        one.execute_ingest(ingest_command("t", None, false), stream::iter([Ok(wells(0, 5))])).await.unwrap(),
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
