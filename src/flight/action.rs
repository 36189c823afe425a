//! DoAction and ListActions: transactions, prepared statements, sessions and cancelling as the specifications
//! name them, and the server's own actions, named `pintail.*`.
//! Runs on: the task of the call. The server's own answers are JSON.
//! Never: shows a path or a secret.

use std::time::Instant;

use arrow_flight::sql::{
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionEndTransactionRequest,
    Any, EndTransaction, ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightInfo,
    RenewFlightEndpointRequest,
};
use bytes::Bytes;
use pintail_protocol::action;
use pintail_protocol::answer::{IngestStatus, TableStatus};
use prost::Message;
use serde_json::json;

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::descriptor::{TEMPORARY, checked_sql, handle_bytes, on, statement_handle, transaction_handle};
use super::form::Form;
use super::info::{expiration, full_name};
use super::proto::CloseSessionResult;
use crate::catalog::TableName;
use crate::engine::BackupTarget;
use crate::error::{Error, Result};
use crate::session::{ClientSession, On};

/// Actions and what they do.
const ACTIONS: [(&str, &str); 18] = [
    ("BeginTransaction", "opens a transaction; its id goes into statements, and ingest joins it by itself"),
    ("EndTransaction", "commits a transaction or rolls it back"),
    ("CreatePreparedStatement", "prepares a statement; answers its handle, parameters and result schema"),
    ("ClosePreparedStatement", "forgets a prepared statement"),
    ("CancelFlightInfo", "stops the query of a FlightInfo and takes its tickets back"),
    ("CancelQuery", "as CancelFlightInfo, in the older form of Flight SQL"),
    ("RenewFlightEndpoint", "lets the ticket of an endpoint live longer"),
    ("SetSessionOptions", "sets catalog, schema or a pintail-* option for the calls of this session"),
    ("GetSessionOptions", "the options of this session"),
    (
        "CloseSession",
        "gives up the session's transactions, temporary tables, prepared statements and options",
    ),
    (action::STATUS, "sizes, memory, and what is running; answers JSON"),
    (
        action::INGEST_STATUS,
        "where a producer stands, of {\"producer\": name}: newest epoch, and per table the highest durable seq",
    ),
    (
        action::FORGET_LOADS,
        "forgets which files were loaded into a table, of {\"table\": name}; answers JSON with their number of pieces",
    ),
    (action::SCHEMAS, "the declared tables, their versions, and where the database differs; answers JSON"),
    (action::SCHEMA_PLAN, "what applying declarations would change; takes and answers JSON"),
    (
        action::SCHEMA_APPLY,
        "applies declarations in one transaction and puts them in force; takes and answers JSON",
    ),
    (action::CHECKPOINT, "writes the log into the database file; answers JSON when done"),
    (
        action::BACKUP,
        "writes a copy of the database on the server's machine, of {\"to\": file name}; answers JSON when done",
    ),
];

pub(super) fn list() -> Vec<ActionType> {
    ACTIONS
        .iter()
        .map(|(name, what)| ActionType { r#type: (*name).into(), description: (*what).into() })
        .collect()
}

impl FlightServer {
    /// Runs one action and gives its one answer; `None` for an action that answers nothing.
    pub(super) async fn action(
        &self,
        caller: &Caller,
        action: Action,
        form: Form,
        call: &mut Call,
    ) -> Result<Option<Bytes>> {
        let name = action.r#type.as_str();
        call.what = crate::error::shorten(name, 100);
        let session = &caller.session;
        match name {
            "BeginTransaction" => {
                let transaction_id = handle_bytes(session.begin().await?);
                Ok(Some(packed(&ActionBeginTransactionResult { transaction_id })))
            }
            "EndTransaction" => {
                let request: ActionEndTransactionRequest = unpack(&action)?;
                let handle = transaction_handle(&request.transaction_id)?;
                let commit = match request.action() {
                    EndTransaction::Commit => true,
                    EndTransaction::Rollback => false,
                    EndTransaction::Unspecified => {
                        return Err(Error::invalid("EndTransaction: expected the action COMMIT or ROLLBACK"));
                    }
                };
                session.end(handle, commit).await?;
                Ok(None)
            }
            "BeginSavepoint" | "EndSavepoint" => Err(Error::unsupported(
                "DuckDB has no savepoints; use a transaction of its own for what must be undone alone",
            )),
            "CreatePreparedStatement" => {
                let request: ActionCreatePreparedStatementRequest = unpack(&action)?;
                let on = on(request.transaction_id.as_deref(), On::Auto)?;
                let sql = checked_sql(request.query)?;
                call.what = crate::error::shorten(&format!("{name} {sql}"), 500);
                let result = self.create_prepared(session, sql, on, form).await?;
                // arrow-flight's own message knows nothing of `is_update`, so the envelope is made here.
                let type_url = arrow_flight::sql::ActionCreatePreparedStatementResult::type_url().to_owned();
                let any = Any { type_url, value: result.encode_to_vec().into() };
                Ok(Some(any.encode_to_vec().into()))
            }
            "ClosePreparedStatement" => {
                let request: ActionClosePreparedStatementRequest = unpack(&action)?;
                session.forget(statement_handle(&request.prepared_statement_handle)?)?;
                Ok(None)
            }
            "CancelFlightInfo" => {
                let request = CancelFlightInfoRequest::decode(unwrapped(&action.body))
                    .map_err(|error| unreadable(name, &error))?;
                let info = request
                    .info
                    .ok_or_else(|| Error::invalid("CancelFlightInfo: expected the FlightInfo to cancel"))?;
                self.cancel(&info)?;
                let result = CancelFlightInfoResult { status: CancelStatus::Cancelled.into() };
                Ok(Some(result.encode_to_vec().into()))
            }
            "CancelQuery" => {
                let request: ActionCancelQueryRequest = unpack(&action)?;
                let info = FlightInfo::decode(request.info).map_err(|error| unreadable(name, &error))?;
                self.cancel(&info)?;
                // CANCEL_RESULT_CANCELLED of FlightSql.proto.
                Ok(Some(packed(&ActionCancelQueryResult { result: 1 })))
            }
            "RenewFlightEndpoint" => {
                let request = RenewFlightEndpointRequest::decode(unwrapped(&action.body))
                    .map_err(|error| unreadable(name, &error))?;
                let mut endpoint = request
                    .endpoint
                    .ok_or_else(|| Error::invalid("RenewFlightEndpoint: expected the endpoint to renew"))?;
                let ticket = endpoint.ticket.clone().unwrap_or_default();
                self.tickets.renew(&ticket.ticket)?;
                endpoint.expiration_time = Some(expiration());
                Ok(Some(endpoint.encode_to_vec().into()))
            }
            "SetSessionOptions" => self.set_options(session, unwrapped(&action.body)).await.map(Some),
            "GetSessionOptions" => {
                session.check()?;
                Ok(Some(super::option::all(session)))
            }
            "CloseSession" => {
                self.sessions.close(session);
                Ok(Some(CloseSessionResult { status: 1 }.encode_to_vec().into()))
            }
            action::STATUS => Ok(Some(self.status().to_string().into())),
            action::INGEST_STATUS => {
                self.ingest_status(&action.body).map(|answer| Some(answer.to_string().into()))
            }
            action::FORGET_LOADS => {
                Ok(Some(self.forget_loads(session, &action.body).await?.to_string().into()))
            }
            action::SCHEMAS => Ok(Some(self.schemas(&action.body).await?.to_string().into())),
            action::SCHEMA_PLAN => Ok(Some(self.schema_plan(&action.body).await?.to_string().into())),
            action::SCHEMA_APPLY => Ok(Some(self.schema_apply(&action.body).await?.to_string().into())),
            action::CHECKPOINT => {
                let before = self.database.wal_bytes();
                self.query.checkpoint().await?;
                let answer = json!({ "wal_bytes_before": before, "wal_bytes": self.database.wal_bytes() });
                Ok(Some(answer.to_string().into()))
            }
            action::BACKUP => Ok(Some(self.backup(&action.body).await?.to_string().into())),
            other => {
                let known: Vec<String> = list().into_iter().map(|action| action.r#type).collect();
                Err(Error::unsupported(format!(
                    "unknown action \"{}\"; this server has {}",
                    crate::error::shorten(other, 100),
                    known.join(", ")
                )))
            }
        }
    }

    /// Writes a copy of the database. The server writes it itself, on its own disk: a copy streamed to the client
    /// would need the same disk first, because its pages are not written in order.
    async fn backup(&self, body: &[u8]) -> Result<serde_json::Value> {
        let request: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let to = request.get("to").and_then(serde_json::Value::as_str).ok_or_else(|| {
            Error::invalid("pintail.backup: expected a body of {\"to\": \"name of the file to write\"}")
        })?;
        let folder = self.backup_folder.as_deref().ok_or_else(|| {
            Error::invalid(
                "a database in memory has no folder of its own for backups; set database.backup_directory",
            )
        })?;
        let started = Instant::now();
        let bytes = self.query.backup(BackupTarget::find(folder, to)?).await?;
        Ok(json!({ "to": to, "bytes": bytes, "seconds": started.elapsed().as_secs_f64() }))
    }

    /// Takes the tickets of `info` back and stops what fetches them.
    fn cancel(&self, info: &FlightInfo) -> Result<()> {
        let polled = self.polls.cancel(&info.app_metadata);
        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
        let cancelled = tickets.filter(|ticket| self.tickets.cancel(&ticket.ticket)).count();
        if polled || cancelled > 0 {
            return Ok(());
        }
        Err(Error::not_found(
            "nothing to cancel: the FlightInfo is unknown, has expired, or was cancelled before",
        ))
    }

    /// Where a producer can resume: after `seq`, which is null when nothing of it is durable. With several tables
    /// the top-level `seq` is that of the table written last into; `tables` has them all.
    fn ingest_status(&self, body: &[u8]) -> Result<serde_json::Value> {
        let request: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let producer = request.get("producer").and_then(serde_json::Value::as_str).ok_or_else(|| {
            Error::invalid("pintail.ingest_status: expected a body of {\"producer\": \"name\"}")
        })?;
        let status = self.ingest.producer_status(producer);
        let (epoch, tables) = status.map_or((0, Vec::new()), |status| (status.epoch, status.tables));
        let newest = tables.iter().max_by_key(|table| table.used);
        let status = IngestStatus {
            producer: producer.to_owned(),
            epoch,
            seq: newest.map(|table| table.seq),
            rows: newest.map_or(0, |table| table.rows),
            tables: tables
                .iter()
                .map(|table| (table.table.clone(), TableStatus { seq: table.seq, rows: table.rows }))
                .collect(),
        };
        Ok(json!(status))
    }

    /// Forgets which files were loaded into a table. The table and its rows stay, and it need not be there.
    async fn forget_loads(&self, session: &ClientSession, body: &[u8]) -> Result<serde_json::Value> {
        let request: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let table = request.get("table").and_then(serde_json::Value::as_str).ok_or_else(|| {
            Error::invalid("pintail.forget_loads: expected a body of {\"table\": \"schema.table or table\"}")
        })?;
        let table = full_name(&TableName::from_text(table)?, session)?;
        if table.catalog.as_deref() == Some(TEMPORARY) {
            return Err(Error::invalid(format!(
                "table {table}: no files are remembered of temporary tables; expected another table's name"
            )));
        }
        let (table, forgotten) = self.ingest.forget_loads(table).await?;
        Ok(json!({ "table": table, "forgotten": forgotten }))
    }

    fn status(&self) -> serde_json::Value {
        let options = self.database.options();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "database": {
                "bytes": self.database.file_bytes(),
                "wal_bytes": self.database.wal_bytes(),
                "memory_limit_bytes": options.memory_limit_bytes,
                "threads": options.threads,
                "healthy": !self.database.is_lost(),
            },
            "checkpoint": {
                "kept_off_by": self.database.checkpoint_holds().iter().map(|hold| json!({
                    "what": hold.what,
                    "seconds": hold.age.as_secs_f64(),
                })).collect::<Vec<_>>(),
            },
            "backup": { "bytes": self.database.backup_bytes() },
            "memory": {
                "resident_bytes": crate::metrics::resident_bytes(),
                "peak_resident_bytes": crate::metrics::peak_resident_bytes(),
            },
            "ingest": {
                "streams": self.ingest.streams_open(),
                "inflight_bytes": self.ingest.inflight_bytes(),
            },
            "schemas": { "declared": self.declarations.all().len() },
            "query": { "running": self.query.running(), "queued": self.query.queued() },
            "session": {
                "sessions": self.sessions.sessions_open(),
                "transactions": self.sessions.transactions_open(),
            },
        })
    }
}

/// The message inside the `Any` of a Flight SQL action.
fn unpack<M: ProstMessageExt + Default>(action: &Action) -> Result<M> {
    let name = &action.r#type;
    let any = Any::decode(&*action.body).map_err(|error| unreadable(name, &error))?;
    if any.type_url != M::type_url() {
        return Err(Error::invalid(format!(
            "{name}: expected a message of type {}, found \"{}\"",
            M::type_url(),
            crate::error::shorten(&any.type_url, 200)
        )));
    }
    M::decode(&*any.value).map_err(|error| unreadable(name, &error))
}

/// The body of a Flight action, which some clients put into an `Any` although the specification does not.
fn unwrapped(body: &Bytes) -> Bytes {
    match Any::decode(body.clone()) {
        Ok(any) if any.type_url.starts_with("type.googleapis.com/arrow.flight.protocol.") => any.value,
        _ => body.clone(),
    }
}

fn packed(message: &impl ProstMessageExt) -> Bytes {
    message.as_any().encode_to_vec().into()
}

fn unreadable(name: &str, error: &prost::DecodeError) -> Error {
    Error::invalid(format!("{name}: the request cannot be read: {error}"))
}
