//! Idle timeouts: what is in use is kept, what has ended is told until the client begins anew.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{CommandGetTables, ProstMessageExt};
use arrow_flight::{FlightDescriptor, HandshakeRequest, Ticket};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::Client;
use pintail::config::Span;
use pintail::error::{Kind, Result};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use crate::support::batches::{joined, wells};
use crate::support::calls::{number, put, query_error, rows, table};
use crate::support::server::TestServer;
use crate::support::session::{
    COMMIT, ROLLBACK, act, act_with, begin, end, exchange_messages, get, ingest, ingest_command, option, set,
    statement, wait_for,
};

const TRANSACTION: &str = "session.transaction_idle_timeout";
const SESSION: &str = "session.idle_timeout";

async fn server(transaction_ms: u64, session_ms: u64) -> TestServer {
    TestServer::start_with(|config| {
        config.session.transaction_idle_timeout = Span(Duration::from_millis(transaction_ms));
        config.session.idle_timeout = Span(Duration::from_millis(session_ms));
    })
    .await
}

/// Somebody who does nothing, with a transaction and an option that are taken away for it.
async fn sleeper(server: &TestServer) -> Client {
    let mut client = server.client().await;
    begin(&mut client).await;
    assert!(set(&mut client, "schema", Some("main")).await.is_empty());
    client
}

/// Waits until both clocks have run out for somebody who began to be idle only now.
async fn outlast(server: &TestServer, watcher: &mut Client, sessions: u64) {
    let sleeper = sleeper(server).await;
    wait_for(watcher, "transactions", 1).await;
    wait_for(watcher, "sessions", sessions).await;
    drop(sleeper);
}

/// A result that is read, rows that are sent and an upload go on for longer than both timeouts, and take nothing
/// away from the client: its transaction stays open, and its options hold.
#[tokio::test]
async fn what_is_in_use_does_not_expire() {
    let server = server(1000, 1500).await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE SCHEMA s").await.unwrap();
    let mut client = server.client().await;
    assert!(set(&mut client, "schema", Some("s")).await.is_empty());
    let id = begin(&mut client).await;

    // A result is read slowly.
    let sql = "SELECT range AS n FROM range(6000000)";
    let mut result = client.query(sql, &[]).await.unwrap().batches;
    let first = result.next().await.unwrap().unwrap();
    outlast(&server, &mut watcher, 2).await;
    let rest: Vec<RecordBatch> = result.try_collect().await.unwrap();
    assert_eq!(first.num_rows() + rest.iter().map(RecordBatch::num_rows).sum::<usize>(), 6_000_000);

    // Rows come slowly.
    let (send, receive) = mpsc::channel::<Result<RecordBatch>>(1);
    let mut putting = client.clone();
    let put = tokio::spawn(async move {
        let batches = ReceiverStream::new(receive);
        putting.put(&table("t"), wells(0, 1).schema(), batches, &[]).await
    });
    send.send(Ok(wells(0, 10))).await.unwrap();
    outlast(&server, &mut watcher, 2).await;
    send.send(Ok(wells(10, 10))).await.unwrap();
    drop(send);
    let answer = put.await.unwrap().unwrap();
    assert_eq!((answer.rows, answer.durable), (20, false), "it is part of the transaction");

    // An upload to a statement comes slowly.
    let mut messages = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd("SELECT count(*) AS n FROM input")))
        .build(stream::iter([Ok(wells(0, 10)), Ok(wells(10, 10))]))
        .map(|message| message.unwrap());
    let (send, receive) = mpsc::channel(1);
    let mut exchanging = client.clone();
    let upload =
        tokio::spawn(async move { exchange_messages(&mut exchanging, ReceiverStream::new(receive)).await });
    for _ in 0..2 {
        send.send(messages.next().await.unwrap()).await.unwrap();
    }
    outlast(&server, &mut watcher, 2).await;
    while let Some(message) = messages.next().await {
        send.send(message).await.unwrap();
    }
    drop(send);
    let found = joined(&upload.await.unwrap().unwrap());
    assert_eq!(found.column(0).as_primitive::<Int64Type>().value(0), 20);

    end(&mut client, &id, COMMIT).await.unwrap();
    assert_eq!(get(&mut client, "schema").await.as_deref(), Some("s"));
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM s.t").await, 20);
}

/// Nothing of "the rest of the transaction" is stored on its own, by whichever call it comes.
#[tokio::test]
async fn an_expired_transaction_is_told_until_the_client_begins_anew() {
    let server = server(1000, 60_000).await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE TABLE t AS SELECT 0::BIGINT AS id WHERE false").await.unwrap();
    let mut client = server.client().await;
    for begins in [false, true] {
        let id = begin(&mut client).await;
        rows(&mut client, "INSERT INTO t VALUES (1)").await.unwrap();
        wait_for(&mut watcher, "transactions", 0).await;
        for _ in 0..2 {
            for sql in ["INSERT INTO t VALUES (2)", "SELECT * FROM t"] {
                let told = query_error(&mut client, sql).await;
                assert!(told.kind() == Kind::Aborted && told.message().contains(TRANSACTION), "{told}");
            }
            let told = put(&mut client, "u", &[wells(0, 5)], "create_append").await.unwrap_err();
            assert!(told.kind() == Kind::Aborted && told.message().contains(TRANSACTION), "{told}");
            for temporary in [false, true] {
                let command = ingest_command("u", None, temporary);
                let told = ingest(&mut client, command, vec![wells(0, 5)]).await.unwrap_err();
                assert!(told.code() == Code::Aborted && told.message().contains(TRANSACTION), "{told}");
            }
            let tables = Ticket::new(CommandGetTables::default().as_any().encode_to_vec());
            let told = client.inner().do_get(tables).await.map(|_| ()).unwrap_err();
            assert!(told.code() == Code::Aborted && told.message().contains(TRANSACTION), "{told}");
            let inside = statement("INSERT INTO t VALUES (3)", Some(&id));
            let told = client.inner().get_flight_info(inside).await.unwrap_err();
            assert!(told.code() == Code::NotFound && told.message().contains(TRANSACTION), "{told}");
            let told = end(&mut client, &id, COMMIT).await.unwrap_err();
            assert!(told.code() == Code::NotFound && told.message().contains(TRANSACTION), "{told}");
        }
        assert_eq!(number(&mut watcher, "SELECT count(*) FROM t").await, 0);
        assert_eq!(
            number(&mut watcher, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'u'").await,
            0
        );
        if begins {
            let next = begin(&mut client).await;
            rows(&mut client, "INSERT INTO t VALUES (4)").await.unwrap();
            end(&mut client, &next, COMMIT).await.unwrap();
        } else {
            // What is wanted has happened already; drivers go on only when they are told so.
            end(&mut client, &id, ROLLBACK).await.unwrap();
            rows(&mut client, "DELETE FROM t").await.unwrap();
        }
        let told = end(&mut client, &id, COMMIT).await.unwrap_err();
        assert!(told.code() == Code::NotFound && told.message().contains(TRANSACTION), "{told}");
    }
    assert_eq!(number(&mut watcher, "SELECT sum(id) FROM t").await, 4);
}

/// A transaction that expires on the connection with temporary tables leaves those that were there before.
#[tokio::test]
async fn an_expired_transaction_leaves_temporary_tables() {
    let server = server(1000, 60_000).await;
    let (mut watcher, mut client) = (server.client().await, server.client().await);
    rows(&mut client, "CREATE TEMP TABLE mine AS SELECT 1 AS id").await.unwrap();
    let id = begin(&mut client).await;
    rows(&mut client, "INSERT INTO mine VALUES (2)").await.unwrap();
    wait_for(&mut watcher, "transactions", 0).await;
    end(&mut client, &id, ROLLBACK).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM mine").await, 1);
}

/// Rows must not go to another schema because the client was away.
#[tokio::test]
async fn an_expired_session_is_told_until_the_client_sets_it_up_again() {
    let server = server(60_000, 1000).await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE SCHEMA s").await.unwrap();
    let (mut client, mut empty) = (server.client().await, server.client().await);
    assert_eq!(number(&mut empty, "SELECT 1").await, 1);
    assert!(set(&mut client, "schema", Some("s")).await.is_empty());
    wait_for(&mut watcher, "sessions", 1).await;
    assert_eq!(number(&mut empty, "SELECT 1").await, 1, "nothing was lost, so there is nothing to tell");
    for _ in 0..2 {
        let told = put(&mut client, "t", &[wells(0, 5)], "create_append").await.unwrap_err();
        assert!(told.kind() == Kind::Aborted && told.message().contains(SESSION), "{told}");
        assert!(told.message().contains("its options are gone"), "{told}");
        let told = client.inner().get_flight_info(statement("SELECT 1", None)).await.unwrap_err();
        assert!(told.code() == Code::Aborted && told.message().contains(SESSION), "{told}");
        let told = act(&mut client, "GetSessionOptions", Vec::new()).await.unwrap_err();
        assert!(told.code() == Code::Aborted && told.message().contains(SESSION), "{told}");
    }
    assert!(set(&mut client, "schema", Some("s")).await.is_empty());
    put(&mut client, "t", &[wells(0, 5)], "create_append").await.unwrap();
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM s.t").await, 5);

    // Temporary tables are gone with the session, and so is its transaction.
    rows(&mut client, "CREATE TEMP TABLE t AS SELECT 1 AS id").await.unwrap();
    let id = begin(&mut client).await;
    rows(&mut client, "INSERT INTO s.t SELECT * FROM s.t").await.unwrap();
    wait_for(&mut watcher, "sessions", 1).await;
    wait_for(&mut watcher, "transactions", 0).await;
    // A driver begins its next transaction by itself: that is no answer to what nobody has heard yet.
    begin(&mut client).await;
    let told = query_error(&mut client, "SELECT * FROM t").await;
    assert!(told.kind() == Kind::Aborted && told.message().contains("temporary tables are gone"), "{told}");
    let told = end(&mut client, &id, COMMIT).await.unwrap_err();
    assert!(told.code() == Code::NotFound && told.message().contains(SESSION), "{told}");
    act(&mut client, "CloseSession", Vec::new()).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM s.t").await, 5);
}

/// The same for a session that its client is known by a token or a cookie for, on whichever connection.
#[tokio::test]
async fn a_token_or_cookie_of_an_expired_session_is_told() {
    let server = server(60_000, 1000).await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE SCHEMA s").await.unwrap();
    let mut client = server.client().await;
    let shaken = client.inner().handshake(stream::iter([HandshakeRequest::default()])).await.unwrap();
    let bearer = shaken.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
    let asked = client.inner().do_action(arrow_flight::Action::new("GetSessionOptions", "")).await.unwrap();
    let cookie = asked.metadata().get("set-cookie").unwrap().to_str().unwrap().to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let ask = async |header: (&'static str, &str)| {
        let mut client = server.client().await;
        let mut request = Request::new(statement("SELECT current_schema() AS s", None));
        request.metadata_mut().insert(header.0, header.1.parse().unwrap());
        client.inner().get_flight_info(request).await.map(|_| ())
    };
    for header in [("authorization", bearer.as_str()), ("cookie", cookie.as_str())] {
        act_with(&mut client, Some(header), "SetSessionOptions", option("schema", Some("s"))).await.unwrap();
        wait_for(&mut watcher, "sessions", 1).await;
        for _ in 0..2 {
            let told = ask(header).await.unwrap_err();
            assert!(told.code() == Code::Aborted && told.message().contains(SESSION), "{told}");
        }
        act_with(&mut client, Some(header), "SetSessionOptions", option("schema", Some("s"))).await.unwrap();
        ask(header).await.unwrap();
        // With nothing in it, nothing is told.
        act_with(&mut client, Some(header), "SetSessionOptions", option("schema", None)).await.unwrap();
    }
    // One of an earlier run of the server: nobody knows what was in it.
    let made_up = format!("Bearer pintail-{:032x}", 7);
    let told = ask(("authorization", &made_up)).await.unwrap_err();
    assert!(told.code() == Code::Aborted && told.message().contains("not known"), "{told}");
    // A token that was never ours says nothing.
    ask(("authorization", "Bearer 00000000000000000000000000000007")).await.unwrap();
    // Nor does one that its client has given up itself.
    act_with(&mut client, Some(("authorization", &bearer)), "CloseSession", Vec::new()).await.unwrap();
    ask(("authorization", &bearer)).await.unwrap();
}

/// A ticket gives what was there when it was asked for, or says why not.
#[tokio::test]
async fn a_ticket_does_not_outlive_what_it_needs_of_its_session() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    for sql in
        ["CREATE SCHEMA s", "CREATE TABLE main.t AS SELECT 1 AS n", "CREATE TABLE s.t AS SELECT 2 AS n"]
    {
        rows(&mut client, sql).await.unwrap();
    }
    let ask = async |client: &mut Client| {
        let info = client.inner().get_flight_info(statement("SELECT n FROM t", None)).await.unwrap();
        info.into_inner().endpoint.remove(0).ticket.unwrap()
    };
    let fetch = async |client: &mut Client, ticket: Ticket| {
        let messages = client.inner().do_get(ticket).await?.into_inner().map_err(Into::into);
        let batches = arrow_flight::decode::FlightRecordBatchStream::new_from_flight_data(messages);
        let batches: Vec<RecordBatch> = batches.try_collect().await.unwrap();
        let numbers = joined(&batches);
        Ok::<_, tonic::Status>(numbers.column(0).as_primitive::<arrow::datatypes::Int32Type>().value(0))
    };
    set(&mut client, "schema", Some("s")).await;
    let ticket = ask(&mut client).await;
    set(&mut client, "schema", None).await;
    assert_eq!(fetch(&mut client, ticket.clone()).await.unwrap(), 2, "the schema of the ticket's time");
    drop(client);
    wait_for(&mut other, "sessions", 1).await;
    assert_eq!(fetch(&mut other, ticket).await.unwrap(), 2);

    let mut client = server.client().await;
    rows(&mut client, "CREATE TEMP TABLE t AS SELECT 3 AS n").await.unwrap();
    let temporary = ask(&mut client).await;
    assert_eq!(fetch(&mut other, temporary.clone()).await.unwrap(), 3);
    act(&mut client, "CloseSession", Vec::new()).await.unwrap();
    let told = fetch(&mut client, temporary).await.unwrap_err();
    assert!(told.code() == Code::NotFound && told.message().contains("has ended"), "{told}");
    begin(&mut client).await;
    rows(&mut client, "UPDATE t SET n = 4").await.unwrap();
    let plain = client.inner().get_flight_info(FlightDescriptor::new_cmd("SELECT n FROM t")).await.unwrap();
    let inside = plain.into_inner().endpoint.remove(0).ticket.unwrap();
    assert_eq!(fetch(&mut other, inside.clone()).await.unwrap(), 4);
    drop(client);
    wait_for(&mut other, "transactions", 0).await;
    let told = fetch(&mut other, inside).await.unwrap_err();
    assert!(told.code() == Code::NotFound && told.message().contains("has ended"), "{told}");
}

/// The call's answer, unless its client leaves first: at once, or many turns of the server's tasks later.
async fn before_it_leaves<T>(call: impl Future<Output = T>) -> Option<T> {
    let turns = 10_f64.powf(rand::random_range(0.0..6.0)) as u64;
    let leave = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = call => Some(answer),
        () = leave => None,
    }
}

/// Clients that leave in the middle of BEGIN or COMMIT leave no transaction behind in which the rows of later statements
/// would be caught, and a COMMIT that has begun comes to its end.
#[tokio::test]
async fn a_client_that_leaves_begin_or_commit_leaves_nothing_half_done() {
    let server = TestServer::start().await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    rows(&mut client, "CREATE TABLE t (a BIGINT)").await.unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..100_u64 {
        // A transaction is opened on the session's own connection, where the next statements run as well.
        rows(&mut client, "CREATE OR REPLACE TEMP TABLE mine (a INTEGER)").await.unwrap();
        let insert = format!("INSERT INTO t VALUES ({round})");
        match before_it_leaves(begin(&mut client)).await {
            Some(id) => {
                rows(&mut client, &insert).await.unwrap();
                if before_it_leaves(end(&mut client, &id, COMMIT)).await.is_some_and(|ended| ended.is_ok()) {
                    acknowledged.push(round);
                }
            }
            None => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let status = watcher.action("pintail.status").await.unwrap();
                if status["session"]["transactions"] == 0 {
                    rows(&mut client, &insert).await.unwrap();
                    acknowledged.push(round);
                }
            }
        }
        // One whose name came too late to be heard is left to its session.
        if watcher.action("pintail.status").await.unwrap()["session"]["transactions"] != 0 {
            act(&mut client, "CloseSession", Vec::new()).await.unwrap();
        }
        wait_for(&mut watcher, "transactions", 0).await;
        let stored = number(&mut watcher, &format!("SELECT count(*) FROM t WHERE a = {round}")).await;
        assert!(
            stored == 1 || acknowledged.last() != Some(&round),
            "round {round} was acknowledged and is not there"
        );
    }
    assert!(!acknowledged.is_empty());
}
