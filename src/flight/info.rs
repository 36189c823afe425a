//! GetFlightInfo, GetSchema: what a result will look like, and where to fetch it.
//! Runs on: the task of the call.
//! Never: runs a SELECT, except one whose columns are known only once it runs (PIVOT). A change runs here, once,
//! because a client may never fetch its result.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::StreamExt;
use prost_types::Timestamp;

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::descriptor::{self, Read, TEMPORARY, own_or_refused, select_all};
use super::form::Form;
use super::get::changed_rows;
use super::ticket::{self, Fetch};
use crate::catalog::TableName;
use crate::engine::{self, Class};
use crate::error::{Error, Result};
use crate::query::{ResultStream, RunOptions};
use crate::session::{ClientSession, On};

/// Bytes that the result of a change (its RETURNING rows) may take; they wait in memory until fetched.
const RETURNING_BYTES_MAX: u64 = 64 << 20;

/// What a change did.
pub(super) struct Changed {
    pub(super) rows: u64,
    pub(super) schema: Arc<Schema>,
    pub(super) fetch: Fetch,
}

impl FlightServer {
    /// Schema and endpoint of what `descriptor` asks for; a change has been made when this returns.
    pub(super) async fn flight_info(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
        options: RunOptions,
        form: Form,
        call: &mut Call,
    ) -> Result<FlightInfo> {
        let read = descriptor::read(&descriptor)?;
        let (fetch, schema, class) = self.described(&caller.session, read, call).await?;
        if class == Class::Query {
            return self.endpoint_info(fetch, &form.schema(&schema), descriptor, None, false);
        }
        let Changed { rows, schema, fetch } = self.change(fetch, options, call).await?;
        self.endpoint_info(fetch, &form.schema(&schema), descriptor, Some(rows), false)
    }

    /// Makes a change and keeps its result for a fetch.
    ///
    /// Errors: `Exhausted` when RETURNING gives more rows than can wait; the change is rolled back then.
    pub(super) async fn change(&self, fetch: Fetch, options: RunOptions, call: &mut Call) -> Result<Changed> {
        if let Some(rows) = self.change_in_bulk(&fetch, call).await? {
            let batches = vec![engine::count_batch(rows)?];
            let schema = batches[0].schema();
            let fetch = Fetch::Stored { schema: Arc::clone(&schema), class: Class::Change, batches };
            return Ok(Changed { rows, schema, fetch });
        }
        let options = RunOptions { returned_bytes_max: Some(RETURNING_BYTES_MAX), ..options };
        let mut result = self.open_fetch(&fetch, options, call).await?;
        let (rows, batches) = run_to_end(&mut result).await?;
        call.rows = rows;
        let (schema, class) = (Arc::clone(result.schema()), result.class());
        let fetch = Fetch::Stored { schema: Arc::clone(&schema), class, batches };
        Ok(Changed { rows, schema, fetch })
    }

    /// What `read` asks for, ready to be fetched.
    pub(super) async fn fetch(
        &self,
        session: &Arc<ClientSession>,
        read: Read,
        call: &mut Call,
    ) -> Result<Fetch> {
        let owner = session.owner();
        Ok(match read {
            Read::Statement(sql, on) => Fetch::Statement { sql, on, owner },
            Read::Table(name) => {
                let sql = select_all(&full_name(&name, session)?.to_sql());
                Fetch::Statement { sql, on: On::Join, owner }
            }
            Read::Metadata(metadata) => Fetch::Metadata { metadata, owner },
            Read::Prepared(handle) => self.fetch_prepared(session, handle, call).await?,
        })
    }

    /// [`Self::fetch`], with the schema of its result and what running it does.
    pub(super) async fn described(
        &self,
        session: &Arc<ClientSession>,
        read: Read,
        call: &mut Call,
    ) -> Result<(Fetch, Arc<Schema>, Class)> {
        let fetch = self.fetch(session, read, call).await?;
        let (schema, class) = match &fetch {
            Fetch::Statement { sql, on, .. } => {
                call.what = crate::error::shorten(sql, 500);
                let (lease, sql) = (session.lease(*on).await?, sql.clone());
                let described = self
                    .query
                    .look(lease, move |connection| engine::describe(connection, &sql)?.without_parameters());
                let described = described.await?;
                if described.is_deferred {
                    // Its columns are known only once it runs: it begins here, and is fetched from there.
                    let result = self.open_fetch(&fetch, RunOptions::default(), call).await?;
                    let schema = Arc::clone(result.schema());
                    return Ok((Fetch::begun(result), schema, Class::Query));
                }
                (described.schema, described.class)
            }
            Fetch::Bound { bound, described, .. } => {
                call.what = crate::error::shorten(bound.sql(), 500);
                (Arc::clone(&described.schema), described.class)
            }
            Fetch::Metadata { metadata, .. } => {
                call.what = metadata.name().to_owned();
                (metadata.schema(), Class::Query)
            }
            Fetch::Stored { schema, class, .. } => (Arc::clone(schema), *class),
            Fetch::Begun(_) => return Err(Error::internal("a result that has begun was described")),
        };
        Ok((fetch, schema, class))
    }

    /// FlightInfo with one endpoint for `fetch`.
    pub(super) fn endpoint_info(
        &self,
        fetch: Fetch,
        schema: &Schema,
        descriptor: FlightDescriptor,
        rows: Option<u64>,
        listed: bool,
    ) -> Result<FlightInfo> {
        let repeats = fetch.can_repeat();
        let mut endpoint = FlightEndpoint::new().with_ticket(Ticket::new(self.tickets.issue(fetch, listed)?));
        // By the specification an expiration time says that the ticket may be fetched again until then.
        if repeats {
            endpoint.expiration_time = Some(expiration());
        }
        Ok(info(schema, descriptor, rows)?.with_endpoint(endpoint))
    }

    /// Schema of what `descriptor` asks for.
    pub(super) async fn schema(
        &self,
        caller: &Caller,
        descriptor: &FlightDescriptor,
        form: Form,
        call: &mut Call,
    ) -> Result<SchemaResult> {
        let schema = match descriptor::read(descriptor)? {
            // Known without values for the parameters.
            Read::Prepared(handle) if !caller.session.prepared(handle)?.described.is_deferred => {
                let prepared = caller.session.prepared(handle)?;
                call.what = crate::error::shorten(&prepared.sql, 500);
                self.result_schema(&caller.session, &prepared).await?.0
            }
            read => self.described(&caller.session, read, call).await?.1,
        };
        Ok(SchemaResult { schema: ipc(&form.schema(&schema))? })
    }
}

/// `name` with the session's catalog and schema where it has none: a temporary table of the same name would
/// otherwise come first.
///
/// Errors: `NotFound` for a catalog that is neither the database's own nor that of temporary tables.
pub(super) fn full_name(name: &TableName, session: &ClientSession) -> Result<TableName> {
    let path = session.path();
    let catalog = match name.catalog.as_deref() {
        Some(catalog) if catalog.eq_ignore_ascii_case(TEMPORARY) => return temporary_name(name),
        Some(catalog) => own_or_refused(catalog, session)?,
        None => path.catalog,
    };
    let schema = name.schema.clone().unwrap_or(path.schema);
    Ok(TableName { catalog: Some(catalog), schema: Some(schema), table: name.table.clone() })
}

/// The full name of a temporary table.
///
/// Errors: `Invalid` for a name that is another place's.
pub(super) fn temporary_name(name: &TableName) -> Result<TableName> {
    let is = |part: &Option<String>, only: &str| {
        part.as_deref().is_none_or(|part| part.eq_ignore_ascii_case(only))
    };
    // With a schema alone, the catalog would be the database's own.
    let is_elsewhere = name.schema.is_some() && name.catalog.is_none();
    if is_elsewhere || !is(&name.catalog, TEMPORARY) || !is(&name.schema, "main") {
        return Err(Error::invalid(format!(
            "temporary table {name}: temporary tables live in the catalog temp and its one schema main; leave catalog \
             and schema out"
        )));
    }
    let (catalog, schema) = (Some(TEMPORARY.to_owned()), Some("main".to_owned()));
    Ok(TableName { catalog, schema, table: name.table.clone() })
}

/// Runs a change to its end: rows changed, and what it returns.
async fn run_to_end(result: &mut ResultStream) -> Result<(u64, Vec<RecordBatch>)> {
    let mut rows = 0;
    let mut batches = Vec::new();
    while let Some(batch) = result.next().await {
        let batch = batch?;
        rows += changed_rows(&batch, result.class());
        batches.push(batch);
    }
    Ok((rows, batches))
}

/// When a ticket made now expires.
pub(super) fn expiration() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let until = now + ticket::LIFETIME;
    Timestamp { seconds: i64::try_from(until.as_secs()).unwrap_or(i64::MAX), nanos: 0 }
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

/// A schema as an encapsulated IPC message.
pub(super) fn ipc(schema: &Schema) -> Result<Bytes> {
    let message: std::result::Result<IpcMessage, _> =
        SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into();
    message
        .map(|message| message.0)
        .map_err(|error| Error::internal(format!("the schema cannot be encoded: {error}")))
}
