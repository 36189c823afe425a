//! What a producer sends again, and what it gives up on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use pintail::client::{Durable, Instance, Producer};
use pintail::error::{Error, Kind};

use super::{batch, options, schema, stored_batches};
use crate::support::calls::{number, rows, table};
use crate::support::server::TestServer;
use crate::support::session;

/// Errors that a producer cannot mend are told at once, and say what to do.
#[tokio::test]
async fn a_producer_fails_clearly() {
    let server = TestServer::start().await;
    let open = |epoch: u64| {
        Producer::open(
            &server.uri,
            Instance { producer: "p", epoch },
            table("t"),
            schema(),
            options(Duration::from_secs(30)),
        )
    };
    let first = open(1).await.unwrap();
    assert_eq!(first.durable(), Durable::default());
    first.send(batch(0, 10)).await.unwrap();
    first.flush().await.unwrap();
    assert_eq!(first.durable(), Durable { seq: Some(0), rows: 10 });
    // A newer instance takes over, and goes on where the first one stopped.
    let second = open(2).await.unwrap();
    assert_eq!(second.durable(), Durable { seq: Some(0), rows: 10 });
    second.send(batch(1, 10)).await.unwrap();
    second.flush().await.unwrap();
    first.send(batch(1, 10)).await.unwrap();
    let refused = first.flush().await.unwrap_err();
    assert!(refused.kind() == Kind::Aborted && refused.message().contains("fenced"), "{refused}");
    assert_eq!((first.lag().batches, first.lag().rows), (1, 10));
    let refused = first.send(batch(2, 10)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Aborted, "a failure is final: {refused}");
    let refused = open(1).await.err().unwrap();
    assert!(refused.kind() == Kind::Aborted && refused.message().contains("fenced"), "{refused}");
    assert_eq!(second.close().await.unwrap(), Durable { seq: Some(1), rows: 20 });
    let third = open(2).await.unwrap();
    assert_eq!(third.durable(), Durable { seq: Some(1), rows: 20 });
    let other = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    let refused = third.send(other).await.unwrap_err();
    assert!(refused.kind() == Kind::Invalid && refused.message().contains("found x Int64"), "{refused}");
    // What the server refuses for good is not tried again: the table has become another one.
    let mut client = server.client().await;
    rows(&mut client, "ALTER TABLE t ALTER COLUMN f TYPE BLOB USING ''").await.unwrap();
    third.send(batch(2, 10)).await.unwrap();
    let started = Instant::now();
    let refused = third.flush().await.unwrap_err();
    assert!(refused.kind() == Kind::Invalid && refused.message().contains("f"), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 20);
    let nobody: Error = Producer::open(
        "grpc://127.0.0.1:1",
        Instance { producer: "p", epoch: 1 },
        table("t"),
        schema(),
        options(Duration::from_millis(200)),
    )
    .await
    .err()
    .unwrap();
    assert!(nobody.kind() == Kind::Unavailable && nobody.message().contains("gave up"), "{nobody}");
}

/// A collision with a transaction of somebody else is no refusal: the batches are sent again under their numbers until
/// the other one has ended. A newer instance of the producer is nothing that a retry would wait for.
#[tokio::test]
async fn a_producer_sends_again_after_a_collision_and_not_after_a_takeover() {
    let server = TestServer::start().await;
    let mut other = server.client().await;
    let open = |epoch: u64| {
        Producer::open(
            &server.uri,
            Instance { producer: "p", epoch },
            table("t"),
            schema(),
            options(Duration::from_secs(30)),
        )
    };
    let producer = open(1).await.unwrap();
    producer.send(batch(0, 10)).await.unwrap();
    producer.flush().await.unwrap();
    let mut sent = 1;
    for end in [session::COMMIT, session::ROLLBACK] {
        let id = session::begin(&mut other).await;
        rows(&mut other, &format!("ALTER TABLE t ADD COLUMN more_{end} INTEGER")).await.unwrap();
        for number in sent..sent + 2 {
            producer.send(batch(number, 10)).await.unwrap();
        }
        let started = Instant::now();
        while producer.lag().retries < 3 {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", producer.lag());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lag = producer.lag();
        assert_eq!((lag.batches, lag.last_error.map(|error| error.kind())), (2, Some(Kind::Aborted)));
        session::end(&mut other, &id, end).await.unwrap();
        producer.flush().await.unwrap();
        sent += 2;
        assert_eq!(producer.durable().seq, Some(sent as u64 - 1));
        assert_eq!(stored_batches(&mut other, 10).await, sent);
    }
    let newer = open(2).await.unwrap();
    producer.send(batch(sent, 10)).await.unwrap();
    let fenced = producer.flush().await.unwrap_err();
    assert!(fenced.kind() == Kind::Aborted && fenced.message().contains("fenced"), "{fenced}");
    assert_eq!(stored_batches(&mut other, 10).await, sent);
    newer.send(batch(sent, 10)).await.unwrap();
    newer.close().await.unwrap();
    assert_eq!(stored_batches(&mut other, 10).await, sent + 1);
}
