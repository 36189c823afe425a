//! Statements that are polled, renewed and cancelled by their FlightInfo.

use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow_flight::sql::{ActionCancelQueryRequest, ProstMessageExt};
use arrow_flight::{
    CancelFlightInfoRequest, FlightDescriptor, FlightInfo, PollInfo, RenewFlightEndpointRequest, Ticket,
};
use futures::TryStreamExt;
use pintail::client::Client;
use prost::Message;
use tonic::Code;

use crate::support::batches::joined;
use crate::support::calls::{number, rows};
use crate::support::server::TestServer;
use crate::support::session::act;

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
