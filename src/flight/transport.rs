//! HTTP/2 requests -> calls; the answers of DoGet leave as [`Pieces`], the bodies of DoPut and DoExchange come through
//! [`Aligned`].
//! Runs on: tonic's connection tasks.
//! Never: decides what a call means.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow_flight::flight_service_server::FlightServiceServer;
use arrow_flight::{FlightData, Ticket};
use futures::future::BoxFuture;
use futures::stream;
use http_body::Body;
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::get::{FrameStream, get};
use super::server::FlightServer;
use super::wire::{Aligned, Arrived, Pieces, Pool, Room};

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
const DO_EXCHANGE: &str = "/arrow.flight.protocol.FlightService/DoExchange";

/// The Flight service as tonic serves it.
#[derive(Clone)]
pub struct Transport {
    server: Arc<FlightServer>,
    generated: FlightServiceServer<FlightServer>,
    message_bytes_max: usize,
    pool: Pool,
}

impl Transport {
    /// Serves `server`, taking messages of up to `message_bytes_max`, and `receive_bytes` of them at one time.
    pub fn new(server: Arc<FlightServer>, message_bytes_max: usize, receive_bytes: usize) -> Self {
        let generated =
            FlightServiceServer::from_arc(Arc::clone(&server)).max_decoding_message_size(message_bytes_max);
        Self { server, generated, message_bytes_max, pool: Pool::new(Room::of(receive_bytes)) }
    }
}

impl NamedService for Transport {
    const NAME: &'static str = "arrow.flight.protocol.FlightService";
}

impl<B> Service<http::Request<B>> for Transport
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() == DO_GET {
            let method = DoGet { server: Arc::clone(&self.server), result: Arc::default() };
            let result = Arc::clone(&method.result);
            return Box::pin(async move {
                let mut grpc = Grpc::new(ProstCodec::<FlightData, Ticket>::default());
                // tonic reads the request and writes the head of the response, or the whole of a refusal.
                let response = grpc.server_streaming(method, request).await;
                let result = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                Ok(match result {
                    Some(result) => response.map(|_| tonic::body::Body::new(Pieces::of(result))),
                    None => response,
                })
            });
        }
        if matches!(request.uri().path(), DO_PUT | DO_EXCHANGE) {
            let arrived = Arrived::default();
            let mut request =
                request.map(|body| Aligned::new(body, arrived.clone(), &self.pool, self.message_bytes_max));
            request.extensions_mut().insert(arrived);
            return self.generated.call(request);
        }
        self.generated.call(request)
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
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Ticket>) -> Self::Future {
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
