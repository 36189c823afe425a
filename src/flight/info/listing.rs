//! ListFlights: every table and view, described as the client takes them.
//! Runs on: the task of the call.
//! Never: describes more tables ahead than one piece holds.

use std::collections::VecDeque;

use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightDescriptor, FlightInfo};
use futures::stream::{self, StreamExt};
use tonic::Response;

use super::endpoint::Endpoints;
use super::infos::Infos;
use crate::engine::{self, Connection, TableEntry};
use crate::error::{Error, Kind, Result};
use crate::flight::metadata::{PIECE_BYTES, schema_size};
use crate::flight::names::{TEMPORARY, select_all};
use crate::flight::request::{Answers, Ask, Call, Reply};
use crate::flight::result::{Asked, Fetch};
use crate::flight::wire::Form;
use crate::session::{On, Owner};

/// Tables described at once: short enough to be stopped in between.
const TABLES_AT_ONCE: usize = 256;

/// A listing under way.
struct Listing {
    infos: Infos,
    owner: Owner,
    form: Form,
    left: VecDeque<TableEntry>,
    ready: VecDeque<(TableEntry, SchemaRef)>,
    call: Call,
}

/// Every table and view. `criteria`, if not empty, is a prefix of the table's name.
pub(in crate::flight) async fn list_flights(
    infos: &Infos,
    ask: &Ask,
    criteria: &[u8],
    mut call: Call,
) -> Reply<Answers<FlightInfo>> {
    let left = match listed(infos, ask, criteria).await {
        Ok(tables) => tables.into(),
        Err(error) => return Err(call.failed(error)),
    };
    let (infos, owner, form) = (infos.clone(), ask.session().owner(), ask.form);
    let listing = Listing { infos, owner, form, left, ready: VecDeque::new(), call };
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
    Ok(Response::new(flights.boxed()))
}

/// The tables and views that `criteria` asks for.
async fn listed(infos: &Infos, ask: &Ask, criteria: &[u8]) -> Result<Vec<TableEntry>> {
    let prefix = std::str::from_utf8(criteria)
        .map_err(|_| {
            Error::invalid("the criteria expression is not UTF-8; expected a prefix of table names")
        })?
        .to_owned();
    let lease = ask.session().lease(On::Join).await?;
    let tables = infos.results().query.catalog(lease, move |connection| {
        let mut tables = engine::tables(connection)?;
        tables.retain(|table| table.catalog != TEMPORARY && table.table.starts_with(&prefix));
        Ok(tables)
    });
    tables.await
}

impl Listing {
    async fn next(&mut self) -> Result<Option<FlightInfo>> {
        let results = self.infos.results();
        while self.ready.is_empty() && !self.left.is_empty() {
            let lease = results.sessions.of(&self.owner)?.lease_of(&self.owner, On::Join).await?;
            let mut left = std::mem::take(&mut self.left);
            let piece = results.query.catalog(lease, move |connection| {
                let ready = described(connection, &mut left)?;
                Ok((ready, left))
            });
            (self.ready, self.left) = piece.await?;
        }
        let Some((table, schema)) = self.ready.pop_front() else { return Ok(None) };
        let (sql, owner) = (select_all(&table.to_sql()), self.owner.clone());
        let endpoint = Endpoints {
            fetches: vec![Fetch::Statement { sql, on: On::Join, owner }],
            schema: &self.form.schema(&schema),
            descriptor: FlightDescriptor::new_path(table.path),
            rows: table.rows,
            asked: Asked::InListing,
        };
        endpoint.issue(&self.infos.tickets).map(Some)
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
        match engine::table_schema(connection, &table) {
            Ok(schema) => {
                bytes += schema_size(&schema);
                ready.push_back((table, schema));
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
