//! A prepared statement over the rows bound to it -> what a ticket of it stands for, and its columns.
//! Runs on: the task of the call.
//! Never: turns a parameter into text.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};

use super::fetch::Fetch;
use super::run::Results;
use crate::engine::{self, Bound, Described, Parameter};
use crate::error::Result;
use crate::flight::request::Call;
use crate::query::Query;
use crate::session::{BoundRows, ClientSession, Handle, Prepared};

/// What fetching a prepared statement runs: it, over the rows bound last.
pub(in crate::flight) async fn fetch_prepared(
    results: &Results,
    session: &Arc<ClientSession>,
    handle: Handle,
    call: &mut Call,
) -> Result<Fetch> {
    let prepared = session.prepared(handle)?;
    call.statement(&prepared.sql);
    fetch_bound(results, session, &prepared).await
}

/// What running a prepared statement over the rows bound last does.
pub(in crate::flight) async fn fetch_bound(
    results: &Results,
    session: &Arc<ClientSession>,
    prepared: &Arc<Prepared>,
) -> Result<Fetch> {
    if prepared.described.is_deferred {
        let (sql, on) = (prepared.sql.clone(), session.now(prepared.on));
        return Ok(Fetch::Statement { sql, on, owner: session.owner() });
    }
    let (schema, sql) = result_schema(&results.query, session, prepared).await?;
    let mut described = prepared.described.clone();
    described.schema = schema;
    prepared_fetch(session, prepared, sql, described, prepared.bound())
}

/// A prepared statement over bound rows, ready to be run.
pub(in crate::flight) fn prepared_fetch(
    session: &Arc<ClientSession>,
    prepared: &Arc<Prepared>,
    sql: String,
    described: Described,
    rows: Option<Arc<BoundRows>>,
) -> Result<Fetch> {
    let batches = rows.as_ref().map(|rows| rows.batches.clone());
    let bound = Bound::new(sql, described.parameters.clone(), batches)?;
    Ok(Fetch::Bound { prepared: Arc::clone(prepared), bound, rows, described, owner: session.owner() })
}

/// Schema of the result for the rows bound last, and the text that gives it.
pub(in crate::flight) async fn result_schema(
    query: &Query,
    session: &Arc<ClientSession>,
    prepared: &Arc<Prepared>,
) -> Result<(SchemaRef, String)> {
    let described = &prepared.described;
    let as_it_is = || Ok((Arc::clone(&described.schema), prepared.sql.clone()));
    let Some(bound) = prepared.bound().filter(|_| !described.parameters.is_empty()) else {
        return as_it_is();
    };
    // The engine may know the parameters of a statement and not its result.
    let is_known = described.schema.fields().iter().all(|field| !field.data_type().is_null());
    if described.is_count || (is_known && has_types(&described.parameters, &bound.schema)?) {
        return as_it_is();
    }
    let lease = session.lease(session.now(prepared.on)).await?;
    let prepared = Arc::clone(prepared);
    let described = query.catalog(lease, move |connection| {
        let (schema, rows) = (&bound.schema, &bound.batches);
        engine::describe_bound(connection, &prepared.sql, &prepared.described, schema, rows)
    });
    described.await
}

/// Whether rows of `schema` have exactly the types that the statement was described with, and those are types of which
/// the engine has one for each of Arrow's.
fn has_types(parameters: &[Parameter], schema: &SchemaRef) -> Result<bool> {
    let columns = engine::match_columns(parameters, schema)?;
    let is_plain = |data_type: &DataType| {
        let is_other = matches!(data_type, DataType::Float16 | DataType::UInt64 | DataType::Date64);
        (data_type.is_integer() || data_type.is_floating() || data_type.is_temporal()) && !is_other
            || matches!(data_type, DataType::Boolean | DataType::Utf8)
    };
    let same = |(parameter, column): (&Parameter, &usize)| {
        is_plain(&parameter.data_type) && parameter.data_type == *schema.field(*column).data_type()
    };
    Ok(parameters.iter().zip(&columns).all(same))
}
