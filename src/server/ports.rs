//! The sockets of a server, how its HTTP/2 is set, and the connections of the Flight port.
//! Runs on: the async runtime; a task for each connection.
//! Never: decides what a call means.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::flight::Connection;
use crate::flight::{Link, Transport};

/// HTTP/2 flow control windows: hyper's 1 MiB default stalls a stream at every round trip. What a client sends while its
/// stream is not read is in memory, up to the window, and no budget counts it; 64 puts that had to wait held 1.1 GiB more
/// with 16 MiB, and one put alone was no faster.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Window of a whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Of the frames that are taken. h2 writes one DATA frame per system call; 16 KiB frames cost 2-4 times the system time.
const FRAME_BYTES: u32 = 1 << 20;
/// Largest header list taken; hyper's default of 16 MiB is an invitation.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Calls open at one time on one connection.
const CALLS_PER_CONNECTION_MAX: u32 = 512;
/// HTTP/2 of a connection.
fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Serves the Flight port until `stopped`; then takes no more connections and waits for the calls under way.
///
/// hyper is asked itself, and not by way of tonic, because tonic's answers are `Bytes`, one HTTP/2 frame for each.
pub(super) async fn serve(
    transport: Transport,
    connections: impl Stream<Item = io::Result<Connection>>,
    stopped: impl Future<Output = ()>,
) {
    let (stop, stopping) = watch::channel(());
    {
        let (mut connections, mut stopped) = (pin!(connections), pin!(stopped));
        loop {
            let connection = tokio::select! {
                () = &mut stopped => break,
                connection = connections.next() => connection,
            };
            match connection {
                Some(Ok(connection)) => {
                    tokio::spawn(serve_one(transport.clone(), connection, stopping.clone()));
                }
                Some(Err(error)) => tracing::debug!(%error, "a connection was not accepted"),
                None => break,
            }
        }
    }
    drop(stopping);
    stop.send_replace(());
    stop.closed().await;
}

async fn serve_one(transport: Transport, connection: Connection, stopping: watch::Receiver<()>) {
    let link = connection.link();
    serve_on(transport, link, connection, stopping).await;
}

/// Serves a connection inside of the process until its other end is dropped.
pub(super) async fn serve_inside(
    transport: Transport,
    link: Link,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) {
    // Calls that need it are waited for themselves, so nobody asks it to stop.
    let (_stop, stopping) = watch::channel(());
    serve_on(transport, link, stream, stopping).await;
}

async fn serve_on(
    transport: Transport,
    link: Link,
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut stopping: watch::Receiver<()>,
) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let answered = transport.answer(link.clone(), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut serving = pin!(http2().serve_connection(TokioIo::new(connection), answer));
    let ended = tokio::select! {
        ended = &mut serving => ended,
        // A sender that is gone means stop as well.
        _ = stopping.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// The address that a listener got.
pub(super) fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| Error::internal(format!("a bound port has no address: {error}")))
}

/// Listens on the address of the setting `key`.
///
/// Errors: `Invalid` saying what is in the way.
pub(super) async fn bind(addr: SocketAddr, key: &str) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        let why = match error.kind() {
            ErrorKind::AddrInUse => {
                "the port is in use; stop the other process or choose another port".into()
            }
            ErrorKind::PermissionDenied => "permission denied; ports below 1024 need privileges".into(),
            _ => error.to_string(),
        };
        Error::invalid(format!("cannot listen on {addr} ({key}): {why}"))
    })
}
