//! The wire: Arrow Flight's ten calls as a routing table.
//! Runs on: async tasks of the gRPC server.
//! Never: names the engine's crate, blocks a task, spawns a thread. Besides `server` and `client`, the only
//! place that names tonic or arrow_flight.

mod action;
mod call;
mod connection;
mod decode;
mod descriptor;
mod encode;
mod get;
mod header;
mod info;
mod put;
mod status;
mod ticket;
mod wire;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status, Streaming};

pub use connection::{Connection, incoming};
pub use decode::{Decoded, Decoder};
pub use encode::{Encoder, Frame};
pub use wire::{FrameCodec, FrameEncoder, Wire};

use call::Call;

use crate::engine::Database;
use crate::error::Error;
use crate::ingest::Ingest;
use crate::query::Query;

/// What the calls work on.
pub struct FlightServer {
    database: Arc<Database>,
    ingest: Arc<Ingest>,
    query: Arc<Query>,
    tickets: ticket::Tickets,
    auto_create: bool,
    slow_query: Duration,
    started: Instant,
}

impl FlightServer {
    /// A Flight service over the two bridges.
    pub fn new(
        database: Arc<Database>,
        ingest: Arc<Ingest>,
        query: Arc<Query>,
        auto_create: bool,
        slow_query: Duration,
    ) -> Self {
        Self {
            database,
            ingest,
            query,
            tickets: ticket::Tickets::default(),
            auto_create,
            slow_query,
            started: Instant::now(),
        }
    }
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;
type Reply<T> = Result<Response<T>, Status>;

fn answers<T: Send + 'static>(items: Vec<T>) -> Response<Answers<T>> {
    Response::new(stream::iter(items.into_iter().map(Ok)).boxed())
}

#[tonic::async_trait]
impl FlightService for FlightServer {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Answers<FlightData>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;

    async fn handshake(&self, request: Request<Streaming<HandshakeRequest>>) -> Reply<Self::HandshakeStream> {
        let call = Call::new("Handshake", request.remote_addr());
        call.end(Err(Error::unsupported("this server has no users; connect without user and password")))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let mut call = Call::new("ListFlights", request.remote_addr());
        let flights = self.flights(&request.into_inner().expression, &mut call).await;
        call.end(flights.map(answers))
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let mut call = Call::new("GetFlightInfo", request.remote_addr());
        let info = self.flight_info(request.into_inner(), &mut call).await;
        call.end(info.map(Response::new))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let call = Call::new("PollFlightInfo", request.remote_addr());
        call.end(Err(Error::unsupported(
            "PollFlightInfo is not supported by this server yet; use GetFlightInfo",
        )))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let mut call = Call::new("GetSchema", request.remote_addr());
        let schema = self.schema(&request.into_inner(), &mut call).await;
        call.end(schema.map(Response::new))
    }

    /// In-process form of DoGet. Over the network `wire` answers the call, with the same frames.
    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let frames = self.get(request).await?.into_inner();
        Ok(Response::new(frames.map(|frame| frame.map(Frame::into_flight_data)).boxed()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let mut call = Call::new("DoPut", request.remote_addr());
        let answer = self.put(request, &mut call).await;
        call.end(answer.map(|answer| answers(vec![answer])))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        let call = Call::new("DoExchange", request.remote_addr());
        call.end(Err(Error::unsupported(
            "DoExchange is not supported by this server yet; use DoPut and DoGet",
        )))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let mut call = Call::new("DoAction", request.remote_addr());
        let answer = self.action(request.into_inner(), &mut call).await;
        call.end(answer.map(|body| answers(vec![arrow_flight::Result { body }])))
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let mut call = Call::new("ListActions", request.remote_addr());
        call.ok();
        Ok(answers(action::list()))
    }
}
