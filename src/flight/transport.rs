//! HTTP/2 requests -> calls; the answers of DoGet leave as [`Pieces`], the bodies of DoPut and DoExchange come through
//! [`Aligned`]. All other calls, and the health service, are tonic's.
//! Runs on: the connection tasks.
//! Never: decides what a call means.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::{FlightData, Ticket};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use tonic::Status;
use tonic::server::{Grpc, ServerStreamingService};
use tonic::service::Routes;
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::get::{FrameStream, get};
use super::request::grpc_timeout;
use super::server::FlightServer;
use super::wire::{Aligned, Arrived, Link, Parts, Pieces, Pool, Room};

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
        let answered = self.answered(request);
        match timeout {
            None => answered,
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
        match &mut self.get_mut().0 {
            Kind::Result(pieces) => {
                Pin::new(&mut **pieces).poll_frame(context).map_err(|never| match never {})
            }
            Kind::Other(body) => {
                Pin::new(body).poll_frame(context).map_ok(|frame| frame.map_data(Parts::from))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Result(_) => false,
            Kind::Other(body) => body.is_end_stream(),
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
