//! Accepted sockets, no more than allowed.
//! Runs on: the accept loop and the connection tasks.
//! Never: keeps a socket above the limit open, where it would only look like a hang to its client; keeps a place for one
//! that says nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use futures::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::gathering::Gathering;
use crate::session::ClientSession;

/// What an HTTP/2 client sends first: its preface, and the head of its settings. From then on pings find out whether it is
/// there.
const HELLO_BYTES: usize = 24 + 9;

/// A socket and its place among the connections allowed.
pub struct Connection {
    socket: Gathering<TcpStream>,
    link: Link,
    // Until the client has said what it has to say first.
    hello: Option<Hello>,
    _place: OwnedSemaphorePermit,
}

/// A client that is to begin.
struct Hello {
    missing: usize,
    until: Pin<Box<Sleep>>,
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

/// Accepts from `listener`, closing what goes beyond `connections_max` at once, and what does not begin within
/// `handshake_timeout`.
pub fn accept(
    listener: TcpListener,
    connections_max: usize,
    handshake_timeout: Duration,
) -> impl Stream<Item = io::Result<Connection>> {
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
                    let socket = Gathering::new(socket);
                    let until = Box::pin(tokio::time::sleep(handshake_timeout));
                    let hello = Some(Hello { missing: HELLO_BYTES, until });
                    let connection =
                        Connection { socket, link: Link(Arc::new(shared)), hello, _place: place };
                    return Some((Ok(connection), (listener, places)));
                }
                Err(error) => {
                    // Out of file descriptors, for example: wait instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    })
}

impl Connection {
    /// What the calls of this connection share.
    pub fn link(&self) -> Link {
        self.link.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        let Some(hello) = &mut self.hello else { return read };
        if read.is_pending() {
            ready!(hello.until.as_mut().poll(context));
            let address = self.link.address().map(|peer| peer.to_string()).unwrap_or_default();
            tracing::warn!(peer = %address, "connection closed: it did not begin (limit: server.handshake_timeout)");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        hello.missing = hello.missing.saturating_sub(buffer.filled().len() - before);
        if hello.missing == 0 {
            self.hello = None;
        }
        read
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
