//! DoExchange: rows up, a statement over them as the table `input`, its result down.
//! Runs on: the task of the call.
//! Never: keeps the rows in memory; they go into a temporary table of a connection of their own, which spills.

use arrow_flight::FlightData;
use pintail_protocol::decode::CheckedMessage;
use tonic::{Request, Streaming};

use super::frames::{FrameStream, OpenResult, frames};
use crate::catalog::TableName;
use crate::error::{Error, Result};
use crate::flight::head;
use crate::flight::put::{Destination, PutTable, RowStream, no_sources, store};
use crate::flight::request::{self, Call, CallOptions, Caller, Reply};
use crate::flight::result::Fetch;
use crate::flight::server::FlightServer;
use crate::flight::wire::{Encoder, Incoming};
use crate::ingest::{Ingest, Mode, Terms};
use crate::session::{ClientSession, On};

/// What the rows are called in the statement.
const INPUT: &str = "input";

/// Takes the rows, then runs the statement and streams its result.
pub(in crate::flight) async fn exchange(
    server: &FlightServer,
    request: Request<Streaming<FlightData>>,
) -> Reply<FrameStream> {
    let (caller, mut call) = server.begin("DoExchange", head(&request)).await?;
    let begun = begin(server, &caller, request, &mut call).await;
    frames(begun, call)
}

async fn begin(
    server: &FlightServer,
    caller: &Caller,
    request: Request<Streaming<FlightData>>,
    call: &mut Call,
) -> Result<OpenResult> {
    let options = CallOptions::new(request.metadata(), &caller.session);
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
    let ingest = &server.infos.puts.ingest;
    let (incoming, descriptor) = Incoming::open(request, "exchange", ingest.stream_bytes()).await?;
    let sql = request::exchange_statement(&descriptor)?;
    call.statement(&sql);
    call.slow_after(server.slow_query);
    caller.session.check()?;
    // The client is busy, so its transaction is not idle, although this call is not part of it.
    call.hold(caller.session.hold_transactions());
    // A session of its own, so that two exchanges of one client do not meet in one table.
    let scratch = server.sessions.scratch(&caller.session);
    take_input(ingest, &scratch, incoming, call).await?;
    let fetch = Fetch::Statement { sql, on: On::Auto, owner: scratch.owner() };
    let result = server.infos.results().open(&fetch, run_options, call).await?;
    let encoder = Encoder::in_form(result.schema(), form, compression)?;
    Ok(OpenResult { result, encoder, stop: None })
}

/// Puts the rows into a temporary table. Without a schema there are none, and the statement runs without its input.
async fn take_input(
    ingest: &Ingest,
    scratch: &std::sync::Arc<ClientSession>,
    mut incoming: Incoming,
    call: &mut Call,
) -> Result<()> {
    let schema = loop {
        match incoming.next().await? {
            None => return Ok(()),
            Some(CheckedMessage::Schema(schema)) => break schema,
            Some(_) => {}
        }
    };
    if schema.fields().is_empty() {
        return Ok(());
    }
    incoming.unread(CheckedMessage::Schema(schema));
    let name = TableName { catalog: None, schema: None, table: INPUT.into() };
    let table = PutTable::temporary(name, Mode::Create)?;
    let lease = scratch.lease_for_temporaries(On::Own).await?;
    let destination =
        Destination { target: table.target(), lease: lease.of_the_server(), terms: Terms::default() };
    store(ingest, RowStream::coming(incoming), destination, call).await.map(|_| ())
}
