//! Numbered batches of producers: epochs, gaps, progress and what is durable.

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::from_status;
use pintail::error::Kind;
use serde_json::{Value, json};

use super::{produce, seq, status};
use crate::support::batches::wells;
use crate::support::calls::number;
use crate::support::put_stream::{self, messages};
use crate::support::server::TestServer;

/// Numbered batches are stored once each; gaps, other content and old epochs are refused, also after a restart.
#[tokio::test]
async fn a_producers_batches_are_applied_once_and_in_order() {
    for group_commit_ms in [0, 2] {
        let server = TestServer::start_with(|config| config.ingest.group_commit_ms = group_commit_ms).await;
        let mut client = server.client().await;
        assert_eq!(status(&mut client, "p").await["seq"], Value::Null);
        let batch = |n: u64| (wells(n as i64 * 10, 10), seq(n));
        let answers = produce(&mut client, "t", "p", 1, &[batch(0), batch(1)], &[]).await.unwrap();
        assert_eq!(
            answers,
            [json!({"table": "t", "rows": 20, "durable": true, "duplicate": false, "seq": 1})]
        );
        // The acknowledgement was lost: everything again, and one more.
        let answers = produce(&mut client, "t", "p", 1, &[batch(0), batch(1), batch(2)], &[]).await.unwrap();
        assert_eq!(answers[0]["seq"], 2);
        assert_eq!(answers[0]["duplicate"], false);
        let answers = produce(&mut client, "t", "p", 1, &[batch(1), batch(2)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["duplicate"]), (&json!(2), &json!(true)));
        let gap = produce(&mut client, "t", "p", 1, &[batch(5)], &[]).await.unwrap_err();
        assert_eq!(gap.kind(), Kind::Conflict);
        assert!(gap.message().contains("expected seq 3"), "{gap}");
        let other = produce(&mut client, "t", "p", 1, &[(wells(9, 10), seq(2))], &[]).await.unwrap_err();
        assert_eq!(other.kind(), Kind::Exists, "{other}");
        let directory = server.stop().await;
        let server = TestServer::start_in(directory, |_| {}).await;
        let mut client = server.client().await;
        let answers = produce(&mut client, "t", "p", 2, &[batch(2), batch(3)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["rows"]), (&json!(3), &json!(20)));
        let other = produce(&mut client, "t", "p", 2, &[(wells(9, 10), seq(2))], &[]).await.unwrap_err();
        assert_eq!(other.kind(), Kind::Exists, "{other}");
        let fenced = produce(&mut client, "t", "p", 1, &[batch(4)], &[]).await.unwrap_err();
        assert_eq!(fenced.kind(), Kind::Aborted);
        assert!(fenced.message().contains("fenced"), "{fenced}");
        let now = status(&mut client, "p").await;
        assert_eq!((&now["seq"], &now["epoch"], &now["rows"]), (&json!(3), &json!(2), &json!(40)));
        assert_eq!(now["tables"]["main.t"]["seq"], 3);
        assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 40);
        assert_eq!(number(&mut client, "SELECT count(DISTINCT id) FROM t").await, 40);
        let fresh = produce(&mut client, "t", "q", 0, &[batch(7)], &[]).await.unwrap_err();
        assert!(fresh.message().contains("expected seq 0 or 1"), "{fresh}");
    }
}

/// A newer instance shuts the older one out while that one's stream is still open, and quiet.
#[tokio::test]
async fn a_newer_epoch_takes_over_at_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let first = messages("t", &[(wells(0, 10), seq(0))]).await;
    let headers = [("pintail-producer", "p"), ("pintail-epoch", "1")];
    let (send, request) = put_stream::open(&headers);
    let mut old = client.clone();
    for message in &first {
        send.send(message.clone()).await.unwrap();
    }
    let old = tokio::spawn(async move {
        let answers = old.inner().do_put(request).await?.into_inner();
        answers.try_collect::<Vec<_>>().await
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut new = server.client().await;
    let answers = produce(&mut new, "t", "p", 2, &[(wells(100, 10), seq(0))], &[]).await.unwrap();
    assert_eq!(answers[0]["seq"], 0);
    let refused = from_status(old.await.unwrap().unwrap_err());
    assert_eq!(refused.kind(), Kind::Aborted, "{refused}");
    drop(send);
    assert_eq!(number(&mut client, "SELECT min(id) FROM t").await, 100);
}

/// An epoch counts from the moment its producer comes, also when the server ends before its first batch.
#[tokio::test]
async fn an_epoch_is_durable_before_its_first_batch() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batch = |n: u64| (wells(n as i64 * 10, 10), seq(n));
    produce(&mut client, "t", "p", 1, &[batch(0)], &[]).await.unwrap();
    produce(&mut client, "t", "p", 5, &[], &[]).await.unwrap();
    produce(&mut client, "t", "q", 3, &[], &[]).await.unwrap();
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    for (producer, epoch, next) in [("p", 5, 1), ("q", 3, 0)] {
        let fenced = produce(&mut client, "t", producer, epoch - 1, &[batch(next)], &[]).await.unwrap_err();
        assert!(fenced.kind() == Kind::Aborted && fenced.message().contains("fenced"), "{fenced}");
        let answers = produce(&mut client, "t", producer, epoch, &[batch(next)], &[]).await.unwrap();
        assert_eq!((&answers[0]["seq"], &answers[0]["duplicate"]), (&json!(next), &json!(false)));
    }
    assert_eq!(status(&mut client, "p").await["epoch"], 5);
}

/// Every commit of a progress stream is acknowledged; its error says what is durable.
#[tokio::test]
async fn progress_is_acknowledged_and_a_failure_says_what_is_durable() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batches =
        messages("t", &[(wells(0, 10), seq(0)), (wells(10, 10), seq(1)), (wells(20, 10), seq(7))]).await;
    let headers = [("pintail-producer", "p"), ("pintail-commit", "progress")];
    let (send, request) = put_stream::open(&headers);
    send.send(batches[0].clone()).await.unwrap();
    send.send(batches[1].clone()).await.unwrap();
    let mut answers = client.inner().do_put(request).await.unwrap().into_inner();
    let ack =
        |answer: arrow_flight::PutResult| -> Value { serde_json::from_slice(&answer.app_metadata).unwrap() };
    let first = ack(answers.next().await.unwrap().unwrap());
    assert_eq!(first, json!({"table": "t", "rows": 10, "durable": true, "duplicate": false, "seq": 0}));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10);
    send.send(batches[2].clone()).await.unwrap();
    let second = ack(answers.next().await.unwrap().unwrap());
    assert_eq!((&second["rows"], &second["seq"]), (&json!(20), &json!(1)));
    send.send(batches[3].clone()).await.unwrap();
    let failed = from_status(answers.next().await.unwrap().unwrap_err());
    assert_eq!(failed.kind(), Kind::Conflict);
    assert!(failed.message().contains("20 rows of this stream are durable, up to seq 1"), "{failed}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 20);
    // Without numbers: rows are cut where row groups end, and the last answer counts them all.
    let many: Vec<(RecordBatch, Value)> =
        (0..8).map(|n| (wells(n * 100_000, 100_000), Value::Null)).collect();
    let many = stream::iter(messages("big", &many).await);
    let answers = put_stream::send(&mut client, many, &[("pintail-commit", "progress")]).await.unwrap();
    assert_eq!(answers.last().unwrap()["rows"], 800_000);
    assert_eq!(number(&mut client, "SELECT count(*) FROM big").await, 800_000);
}

/// A client that never reads its acknowledgements does not hold up its rows.
#[tokio::test]
async fn unread_acknowledgements_do_not_block() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let batches =
        messages("t", &(0..300).map(|n| (wells(n * 10, 10), seq(n as u64))).collect::<Vec<_>>()).await;
    let headers = [("pintail-producer", "p"), ("pintail-commit", "progress")];
    let (send, request) = put_stream::open(&headers);
    let mut sender = client.clone();
    let unread = tokio::spawn(async move { sender.inner().do_put(request).await.unwrap() });
    for batch in batches {
        send.send(batch).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let answers = unread.await.unwrap();
    while status(&mut client, "p").await["seq"] != 299 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(answers);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 3000);
}
