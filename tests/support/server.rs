//! A real server inside of the test program, on free ports over a database in a temporary folder.
//!
//! Metrics and memory are the process's, which other tests share: a test that looks at them takes a server that is
//! a process of its own ([`super::process::Process`]).

use std::path::Path;

use pintail::client::{Client, ConnectOptions};
use pintail::config::{Bytes, Config};
use pintail::error::Result;
use pintail::server::{Renewal, Server};

use super::database;

/// A server, stopped when the test ends.
pub struct TestServer {
    pub directory: tempfile::TempDir,
    pub uri: String,
    pub http: String,
    pub renewal: Renewal,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<Result<()>>>,
}

/// Small limits, so that tests reach them.
pub fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.server.listen = ([127, 0, 0, 1], 0).into();
    config.server.http = ([127, 0, 0, 1], 0).into();
    config.database.path = database::file(directory).display().to_string();
    config.database.memory_limit = Some(Bytes::mib(1024));
    config.database.threads = Some(2);
    config
}

impl TestServer {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), change).await
    }

    pub async fn start_in(directory: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(directory.path());
        change(&mut config);
        let server = Server::start(&config).await.unwrap();
        let (scheme, http) = if server.is_secret() { ("grpc+tls", "https") } else { ("grpc", "http") };
        let uri = format!("{scheme}://{}", server.flight_addr());
        let http = format!("{http}://{}", server.http_addr());
        let renewal = server.renewal();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let done = tokio::spawn(server.run_until(
            async {
                let _ = stopped.await;
            },
            std::future::pending(),
        ));
        Self { directory, uri, http, renewal, stop: Some(stop), done: Some(done) }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.uri).await.unwrap()
    }

    /// A client that says who it is.
    pub async fn client_as(&self, options: &ConnectOptions) -> Result<Client> {
        Client::connect_with(&self.uri, options).await
    }

    /// Drains, and gives the folder on.
    pub async fn stop(mut self) -> tempfile::TempDir {
        drop(self.stop.take());
        self.done.take().unwrap().await.unwrap().unwrap();
        self.directory
    }
}

/// A GET over the side port: status line and body.
pub async fn http_get(http: &str, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = http.trim_start_matches("http://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}
