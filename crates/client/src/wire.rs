//! A DoPut request whose messages are the buffers of its batches.
//! Runs on: the caller's task, and that of the connection.
//! Never: ends a request whose messages have not ended.
//!
//! The generated client copies a batch twice on its way to the socket: into the IPC body, and into the gRPC message. HTTP/2
//! takes the parts of a message one by one, so that nothing has to be copied (`make bench-load`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow_flight::PutResult;
use bytes::Bytes;
use futures::stream::BoxStream;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, TE};
use http::{Method, Request, Version};
use http_body::{Body, Frame as HttpFrame};
use pintail_protocol::frame::Outgoing;
use tonic::codec::{BufferSettings, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstDecoder;
use tower_service::Service;

use crate::connect::Authorized;
use crate::error::{Error, Result};
use pintail_protocol::status::from_status;

const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";

/// Sends `messages`, and opens the stream of answers. `headers` are the request headers.
///
/// Errors: `Invalid` for a header that HTTP does not have; what the server says.
pub(super) async fn put(
    channel: &Authorized,
    messages: BoxStream<'static, VecDeque<Bytes>>,
    headers: &[(&'static str, String)],
) -> Result<Streaming<PutResult>> {
    let mut request =
        Request::new(tonic::body::Body::new(Pieces { messages, outgoing: Outgoing::default() }));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = DO_PUT.parse().map_err(|_| Error::internal("DoPut has no path"))?;
    for (name, value) in headers {
        let wrong = || Error::invalid(format!("header {name}: {value:?} is none that HTTP has"));
        let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        request.headers_mut().insert(known, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut channel = channel.clone();
    let broken = |error: tonic::transport::Error| from_status(Status::from_error(error.into()));
    poll_fn(|context| channel.poll_ready(context)).await.map_err(broken)?;
    let response = channel.call(request).await.map_err(broken)?;
    let (head, body) = response.into_parts();
    if let Some(status) = refused(&head.headers) {
        return Err(from_status(status));
    }
    let decoder = ProstDecoder::<PutResult>::new(BufferSettings::default());
    Ok(Streaming::new_response(decoder, body, head.status, None, None))
}

/// A status that stands in the headers is the whole answer.
fn refused(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

/// The body of a request: messages, piece by piece.
struct Pieces {
    messages: BoxStream<'static, VecDeque<Bytes>>,
    outgoing: Outgoing,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        loop {
            if let Some(piece) = self.outgoing.next_full() {
                return Poll::Ready(Some(Ok(HttpFrame::data(piece))));
            }
            let none = match self.messages.as_mut().poll_next(context) {
                Poll::Ready(Some(pieces)) => {
                    self.outgoing.push(pieces);
                    continue;
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            };
            return match self.outgoing.next_rest() {
                Some(piece) => Poll::Ready(Some(Ok(HttpFrame::data(piece)))),
                None => none,
            };
        }
    }
}
