//! What one user may have of what all share, and the names that users give to what they send.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::Int64Array;
use arrow_flight::HandshakeRequest;
use futures::{StreamExt, stream};
use pintail::client::Client;
use pintail::error::Kind;
use pintail_protocol::action;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

use super::{PASSWORD, asks, token, user, users};
use crate::support::batches::{batch, wells};
use crate::support::calls::{put_numbered_with, put_with, rows, table, wait_for_streams};
use crate::support::server::TestServer;
use crate::support::session::{act, begin};

async fn of_token(server: &TestServer, name: &str, called: &str) -> Client {
    let mut client = server.client_as(&user(name, PASSWORD)).await.unwrap();
    let made = client
        .action_with(action::TOKEN_ADD, json!({ "name": called, "role": "writer" }).to_string())
        .await
        .unwrap();
    server.client_as(&token(made["token"].as_str().unwrap())).await.unwrap()
}

/// Tokens of a user count as the user: half of the transactions, put streams and sessions stay for others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_with_many_tokens_has_one_share() {
    let server = TestServer::start_with(|config| {
        users(config);
        config.session.max_transactions = 4;
        config.session.max_sessions = 12;
        config.ingest.max_streams = 2;
    })
    .await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let (mut one, mut other) =
        (of_token(&server, "wanda", "one").await, of_token(&server, "wanda", "other").await);
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    begin(&mut one).await;
    begin(&mut wanda).await;
    let full = act(&mut other, "BeginTransaction", Vec::new()).await.unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().contains("session.max_transactions") && full.message().contains("half"), "{full}");
    begin(&mut root).await;

    let ids = batch(vec![("id", Arc::new(Int64Array::from(vec![1])))]);
    let (schema, first) = (ids.schema(), ids.clone());
    let open = tokio::spawn(async move {
        let never_ends = stream::iter([Ok(first)]).chain(stream::pending());
        wanda.put(&table("held"), schema, never_ends, &[]).await
    });
    wait_for_streams(&mut root, 1).await;
    let full = put_with(&mut one, "t", std::slice::from_ref(&ids), &[]).await.unwrap_err();
    assert!(full.kind() == Kind::Exhausted && full.message().contains("ingest.max_streams"), "{full}");
    put_with(&mut root, "t", &[ids], &[]).await.unwrap();
    open.abort();

    // Each handshake is a session.
    let mut rita = server.client_as(&user("rita", PASSWORD)).await.unwrap();
    let mut outcomes = Vec::new();
    for _ in 0..7 {
        let hello = stream::iter([HandshakeRequest::default()]);
        outcomes.push(
            rita.inner().handshake(hello).await.map(|_| ()).map_err(|status| status.message().to_owned()),
        );
    }
    let refused = outcomes.pop().unwrap().expect_err("half of the sessions are for others");
    assert!(
        refused.contains("session.max_sessions") && outcomes.iter().all(Result::is_ok),
        "{refused} {outcomes:?}"
    );
    root.inner().handshake(stream::iter([HandshakeRequest::default()])).await.unwrap();
}

/// The names of producers and keys of others can be neither shut out nor used to learn their tables.
#[tokio::test]
async fn producers_and_keys_of_others_stay_theirs() {
    let server = TestServer::start_with(users).await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    rows(&mut root, "CREATE SCHEMA staging").await.unwrap();
    let grant = json!({ "user": "wanda", "on": "staging.*", "rights": ["read", "ingest", "define"] });
    root.action_with("pintail.grant", grant.to_string()).await.unwrap();
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let headers = |epoch| [("pintail-producer", "pump"), ("pintail-epoch", epoch)];
    put_numbered_with(&mut root, "pumps", &headers("1"), &[(wells(1, 1), 0)]).await.unwrap();
    let body = json!({ "producer": "pump" }).to_string();
    let status = wanda.action_with(action::INGEST_STATUS, body).await.unwrap();
    assert_eq!((&status["epoch"], &status["tables"]), (&json!(0), &json!({})));
    let ids = batch(vec![("id", Arc::new(Int64Array::from(vec![1])))]);
    let key = [("pintail-idempotency-key", "monday")];
    put_with(&mut root, "orders", std::slice::from_ref(&ids), &key).await.unwrap();
    let fenced = crate::support::put_stream::send(
        &mut wanda,
        stream::iter(
            crate::support::put_stream::messages("staging.t", &[(wells(1, 1), json!({ "seq": 0 }))]).await,
        ),
        &headers("9000"),
    )
    .await
    .unwrap_err();
    assert!(fenced.kind() == Kind::Denied && !fenced.message().contains("pumps"), "{fenced}");
    let used = put_with(&mut wanda, "staging.t", std::slice::from_ref(&ids), &key).await.unwrap_err();
    assert!(used.kind() == Kind::Denied && !used.message().contains("orders"), "{used}");
    put_numbered_with(&mut root, "pumps", &headers("1"), &[(wells(1, 1), 1)]).await.unwrap();
    assert!(put_with(&mut root, "orders", &[ids], &key).await.unwrap().duplicate);
}

/// Where everybody has to log in, a connection over which nobody does gives its place back.
#[tokio::test]
async fn a_connection_of_nobody_is_closed() {
    let server = TestServer::start_with(|config| {
        users(config);
        config.server.handshake_timeout = "500 ms".parse().unwrap();
    })
    .await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    asks(&mut root).await.unwrap();
    let mut stranger = TcpStream::connect(server.uri.trim_start_matches("grpc://")).await.unwrap();
    // The preface of HTTP/2 and settings that are empty.
    stranger.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let begun = Instant::now();
    let closed = tokio::time::timeout(Duration::from_secs(10), stranger.read_to_end(&mut Vec::new())).await;
    assert!(closed.is_ok() && begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
    asks(&mut root).await.unwrap();
}
