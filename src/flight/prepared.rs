//! Prepared statements: create, bind, run, close.
//! Runs on: the task of the call.
//! Never: turns a parameter into text; runs a statement more than once per bound row.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use super::FlightServer;
use super::call::Call;
use super::decode::Looked;
use super::descriptor::handle_bytes;
use super::form::Form;
use super::get::count_changed;
use super::incoming::Incoming;
use super::info::{full_name, ipc};
use super::proto::CreatePreparedStatementResult;
use super::ticket::Fetch;
use crate::engine::{self, Bound, BulkInsert, Class, Described, Parameter};
use crate::error::{Error, Result};
use crate::ingest::{Target, Terms};
use crate::query::RunOptions;
use crate::session::{BoundRows, ClientSession, Handle, On, Prepared, Room};

/// An INSERT bound with more rows than this takes them as a bulk load. Below it,
/// running the prepared statement row by row is faster.
const BULK_ROWS: usize = 16;

impl FlightServer {
    /// Prepares `sql` and says what it takes and returns.
    pub(super) async fn create_prepared(
        &self,
        session: &Arc<ClientSession>,
        sql: String,
        on: On,
        form: Form,
    ) -> Result<CreatePreparedStatementResult> {
        let lease = session.lease(on).await?;
        let text = sql.clone();
        let described = self.query.look(lease, move |connection| {
            let described = engine::describe(connection, &text)?;
            let insert = described.is_count && described.class == Class::Change;
            let bulk =
                if insert { engine::bulk_insert(connection, &text, &described.parameters)? } else { None };
            Ok((described, bulk))
        });
        let (described, bulk) = described.await?;
        // By the specification a statement that changes something has a result without columns.
        let dataset =
            if described.is_count { Arc::new(Schema::empty()) } else { Arc::clone(&described.schema) };
        let parameters = parameter_schema(&described.parameters);
        // Clients that know this field send a change as an update, and would lose the rows of a RETURNING.
        let is_update = Some(described.is_count);
        let handle = session.keep(Prepared::new(sql, described, on, bulk))?;
        Ok(CreatePreparedStatementResult {
            prepared_statement_handle: handle_bytes(handle),
            dataset_schema: ipc(&form.schema(&dataset))?,
            parameter_schema: ipc(&Form::Plain.schema(&parameters))?,
            is_update,
        })
    }

    /// What fetching a prepared statement runs: it, over the rows bound last.
    pub(super) async fn fetch_prepared(
        &self,
        session: &Arc<ClientSession>,
        handle: Handle,
        call: &mut Call,
    ) -> Result<Fetch> {
        let prepared = session.prepared(handle)?;
        call.what = crate::error::shorten(&prepared.sql, 500);
        if prepared.described.is_deferred {
            let (sql, on) = (prepared.sql.clone(), session.now(prepared.on));
            return Ok(Fetch::Statement { sql, on, owner: session.owner() });
        }
        let (schema, sql) = self.result_schema(session, &prepared).await?;
        let mut described = prepared.described.clone();
        described.schema = schema;
        prepared_fetch(session, &prepared, (sql, described), prepared.bound())
    }

    /// Takes the bound rows of an INSERT in as a bulk load and counts them; `None` when that is not to be.
    pub(super) async fn change_in_bulk(&self, fetch: &Fetch, call: &mut Call) -> Result<Option<u64>> {
        let Fetch::Bound { prepared, bound, owner, .. } = fetch else { return Ok(None) };
        let (Some(insert), Some(first)) = (&prepared.bulk, bound.rows().first()) else { return Ok(None) };
        let rows: usize = bound.rows().iter().map(RecordBatch::num_rows).sum();
        let session = self.sessions.of(owner)?;
        if rows <= self.bulk_rows(&session, insert) {
            return Ok(None);
        }
        let columns = engine::match_columns(&prepared.described.parameters, first.schema_ref())?;
        let begun = (bound.rows().to_vec(), columns);
        self.bulk(&session, prepared, insert, None, begun, call).await.map(Some)
    }

    /// Rows up to which an INSERT runs as the prepared statement, row by row. Into a declared table it never does: its
    /// declaration is looked at for whole batches.
    fn bulk_rows(&self, session: &ClientSession, bulk: &BulkInsert) -> usize {
        let table = bulk.table.as_ref().and_then(|table| full_name(table, session).ok());
        let is_declared = table.is_some_and(|table| self.ingest.is_declared(&table));
        match (is_declared, bulk.is_one_by_one && bulk.conflict_key.is_none()) {
            (true, _) => 0,
            // Row by row either way, and the prepared statement is faster at that.
            (false, true) => usize::MAX,
            (false, false) => BULK_ROWS,
        }
    }

    async fn bulk(
        &self,
        session: &Arc<ClientSession>,
        prepared: &Prepared,
        insert: &BulkInsert,
        incoming: Option<Incoming>,
        begun: (Vec<RecordBatch>, Vec<usize>),
        call: &mut Call,
    ) -> Result<u64> {
        let lease = session.lease(session.now(prepared.on)).await?;
        let table = insert.table.as_ref().map(|table| full_name(table, session)).transpose()?;
        let target = Target::Statement { bulk: Box::new(insert.clone()), table };
        let summary = self.rows(incoming, target, lease, Some(begun), Terms::default(), call).await?;
        Ok(summary.ack.counts.inserted)
    }

    /// Schema of the result for the rows bound last, and the text that gives it.
    pub(super) async fn result_schema(
        &self,
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
        let described = self.query.look(lease, move |connection| {
            let (schema, rows) = (&bound.schema, &bound.batches);
            engine::describe_bound(connection, &prepared.sql, &prepared.described, schema, rows)
        });
        described.await
    }

    /// Keeps the rows of a stream for the parameters of a prepared statement.
    pub(super) async fn bind(
        &self,
        session: &Arc<ClientSession>,
        handle: Handle,
        mut incoming: Incoming,
        call: &mut Call,
    ) -> Result<Bytes> {
        let prepared = session.prepared(handle)?;
        call.what = crate::error::shorten(&prepared.sql, 200);
        let mut rows = Gathered::new(session);
        while let Some(looked) = incoming.next().await? {
            rows.take(&mut incoming, looked)?;
        }
        let rows = rows.bound(&prepared.described.parameters)?;
        call.rows = rows.batches.iter().map(|batch| batch.num_rows() as u64).sum();
        prepared.bind(rows);
        Ok(handle_bytes(handle))
    }

    /// Runs a prepared statement over the rows of a stream, or over those bound before, and counts the changed
    /// rows.
    pub(super) async fn prepared_update(
        &self,
        session: &Arc<ClientSession>,
        handle: Handle,
        mut incoming: Incoming,
        options: RunOptions,
        call: &mut Call,
    ) -> Result<u64> {
        let prepared = session.prepared(handle)?;
        call.what = crate::error::shorten(&prepared.sql, 200);
        let parameters = &prepared.described.parameters;
        let mut rows = Gathered::new(session);
        while let Some(looked) = incoming.next().await? {
            rows.take(&mut incoming, looked)?;
            let bulk = prepared.bulk.as_ref().zip(rows.schema.clone());
            if let Some((insert, schema)) = bulk
                && rows.rows() > self.bulk_rows(session, insert)
            {
                let columns = engine::match_columns(parameters, &schema)?;
                return self
                    .bulk(session, &prepared, insert, Some(incoming), (rows.batches, columns), call)
                    .await;
            }
        }
        let bound = if rows.is_empty() { prepared.bound() } else { Some(Arc::new(rows.bound(parameters)?)) };
        let as_it_is = (prepared.sql.clone(), prepared.described.clone());
        let fetch = prepared_fetch(session, &prepared, as_it_is, bound)?;
        if let Some(changed) = self.change_in_bulk(&fetch, call).await? {
            return Ok(changed);
        }
        let changed = count_changed(self.open_fetch(&fetch, options, call).await?).await?;
        call.rows = changed;
        Ok(changed)
    }
}

/// A prepared statement over bound rows, ready to be run.
fn prepared_fetch(
    session: &Arc<ClientSession>,
    prepared: &Arc<Prepared>,
    (sql, described): (String, Described),
    rows: Option<Arc<BoundRows>>,
) -> Result<Fetch> {
    let batches = rows.as_ref().map(|rows| rows.batches.clone());
    let bound = Bound::new(sql, described.parameters.clone(), batches)?;
    Ok(Fetch::Bound { prepared: Arc::clone(prepared), bound, rows, described, owner: session.owner() })
}

/// Rows gathered from a stream for a statement's parameters.
struct Gathered<'a> {
    session: &'a ClientSession,
    // Of the rows in their plain form.
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    room: Vec<Room>,
}

impl<'a> Gathered<'a> {
    fn new(session: &'a ClientSession) -> Self {
        Self { session, schema: None, batches: Vec::new(), room: Vec::new() }
    }

    /// Takes what came last, once there is room for it in its plain form.
    fn take(&mut self, incoming: &mut Incoming, looked: Looked) -> Result<()> {
        match looked {
            Looked::Schema(schema) => self.schema = Some(engine::plain_schema(&schema)),
            Looked::Rows(waiting) => {
                let plain =
                    self.schema.as_ref().ok_or_else(|| Error::invalid("rows arrived before their schema"))?;
                self.room.push(self.session.room(waiting.held_bytes())?);
                let batch = incoming.rows(waiting)?;
                if engine::may_expand(batch.schema_ref(), plain) {
                    let most = self.session.bound_bytes_max();
                    self.room.push(self.session.room(engine::expansion(&batch, plain, most))?);
                }
                self.batches.push(engine::plain_batch(batch, plain)?);
            }
            Looked::Dictionary(waiting) => {
                self.room.push(self.session.room(waiting.held_bytes())?);
                incoming.dictionary(waiting)?;
            }
            Looked::Nothing => {}
        }
        Ok(())
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// Whether nothing was sent for the parameters. Some clients send an empty schema when there are none.
    fn is_empty(&self) -> bool {
        self.schema.as_ref().is_none_or(|schema| schema.fields().is_empty())
    }

    fn bound(self, parameters: &[Parameter]) -> Result<BoundRows> {
        let schema = self.schema.unwrap_or_else(|| Arc::new(Schema::empty()));
        engine::match_columns(parameters, &schema)?;
        Ok(BoundRows { schema, batches: self.batches, room: self.room })
    }
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

/// A field for each parameter, named after it; `Null` where any type will do.
fn parameter_schema(parameters: &[Parameter]) -> SchemaRef {
    let field = |parameter: &Parameter| Field::new(&parameter.name, parameter.data_type.clone(), true);
    Arc::new(Schema::new(parameters.iter().map(field).collect::<Vec<_>>()))
}
