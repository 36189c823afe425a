//! DoGet: a ticket, or a command's own bytes -> its result.
//! Runs on: the task of the call.
//! Never: makes a change that its ticket was not made for.

use std::sync::Arc;

use arrow_flight::Ticket;
use tonic::Request;

use super::frames::{FrameStream, OpenResult, frames};
use crate::error::Result;
use crate::flight::info::fetch;
use crate::flight::request::{self, Call, CallOptions, Caller, Reply};
use crate::flight::result::Stop;
use crate::flight::server::FlightServer;
use crate::flight::wire::Encoder;
use crate::query::RunOptions;

/// Starts the statement of a ticket, or of command bytes sent as a ticket, and streams its result.
pub(in crate::flight) async fn get(server: &FlightServer, request: Request<Ticket>) -> Reply<FrameStream> {
    let caller = Caller::find(&server.sessions, request.metadata(), request.extensions());
    let mut call = Call::new("DoGet", &caller);
    call.slow_after(server.slow_query);
    let begun = begin(server, &caller, &request, &mut call).await;
    frames(begun, call)
}

async fn begin(
    server: &FlightServer,
    caller: &Caller,
    request: &Request<Ticket>,
    call: &mut Call,
) -> Result<OpenResult> {
    let options = CallOptions::new(request.metadata(), &caller.session);
    let (run_options, compression) = (options.run_options()?, options.compression()?);
    let form = options.form()?;
    let (ticket, results) = (&request.get_ref().ticket, server.infos.results());
    let (fetch, stop) = match server.infos.tickets.redeem(ticket)? {
        Some((fetch, stop)) => (fetch, Some(stop)),
        None => {
            let read = request::read_command(ticket)?;
            (Arc::new(fetch(results, &caller.session, read, call).await?), None)
        }
    };
    // A change has been made before its ticket is, and a ticket may be fetched again.
    let run_options = RunOptions { only_reads: stop.is_some(), ..run_options };
    let result = tokio::select! {
        result = results.open(&fetch, run_options, call) => result?,
        () = told(stop.as_ref()) => return Err(Stop::why()),
    };
    let encoder = Encoder::in_form(result.schema(), form, compression)?;
    Ok(OpenResult { result, encoder, stop })
}

/// Completes when the ticket has been taken back; never for what has none.
async fn told(stop: Option<&Stop>) {
    match stop {
        Some(stop) => stop.told().await,
        None => std::future::pending().await,
    }
}
