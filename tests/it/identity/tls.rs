//! TLS and client certificates.

use std::time::{Duration, Instant};

use pintail::client::{Client, ConnectOptions};
use pintail::error::Kind;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{PASSWORD, asks, refused, user, users};
use crate::support::authority::Authority;
use crate::support::batches::wells;
use crate::support::calls::{number, put};
use crate::support::server::TestServer;

async fn server(authority: &Authority) -> TestServer {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_owned();
    TestServer::start_in(directory, |config| authority.serve(&folder, config)).await
}

fn trusting(authority: &Authority) -> ConnectOptions {
    ConnectOptions { tls_ca: Some(authority.pem()), ..ConnectOptions::default() }
}

#[tokio::test]
async fn a_client_trusts_whom_it_is_told_to_and_nobody_else() {
    let authority = Authority::new();
    let server = server(&authority).await;
    assert!(server.uri.starts_with("grpc+tls://127.0.0.1:"));
    let mut client = server.client_as(&trusting(&authority)).await.unwrap();
    put(&mut client, "wells", &[wells(0, 5000)], "create").await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM wells").await, 5000);
    for options in [ConnectOptions::default(), trusting(&Authority::new())] {
        let error = server.client_as(&options).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unauthenticated);
        assert!(
            error.message().contains("cannot be trusted") && error.message().contains("--tls-ca"),
            "{error}"
        );
    }
    // Plain text gets no answer, and does not hang.
    let plain = Client::connect(&server.uri.replace("grpc+tls", "grpc")).await;
    let error = match plain {
        Ok(mut client) => asks(&mut client).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_client_of_tls_says_so_when_the_server_speaks_none() {
    let server = TestServer::start().await;
    let options = trusting(&Authority::new());
    let error = Client::connect_with(&server.uri.replace("grpc", "grpc+tls"), &options).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.message().contains("does it speak TLS?"), "{error}");
}

#[tokio::test]
async fn certificates_are_renewed_and_broken_ones_are_not_taken() {
    let (first, second) = (Authority::new(), Authority::new());
    let server = server(&first).await;
    let mut open = server.client_as(&trusting(&first)).await.unwrap();
    std::fs::write(server.directory.path().join("key.pem"), "half of a").unwrap();
    server.renewal.look();
    asks(&mut server.client_as(&trusting(&first)).await.unwrap()).await.unwrap();
    second.write(server.directory.path());
    let started = Instant::now();
    let mut client = loop {
        server.renewal.look();
        match server.client_as(&trusting(&second)).await {
            Ok(client) => break client,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::task::yield_now().await;
    };
    asks(&mut client).await.unwrap();
    // What was connected goes on.
    asks(&mut open).await.unwrap();
    assert!(server.client_as(&trusting(&first)).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_its_user() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_owned();
    let server = TestServer::start_in(directory, |config| {
        users(config);
        authority.serve(&folder, config);
        std::fs::write(folder.join("clients.pem"), authority.pem()).unwrap();
        config.server.client_ca = Some(folder.join("clients.pem"));
    })
    .await;
    let with = |name: &str| ConnectOptions { identity: Some(authority.issue(name)), ..trusting(&authority) };
    let mut client = server.client_as(&with("wanda")).await.unwrap();
    put(&mut client, "wells", &[wells(0, 10)], "create").await.unwrap();
    let mut stranger = server.client_as(&with("nobody")).await.unwrap();
    refused(&mut stranger, "who is no user here").await;
    // Credentials say more than the certificate, and are not optional when they are wrong.
    let both = ConnectOptions { identity: Some(authority.issue("nobody")), ..user("rita", PASSWORD) };
    let both = ConnectOptions { tls_ca: Some(authority.pem()), ..both };
    asks(&mut server.client_as(&both).await.unwrap()).await.unwrap();
    let wrong = ConnectOptions { password: Some("wrong".to_owned()), ..both };
    refused(&mut server.client_as(&wrong).await.unwrap(), "wrong user name or password").await;
    // No certificate, or one of somebody else's authority: no connection.
    let other = ConnectOptions { identity: Some(Authority::new().issue("wanda")), ..trusting(&authority) };
    for options in [trusting(&authority), other] {
        match server.client_as(&options).await {
            // TLS 1.3 tells a client only after it has begun.
            Ok(mut client) => assert_eq!(asks(&mut client).await.unwrap_err().kind(), Kind::Unavailable),
            Err(error) => assert_ne!(error.kind(), Kind::Internal, "{error}"),
        }
    }
}

#[tokio::test]
async fn half_open_handshakes_hold_nobody_up_and_end() {
    let authority = Authority::new();
    let server = server(&authority).await;
    let address = server.uri.trim_start_matches("grpc+tls://").to_owned();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&address).await.unwrap());
    }
    asks(&mut server.client_as(&trusting(&authority)).await.unwrap()).await.unwrap();
    let mut byte = [0];
    let ended = tokio::time::timeout(Duration::from_secs(20), silent[0].read(&mut byte)).await;
    assert_eq!(ended.unwrap().unwrap_or(0), 0, "the server has closed it");
}

#[tokio::test]
async fn the_http_port_follows_the_same_rules() {
    use std::sync::Arc;
    use tokio::io::AsyncWriteExt;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let authority = Authority::new();
    let server = server(&authority).await;
    let address = server.http.trim_start_matches("https://").to_owned();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let socket = TcpStream::connect(&address).await.unwrap();
    let mut stream = connector.connect(ServerName::try_from("127.0.0.1").unwrap(), socket).await.unwrap();
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
