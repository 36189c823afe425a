//! Accepted sockets as tonic wants them, and what the calls of one connection share.
//! Runs on: tonic's connection tasks.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tonic::transport::server::Connected;

use crate::auth::Principal;
use crate::session::ClientSession;
use crate::tls::{Incoming, Socket};

/// Principals whose sessions one connection keeps.
const SESSIONS_MAX: usize = 64;

/// A socket and its place among the connections allowed.
pub struct Connection {
    socket: Socket,
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
    // The name in the client's certificate.
    certificate: Option<Arc<str>>,
    // One for each principal that calls over it: more than one behind a proxy.
    sessions: Mutex<Vec<Arc<ClientSession>>>,
}

impl Link {
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

    /// The name in the client's certificate, if it has one.
    pub(in crate::flight) fn certificate(&self) -> Option<&str> {
        self.0.certificate.as_deref()
    }

    /// The client's address.
    pub(in crate::flight) fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }
}

/// The connections of a port.
pub fn connections(incoming: Incoming) -> impl Stream<Item = io::Result<Connection>> {
    incoming.map(|accepted| {
        let (address, certificate) = (Some(accepted.address), accepted.certificate.clone());
        let (socket, place) = accepted.into_parts();
        let shared = Shared { address, certificate, sessions: Mutex::default() };
        Ok(Connection { socket, link: Link(Arc::new(shared)), _place: place })
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
