//! Accepted sockets as HTTP/2 wants them, and what the calls of one connection share.
//! Runs on: the connection tasks.
//! Never: keeps a place for a client that says nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::corked::Corked;
use crate::auth::Principal;
use crate::session::ClientSession;
use crate::tls::{Incoming, Socket};

/// Principals whose sessions one connection keeps.
const SESSIONS_MAX: usize = 64;

/// What an HTTP/2 client sends first: its preface, and the head of its settings. From then on pings find out whether it is
/// there.
const HELLO_BYTES: usize = 24 + 9;

/// A socket and its place among the connections allowed.
pub struct Connection {
    socket: Corked<Socket>,
    link: Link,
    // Until the client has said what it has to say first, and who it is.
    hello: Option<Hello>,
    // Once nothing more is written to the client.
    farewell: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

/// How long a client may take to close its side once ours is closed.
const LINGER: Duration = Duration::from_millis(500);

/// When a connection is one of a client's, which may be silent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcome {
    /// Once it has begun with HTTP/2.
    AtOnce,
    /// Once a call over it has been let in: nobody without credentials keeps a place.
    OnceKnown,
}

/// A client that is to begin.
struct Hello {
    missing: usize,
    welcome: Welcome,
    until: Pin<Box<Sleep>>,
}

/// What the calls of one connection share. The session of a client without cookie and token lives here, and so
/// ends with the connection.
#[derive(Clone, Default)]
pub struct Link(Arc<Shared>);

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.0.address).finish()
    }
}

#[derive(Default)]
struct Shared {
    address: Option<SocketAddr>,
    // The name in the client's certificate.
    certificate: Option<Arc<str>>,
    // Who calls over it, where the server itself has opened it on somebody's behalf.
    principal: Option<Arc<Principal>>,
    // One for each principal that calls over it: more than one behind a proxy.
    sessions: Mutex<Vec<Arc<ClientSession>>>,
    is_welcome: AtomicBool,
}

impl Link {
    /// The link of a connection inside of the process, on which the server calls itself for `principal`.
    pub fn inside(principal: Arc<Principal>) -> Self {
        Self(Arc::new(Shared { principal: Some(principal), ..Shared::default() }))
    }

    /// For whom the server calls itself, if it does.
    pub(in crate::flight) fn principal(&self) -> Option<&Arc<Principal>> {
        self.0.principal.as_ref()
    }

    /// A connection from `address`, whose client may have shown a certificate.
    pub fn of(address: Option<SocketAddr>, certificate: Option<Arc<str>>) -> Self {
        Self(Arc::new(Shared { address, certificate, ..Shared::default() }))
    }

    /// The same client with no sessions: a call that leaves none behind.
    pub(in crate::flight) fn anew(&self) -> Self {
        Self::of(self.0.address, self.0.certificate.clone())
    }

    /// The principal's session on this connection, opened when it is asked for first.
    pub(in crate::flight) fn session(
        &self,
        principal: &Principal,
        open: impl FnOnce() -> Arc<ClientSession>,
    ) -> Arc<ClientSession> {
        let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sessions.iter().position(|session| session.principal().is_same(principal));
        // The one used last stands at the end, so that the one unused for longest makes room.
        let session = known.map_or_else(open, |place| sessions.remove(place));
        if sessions.len() >= SESSIONS_MAX {
            sessions.remove(0);
        }
        sessions.push(Arc::clone(&session));
        session
    }

    /// A call over the connection has been let in.
    pub(in crate::flight) fn welcome(&self) {
        self.0.is_welcome.store(true, Ordering::Relaxed);
    }

    /// The name in the client's certificate, if it has one.
    pub(in crate::flight) fn certificate(&self) -> Option<&str> {
        self.0.certificate.as_deref()
    }

    /// The client's address.
    pub(in crate::flight) fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }
}

/// The connections of a port; one whose client does not begin, or is not welcome, within `handshake_timeout` breaks.
pub fn connections(
    incoming: Incoming,
    handshake_timeout: Duration,
    welcome: Welcome,
) -> impl Stream<Item = io::Result<Connection>> {
    incoming.map(move |accepted| {
        let (address, certificate) = (Some(accepted.address), accepted.certificate.clone());
        let (socket, place) = accepted.into_parts();
        let until = Box::pin(tokio::time::sleep(handshake_timeout));
        let hello = Some(Hello { missing: HELLO_BYTES, welcome, until });
        let socket = Corked::new(socket);
        Ok(Connection { socket, link: Link::of(address, certificate), hello, farewell: None, _place: place })
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
        let this = &mut *self;
        let read = Pin::new(&mut this.socket).poll_read(context, buffer);
        let Some(hello) = &mut this.hello else { return read };
        hello.missing = hello.missing.saturating_sub(buffer.filled().len() - before);
        let is_welcome = hello.welcome == Welcome::AtOnce || this.link.0.is_welcome.load(Ordering::Relaxed);
        if hello.missing == 0 && is_welcome {
            this.hello = None;
            return read;
        }
        if read.is_pending() {
            ready!(hello.until.as_mut().poll(context));
            let address = this.link.address().map(|peer| peer.to_string()).unwrap_or_default();
            let why = if hello.missing > 0 { "it did not begin" } else { "nobody has logged in over it" };
            tracing::warn!(peer = %address, "connection closed: {why} (limit: server.handshake_timeout)");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
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

    /// Closes our side and waits for the client to close its own: a socket that is closed while its client still says that
    /// it has read something resets the connection, and the client may lose its last status over that.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        }
        let farewell = this.farewell.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let mut unread = [0; 4096];
        while farewell.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.socket).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}
