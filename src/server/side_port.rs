//! The HTTP port: `/livez`, `/readyz`, `/metrics`, and the calls of `flight::web`. It speaks TLS when the Flight port does.
//! Runs on: the async runtime.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::State;
use axum::extract::connect_info::Connected;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::parts::Parts;
use crate::error::{Error, Result};
use crate::flight::Link;
use crate::metrics;
use crate::tls::{Incoming, Socket};

/// The connections of the port.
pub(super) struct SidePort {
    incoming: Incoming,
    address: SocketAddr,
}

impl SidePort {
    pub(super) fn new(incoming: Incoming, address: SocketAddr) -> Self {
        Self { incoming, address }
    }
}

/// A connection and its place among those allowed.
pub(super) struct SideSocket {
    socket: Socket,
    _place: OwnedSemaphorePermit,
}

impl Listener for SidePort {
    type Io = SideSocket;
    type Addr = Link;

    async fn accept(&mut self) -> (SideSocket, Link) {
        match self.incoming.next().await {
            Some(accepted) => {
                let link = Link::of(Some(accepted.address), accepted.certificate.clone());
                let (socket, place) = accepted.into_parts();
                (SideSocket { socket, _place: place }, link)
            }
            // The server stops, and takes this port with it.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Link> {
        Ok(Link::of(Some(self.address), None))
    }
}

impl Connected<IncomingStream<'_, SidePort>> for Link {
    fn connect_info(stream: IncomingStream<'_, SidePort>) -> Self {
        stream.remote_addr().clone()
    }
}

impl AsyncRead for SideSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for SideSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

/// What the port answers.
///
/// Errors: when this process has another recorder of metrics already.
pub(super) fn router(parts: Arc<Parts>) -> Result<Router> {
    let render = rendering()?;
    parts.tell(render.clone());
    let render = move |State(parts): State<Arc<Parts>>| {
        let render = render.clone();
        async move { render(&parts) }
    };
    Ok(Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .with_state(parts))
}

/// What gives the metrics of the process as text, those that are levels looked up for it.
///
/// Errors: when this process has another recorder of metrics already.
fn rendering() -> Result<impl Fn(&Parts) -> String + Clone + Send + Sync + 'static> {
    let recorder = metrics::install().map_err(Error::internal)?;
    Ok(move |parts: &Parts| {
        metrics::levels(parts.levels());
        recorder.run_upkeep();
        recorder.render()
    })
}

/// 200 when the engine has answered a query of the watchdog's within the last seconds; 503 with the reason otherwise.
async fn ready(State(parts): State<Arc<Parts>>) -> (StatusCode, String) {
    let unready = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if parts.draining.load(Ordering::SeqCst) {
        return unready("draining");
    }
    if parts.database.is_lost() {
        return unready("the database is lost to a fatal error of the engine, and is being opened anew");
    }
    match parts.watchdog.answer() {
        Ok(_) => (StatusCode::OK, "ok\n".into()),
        Err(error) => unready(error.message()),
    }
}
