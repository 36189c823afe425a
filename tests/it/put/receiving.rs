//! Messages that come in: how much of them is in memory at one time.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use pintail::config::Bytes;

use crate::support::calls::{number, put, rows};
use crate::support::server::TestServer;

fn texts(rows: usize, bytes: usize) -> RecordBatch {
    let column: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "x".repeat(bytes))));
    RecordBatch::try_from_iter([("s", column)]).unwrap()
}

/// Streams whose messages have no room beside each other take turns; one that is larger than all of it passes alone.
#[tokio::test]
async fn messages_without_room_take_turns() {
    let server = TestServer::start_with(|config| {
        config.ingest.memory_limit = Bytes::mib(16);
        config.ingest.stream_memory_limit = Bytes::mib(16);
        config.ingest.receive_memory_limit = Bytes::mib(8);
    })
    .await;
    let mut watcher = server.client().await;
    rows(&mut watcher, "CREATE TABLE t (s VARCHAR)").await.unwrap();
    let puts = (0..12).map(|index| {
        let uri = server.uri.clone();
        async move {
            let mut client = pintail::client::Client::connect(&uri).await.unwrap();
            let batches = match index {
                0 => vec![texts(1200, 10_000)],
                _ => vec![texts(500, 10_000); 3],
            };
            put(&mut client, "t", &batches, "append").await.unwrap();
        }
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(puts));
    all.await.expect("no stream waits for another one for ever");
    assert_eq!(number(&mut watcher, "SELECT count(*) FROM t").await, 1200 + 11 * 1500);
}
