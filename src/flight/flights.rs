//! ListFlights: every table and view, described as the client takes them.
//! Runs on: the task of the call.
//! Never: describes more tables ahead than one piece holds.

use std::collections::VecDeque;

use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::stream::{self, StreamExt};
use tonic::Status;

use super::call::Call;
use super::caller::Caller;
use super::descriptor::{TEMPORARY, select_all};
use super::form::Form;
use super::metadata::{PIECE_BYTES, schema_size};
use super::ticket::Fetch;
use super::{Answers, FlightServer};
use crate::engine::{self, Connection, TableEntry};
use crate::error::{Error, Kind, Result};
use crate::session::{On, Owner};

/// Tables described at once: short enough to be stopped in between.
const TABLES_AT_ONCE: usize = 256;

/// A listing under way.
struct Listing {
    server: FlightServer,
    owner: Owner,
    form: Form,
    left: VecDeque<TableEntry>,
    ready: VecDeque<(TableEntry, SchemaRef)>,
    call: Call,
}

impl FlightServer {
    /// Every table and view. `criteria`, if not empty, is a prefix of the table's name.
    pub(super) async fn flights(
        &self,
        caller: &Caller,
        criteria: &[u8],
        form: Form,
        mut call: Call,
    ) -> std::result::Result<Answers<FlightInfo>, Status> {
        let listed = match self.begin_flights(caller, criteria).await {
            Ok(listed) => listed,
            Err(error) => return Err(call.failed(error)),
        };
        let owner = caller.session.owner();
        let listing =
            Listing { server: self.clone(), owner, form, left: listed.into(), ready: VecDeque::new(), call };
        let flights = stream::unfold(Some(listing), |listing| async move {
            let mut listing = listing?;
            match listing.next().await {
                Ok(Some(flight)) => {
                    listing.call.rows += 1;
                    Some((Ok(flight), Some(listing)))
                }
                Ok(None) => {
                    listing.call.ok();
                    None
                }
                Err(error) => Some((Err(listing.call.failed(error)), None)),
            }
        });
        Ok(flights.boxed())
    }

    async fn begin_flights(&self, caller: &Caller, criteria: &[u8]) -> Result<Vec<TableEntry>> {
        let prefix = std::str::from_utf8(criteria)
            .map_err(|_| {
                Error::invalid("the criteria expression is not UTF-8; expected a prefix of table names")
            })?
            .to_owned();
        let lease = caller.session.lease(On::Join).await?;
        let tables = self.query.look(lease, move |connection| {
            let mut tables = engine::tables(connection)?;
            tables.retain(|table| table.catalog != TEMPORARY && table.table.starts_with(&prefix));
            Ok(tables)
        });
        tables.await
    }

    fn table_flight(&self, owner: Owner, table: TableEntry, schema: &Schema) -> Result<FlightInfo> {
        let fetch = Fetch::Statement { sql: select_all(&table.to_sql()), on: On::Join, owner };
        self.endpoint_info(fetch, schema, FlightDescriptor::new_path(table.path), table.rows, true)
    }
}

impl Listing {
    async fn next(&mut self) -> Result<Option<FlightInfo>> {
        while self.ready.is_empty() && !self.left.is_empty() {
            let lease = self.server.sessions.of(&self.owner)?.lease_of(&self.owner, On::Join).await?;
            let mut left = std::mem::take(&mut self.left);
            let piece = self.server.query.look(lease, move |connection| {
                let ready = described(connection, &mut left)?;
                Ok((ready, left))
            });
            (self.ready, self.left) = piece.await?;
        }
        let Some((table, schema)) = self.ready.pop_front() else { return Ok(None) };
        self.server.table_flight(self.owner.clone(), table, &self.form.schema(&schema)).map(Some)
    }
}

/// Takes tables off the front of `left` until their schemas fill a piece.
fn described(
    connection: &Connection,
    left: &mut VecDeque<TableEntry>,
) -> Result<VecDeque<(TableEntry, SchemaRef)>> {
    let mut ready = VecDeque::new();
    let mut bytes = 0;
    while bytes < PIECE_BYTES
        && ready.len() < TABLES_AT_ONCE
        && let Some(table) = left.pop_front()
    {
        match engine::describe(connection, &select_all(&table.to_sql())) {
            Ok(one) => {
                bytes += schema_size(&one.schema);
                ready.push_back((table, one.schema));
            }
            // A view over something that is gone must not hide the tables that are there.
            Err(error) if matches!(error.kind(), Kind::Invalid | Kind::NotFound) => {
                tracing::debug!(table = %table.name(), %error, "left out of the listing");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ready)
}
