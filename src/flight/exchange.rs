//! DoExchange: rows up, a statement over them as the table `input`, its result down.
//! Runs on: the task of the call.
//! Never: keeps the rows in memory; they go into a temporary table of a connection of their own, which spills.

use arrow_flight::FlightData;
use tonic::{Request, Response, Status, Streaming};

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::decode::Looked;
use super::descriptor;
use super::encode::Encoder;
use super::get::{FrameStream, opened_stream};
use super::header::Options;
use super::incoming::Incoming;
use super::put::{no_sources, target};
use super::ticket::Fetch;
use crate::catalog::TableName;
use crate::error::{Error, Result};
use crate::ingest::{Mode, Terms};
use crate::query::ResultStream;
use crate::session::On;

/// What the rows are called in the statement.
const INPUT: &str = "input";

impl FlightServer {
    /// Takes the rows, then runs the statement and streams its result.
    pub(super) async fn exchange(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> std::result::Result<Response<FrameStream>, Status> {
        let caller = self.caller(request.metadata(), request.extensions());
        let mut call = Call::new("DoExchange", &caller);
        let opened = self.open_exchange(&caller, request, &mut call).await;
        opened_stream(opened.map(|(result, encoder)| (result, encoder, None)), call)
    }

    async fn open_exchange(
        &self,
        caller: &Caller,
        request: Request<Streaming<FlightData>>,
        call: &mut Call,
    ) -> Result<(ResultStream, Encoder)> {
        let options = Options::new(request.metadata(), &caller.session);
        let (run_options, compression) = (options.run_options()?, options.compression()?);
        let form = options.form()?;
        if options.names_stream() {
            return Err(Error::unsupported(
                "headers pintail-idempotency-key, pintail-producer and pintail-epoch hold for rows put into a \
                 table (DoPut), not for DoExchange, which would run its statement again",
            ));
        }
        if options.names_sources() {
            return Err(no_sources());
        }
        let (mut incoming, descriptor) =
            Incoming::open(request, "exchange", self.ingest.stream_bytes()).await?;
        let sql = descriptor::exchange(&descriptor)?;
        call.what = crate::error::shorten(&sql, 500);
        call.slow_after(self.slow_query);
        caller.session.check()?;
        // The client is busy, so its transaction is not idle, although this call is not part of it.
        call.hold(caller.session.hold_transactions());
        // A session of its own, so that two exchanges of one client do not meet in one table.
        let scratch = self.sessions.scratch(&caller.session);
        let schema = loop {
            match incoming.next().await? {
                None => break None,
                Some(Looked::Schema(schema)) => break Some(schema),
                Some(_) => {}
            }
        };
        // Without a schema there are no rows, and the statement runs without its input.
        if let Some(schema) = schema.filter(|schema| !schema.fields().is_empty()) {
            incoming.unread(Looked::Schema(schema));
            let table = TableName { catalog: None, schema: None, table: INPUT.into() };
            let (input, _) = target(&scratch, table, Mode::Create, true)?;
            let lease = scratch.lease_for_temporaries(On::Own).await?;
            self.rows(Some(incoming), input, lease, None, Terms::default(), call).await?;
        }
        let fetch = Fetch::Statement { sql, on: On::Auto, owner: scratch.owner() };
        let result = self.open_fetch(&fetch, run_options, call).await?;
        let encoder = Encoder::in_form(result.schema(), form, compression)?;
        Ok((result, encoder))
    }
}
