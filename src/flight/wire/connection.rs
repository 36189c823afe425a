//! Accepted sockets, no more than allowed, as tonic wants them.
//! Runs on: the accept loop and tonic's connection tasks.
//! Never: keeps a socket above the limit open, where it would only look like a hang to its client.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

use crate::session::ClientSession;

/// A socket and its place among the connections allowed.
pub struct Connection {
    socket: TcpStream,
    link: Link,
    _place: OwnedSemaphorePermit,
}

/// What the calls of one connection share. The session of a client without cookie and token lives here, and so
/// ends with the connection.
#[derive(Clone, Default)]
pub struct Link(Arc<Shared>);

#[derive(Default)]
struct Shared {
    address: Option<SocketAddr>,
    session: OnceLock<Arc<ClientSession>>,
}

impl Link {
    /// The connection's session, opened when it is asked for first.
    pub(in crate::flight) fn session(&self, open: impl FnOnce() -> Arc<ClientSession>) -> Arc<ClientSession> {
        Arc::clone(self.0.session.get_or_init(open))
    }

    /// The client's address.
    pub(in crate::flight) fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }
}

/// Accepts from `listener`, closing what goes beyond `connections_max` at once.
pub fn accept(listener: TcpListener, connections_max: usize) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(connections_max));
    stream::unfold((listener, places), move |(listener, places)| async move {
        loop {
            match listener.accept().await {
                Ok((socket, peer)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                        tracing::warn!(%peer, connections_max, "connection refused (limit: server.max_connections)");
                        continue;
                    };
                    // Answers are small and late writes of large ones are batched by HTTP/2 already.
                    let _ = socket.set_nodelay(true);
                    let shared = Shared { address: Some(peer), session: OnceLock::new() };
                    let connection = Connection { socket, link: Link(Arc::new(shared)), _place: place };
                    return Some((Ok(connection), (listener, places)));
                }
                Err(error) => {
                    // Out of file descriptors, for example: wait instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    })
}

impl Connected for Connection {
    type ConnectInfo = Link;

    fn connect_info(&self) -> Link {
        self.link.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
