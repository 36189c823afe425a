//! GetFlightInfo and GetSchema.
//! Runs on: the task of the call.
//! Never: leaves a change to the fetch of its result: it is made here, once, because a client may never fetch.

use arrow_flight::{FlightDescriptor, FlightInfo, SchemaResult};

use super::change::{Changed, change};
use super::describe::{DescribedFetch, describe};
use super::endpoint::{Endpoints, schema_message};
use super::infos::Infos;
use super::parallel::in_parts;
use crate::engine::Class;
use crate::error::Result;
use crate::flight::request::{self, Ask, Call, Read};
use crate::flight::result::{Asked, result_schema};

/// Schema and endpoint of what `descriptor` asks for; a change has been made when this returns.
pub(in crate::flight) async fn flight_info(
    infos: &Infos,
    ask: &Ask,
    descriptor: FlightDescriptor,
    call: &mut Call,
) -> Result<FlightInfo> {
    let read = request::read(&descriptor)?;
    let DescribedFetch { fetch, schema, class } =
        describe(infos.results(), ask.session(), read, call).await?;
    let (fetches, schema, rows) = if class == Class::Query {
        (in_parts(infos.results(), ask, fetch).await?, schema, None)
    } else {
        let Changed { rows, schema, fetch } = change(&infos.puts, fetch, ask.run.clone(), call).await?;
        (vec![fetch], schema, Some(rows))
    };
    let schema = &ask.form.schema(&schema);
    let asked = Asked::ForItBy(ask.session().share());
    Endpoints { fetches, schema, descriptor, rows, asked }.issue(&infos.tickets, &ask.caller.principal)
}

/// Schema of what `descriptor` asks for.
pub(in crate::flight) async fn schema(
    infos: &Infos,
    ask: &Ask,
    descriptor: &FlightDescriptor,
    call: &mut Call,
) -> Result<SchemaResult> {
    let session = ask.session();
    let schema = match request::read(descriptor)? {
        // Known without values for the parameters.
        Read::Prepared(handle) if !session.prepared(handle)?.described.is_deferred => {
            let prepared = session.prepared(handle)?;
            call.statement(&prepared.sql);
            result_schema(&infos.results().query, session, &prepared).await?.0
        }
        read => describe(infos.results(), session, read, call).await?.schema,
    };
    Ok(SchemaResult { schema: schema_message(&ask.form.schema(&schema))? })
}
