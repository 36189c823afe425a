//! A listening socket -> connections, no more than allowed, each after its TLS handshake.
//! Runs on: a task that accepts, and one for each handshake: a slow one holds nobody up.
//! Never: keeps a socket above the limit open, where it would only look like a hang to its client; waits for ever for a
//! handshake.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::acceptor::{Protocol, Tls};
use super::peer;

/// Connections that are ready and not taken yet.
const READY_MAX: usize = 64;

/// A connection that is ready, and its place among those allowed.
pub struct Accepted {
    /// What is read and written.
    pub socket: Socket,
    /// The client's address.
    pub address: SocketAddr,
    /// The name in the client's certificate.
    pub certificate: Option<Arc<str>>,
    place: OwnedSemaphorePermit,
}

impl Accepted {
    /// The connection's place, to be kept as long as it.
    pub fn into_parts(self) -> (Socket, OwnedSemaphorePermit) {
        (self.socket, self.place)
    }
}

/// A socket, with TLS or without.
pub enum Socket {
    /// Plain text.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The places of a port.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

impl Places {
    /// Connections that have one.
    pub fn taken(&self) -> u64 {
        self.all.saturating_sub(self.free.available_permits()) as u64
    }
}

/// Connections as they become ready. Dropping it closes the listening socket.
pub struct Incoming {
    ready: mpsc::Receiver<Accepted>,
    places: Places,
    accepting: tokio::task::JoinHandle<()>,
}

impl Incoming {
    /// The places of its connections, to be counted.
    pub fn places(&self) -> Places {
        self.places.clone()
    }

    /// The next connection; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Accepted> {
        self.ready.recv().await
    }
}

impl Stream for Incoming {
    type Item = Accepted;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Accepted>> {
        self.ready.poll_recv(context)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Whom a port lets in.
#[derive(Clone)]
pub struct Door {
    /// Connections open at one time.
    pub connections_max: usize,
    /// How long a client may take for its TLS handshake.
    pub handshake_timeout: Duration,
    /// TLS, unless the port speaks plain text.
    pub tls: Option<Arc<Tls>>,
}

/// Accepts from `listener`, closing what goes beyond the places of the `door` at once. To be called within the runtime.
pub fn accept(listener: TcpListener, door: Door, protocol: Protocol) -> Incoming {
    let Door { connections_max, handshake_timeout, tls } = door;
    let (tell, ready) = mpsc::channel(READY_MAX);
    let places = Places { free: Arc::new(Semaphore::new(connections_max)), all: connections_max };
    let free = Arc::clone(&places.free);
    let accepting = tokio::spawn(async move {
        loop {
            let (socket, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, for example: wait instead of spinning.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&free).try_acquire_owned() else {
                tracing::warn!(
                    peer = %address,
                    connections_max,
                    "connection refused (limit: server.max_connections)"
                );
                continue;
            };
            // Answers are small and late writes of large ones are batched by HTTP/2 already.
            let _ = socket.set_nodelay(true);
            match &tls {
                None => {
                    let socket = Socket::Plain(socket);
                    if tell.send(Accepted { socket, address, certificate: None, place }).await.is_err() {
                        return;
                    }
                }
                Some(tls) => {
                    let (acceptor, tell) = (TlsAcceptor::from(tls.config(protocol)), tell.clone());
                    tokio::spawn(async move {
                        match handshake(acceptor, socket, handshake_timeout).await {
                            Ok((socket, certificate)) => {
                                // Nobody waits for it: the server stops.
                                let _ = tell.send(Accepted { socket, address, certificate, place }).await;
                            }
                            Err(error) => tracing::info!(peer = %address, %error, "TLS handshake failed"),
                        }
                    });
                }
            }
        }
    });
    Incoming { ready, places, accepting }
}

async fn handshake(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    timeout: Duration,
) -> io::Result<(Socket, Option<Arc<str>>)> {
    let stream = tokio::time::timeout(timeout, acceptor.accept(socket)).await.map_err(|_| {
        io::Error::new(io::ErrorKind::TimedOut, "it took too long (limit: server.handshake_timeout)")
    })??;
    let (_, connection) = stream.get_ref();
    let own = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = own.map(|certificate| {
        // TLS has found it good. A name that cannot be read is nobody's, and not the same as no certificate.
        Arc::from(peer::name(certificate).unwrap_or_default())
    });
    Ok((Socket::Tls(Box::new(stream)), certificate))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Socket::Tls(socket) => Pin::new(socket).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Socket::Tls(socket) => Pin::new(socket).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_write_vectored(context, parts),
            Socket::Tls(socket) => Pin::new(socket).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Socket::Plain(socket) => socket.is_write_vectored(),
            Socket::Tls(socket) => socket.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_flush(context),
            Socket::Tls(socket) => Pin::new(socket).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Socket::Tls(socket) => Pin::new(socket).poll_shutdown(context),
        }
    }
}
