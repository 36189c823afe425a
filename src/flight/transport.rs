//! HTTP/2 requests -> calls; the answers of DoGet leave as [`Pieces`], the bodies of DoPut and DoExchange come through
//! [`Aligned`]. All other calls, and the health service, are tonic's.
//! Runs on: the connection tasks.
//! Never: decides what a call means; lets a call that panics take more with it than itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::{FlightData, Ticket};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use tonic::Status;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::service::Routes;
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::get::{FrameStream, get};
use super::request::grpc_timeout;
use super::server::FlightServer;
use super::wire::{Aligned, Arrived, Link, Parts, Pieces, Pool, Room, is_unreadable};

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
const DO_EXCHANGE: &str = "/arrow.flight.protocol.FlightService/DoExchange";

/// The calls of the Flight port.
#[derive(Clone)]
pub struct Transport {
    server: Arc<FlightServer>,
    routes: Routes,
    message_bytes_max: usize,
    pool: Pool,
}

/// The body of an answer.
pub struct Answer(Kind);

enum Kind {
    Result(Box<Pieces<FrameStream>>),
    /// What tonic has written.
    Other(tonic::body::Body),
    /// Ended by a panic.
    Over,
}

impl Transport {
    /// Serves `server`, taking messages of up to `message_bytes_max`, and `receive_bytes` of them at one time, beside the
    /// services in `others`.
    pub fn new(
        server: Arc<FlightServer>,
        message_bytes_max: usize,
        receive_bytes: usize,
        others: Routes,
    ) -> Self {
        let generated =
            FlightServiceServer::from_arc(Arc::clone(&server)).max_decoding_message_size(message_bytes_max);
        let routes = others.add_service(generated).prepare();
        Self { server, routes, message_bytes_max, pool: Pool::new(Room::of(receive_bytes)) }
    }

    /// Answers a request that came over the connection of `link`. A call that the client gives a time to begin in is
    /// dropped after it.
    pub fn answer<B>(&self, link: Link, mut request: Request<B>) -> BoxFuture<'static, Response<Answer>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let text = request.headers().get("grpc-timeout").and_then(|value| value.to_str().ok());
        let timeout = text.and_then(grpc_timeout);
        request.extensions_mut().insert(link);
        let answered = with_status(self.answered(request));
        match timeout {
            None => Box::pin(answered),
            Some(timeout) => Box::pin(async move {
                // Not CANCELLED, as tonic has it: pyarrow takes that for a Ctrl-C of its own user.
                let late = || {
                    let text = "the call's own time limit (grpc-timeout) passed before it was answered";
                    Status::deadline_exceeded(text).into_http().map(other)
                };
                tokio::time::timeout(timeout, answered).await.unwrap_or_else(|_| late())
            }),
        }
    }

    fn answered<B>(&self, request: Request<B>) -> BoxFuture<'static, Response<Answer>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        if request.uri().path() == DO_GET {
            let method = DoGet { server: Arc::clone(&self.server), result: Arc::default() };
            let result = Arc::clone(&method.result);
            return Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::<FlightData, Ticket>::default());
                // tonic reads the request and writes the head of the response, or the whole of a refusal.
                let response = grpc.server_streaming(method, request).await;
                let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                response.map(|body| match result {
                    Some(result) => Answer(Kind::Result(Box::new(Pieces::of(result)))),
                    None => other(body),
                })
            });
        }
        let mut routes = self.routes.clone();
        let answered: BoxFuture<'static, _> = if matches!(request.uri().path(), DO_PUT | DO_EXCHANGE) {
            let arrived = Arrived::default();
            let mut request =
                request.map(|body| Aligned::new(body, arrived.clone(), &self.pool, self.message_bytes_max));
            request.extensions_mut().insert(arrived);
            Box::pin(routes.call(request))
        } else {
            Box::pin(routes.call(request))
        };
        Box::pin(async move {
            let response = answered.await.unwrap_or_else(|never| match never {});
            response.map(other)
        })
    }
}

/// Waits for the answer of a call. A panic, and a message that is none, are answered with a status of ours.
async fn with_status(answered: BoxFuture<'static, Response<Answer>>) -> Response<Answer> {
    let Ok(response) = AssertUnwindSafe(answered).catch_unwind().await else {
        return fault().into_http().map(other);
    };
    match Status::from_header_map(response.headers()) {
        Some(status) if is_unreadable(&status) => {
            Status::invalid_argument(status.message()).into_http().map(other)
        }
        _ => response,
    }
}

/// What a client hears of a panic, which the log has.
fn fault() -> Status {
    Status::internal("the call ended in a fault of the server; its log says which")
}

fn other(body: tonic::body::Body) -> Answer {
    Answer(Kind::Other(body))
}

impl Body for Answer {
    type Data = Parts;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parts>, Status>>> {
        let answer = self.get_mut();
        let polled = catch_unwind(AssertUnwindSafe(|| match &mut answer.0 {
            Kind::Result(pieces) => {
                Pin::new(&mut **pieces).poll_frame(context).map_err(|never| match never {})
            }
            Kind::Other(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Parts::from))
            }
            Kind::Over => Poll::Ready(None),
        }));
        polled.unwrap_or_else(|_| {
            answer.0 = Kind::Over;
            let mut trailers = HeaderMap::new();
            Poll::Ready(Some(fault().add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Result(_) => false,
            Kind::Other(body) => body.is_end_stream(),
            Kind::Over => true,
        }
    }
}

struct DoGet {
    server: Arc<FlightServer>,
    /// What is to be sent in the place of tonic's own messages.
    result: Arc<Mutex<Option<FrameStream>>>,
}

impl ServerStreamingService<Ticket> for DoGet {
    type Response = FlightData;
    type ResponseStream = stream::Empty<Result<FlightData, Status>>;
    type Future = BoxFuture<'static, Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Ticket>) -> Self::Future {
        let (server, result) = (Arc::clone(&self.server), Arc::clone(&self.result));
        Box::pin(async move {
            let response = get(&server, request).await?;
            Ok(response.map(|frames| {
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(frames);
                stream::empty()
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures::executor::block_on;

    use super::*;

    /// A body of one frame, whose second one ends in a panic.
    struct Broken(bool);

    impl Body for Broken {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            assert!(!std::mem::replace(&mut self.0, true), "as a fault in a stream");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"rows")))))
        }
    }

    /// A panic before the answer, and one within it, end in a status: what was sent before stays sent.
    #[test]
    fn a_panic_ends_in_a_status() {
        let response = block_on(with_status(Box::pin(async { panic!("as a fault in a call") })));
        let status = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(status.code(), tonic::Code::Internal);

        let mut answer = other(tonic::body::Body::new(Broken(false)));
        let mut next = || block_on(poll_fn(|context| Pin::new(&mut answer).poll_frame(context)));
        assert!(next().unwrap().unwrap().is_data());
        let trailers = next().unwrap().unwrap().into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!((status.code(), status.message()), (tonic::Code::Internal, fault().message()));
        assert!(next().is_none() && answer.is_end_stream());
    }

    /// A message that is none is its sender's fault.
    #[test]
    fn what_is_no_message_is_refused() {
        let answered =
            |status: Status| block_on(with_status(Box::pin(async { status.into_http().map(other) })));
        for (status, code) in [
            (
                Status::internal("failed to decode Protobuf message: invalid tag value: 0"),
                tonic::Code::InvalidArgument,
            ),
            (Status::internal("another fault"), tonic::Code::Internal),
            (Status::not_found("a table"), tonic::Code::NotFound),
        ] {
            let text = status.message().to_owned();
            let found = Status::from_header_map(answered(status).headers()).unwrap();
            assert_eq!((found.code(), found.message()), (code, text.as_str()));
        }
    }
}
