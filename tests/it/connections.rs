//! TCP connections: who keeps a place, and for how long.

use std::time::{Duration, Instant};

use pintail::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::calls::number;
use crate::support::server::TestServer;

/// A connection that says nothing, or too little and too slowly, gives its place back.
#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = TestServer::start_with(|config| {
        config.server.max_connections = 3;
        config.server.handshake_timeout = "500 ms".parse().unwrap();
    })
    .await;
    let address = server.uri.trim_start_matches("grpc://").to_owned();
    let mut silent = TcpStream::connect(&address).await.unwrap();
    let mut slow = TcpStream::connect(&address).await.unwrap();
    let mut halted = TcpStream::connect(&address).await.unwrap();
    halted.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let started = Instant::now();
    let drip = async {
        for byte in b"PRI * HTTP/2.0" {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let ends = async {
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
        let _ = halted.read_to_end(&mut rest).await;
    };
    tokio::join!(drip, ends);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    let _ = slow.read_to_end(&mut Vec::new()).await;
    // All places are free again, and one that has begun stays.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(&server.uri).await.unwrap();
        assert_eq!(number(&mut client, "SELECT 1").await, 1);
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    for client in &mut clients {
        assert_eq!(number(client, "SELECT 1").await, 1);
    }
}
