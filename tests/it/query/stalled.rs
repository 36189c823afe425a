//! Readers that stop reading: what they hold is given back by a deadline, a cancel, the stall time-out or another's need.
//!
//! The connection of a stalled reader is full, so the server is not asked for its next batch: only its own clocks can act.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::{CancelFlightInfoRequest, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt;
use pintail::client::Client;
use pintail::config::Bytes;
use pintail::error::{Kind, Result};
use prost::Message;
use tonic::{Code, Status, Streaming};

use crate::support::calls::{number, query_error, rows};
use crate::support::put_stream::with_headers;
use crate::support::server::{TestServer, http_get};
use crate::support::session::{act, begin};

/// More than all windows and buffers on the way hold.
const LARGE: &str = "SELECT range AS n, repeat('x', 200) AS s FROM range(50000000)";
/// What a stop may take; a busy machine adds to that.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

type Messages = Streaming<arrow_flight::FlightData>;

async fn running(client: &mut Client) -> u64 {
    client.action("pintail.status").await.unwrap()["query"]["running"].as_u64().unwrap()
}

async fn wait_for_running(client: &mut Client, count: u64, limit: Duration) -> Duration {
    let started = Instant::now();
    while running(client).await != count {
        assert!(started.elapsed() < limit + Duration::from_secs(10), "never {count} queries are running");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    started.elapsed()
}

/// Begins to read and stops: the stream, whose windows are full after a while.
async fn stall(client: &mut Client, headers: &[(&'static str, &str)]) -> Messages {
    let request = with_headers(Ticket::new(LARGE), headers);
    let mut stream = client.inner().do_get(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    stream.message().await.unwrap();
    stream
}

/// Reads on to the end, which is not that of a whole result.
async fn last_word(mut stream: Messages) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the cut result looks whole"),
            Err(status) => return status,
        }
    }
}

/// A deadline frees the place, the connection and the snapshot of a reader that has stalled.
#[tokio::test]
async fn a_deadline_ends_a_stalled_reader() {
    let server = TestServer::start().await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    let started = Instant::now();
    let stream = stall(&mut client, &[("pintail-timeout-ms", "1500")]).await;
    assert_eq!(running(&mut watcher).await, 1);
    let limit = Duration::from_millis(1500) + STOPS_WITHIN;
    wait_for_running(&mut watcher, 0, limit).await;
    assert!((Duration::from_millis(1500)..limit).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(last_word(stream).await.code(), Code::DeadlineExceeded);
}

/// So does CancelFlightInfo, also while the statement has given nothing yet.
#[tokio::test]
async fn a_cancel_ends_a_stalled_reader() {
    const SLOW: &str = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b";
    let server = TestServer::start().await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    for sql in [LARGE, SLOW] {
        let info: FlightInfo =
            client.inner().get_flight_info(FlightDescriptor::new_cmd(sql)).await.unwrap().into_inner();
        let ticket = info.endpoint[0].ticket.clone().unwrap();
        let mut stream = client.inner().do_get(ticket).await.unwrap().into_inner();
        stream.message().await.unwrap();
        wait_for_running(&mut watcher, 1, STOPS_WITHIN).await;
        // Time to fill what lies between the engine and the client.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let body = CancelFlightInfoRequest { info: Some(info) }.encode_to_vec();
        act(&mut watcher, "CancelFlightInfo", body).await.unwrap();
        let took = wait_for_running(&mut watcher, 0, STOPS_WITHIN).await;
        assert!(took < STOPS_WITHIN, "{took:?}");
        let status = last_word(stream).await;
        assert_eq!((status.code(), status.message().contains("cancelled")), (Code::Aborted, true));
    }
}

/// The stall time-out counts while nothing is asked for; a transaction's connection is free again for the next statement.
#[tokio::test]
async fn the_stall_timeout_frees_the_connection_of_a_transaction() {
    let server = TestServer::start_with(|config| {
        config.query.stall_timeout = "700 ms".parse().unwrap();
        config.query.queue_timeout = "5 s".parse().unwrap();
    })
    .await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    begin(&mut client).await;
    let stream = stall(&mut client, &[]).await;
    wait_for_running(&mut watcher, 0, Duration::from_secs(3)).await;
    assert_eq!(number(&mut client, "SELECT 7").await, 7);
    let status = last_word(stream).await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("query.stall_timeout"), "{status}");
}

/// A result that is complete, and that nobody reads, keeps its place too: its batches are in memory.
#[tokio::test]
async fn what_waits_to_be_read_keeps_its_place() {
    let server = TestServer::start_with(|config| {
        config.query.stall_timeout = "1 s".parse().unwrap();
        config.query.buffer_bytes = Bytes::mib(64);
    })
    .await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    // Between what HTTP/2 holds and what the queue does.
    let sql = "SELECT range AS n FROM range(5000000)";
    let mut stream = client.inner().do_get(Ticket::new(sql)).await.unwrap().into_inner();
    stream.message().await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(running(&mut watcher).await, 1);
    wait_for_running(&mut watcher, 0, Duration::from_secs(3)).await;
    assert!(last_word(stream).await.message().contains("query.stall_timeout"));
}

/// Readers that hold all places without reading make room for others; the probe and the status need no place.
#[tokio::test]
async fn stalled_readers_make_room_for_others() {
    let server = TestServer::start_with(|config| {
        config.query.max_concurrent = 6;
        config.session.max_queries = 3;
        config.query.busy_stall_timeout = "1 s".parse().unwrap();
    })
    .await;
    let mut clients = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut client = server.client().await;
        for _ in 0..3 {
            streams.push(stall(&mut client, &[]).await);
        }
        clients.push(client);
    }
    let mut watcher = server.client().await;
    assert_eq!(running(&mut watcher).await, 6);
    assert_eq!(http_get(&server.http, "/readyz").await, (200, "ok\n".into()));
    let started = Instant::now();
    assert_eq!(number(&mut watcher, "SELECT 1").await, 1);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!(running(&mut watcher).await, 5, "one is enough");
    let mut cut = 0;
    drop(clients);
    for mut stream in streams {
        let ended: std::result::Result<(), Status> =
            tokio::time::timeout(Duration::from_millis(1500), async {
                while stream.message().await?.is_some() {}
                Ok(())
            })
            .await
            .unwrap_or(Ok(()));
        if let Err(status) = ended {
            assert!(status.message().contains("query.busy_stall_timeout"), "{status}");
            cut += 1;
        }
    }
    assert_eq!(cut, 1);
}

/// One client's queries wait behind its own, and others get in at once.
#[tokio::test]
async fn a_client_has_its_part_of_the_places() {
    let server = TestServer::start_with(|config| {
        config.query.max_concurrent = 8;
        config.query.queue_timeout = "500 ms".parse().unwrap();
        config.session.max_queries = 2;
    })
    .await;
    let (mut greedy, mut other) = (server.client().await, server.client().await);
    let _streams = [stall(&mut greedy, &[]).await, stall(&mut greedy, &[]).await];
    let error = query_error(&mut greedy, "SELECT 1").await;
    assert_eq!(error.kind(), Kind::Exhausted);
    assert!(error.message().contains("session.max_queries"), "{error}");
    let started = Instant::now();
    assert_eq!(number(&mut other, "SELECT 1").await, 1);
    assert!(started.elapsed() < Duration::from_millis(400));
}

/// One client's tickets that are never fetched do not keep others from theirs.
#[tokio::test]
async fn a_client_has_its_part_of_the_tickets() {
    let server = TestServer::start_with(|config| config.session.max_tickets = 20).await;
    let (mut greedy, mut other) = (server.client().await, server.client().await);
    let descriptor = || FlightDescriptor::new_cmd("SELECT 1");
    for _ in 0..10 {
        greedy.inner().get_flight_info(descriptor()).await.unwrap();
    }
    let refused = greedy.inner().get_flight_info(descriptor()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("session.max_tickets"), "{refused}");
    for _ in 0..10 {
        other.inner().get_flight_info(descriptor()).await.unwrap();
    }
    let found: Result<Vec<RecordBatch>> = rows(&mut greedy, "SELECT 1").await;
    found.unwrap();
    let _: Vec<RecordBatch> =
        other.query("SELECT 1", &[]).await.unwrap().batches.try_collect().await.unwrap();
}

/// A change whose rows nobody reads is made, gives its place back, and its client hears that it was made.
#[tokio::test]
async fn a_change_whose_rows_are_not_read_was_made() {
    let server =
        TestServer::start_with(|config| config.query.stall_timeout = "500 ms".parse().unwrap()).await;
    let (mut client, mut watcher) = (server.client().await, server.client().await);
    rows(&mut watcher, "CREATE TABLE t (n BIGINT, s VARCHAR)").await.unwrap();
    let sql = "INSERT INTO t SELECT range, repeat('x', 500) FROM range(300000) RETURNING *";
    let mut stream = client.inner().do_get(Ticket::new(sql)).await.unwrap().into_inner();
    stream.message().await.unwrap();
    wait_for_running(&mut watcher, 0, Duration::from_secs(20)).await;
    let status = last_word(stream).await;
    assert!(status.message().contains("query.stall_timeout"), "{status}");
    assert!(status.message().contains("the change itself was made"), "{status}");
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM t").await, 300_000);
}

/// A server that has to end tells a reader that has stalled so, and does not wait for it.
#[tokio::test]
async fn a_server_that_stops_tells_its_readers() {
    let server = TestServer::start_with(|config| {
        config.server.drain_timeout = "300 ms".parse().unwrap();
    })
    .await;
    let mut client = server.client().await;
    let stream = stall(&mut client, &[]).await;
    let (stopped, status) = tokio::join!(server.stop(), last_word(stream));
    drop(stopped);
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}
