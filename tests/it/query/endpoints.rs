//! One result read through several endpoints.

use std::collections::HashSet;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::{CancelFlightInfoRequest, FlightDescriptor, FlightInfo, Ticket};
use futures::{StreamExt, TryStreamExt};
use pintail::client::Client;
use prost::Message;
use tonic::Code;

use crate::support::calls::rows;
use crate::support::put_stream::with_headers;
use crate::support::server::TestServer;
use crate::support::session::{COMMIT, act, begin, end, set, statement};

const ROWS: i64 = 3_000_000;
const ALL: &str = "SELECT range AS n, repeat('x', 40) AS s FROM range(3000000)";

async fn info_of(client: &mut Client, sql: &str, endpoints: &str) -> FlightInfo {
    let request =
        with_headers(FlightDescriptor::new_cmd(sql.to_owned()), &[("pintail-endpoints", endpoints)]);
    client.inner().get_flight_info(request).await.unwrap().into_inner()
}

fn tickets(info: &FlightInfo) -> Vec<Ticket> {
    info.endpoint.iter().map(|endpoint| endpoint.ticket.clone().unwrap()).collect()
}

async fn read(client: &mut Client, ticket: Ticket) -> FlightRecordBatchStream {
    let stream = client.inner().do_get(ticket).await.unwrap().into_inner();
    FlightRecordBatchStream::new_from_flight_data(stream.map_err(Into::into))
}

fn numbers(batch: &RecordBatch) -> impl Iterator<Item = i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec().into_iter()
}

async fn rest(stream: FlightRecordBatchStream) -> Vec<i64> {
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    batches.iter().flat_map(numbers).collect()
}

fn assert_all(found: &[i64]) {
    assert_eq!(found.len() as i64, ROWS);
    assert_eq!(found.iter().copied().collect::<HashSet<_>>().len() as i64, ROWS, "no row comes twice");
}

async fn nothing_runs(client: &mut Client, within: Duration) {
    let waited = tokio::time::timeout(within, async {
        while client.action("pintail.status").await.unwrap()["query"]["running"] != 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("the query goes on");
}

/// Beside each other, one after the other, or without ever coming back for one: each row comes once.
#[tokio::test]
async fn every_row_comes_once_however_endpoints_are_read() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let info = info_of(&mut client, ALL, "4").await;
    assert_eq!((info.endpoint.len(), info.ordered), (4, false));
    assert!(info.endpoint.iter().all(|endpoint| endpoint.expiration_time.is_none()), "each is fetched once");
    let beside = futures::future::join_all(tickets(&info).into_iter().map(|ticket| {
        let mut client = client.clone();
        async move { rest(read(&mut client, ticket).await).await }
    }))
    .await;
    assert!(beside.iter().filter(|part| !part.is_empty()).count() > 1, "more than one got rows");
    assert_all(&beside.concat());
    nothing_runs(&mut client, Duration::from_secs(1)).await;

    let mut one_by_one = Vec::new();
    for ticket in tickets(&info_of(&mut client, ALL, "3").await) {
        one_by_one.extend(rest(read(&mut client, ticket).await).await);
    }
    assert_all(&one_by_one);

    // The schema was the same in all of them, also in the empty ones.
    let few = tickets(&info_of(&mut client, ALL, "64").await);
    assert_eq!(few.len(), 64);
    let mut two = Vec::new();
    for ticket in &few[40..42] {
        two.extend(rest(read(&mut client, ticket.clone()).await).await);
    }
    assert_all(&two);
    nothing_runs(&mut client, Duration::from_secs(1)).await;
}

/// What one endpoint was given before its client left is gone with it; the others get all the rest, and it is not read
/// again as if it were whole.
#[tokio::test]
async fn an_endpoint_that_is_left_takes_only_what_it_was_given() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let all = tickets(&info_of(&mut client, ALL, "2").await);
    let mut first = read(&mut client, all[0].clone()).await;
    let mut found: Vec<i64> = numbers(&first.next().await.unwrap().unwrap()).collect();
    let given = found.len();
    drop(first);
    found.extend(rest(read(&mut client, all[1].clone()).await).await);
    assert!(given > 0 && found.len() as i64 > ROWS / 2);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len(), "no row comes twice");
    let again = client.inner().do_get(all[0].clone()).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    // With all of them left, nothing goes on.
    let all = tickets(&info_of(&mut client, ALL, "2").await);
    let streams = [read(&mut client, all[0].clone()).await, read(&mut client, all[1].clone()).await];
    drop(streams);
    nothing_runs(&mut client, Duration::from_secs(2)).await;
}

/// A result whose other endpoints nobody comes for does not wait for ever.
#[tokio::test]
async fn a_result_that_is_left_is_stopped_and_says_so() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let all = tickets(&info_of(&mut client, "SELECT range AS n FROM range(500000000)", "2").await);
    let mut first = read(&mut client, all[0].clone()).await;
    first.next().await.unwrap().unwrap();
    drop(first);
    nothing_runs(&mut client, Duration::from_secs(8)).await;
    let mut late = client.inner().do_get(all[1].clone()).await.unwrap().into_inner();
    let status = loop {
        match late.message().await {
            Ok(Some(message)) => assert!(message.data_body.is_empty(), "rows of a result that is not whole"),
            Ok(None) => panic!("the rest looks whole"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Aborted);
    assert!(status.message().contains("GetFlightInfo"), "{status}");
}

/// An error, a deadline or a cancel in the middle reaches all of them.
#[tokio::test]
async fn all_endpoints_hear_how_a_result_has_ended() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let broken =
        "SELECT CASE WHEN range = 2900000 THEN error('no such luck') ELSE range END AS n FROM range(3000000)";
    let endless = "SELECT range AS n FROM range(5000000000)";
    for (sql, timeout, cancel, code) in [
        (broken, None, false, Code::InvalidArgument),
        (endless, Some("600"), false, Code::DeadlineExceeded),
        (endless, None, true, Code::Aborted),
    ] {
        let info = info_of(&mut client, sql, "3").await;
        let read =
            futures::future::join_all(tickets(&info).into_iter().enumerate().map(|(index, ticket)| {
                let mut client = client.clone();
                async move {
                    let headers: Vec<_> = timeout.iter().map(|ms| ("pintail-timeout-ms", *ms)).collect();
                    let headers = if index == 0 { headers } else { Vec::new() };
                    let mut stream =
                        client.inner().do_get(with_headers(ticket, &headers)).await?.into_inner();
                    while stream.message().await?.is_some() {}
                    Ok::<(), tonic::Status>(())
                }
            }));
        let stop = async {
            if cancel {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let body = CancelFlightInfoRequest { info: Some(info.clone()) }.encode_to_vec();
                act(&mut client.clone(), "CancelFlightInfo", body).await.unwrap();
            }
        };
        let (ended, ()) = tokio::join!(read, stop);
        for status in ended {
            assert_eq!(status.unwrap_err().code(), code, "{sql}");
        }
        nothing_runs(&mut client, Duration::from_secs(1)).await;
    }
}

/// What has an order, is no query, or has only a few rows that are there already is read through one endpoint.
#[tokio::test]
async fn ordered_results_keep_one_endpoint() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t AS SELECT range AS a, range % 7 AS b FROM range(10000)").await.unwrap();
    rows(&mut client, "CREATE VIEW v AS SELECT * FROM t ORDER BY b").await.unwrap();
    for (sql, count) in [
        ("SELECT * FROM t", 8),
        ("SELECT b, count(*) FROM t GROUP BY b", 8),
        ("SELECT * FROM t ORDER BY a", 1),
        ("SELECT * FROM v WHERE a > 5", 1),
        ("EXPLAIN SELECT * FROM t", 1),
        ("PIVOT t ON b USING count(*)", 1),
        ("INSERT INTO t VALUES (1, 2)", 1),
        ("INSERT INTO t VALUES (3, 4) RETURNING a", 1),
    ] {
        let info = info_of(&mut client, sql, "8").await;
        assert_eq!((info.endpoint.len(), info.ordered), (count, count == 1), "{sql}");
    }
    let plain = client.inner().get_flight_info(FlightDescriptor::new_cmd("SELECT * FROM t")).await.unwrap();
    assert_eq!(plain.into_inner().endpoint.len(), 1);
    set(&mut client, "pintail-endpoints", Some("5")).await;
    let option = client.inner().get_flight_info(FlightDescriptor::new_cmd("SELECT * FROM t")).await.unwrap();
    assert_eq!(option.into_inner().endpoint.len(), 5, "as an option of the session");
    for wrong in ["0", "65", "many"] {
        let request = with_headers(FlightDescriptor::new_cmd("SELECT 1"), &[("pintail-endpoints", wrong)]);
        let refused = client.inner().get_flight_info(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("pintail-endpoints"), "{refused}");
    }
}

/// All endpoints of a result see one snapshot, that of its transaction.
#[tokio::test]
async fn endpoints_read_one_snapshot() {
    let server = TestServer::start().await;
    let (mut client, mut other) = (server.client().await, server.client().await);
    rows(&mut client, "CREATE TABLE t AS SELECT range AS a FROM range(1000000)").await.unwrap();
    let id = begin(&mut client).await;
    rows(&mut client, "INSERT INTO t SELECT -1 FROM range(100000)").await.unwrap();
    let request = with_headers(statement("SELECT a FROM t", Some(&id)), &[("pintail-endpoints", "3")]);
    let info = client.inner().get_flight_info(request).await.unwrap().into_inner();
    let all = tickets(&info);
    let mut first = read(&mut client, all[0].clone()).await;
    let mut found: Vec<i64> = numbers(&first.next().await.unwrap().unwrap()).collect();
    rows(&mut other, "INSERT INTO t SELECT 7 FROM range(100000)").await.unwrap();
    for ticket in &all[1..] {
        found.extend(rest(read(&mut client, ticket.clone()).await).await);
    }
    found.extend(rest(first).await);
    assert_eq!(found.len(), 1_100_000);
    end(&mut client, &id, COMMIT).await.unwrap();
}
