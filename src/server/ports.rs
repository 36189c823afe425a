//! The sockets of a server, and how its HTTP/2 is set.
//! Runs on: the async runtime.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::error::{Error, Result};

/// HTTP/2 flow control windows: hyper's 1 MiB default stalls a stream at every round trip. What a client sends while its
/// stream is not read is in memory, up to the window, and no budget counts it; 64 puts that had to wait held 1.1 GiB more
/// with 16 MiB, and one put alone was no faster.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Window of a whole connection.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// h2 writes one DATA frame per system call; 16 KiB frames cost 2-4 times the system time.
const FRAME_BYTES: u32 = 1 << 20;
/// Largest header list taken; hyper's default of 16 MiB is an invitation.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// Calls open at one time on one connection.
const CALLS_PER_CONNECTION_MAX: u32 = 512;
/// The Flight port, before its services are added.
pub(super) fn flight() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(CALLS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
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
