//! Sessions, options, DoExchange, polling and cancelling over the wire.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;
#[path = "common/session.rs"]
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCreatePreparedStatementRequest, Any, CommandPreparedStatementQuery,
    CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, FlightData, FlightDescriptor, FlightInfo, PollInfo,
    RenewFlightEndpointRequest, Ticket,
};
use common::{TestServer, joined, number, put, query_error, rows, table, well_batches, wells};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::Client;
use pintail::config::{Bytes, Span};
use prost::Message;
use session::{ROLLBACK, act, begin, end, exchange, get, options, set};
use tonic::{Code, Request};

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
    let set = with_cookie(Action::new("SetSessionOptions", session::option("schema", Some("s"))));
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
    let gone = end(&mut client, &id, session::COMMIT).await.unwrap_err();
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

/// Uploaded rows are the table `input` of the statement; nothing of it stays behind.
#[tokio::test]
async fn exchange_joins_uploaded_rows_with_tables() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    put(&mut client, "t", &[wells(0, 1000)], "create").await.unwrap();
    let sql = "SELECT count(*) AS n, sum(i.kbd) AS kbd FROM input i JOIN t ON t.id = i.id";
    let found = joined(&exchange(&mut client, sql, well_batches(300_000, 10_000)).await.unwrap());
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 1000);
    // A table of the same name on the server does not get in the way, nor do two exchanges at a time.
    rows(&mut client, "CREATE TABLE input (x INTEGER)").await.unwrap();
    let mut again = client.clone();
    let (one, two) = futures::join!(
        exchange(&mut client, "SELECT count(*) AS n FROM input", vec![wells(0, 10)]),
        exchange(&mut again, "SELECT count(*) AS n FROM input", vec![wells(0, 20)])
    );
    assert_eq!(joined(&one.unwrap()).column(0).as_primitive::<Int64Type>().value(0), 10);
    assert_eq!(joined(&two.unwrap()).column(0).as_primitive::<Int64Type>().value(0), 20);
    let none = exchange(&mut client, "SELECT 7::BIGINT AS n", Vec::new()).await.unwrap();
    assert_eq!(joined(&none).column(0).as_primitive::<Int64Type>().value(0), 7);
    let merged = "INSERT INTO t SELECT * REPLACE (id + 5000 AS id) FROM input";
    exchange(&mut client, merged, vec![wells(0, 10)]).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1010);
    let wrong = exchange(&mut client, "SELECT nothing FROM input", vec![wells(0, 1)]).await.unwrap_err();
    assert!(wrong.to_string().contains("nothing"), "{wrong}");
    let path = FlightDescriptor::new_path(vec!["t".into()]);
    let messages = stream::iter([FlightData::new().with_descriptor(path)]);
    assert_eq!(client.inner().do_exchange(messages).await.unwrap_err().code(), Code::InvalidArgument);
    let temporaries = "SELECT count(*) FROM duckdb_tables() WHERE temporary";
    assert_eq!(number(&mut client, temporaries).await, 0);
}

const SLOW: &str =
    "SELECT count(*) AS n FROM range(100000000) a, range(100000) b WHERE a.range + b.range < 0";

/// Polling starts a statement once, tells how far it is, and ends with an endpoint to fetch.
#[tokio::test]
async fn polling_reports_progress_and_ends_with_an_endpoint() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (a BIGINT)").await.unwrap();
    let ask = async |client: &mut Client, descriptor: FlightDescriptor| -> PollInfo {
        client.inner().poll_flight_info(descriptor).await.unwrap().into_inner()
    };
    for (sql, total) in [
        (
            "SELECT count(*) AS n FROM range(40000) a, range(40000) b WHERE a.range + b.range >= 0",
            1_600_000_000,
        ),
        ("INSERT INTO t SELECT range FROM range(5)", 5),
    ] {
        let mut asked = FlightDescriptor::new_cmd(sql);
        let mut polls = 0;
        let mut progress = 0.0;
        let info = loop {
            let poll = ask(&mut client, asked).await;
            polls += 1;
            assert!(polls < 600, "the statement does not end");
            if let Some(share) = poll.progress {
                assert!((progress..=1.0).contains(&share), "{share} after {progress}");
                progress = share;
            }
            match poll.flight_descriptor {
                Some(next) => asked = next,
                None => break poll.info.unwrap(),
            }
        };
        assert!((progress - 1.0).abs() < f64::EPSILON);
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let messages = client.inner().do_get(ticket).await.unwrap().into_inner().map_err(Into::into);
        let found: Vec<RecordBatch> =
            arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages)
                .try_collect()
                .await
                .unwrap();
        assert_eq!(joined(&found).column(0).as_primitive::<Int64Type>().value(0), total);
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 5, "polling again runs nothing again");
    let poll = ask(&mut client, FlightDescriptor::new_cmd(SLOW)).await;
    assert!(poll.info.as_ref().unwrap().endpoint.is_empty());
    let request = CancelFlightInfoRequest { info: poll.info };
    act(&mut client, "CancelFlightInfo", request.encode_to_vec()).await.unwrap();
    let gone = client.inner().poll_flight_info(poll.flight_descriptor.unwrap()).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    nothing_runs(&mut client).await;
}

async fn nothing_runs(client: &mut Client) {
    let started = Instant::now();
    while client.action("pintail.status").await.unwrap()["query"]["running"] != 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "the query goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// CancelFlightInfo and CancelQuery stop a running query and take its ticket back; a renewed ticket lives on.
#[tokio::test]
async fn a_running_query_can_be_cancelled_by_its_info() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for old in [false, true] {
        let descriptor = FlightDescriptor::new_cmd(SLOW);
        let info: FlightInfo = client.inner().get_flight_info(descriptor).await.unwrap().into_inner();
        let endpoint = info.endpoint[0].clone();
        let renew = RenewFlightEndpointRequest { endpoint: Some(endpoint.clone()) };
        act(&mut other, "RenewFlightEndpoint", renew.encode_to_vec()).await.unwrap();
        let ticket: Ticket = endpoint.ticket.unwrap();
        let mut stream = client.inner().do_get(ticket.clone()).await.unwrap().into_inner();
        stream.message().await.unwrap();
        let (name, body) = if old {
            let request = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
            ("CancelQuery", request.as_any().encode_to_vec())
        } else {
            ("CancelFlightInfo", CancelFlightInfoRequest { info: Some(info) }.encode_to_vec())
        };
        act(&mut other, name, body.clone()).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.unwrap();
        let ended = ended.unwrap_err();
        assert_eq!((ended.code(), ended.message().contains("cancelled")), (Code::Aborted, true));
        nothing_runs(&mut other).await;
        assert_eq!(client.inner().do_get(ticket).await.unwrap_err().code(), Code::NotFound);
        let again = act(&mut other, name, body).await.unwrap_err();
        assert_eq!(again.code(), Code::NotFound, "there is nothing left to cancel");
    }
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
