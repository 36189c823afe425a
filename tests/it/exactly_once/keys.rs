//! Idempotency keys: a stream is stored once, and a failed one leaves its key free.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use pintail::error::Kind;
use serde_json::{Value, json};

use super::produce;
use crate::support::batches::wells;
use crate::support::calls::{number, put_with, rows};
use crate::support::server::TestServer;

/// A stream sent again under its key is not stored again, is answered with the first answer, also after a restart.
#[tokio::test]
async fn a_key_is_applied_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let key = [("pintail-idempotency-key", "load-1")];
    for size in [10, 200_000] {
        let name = format!("t{size}");
        let key = [("pintail-idempotency-key", name.as_str())];
        let batches = [wells(0, size), wells(size as i64, 5)];
        let first = put_with(&mut client, &name, &batches, &key).await.unwrap();
        assert_eq!((first.rows, first.durable, first.duplicate), (size as u64 + 5, true, false));
        let again = put_with(&mut client, &name, &batches, &key).await.unwrap();
        assert_eq!((again.rows, again.durable, again.duplicate), (size as u64 + 5, true, true));
        assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, size as i64 + 5);
        let refused = put_with(&mut client, &name, &[wells(7, 10)], &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{refused}");
        let refused = put_with(&mut client, "elsewhere", &batches, &key).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Exists, "{refused}");
    }
    put_with(&mut client, "t", &[wells(0, 10)], &key).await.unwrap();
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    let again = put_with(&mut client, "t", &[wells(0, 10)], &key).await.unwrap();
    assert!(again.duplicate && again.rows == 10);
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 10);
}

/// Of two streams with one key at the same time, one is applied and the other is told so.
#[tokio::test]
async fn a_key_is_applied_once_at_the_same_time() {
    let server = TestServer::start().await;
    let mut puts = Vec::new();
    for _ in 0..8 {
        let mut client = server.client().await;
        puts.push(tokio::spawn(async move {
            put_with(&mut client, "t", &[wells(0, 5)], &[("pintail-idempotency-key", "k")]).await.unwrap()
        }));
    }
    let mut new = 0;
    for put in puts {
        new += usize::from(!put.await.unwrap().duplicate);
    }
    assert_eq!(new, 1);
    assert_eq!(number(&mut server.client().await, "SELECT count(*) FROM t").await, 5);
}

/// A stream that failed has not used its key up.
#[tokio::test]
async fn a_failed_stream_leaves_its_key_free() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE t (id BIGINT PRIMARY KEY)").await.unwrap();
    rows(&mut client, "INSERT INTO t VALUES (3)").await.unwrap();
    let ids = |from: i64| {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..from + 3))]).unwrap()
    };
    let key = [("pintail-idempotency-key", "k")];
    let refused = put_with(&mut client, "t", &[ids(2)], &key).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    for part in ["table t", "row 2 of the stream", "(\"id\") = (3)", "in the table"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    let done = put_with(&mut client, "t", &[ids(10)], &key).await.unwrap();
    assert!(!done.duplicate);
}

#[tokio::test]
async fn keys_and_producers_that_cannot_be_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let long = "k".repeat(257);
    for (headers, part) in [
        (vec![("pintail-idempotency-key", "")], "1 to 256 bytes"),
        (vec![("pintail-idempotency-key", long.as_str())], "found 257"),
        (vec![("pintail-producer", "")], "1 to 256 bytes"),
        (vec![("pintail-epoch", "1")], "pintail-producer"),
        (vec![("pintail-producer", "p"), ("pintail-epoch", "-1")], "whole number"),
        (vec![("pintail-producer", "p"), ("pintail-epoch", "99999999999999999999")], "whole number"),
        (vec![("pintail-producer", "p"), ("pintail-idempotency-key", "k")], "send one of them"),
        (vec![("pintail-producer", "p")], "{\"seq\": n}"),
        (vec![("pintail-commit", "sometimes")], "stream or progress"),
        (vec![("pintail-on-conflict", "merge")], "error, ignore or replace"),
        (vec![("pintail-on-conflict", "replace")], "no primary key"),
    ] {
        let refused = put_with(&mut client, "t", &[wells(0, 1)], &headers).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{headers:?}: {refused}");
        assert!(refused.message().contains(part), "{headers:?}: {refused}");
    }
    for metadata in [Value::Null, json!({}), json!({"seq": -1}), json!({"seq": "1"}), json!({"seq": 1.5})] {
        let refused =
            produce(&mut client, "t", "p", 0, &[(wells(0, 1), metadata.clone())], &[]).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid, "{metadata}: {refused}");
    }
}
