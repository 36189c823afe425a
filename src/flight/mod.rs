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
mod web;
mod wire;

use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use futures::StreamExt;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Request, Response, Status, Streaming};

pub use alone::{Puts as ForgottenPuts, forgotten, sent};
pub use pintail_protocol::decode::{CheckedMessage, Decoded, Decoder, Undecoded};
pub use pintail_protocol::frame::Frame;
pub use server::{FileLoader, FlightParts, FlightServer, LoadOrder};
pub use transport::{Answer, Transport};
pub use web::{OpenCalls, web};
pub use wire::{Connection, Encoder, Link, Welcome, connections};

use request::{Answers, Ask, Call, Caller, Reply, answers};

/// What a request says besides its messages.
fn head<T>(request: &Request<T>) -> (&MetadataMap, &Extensions) {
    (request.metadata(), request.extensions())
}

impl FlightServer {
    /// Who makes the call of `method`, and its log line.
    ///
    /// Errors: a status that has been logged; the call ends with it.
    async fn begin(
        &self,
        method: &'static str,
        (metadata, extensions): (&MetadataMap, &Extensions),
    ) -> Result<(Caller, Call), Status> {
        match Caller::find(&self.gate, &self.sessions, &self.recorder, metadata, extensions).await {
            Ok(caller) => {
                let call = Call::new(method, &caller);
                Ok((caller, call))
            }
            Err(error) => {
                let who = request::claimed(metadata, extensions);
                Err(Call::of_nobody(method, Arc::clone(&self.recorder), who).failed(error))
            }
        }
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
        let (caller, call) = self.begin("Handshake", head(&request)).await?;
        call.end(request::handshake(&self.sessions, &caller, request.metadata()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let (caller, mut call) = self.begin("ListFlights", head(&request)).await?;
        match Ask::to_describe(caller, request.metadata()) {
            Ok(ask) => info::list_flights(&self.infos, &ask, &request.get_ref().expression, call).await,
            Err(error) => Err(call.failed(error)),
        }
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let (caller, mut call) = self.begin("GetFlightInfo", head(&request)).await?;
        let info = match Ask::new(caller, request.metadata()) {
            Ok(ask) => info::flight_info(&self.infos, &ask, request.into_inner(), &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let (caller, mut call) = self.begin("PollFlightInfo", head(&request)).await?;
        let info = match Ask::new(caller, request.metadata()) {
            Ok(ask) => info::poll(&self.polls, &self.infos, &ask, request.into_inner(), &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let (caller, mut call) = self.begin("GetSchema", head(&request)).await?;
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
        let (caller, mut call) = self.begin("DoPut", head(&request)).await?;
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
        let (caller, mut call) = self.begin("DoAction", head(&request)).await?;
        if request.get_ref().r#type == pintail_protocol::action::LOAD {
            return action::load(self, caller, request, call);
        }
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
        let (_, mut call) = self.begin("ListActions", head(&request)).await?;
        call.ok();
        Ok(answers(action::list()))
    }
}
