//! The wire: Arrow Flight's ten calls as a routing table.
//! Runs on: async tasks of the gRPC server.
//! Never: names the engine's crate, blocks a task, spawns a thread. Besides `server` and `client`, the only
//! place that names tonic or arrow_flight.
//!
//! A call passes the rooms from the top: `wire` (bytes and messages), `request` (who asks, and for what), then `put`,
//! `info`, `get` or `action`. `result` has what tickets stand for, `metadata` the answers about the catalog. `alone` is `wire` for
//! benches.

mod action;
mod alone;
mod get;
mod info;
mod metadata;
mod names;
mod put;
mod request;
mod result;
mod server;
mod transport;
mod wire;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use tonic::{Request, Response, Streaming};

pub use alone::{Puts as ForgottenPuts, forgotten, sent};
pub use pintail_protocol::decode::{CheckedMessage, Decoded, Decoder, Undecoded};
pub use pintail_protocol::frame::Frame;
pub use server::{FlightParts, FlightServer};
pub use transport::{Answer, Transport};
pub use wire::{Connection, Encoder, Link, accept};

use request::{Answers, Ask, Call, Caller, Reply, answers};

impl FlightServer {
    fn caller<T>(&self, request: &Request<T>) -> Caller {
        Caller::find(&self.sessions, request.metadata(), request.extensions())
    }
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
        let call = Call::new("Handshake", &self.caller(&request));
        call.end(request::handshake(&self.sessions, request.metadata()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let caller = self.caller(&request);
        let mut call = Call::new("ListFlights", &caller);
        match Ask::to_describe(caller, request.metadata()) {
            Ok(ask) => info::list_flights(&self.infos, &ask, &request.get_ref().expression, call).await,
            Err(error) => Err(call.failed(error)),
        }
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let caller = self.caller(&request);
        let mut call = Call::new("GetFlightInfo", &caller);
        let info = match Ask::new(caller, request.metadata()) {
            Ok(ask) => info::flight_info(&self.infos, &ask, request.into_inner(), &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let caller = self.caller(&request);
        let mut call = Call::new("PollFlightInfo", &caller);
        let info = match Ask::new(caller, request.metadata()) {
            Ok(ask) => info::poll(&self.polls, &self.infos, &ask, request.into_inner(), &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let caller = self.caller(&request);
        let mut call = Call::new("GetSchema", &caller);
        let schema = match Ask::to_describe(caller, request.metadata()) {
            Ok(ask) => info::schema(&self.infos, &ask, request.get_ref(), &mut call).await,
            Err(error) => Err(error),
        };
        call.end(schema.map(Response::new))
    }

    /// In-process form of DoGet. Over the network `transport` answers the call, with the same frames.
    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let frames = get::get(self, request).await?.into_inner();
        Ok(Response::new(frames.map(|frame| frame.map(Frame::into_flight_data)).boxed()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let caller = self.caller(&request);
        let mut call = Call::new("DoPut", &caller);
        let puts = &self.infos.puts;
        let opened = match put::open(puts, caller, request).await {
            Ok(opened) => opened,
            Err(error) => return call.end(Err(error)),
        };
        if opened.is_in_progress() {
            return Ok(Response::new(put::put_in_progress(puts, opened, call)));
        }
        let answer = put::dispatch(puts, opened, None, &mut call).await;
        call.end(answer.map(|answer| answers(vec![answer])))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        let frames = get::exchange(self, request).await?.into_inner();
        Ok(Response::new(frames.map(|frame| frame.map(Frame::into_flight_data)).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let caller = self.caller(&request);
        let mut call = Call::new("DoAction", &caller);
        let answer = match Ask::to_describe(caller.clone(), request.metadata()) {
            Ok(ask) => action::run(self, &ask, request.get_ref(), &mut call).await,
            Err(error) => Err(error),
        };
        let answer = answer.map(|body| {
            let results = body.map(|body| arrow_flight::Result { body });
            caller.with_cookie(answers(results.into_iter().collect()), &self.sessions)
        });
        call.end(answer)
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let mut call = Call::new("ListActions", &self.caller(&request));
        call.ok();
        Ok(answers(action::list()))
    }
}
