//! The wire: Arrow Flight's ten calls as a routing table.
//! Runs on: async tasks of the gRPC server.
//! Never: names the engine's crate, blocks a task, spawns a thread. Besides `server` and `client`, the only
//! place that names tonic or arrow_flight.

mod action;
mod body;
mod call;
mod caller;
mod connection;
mod descriptor;
mod encode;
mod exchange;
mod flights;
mod form;
mod get;
mod header;
mod incoming;
mod info;
mod metadata;
mod option;
mod poll;
mod prepared;
mod progress;
mod proto;
mod put;
mod schema;
mod ticket;
mod wire;

use std::path::PathBuf;
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

pub use connection::{Connection, incoming as accept};
pub use encode::Encoder;
pub use pintail_protocol::decode::{Decoded, Decoder, Looked, Waiting};
pub use pintail_protocol::frame::Frame;
pub use wire::{FrameCodec, FrameEncoder, Wire};

use call::Call;
use header::Options;
use pintail_protocol::{decode, status};

use crate::catalog::Declarations;
use crate::config::Config;
use crate::engine::Database;
use crate::ingest::Ingest;
use crate::query::Query;
use crate::session::Sessions;

/// What the calls work on.
#[derive(Clone)]
pub struct FlightServer {
    database: Arc<Database>,
    ingest: Arc<Ingest>,
    query: Arc<Query>,
    sessions: Arc<Sessions>,
    tickets: Arc<ticket::Tickets>,
    polls: Arc<poll::Polls>,
    declarations: Arc<Declarations>,
    auto_create: bool,
    backup_folder: Option<PathBuf>,
    slow_query: Duration,
    started: Instant,
}

impl FlightServer {
    /// A Flight service over the two bridges, the sessions and the declarations in force.
    pub fn new(
        database: Arc<Database>,
        ingest: Arc<Ingest>,
        query: Arc<Query>,
        sessions: Arc<Sessions>,
        declarations: Arc<Declarations>,
        config: &Config,
    ) -> Self {
        Self {
            database,
            ingest,
            query,
            sessions,
            tickets: Arc::new(ticket::Tickets::new(config.session.max_tickets)),
            polls: Arc::default(),
            declarations,
            auto_create: config.ingest.auto_create,
            backup_folder: config.database.backup_folder(),
            slow_query: Duration::from_millis(config.log.slow_query_ms),
            started: Instant::now(),
        }
    }

    /// Ends what has been idle for too long: sessions, transactions, prepared statements, tickets, polls. To be
    /// called every second or so.
    pub fn sweep(&self) {
        self.sessions.sweep();
        self.tickets.sweep();
        self.polls.sweep();
        Arc::clone(&self.ingest).tidy();
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
        let caller = self.caller(request.metadata(), request.extensions());
        let call = Call::new("Handshake", &caller);
        call.end(self.handshake_answer(request.metadata()))
    }

    async fn list_flights(&self, request: Request<Criteria>) -> Reply<Self::ListFlightsStream> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("ListFlights", &caller);
        match Options::new(request.metadata(), &caller.session).form() {
            Ok(form) => {
                let flights = self.flights(&caller, &request.into_inner().expression, form, call).await;
                flights.map(Response::new)
            }
            Err(error) => Err(call.failed(error)),
        }
    }

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<FlightInfo> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("GetFlightInfo", &caller);
        let options = Options::new(request.metadata(), &caller.session);
        let info = match options.run_options().and_then(|run| Ok((run, options.form()?))) {
            Ok((run, form)) => self.flight_info(&caller, request.into_inner(), run, form, &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn poll_flight_info(&self, request: Request<FlightDescriptor>) -> Reply<PollInfo> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("PollFlightInfo", &caller);
        let options = Options::new(request.metadata(), &caller.session);
        let info = match options.run_options().and_then(|run| Ok((run, options.form()?))) {
            Ok((run, form)) => self.poll(&caller, request.into_inner(), run, form, &mut call).await,
            Err(error) => Err(error),
        };
        call.end(info.map(Response::new))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Reply<SchemaResult> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("GetSchema", &caller);
        let schema = match Options::new(request.metadata(), &caller.session).form() {
            Ok(form) => self.schema(&caller, &request.into_inner(), form, &mut call).await,
            Err(error) => Err(error),
        };
        call.end(schema.map(Response::new))
    }

    /// In-process form of DoGet. Over the network `wire` answers the call, with the same frames.
    async fn do_get(&self, request: Request<Ticket>) -> Reply<Self::DoGetStream> {
        let frames = self.get(request).await?.into_inner();
        Ok(Response::new(frames.map(|frame| frame.map(Frame::into_flight_data)).boxed()))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoPutStream> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("DoPut", &caller);
        let opened = match self.open_put(caller, request).await {
            Ok(opened) => opened,
            Err(error) => return call.end(Err(error)),
        };
        if opened.is_in_progress() {
            return Ok(Response::new(self.put_in_progress(opened, call)));
        }
        let answer = self.put(opened, None, &mut call).await;
        call.end(answer.map(|answer| answers(vec![answer])))
    }

    async fn do_exchange(&self, request: Request<Streaming<FlightData>>) -> Reply<Self::DoExchangeStream> {
        let frames = self.exchange(request).await?.into_inner();
        Ok(Response::new(frames.map(|frame| frame.map(Frame::into_flight_data)).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Reply<Self::DoActionStream> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("DoAction", &caller);
        let answer = match Options::new(request.metadata(), &caller.session).form() {
            Ok(form) => self.action(&caller, request.into_inner(), form, &mut call).await,
            Err(error) => Err(error),
        };
        let answer = answer.map(|body| {
            let results = body.map(|body| arrow_flight::Result { body });
            self.with_cookie(answers(results.into_iter().collect()), &caller)
        });
        call.end(answer)
    }

    async fn list_actions(&self, request: Request<Empty>) -> Reply<Self::ListActionsStream> {
        let mut call = Call::new("ListActions", &self.caller(request.metadata(), request.extensions()));
        call.ok();
        Ok(answers(action::list()))
    }
}
