//! Queries that end early: left, too late, stalled, or one too many.

use std::time::{Duration, Instant};

use arrow_flight::Ticket;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pintail::error::Kind;
use prost::Message;
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::support::calls::{drain_slowly, query_error, rows};
use crate::support::server::TestServer;

/// Whatever runs: SQL that never ends until it is stopped.
const ENDLESS: &str = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b";
/// A stop takes milliseconds; a busy machine adds to that.
const STOPS_WITHIN: Duration = Duration::from_secs(3);

/// A dropped call stops the engine, which would go on for hours.
#[tokio::test]
async fn a_dropped_call_stops_the_query() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for sql in [ENDLESS, "SELECT a.range AS x, b.range AS y FROM range(10000000) a, range(10000000) b"] {
        let mut dropped = server.client().await;
        let running = tokio::spawn(async move {
            let result = dropped.query(sql, &[]).await?;
            drain_slowly(result.batches, Duration::from_millis(1)).await
        });
        wait_for_running(&mut client, 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        running.abort();
        let _ = running.await;
        let dropped_at = Instant::now();
        wait_for_running(&mut client, 0).await;
        assert!(dropped_at.elapsed() < STOPS_WITHIN, "stopped after {:?}", dropped_at.elapsed());
    }
}

async fn wait_for_running(client: &mut pintail::client::Client, count: u64) {
    while client.action("pintail.status").await.unwrap()["query"]["running"] != count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Deadlines, of gRPC or of our own header, stop the engine and say so.
#[tokio::test]
async fn a_deadline_stops_the_query() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let started = Instant::now();
    let headers = [("pintail-timeout-ms", "250".to_owned())];
    let error = match client.query(ENDLESS, &headers).await {
        Ok(result) => result.batches.try_collect::<Vec<_>>().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), Kind::Deadline, "{error}");
    assert!(started.elapsed() < Duration::from_millis(250) + STOPS_WITHIN, "{:?}", started.elapsed());
    let mut request = Request::new(Ticket::new(ENDLESS));
    request.set_timeout(Duration::from_millis(200));
    let status = match client.inner().do_get(request).await {
        Err(status) => status,
        Ok(messages) => messages.into_inner().try_collect::<Vec<_>>().await.unwrap_err(),
    };
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    let stopped = Instant::now();
    wait_for_running(&mut client, 0).await;
    assert!(stopped.elapsed() < STOPS_WITHIN);
}

/// A client that leaves the clock to the server hears DEADLINE_EXCEEDED, as gRPC's specification has it.
#[tokio::test]
async fn the_server_says_that_a_call_is_late() {
    let server = TestServer::start().await;
    let socket = TcpStream::connect(server.uri.trim_start_matches("grpc://")).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let ticket = Ticket::new(ENDLESS).encode_to_vec();
    let framed = [&[0][..], &(ticket.len() as u32).to_be_bytes(), &ticket].concat();
    let request = http::Request::post("http://pintail/arrow.flight.protocol.FlightService/DoGet")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "200m")
        .body(tonic::body::Body::new(http_body_util::Full::new(Bytes::from(framed))))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    // Before there is a first batch in the head of the answer, and after it at its end.
    let (head, body) = response.into_parts();
    let end = body.collect().await.unwrap();
    let status = head.headers.get("grpc-status").or_else(|| end.trailers()?.get("grpc-status"));
    assert_eq!(status.unwrap(), "4", "{:?} {:?}", head.headers, end.trailers());
    wait_for_running(&mut server.client().await, 0).await;
}

/// A reader that takes nothing for too long is cut, because it pins a snapshot.
#[tokio::test]
async fn a_stalled_reader_is_cut() {
    let server = TestServer::start_with(|config| {
        config.query.stall_timeout = "300 ms".parse().unwrap();
    })
    .await;
    let mut client = server.client().await;
    let mut stalled = server.client().await;
    let mut result =
        stalled.query("SELECT range AS n, repeat('x', 200) AS s FROM range(50000000)", &[]).await.unwrap();
    result.batches.next().await.unwrap().unwrap();
    wait_for_running(&mut client, 0).await;
    let error = loop {
        match result.batches.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("the cut result looks whole"),
        }
    };
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.message().contains("query.stall_timeout"), "{error}");
}

/// Beyond the places and the queue, queries are refused with the setting's name.
#[tokio::test]
async fn too_many_queries_are_refused_by_setting() {
    let server = TestServer::start_with(|config| {
        config.query.max_concurrent = 1;
        config.query.max_queued = 0;
    })
    .await;
    let mut client = server.client().await;
    let mut busy = server.client().await;
    let running = tokio::spawn(async move { rows(&mut busy, ENDLESS).await });
    wait_for_running(&mut client, 1).await;
    let error = query_error(&mut client, "SELECT 1").await;
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.message().contains("query.max_queued"), "{error}");
    running.abort();
}
