//! Headers and the first message of a DoPut -> what it is for, and how it wants to be taken.
//! Runs on: the task of the call.
//! Never: takes rows.

use arrow_flight::FlightData;
use tonic::{Request, Streaming};

use super::answer::PutOutcome;
use super::puts::Puts;
use crate::error::{Error, Result};
use crate::flight::request::{self, Ask, CallOptions, Caller, PutOptions, Write};
use crate::flight::wire::{Form, Incoming};
use crate::ingest::Ack;

/// A DoPut whose first message has come.
pub(in crate::flight) struct Opened {
    pub(super) ask: Ask,
    pub(super) options: PutOptions,
    pub(super) write: Write,
    pub(super) incoming: Incoming,
}

/// Reads headers and the first message.
pub(in crate::flight) async fn open(
    puts: &Puts,
    caller: Caller,
    request: Request<Streaming<FlightData>>,
) -> Result<Opened> {
    // Before its options are read: some may be gone.
    caller.session.check()?;
    let call_options = CallOptions::new(request.metadata(), &caller.session);
    let options = call_options.put_options(puts.auto_create)?;
    let run = call_options.run_options()?;
    let names_stream = call_options.names_stream();
    let (incoming, descriptor) = Incoming::open(request, "put", puts.ingest.stream_bytes()).await?;
    let write = request::write(&descriptor)?;
    if names_stream && !matches!(write, Write::Table(_) | Write::Ingest { .. }) {
        return Err(Error::unsupported(
            "headers pintail-idempotency-key, pintail-producer and pintail-epoch hold for rows put into a \
             table, not for statements",
        ));
    }
    if options.sources.is_some() && !matches!(write, Write::Table(_)) {
        return Err(no_sources());
    }
    Ok(Opened { ask: Ask { caller, run, form: Form::Plain, endpoints: 1 }, options, write, incoming })
}

/// Says where sources can be declared, to a call that is none of it.
pub(in crate::flight) fn no_sources() -> Error {
    Error::invalid(
        "header pintail-sources holds for DoPut of rows into a table that its descriptor names by a path, not for Flight \
         SQL ingest, statements or DoExchange",
    )
}

impl Opened {
    /// Whether it wants to hear of commits before its end.
    pub(in crate::flight) fn is_in_progress(&self) -> bool {
        self.options.in_progress && matches!(self.write, Write::Table(_) | Write::Ingest { .. })
    }

    /// What acknowledgements before the end say besides their counts.
    pub(super) fn template(&self, puts: &Puts) -> PutOutcome {
        let durable = match &self.write {
            Write::Table(table) => puts.keeps(table),
            Write::Ingest { temporary, .. } => !temporary && puts.keeps_rows,
            _ => true,
        };
        PutOutcome { ack: Ack::default(), durable, on_conflict: self.options.on_conflict, rejects: false }
    }

    /// The table that acknowledgements name.
    pub(super) fn table(&self) -> String {
        match &self.write {
            Write::Table(table) | Write::Ingest { table, .. } => table.to_string(),
            _ => String::new(),
        }
    }
}
