//! HTTP/2 requests -> calls; for DoGet with a codec that writes a batch's buffers once, into the socket's buffer.
//! Runs on: tonic's connection tasks.
//! Never: decides what a call means.
//!
//! The generated server encodes a result twice: batch -> `Vec` of the IPC body -> gRPC message. A tonic codec
//! sees the message buffer itself, so [`FrameCodec`] leaves out the first copy (bench `encode`).
//! The bodies of DoPut and DoExchange pass through [`Aligned`].

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow_flight::Ticket;
use arrow_flight::flight_service_server::FlightServiceServer;
use futures::future::BoxFuture;
use http_body::Body;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstDecoder;
use tower_service::Service;

use super::FlightServer;
use super::body::{Aligned, Arrived, Pool};
use super::get::FrameStream;
use pintail_protocol::frame::Frame;

const DO_GET: &str = "/arrow.flight.protocol.FlightService/DoGet";
const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";
const DO_EXCHANGE: &str = "/arrow.flight.protocol.FlightService/DoExchange";

/// The Flight service as tonic serves it.
#[derive(Clone)]
pub struct Wire {
    server: Arc<FlightServer>,
    generated: FlightServiceServer<FlightServer>,
    message_bytes_max: usize,
    pool: Pool,
}

impl Wire {
    /// Serves `server`, taking messages of up to `message_bytes_max`.
    pub fn new(server: Arc<FlightServer>, message_bytes_max: usize) -> Self {
        let generated =
            FlightServiceServer::from_arc(Arc::clone(&server)).max_decoding_message_size(message_bytes_max);
        Self { server, generated, message_bytes_max, pool: Pool::default() }
    }
}

impl NamedService for Wire {
    const NAME: &'static str = "arrow.flight.protocol.FlightService";
}

impl<B> Service<http::Request<B>> for Wire
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
            let method = DoGet(Arc::clone(&self.server));
            return Box::pin(
                async move { Ok(Grpc::new(FrameCodec).server_streaming(method, request).await) },
            );
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

struct DoGet(Arc<FlightServer>);

impl ServerStreamingService<Ticket> for DoGet {
    type Response = Frame;
    type ResponseStream = FrameStream;
    type Future = BoxFuture<'static, Result<Response<FrameStream>, Status>>;

    fn call(&mut self, request: Request<Ticket>) -> Self::Future {
        let server = Arc::clone(&self.0);
        Box::pin(async move { server.get(request).await })
    }
}

/// Takes tickets, gives frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Ticket;
    type Encoder = FrameEncoder;
    type Decoder = ProstDecoder<Ticket>;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// Writes a [`Frame`] as the protobuf message `FlightData`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.reserve(frame.encoded_len());
        frame.write(target);
        Ok(())
    }
}
