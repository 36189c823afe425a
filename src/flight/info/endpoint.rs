//! Schema and tickets -> FlightInfo and SchemaResult as they travel.
//! Runs on: async tasks; pure, except for the ticket that is issued.

use std::time::SystemTime;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket};
use bytes::Bytes;
use prost_types::Timestamp;

use crate::error::{Error, Result};
use crate::flight::result::{Asked, Fetch, LIFETIME, Tickets};

/// A result that gets a ticket for each of its endpoints.
pub(super) struct Endpoints<'a> {
    pub(super) fetches: Vec<Fetch>,
    /// Its columns as the client takes them.
    pub(super) schema: &'a Schema,
    pub(super) descriptor: FlightDescriptor,
    /// Its rows, where they are known.
    pub(super) rows: Option<u64>,
    pub(super) asked: Asked<'a>,
}

impl Endpoints<'_> {
    /// FlightInfo with an endpoint for each fetch. The rows of one have their order; those of several come as they come.
    pub(super) fn issue(self, tickets: &Tickets) -> Result<FlightInfo> {
        let is_ordered = self.fetches.len() == 1;
        let mut info = info(self.schema, self.descriptor, self.rows)?.with_ordered(is_ordered);
        for fetch in self.fetches {
            let repeats = fetch.can_repeat();
            let ticket = tickets.issue(fetch, self.asked)?;
            let mut endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
            // By the specification an expiration time says that the ticket may be fetched again until then.
            if repeats {
                endpoint.expiration_time = Some(expiration());
            }
            info = info.with_endpoint(endpoint);
        }
        Ok(info)
    }
}

/// FlightInfo without endpoints.
pub(super) fn info(schema: &Schema, descriptor: FlightDescriptor, rows: Option<u64>) -> Result<FlightInfo> {
    Ok(FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))?
        .with_descriptor(descriptor)
        .with_total_records(rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1))
        .with_total_bytes(-1)
        .with_ordered(true))
}

/// When a ticket made now expires.
pub(in crate::flight) fn expiration() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let until = now + LIFETIME;
    Timestamp { seconds: i64::try_from(until.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
}

/// A schema as an encapsulated IPC message.
pub(in crate::flight) fn schema_message(schema: &Schema) -> Result<Bytes> {
    let message: std::result::Result<IpcMessage, _> =
        SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    message
        .map(|message| message.0)
        .map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))
}
