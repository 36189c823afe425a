//! Options, cookies and handles: what a session holds, and when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandPreparedStatementQuery, CommandStatementQuery,
    ProstMessageExt,
};
use arrow_flight::{Action, FlightDescriptor};
use futures::{StreamExt, stream};
use pintail::config::{Bytes, Span};
use prost::Message;
use tonic::{Code, Request};

use crate::support::batches::wells;
use crate::support::calls::{number, put, query_error, rows, table};
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, ROLLBACK, act, begin, end, get, option, options, set};

/// Catalog, schema and the pintail options hold for later calls of the session, and only for its own.
#[tokio::test]
async fn session_options_hold_until_the_session_ends() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    assert_eq!(get(&mut client, "catalog").await.as_deref(), Some("test"));
    rows(&mut client, "CREATE SCHEMA s").await.unwrap();
    assert!(set(&mut client, "schema", Some("s")).await.is_empty());
    assert_eq!(get(&mut client, "schema").await.as_deref(), Some("s"));
    put(&mut client, "t", &[wells(0, 5)], "create").await.unwrap();
    assert_eq!(number(&mut other, "SELECT count(*) FROM s.t").await, 5);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 5);
    assert!(query_error(&mut other, "SELECT * FROM t").await.to_string().contains("does not exist"));
    assert!(set(&mut client, "pintail-mode", Some("replace")).await.is_empty());
    let batches = stream::iter([Ok(wells(0, 2))]);
    client.put(&table("t"), wells(0, 1).schema(), batches, &[]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2, "the session's mode is replace");
    for (name, value, why) in [
        ("schema", "nowhere", 2),
        ("catalog", "nowhere", 2),
        ("pintail-mode", "upsert", 2),
        ("pintail-batch-rows", "none", 2),
        ("colour", "red", 1),
    ] {
        assert_eq!(set(&mut client, name, Some(value)).await[name].why, why, "{name}");
    }
    assert_eq!(get(&mut client, "schema").await.as_deref(), Some("s"), "a refusal changes nothing");
    assert!(set(&mut client, "schema", None).await.is_empty());
    assert_eq!(get(&mut client, "schema").await.as_deref(), Some("main"));
    set(&mut client, "schema", Some("s")).await;
    act(&mut client, "CloseSession", Vec::new()).await.unwrap();
    assert_eq!(get(&mut client, "schema").await.as_deref(), Some("main"));
    assert_eq!(get(&mut client, "pintail-mode").await, None);
}

/// A client that returns its cookie is known on another connection.
#[tokio::test]
async fn a_cookie_carries_the_session_to_another_connection() {
    let server = TestServer::start().await;
    let mut first = server.client().await;
    let answer = first.inner().do_action(Action::new("GetSessionOptions", "")).await.unwrap();
    let cookie = answer.metadata().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = |action: Action| {
        let mut request = Request::new(action);
        request.metadata_mut().insert("cookie", cookie.parse().unwrap());
        request
    };
    rows(&mut first, "CREATE SCHEMA s").await.unwrap();
    let set = with_cookie(Action::new("SetSessionOptions", option("schema", Some("s"))));
    first.inner().do_action(set).await.unwrap();
    drop(first);
    let mut second = server.client().await;
    assert_eq!(get(&mut second, "schema").await.as_deref(), Some("main"));
    let asked = with_cookie(Action::new("GetSessionOptions", ""));
    let answer = second.inner().do_action(asked).await.unwrap();
    assert!(answer.metadata().get("set-cookie").is_none(), "a client with a cookie keeps it");
    let body = answer.into_inner().message().await.unwrap().unwrap().body;
    let found = options::Options::decode(body).unwrap().options;
    assert_eq!(found["schema"].text.as_deref(), Some("s"));
}

/// What nobody uses is ended: transactions are rolled back, prepared statements forgotten.
#[tokio::test]
async fn idle_transactions_and_statements_expire() {
    let server = TestServer::start_with(|config| {
        config.session.transaction_idle_timeout = Span(Duration::from_millis(300));
        config.session.idle_timeout = Span(Duration::from_millis(1500));
        config.session.max_transactions = 2;
        config.session.max_prepared = 3;
    })
    .await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (a INTEGER)").await.unwrap();
    let id = begin(&mut client).await;
    let insert =
        CommandStatementQuery { query: "INSERT INTO t VALUES (1)".into(), transaction_id: Some(id.clone()) };
    let descriptor = FlightDescriptor::new_cmd(insert.as_any().encode_to_vec());
    client.inner().get_flight_info(descriptor).await.unwrap();
    let mut second = server.client().await;
    begin(&mut second).await;
    let full = act(&mut second, "BeginTransaction", Vec::new()).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().contains("session.max_transactions"), "{full}");
    let handle = {
        let request = ActionCreatePreparedStatementRequest { query: "SELECT 1".into(), transaction_id: None };
        for _ in 0..3 {
            act(&mut client, "CreatePreparedStatement", request.as_any().encode_to_vec()).await.unwrap();
        }
        let full =
            act(&mut client, "CreatePreparedStatement", request.as_any().encode_to_vec()).await.unwrap_err();
        assert!(full.message().contains("session.max_prepared"), "{full}");
        let answer =
            act(&mut second, "CreatePreparedStatement", request.as_any().encode_to_vec()).await.unwrap();
        let any = Any::decode(answer.as_slice()).unwrap();
        any.unpack::<arrow_flight::sql::ActionCreatePreparedStatementResult>()
            .unwrap()
            .unwrap()
            .prepared_statement_handle
    };
    let started = Instant::now();
    loop {
        // Another session sees no trace, and in the end the id is unknown.
        assert!(started.elapsed() < Duration::from_secs(20), "the transaction does not expire");
        let status = second.action("pintail.status").await.unwrap();
        if status["session"]["transactions"] == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let gone = end(&mut client, &id, COMMIT).await.unwrap_err();
    assert_eq!((gone.code(), gone.message().contains("idle")), (Code::NotFound, true));
    end(&mut client, &id, ROLLBACK).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let stolen = client.inner().get_flight_info(descriptor.clone()).await.unwrap_err();
    assert_eq!(stolen.code(), Code::NotFound, "another session's handle");
    let mut third = server.client().await;
    loop {
        assert!(started.elapsed() < Duration::from_secs(20), "the prepared statement does not expire");
        // Asked for through another connection, so that asking does not keep it alive.
        tokio::time::sleep(Duration::from_millis(200)).await;
        rows(&mut third, "SELECT 1").await.unwrap();
        if started.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    let expired = second.inner().get_flight_info(descriptor).await.unwrap_err();
    assert_eq!(expired.code(), Code::NotFound);
}

/// A connection that is cut takes its transaction with it.
#[tokio::test]
async fn a_closed_connection_ends_its_transaction() {
    let server = TestServer::start().await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE TABLE t (a INTEGER)").await.unwrap();
    let mut client = server.client().await;
    begin(&mut client).await;
    rows(&mut client, "INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1, "plain SQL joins the transaction");
    drop(client);
    let started = Instant::now();
    while watcher.action("pintail.status").await.unwrap()["session"]["transactions"] != 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the transaction outlives its connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM t").await, 0);
}

/// Requests that cannot be read get INVALID_ARGUMENT or NOT_FOUND, and the server goes on.
#[tokio::test]
async fn malformed_requests_are_refused_by_status() {
    let server = TestServer::start_with(|config| config.session.bound_memory_limit = Bytes(64 * 1024)).await;
    let mut client = server.client().await;
    let wrong_any =
        CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any().encode_to_vec();
    for (name, body) in [
        ("EndTransaction", b"\xff\xff".to_vec()),
        ("EndTransaction", wrong_any.clone()),
        ("CreatePreparedStatement", wrong_any),
        ("ClosePreparedStatement", Vec::new()),
        ("CancelFlightInfo", b"\xff\xff".to_vec()),
        ("CancelFlightInfo", Vec::new()),
        ("RenewFlightEndpoint", Vec::new()),
        ("SetSessionOptions", b"\xff\xff".to_vec()),
    ] {
        let refused = act(&mut client, name, body).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}: {refused}");
    }
    let unknown = act(&mut client, "Explode", Vec::new()).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
    assert!(unknown.message().contains("BeginTransaction"), "{unknown}");
    let savepoint = act(&mut client, "BeginSavepoint", Vec::new()).await.unwrap_err();
    assert!(savepoint.message().contains("no savepoints"), "{savepoint}");
    let mut any = CommandStatementQuery { query: "SELECT 1".into(), transaction_id: None }.as_any();
    any.value = b"\xff\xff\xff".to_vec().into();
    let broken = FlightDescriptor::new_cmd(any.encode_to_vec());
    assert_eq!(client.inner().get_flight_info(broken).await.unwrap_err().code(), Code::InvalidArgument);
    any.type_url = "type.googleapis.com/arrow.flight.protocol.sql.CommandFromTheFuture".into();
    let future = FlightDescriptor::new_cmd(any.encode_to_vec());
    assert_eq!(client.inner().get_flight_info(future).await.unwrap_err().code(), Code::Unimplemented);
    // More rows bound than may wait.
    let request = ActionCreatePreparedStatementRequest { query: "SELECT ?".into(), transaction_id: None };
    let answer = act(&mut client, "CreatePreparedStatement", request.as_any().encode_to_vec()).await.unwrap();
    let handle = Any::decode(answer.as_slice())
        .unwrap()
        .unpack::<arrow_flight::sql::ActionCreatePreparedStatementResult>()
        .unwrap()
        .unwrap()
        .prepared_statement_handle;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let many = RecordBatch::try_from_iter([(
        "0",
        Arc::new(Int64Array::from_iter_values(0..100_000)) as arrow::array::ArrayRef,
    )])
    .unwrap();
    let messages = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter([Ok(many)]))
        .map(|message| message.unwrap());
    let refused = match client.inner().do_put(messages).await {
        Err(refused) => refused,
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
    };
    assert!(refused.message().contains("session.bound_memory_limit"), "{refused}");
    assert_eq!(number(&mut client, "SELECT 1").await, 1);
}
