//! GetFlightInfo, GetSchema, ListFlights: what a result will look like, and where to fetch it.
//! Runs on: the task of the call.
//! Never: runs the statement.

use std::time::SystemTime;

use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, SchemaResult, Ticket};
use prost_types::Timestamp;

use super::call::Call;
use super::descriptor::{self, Read, select_all};
use super::{FlightServer, ticket};
use crate::engine::{Class, TableInfo};
use crate::error::{Error, Result};

impl FlightServer {
    /// Schema and endpoint of what `descriptor` asks for.
    pub(super) async fn flight_info(
        &self,
        descriptor: FlightDescriptor,
        call: &mut Call,
    ) -> Result<FlightInfo> {
        let read = descriptor::read(&descriptor)?;
        let sql = read.clone().into_sql();
        call.what = crate::error::shorten(&sql, 500);
        let described = self.query.describe(sql.clone()).await?;
        let ticket = match read {
            Read::Table(_) => self.tickets.issue_table(sql)?,
            Read::Sql(_) => self.tickets.issue(sql, described.class)?,
        };
        info(&described.schema, descriptor, Some(endpoint(ticket, described.class)), None)
    }

    /// Schema of what `descriptor` asks for.
    pub(super) async fn schema(
        &self,
        descriptor: &FlightDescriptor,
        call: &mut Call,
    ) -> Result<SchemaResult> {
        let sql = descriptor::read(descriptor)?.into_sql();
        call.what = crate::error::shorten(&sql, 500);
        let described = self.query.describe(sql).await?;
        SchemaAsIpc::new(&described.schema, &IpcWriteOptions::default())
            .try_into()
            .map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))
    }

    /// Every table and view. `criteria`, if not empty, is a prefix of the table's name.
    pub(super) async fn flights(&self, criteria: &[u8], call: &mut Call) -> Result<Vec<FlightInfo>> {
        let prefix = std::str::from_utf8(criteria).map_err(|_| {
            Error::invalid("the criteria expression is not UTF-8; expected a prefix of table names")
        })?;
        let mut flights = Vec::new();
        for table in self.query.list_tables().await? {
            if !table.name.table.starts_with(prefix) {
                continue;
            }
            flights.push(self.table_flight(table).await?);
        }
        call.rows = flights.len() as u64;
        Ok(flights)
    }

    async fn table_flight(&self, table: TableInfo) -> Result<FlightInfo> {
        let sql = select_all(&table.name);
        let described = self.query.describe(sql.clone()).await?;
        let endpoint = endpoint(self.tickets.issue_table(sql)?, Class::Query);
        let path = table.name.parts().map(str::to_owned).collect();
        info(&described.schema, FlightDescriptor::new_path(path), Some(endpoint), table.rows)
    }
}

fn endpoint(ticket: bytes::Bytes, class: Class) -> FlightEndpoint {
    let mut endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
    // By the specification an expiration time says that the ticket may be fetched again until then.
    if class == Class::Query
        && let Ok(now) = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)
    {
        let until = now + ticket::LIFETIME;
        endpoint.expiration_time =
            Some(Timestamp { seconds: i64::try_from(until.as_secs()).unwrap_or(i64::MAX), nanos: 0 });
    }
    endpoint
}

fn info(
    schema: &Schema,
    descriptor: FlightDescriptor,
    endpoint: Option<FlightEndpoint>,
    rows: Option<u64>,
) -> Result<FlightInfo> {
    let mut info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))?
        .with_descriptor(descriptor)
        .with_total_records(rows.and_then(|rows| i64::try_from(rows).ok()).unwrap_or(-1))
        .with_total_bytes(-1)
        .with_ordered(true);
    if let Some(endpoint) = endpoint {
        info = info.with_endpoint(endpoint);
    }
    Ok(info)
}
