//! CreatePreparedStatement and ClosePreparedStatement.
//! Runs on: the task of the call.
//! Never: runs the statement.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow_flight::Action;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, ProstMessageExt,
};
use bytes::Bytes;
use prost::Message;

use super::any::unpack;
use super::messages::CreatePreparedStatementResult;
use crate::engine::{self, Class, Parameter};
use crate::error::Result;
use crate::flight::info::schema_message;
use crate::flight::request::{Ask, Call, checked_sql, handle_bytes, on, statement_handle};
use crate::flight::wire::Form;
use crate::query::Query;
use crate::session::{ClientSession, On, Prepared};

/// Prepares a statement and answers its handle, what it takes and what it returns.
pub(super) async fn create(query: &Query, ask: &Ask, action: &Action, call: &mut Call) -> Result<Bytes> {
    let request: ActionCreatePreparedStatementRequest = unpack(action)?;
    let on = on(request.transaction_id.as_deref(), On::Auto)?;
    let sql = checked_sql(request.query)?;
    call.statement(&sql);
    let result = prepare(query, ask, sql, on).await?;
    // arrow-flight's own message knows nothing of `is_update`, so the envelope is made here.
    let type_url = ActionCreatePreparedStatementResult::type_url().to_owned();
    let any = Any { type_url, value: result.encode_to_vec().into() };
    Ok(any.encode_to_vec().into())
}

/// Forgets a prepared statement.
pub(super) fn close(session: &ClientSession, action: &Action) -> Result<()> {
    let request: ActionClosePreparedStatementRequest = unpack(action)?;
    session.forget(statement_handle(&request.prepared_statement_handle)?)
}

async fn prepare(query: &Query, ask: &Ask, sql: String, on: On) -> Result<CreatePreparedStatementResult> {
    let (session, form): (&Arc<ClientSession>, Form) = (ask.session(), ask.form);
    let lease = session.lease(on).await?;
    let text = sql.clone();
    let described = query.catalog(lease, move |connection| {
        let described = engine::describe(connection, &text)?;
        let insert = described.is_count && described.class == Class::Change;
        let bulk = if insert { engine::bulk_insert(connection, &text, &described.parameters)? } else { None };
        Ok((described, bulk))
    });
    let (described, bulk) = described.await?;
    // By the specification a statement that changes something has a result without columns.
    let dataset = if described.is_count { Arc::new(Schema::empty()) } else { Arc::clone(&described.schema) };
    let parameters = parameter_schema(&described.parameters);
    // Clients that know this field send a change as an update, and would lose the rows of a RETURNING.
    let is_update = Some(described.is_count);
    let handle = session.keep(Prepared::new(sql, described, on, bulk))?;
    Ok(CreatePreparedStatementResult {
        prepared_statement_handle: handle_bytes(handle),
        dataset_schema: schema_message(&form.schema(&dataset))?,
        parameter_schema: schema_message(&Form::Plain.schema(&parameters))?,
        is_update,
    })
}

/// A field for each parameter, named after it; `Null` where any type will do.
fn parameter_schema(parameters: &[Parameter]) -> SchemaRef {
    let field = |parameter: &Parameter| Field::new(&parameter.name, parameter.data_type.clone(), true);
    Arc::new(Schema::new(parameters.iter().map(field).collect::<Vec<_>>()))
}
