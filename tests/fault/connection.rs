//! Connections that are cut inside a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, stream};
use pintail::client::Client;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{batch, schema};
use crate::support::calls::{number, rows, table, wait_for_streams};
use crate::support::put_stream::{self, messages};
use crate::support::server::TestServer;

/// Passes bytes on between a client and a server, until a number of them has gone up.
struct Proxy {
    uri: String,
    sent: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
}

impl Proxy {
    async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("grpc://{}", listener.local_addr().unwrap());
        let server = server.trim_start_matches("grpc://").to_owned();
        let (sent, limit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let proxy = Self { uri, sent: Arc::clone(&sent), limit: Arc::clone(&limit) };
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                let mut buffer = vec![0; 16 << 10];
                loop {
                    let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
                    let left = limit.load(Ordering::SeqCst).saturating_sub(sent.load(Ordering::SeqCst));
                    let passed = read.min(usize::try_from(left).unwrap());
                    to_server.write_all(&buffer[..passed]).await.unwrap();
                    sent.fetch_add(passed as u64, Ordering::SeqCst);
                    if passed < read {
                        return;
                    }
                }
            };
            let down = tokio::io::copy(&mut from_server, &mut to_client);
            tokio::select! {
                () = up => {}
                _ = down => {}
            }
            // Both connections are closed here, in the middle of whatever was being sent.
        });
        proxy
    }
}

/// A connection that is cut inside a message: of a stream that commits at its end, nothing is there.
#[tokio::test]
async fn a_cut_connection_leaves_nothing_of_a_stream() {
    let server = TestServer::start().await;
    let mut direct = server.client().await;
    for (cut, count) in [(3_000_000, 20_000), (700, 1000), (20_000_000, 130_000), (40_000, 1000)] {
        rows(&mut direct, "DROP TABLE IF EXISTS t").await.unwrap();
        let proxy = Proxy::start(&server.uri).await;
        let mut client = Client::connect(&proxy.uri).await.unwrap();
        proxy.limit.store(cut, Ordering::SeqCst);
        let endless = stream::iter(0..).map(move |number| Ok(batch(number, count)));
        let refused = client.put(&table("t"), schema(), endless, &[]).await.unwrap_err();
        assert_eq!(proxy.sent.load(Ordering::SeqCst), cut, "{refused}");
        wait_for_streams(&mut direct, 0).await;
        let found = rows(&mut direct, "SELECT count(*) FROM t").await;
        let is_gone = match &found {
            Ok(_) => number(&mut direct, "SELECT count(*) FROM t").await == 0,
            Err(error) => error.message().contains("does not exist"),
        };
        assert!(is_gone, "cut after {cut} bytes: {found:?}");
    }
}

/// A connection that is cut inside a message: of a stream that commits as it goes, exactly what was acknowledged
/// is there.
#[tokio::test]
async fn a_cut_connection_leaves_what_was_acknowledged() {
    let server = TestServer::start().await;
    let mut direct = server.client().await;
    for (name, with_producer) in [("numbered", true), ("plain", false)] {
        let proxy = Proxy::start(&server.uri).await;
        let mut client = Client::connect(&proxy.uri).await.unwrap();
        let batches: Vec<_> = (0..4).map(|seq| (batch(seq, 20_000), json!({ "seq": seq }))).collect();
        let mut messages = messages(name, &batches).await;
        let cut_in = messages.pop().unwrap();
        let bytes = cut_in.data_body.len() as u64;
        let mut headers = vec![("pintail-commit", "progress")];
        if with_producer {
            headers.push(("pintail-producer", "p"));
        }
        let (send, request) = put_stream::open(&headers);
        for message in messages {
            send.send(message).await.unwrap();
        }
        let mut answers = client.inner().do_put(request).await.unwrap().into_inner();
        let mut acknowledged = 0;
        while acknowledged < 60_000 {
            let answer = answers.message().await.unwrap().unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer.app_metadata).unwrap();
            acknowledged = answer["rows"].as_u64().unwrap();
        }
        proxy.limit.store(proxy.sent.load(Ordering::SeqCst) + bytes / 2, Ordering::SeqCst);
        send.send(cut_in).await.unwrap();
        assert!(answers.message().await.is_err(), "a cut stream ended properly");
        wait_for_streams(&mut direct, 0).await;
        assert_eq!(number(&mut direct, &format!("SELECT count(*) FROM {name}")).await, acknowledged as i64);
    }
}
