//! DoAction and ListActions: transactions, prepared statements, sessions and cancelling as the specifications
//! name them, and the server's own actions, named `pintail.*`.
//! Runs on: the task of the call. The server's own answers are JSON.
//! Never: shows a path or a secret.

mod accounts;
mod any;
mod declared_tables;
mod grants;
mod ingest;
mod list;
mod load;
mod messages;
mod operations;
mod prepare;
mod session_options;
mod status;
mod tickets;
mod transactions;

use std::sync::Arc;

use arrow_flight::Action;
use bytes::Bytes;
use pintail_protocol::action;
use prost::Message;
use serde_json::Value;

pub(super) use list::list;
pub(super) use load::load;
pub(super) use status::status;

use super::request::{Ask, Call};
use super::server::{DeclaredTables, FlightServer};
use crate::engine::Access;
use crate::error::{Error, Result, shorten};
use any::unwrapped;
use messages::CloseSessionResult;

/// Runs one action and gives its one answer; `None` for an action that answers nothing.
pub(super) async fn run(
    server: &FlightServer,
    ask: &Ask,
    action: &Action,
    call: &mut Call,
) -> Result<Option<Bytes>> {
    let name = action.r#type.as_str();
    call.about(&described(action));
    if let Some(answer) = own(server, ask, action).await? {
        return Ok(Some(answer.to_string().into()));
    }
    let (session, tickets) = (ask.session(), &server.infos.tickets);
    let answer = match name {
        "BeginTransaction" => transactions::begin(session).await?,
        "EndTransaction" => return transactions::end(session, action).await.map(|()| None),
        "BeginSavepoint" | "EndSavepoint" => {
            return Err(Error::unsupported(
                "DuckDB has no savepoints; use a transaction of its own for what must be undone alone",
            ));
        }
        "CreatePreparedStatement" => {
            prepare::create(&server.infos.results().query, ask, action, call).await?
        }
        "ClosePreparedStatement" => return prepare::close(session, action).map(|()| None),
        "CancelFlightInfo" => tickets::cancel_flight_info(tickets, &server.polls, ask, action)?,
        "CancelQuery" => tickets::cancel_query(tickets, &server.polls, ask, action)?,
        "RenewFlightEndpoint" => tickets::renew(tickets, ask, action)?,
        "SetSessionOptions" => session_options::set(session, unwrapped(&action.body)).await?,
        "GetSessionOptions" => {
            session.check()?;
            session_options::all(session)
        }
        "CloseSession" => {
            server.sessions.close(session);
            CloseSessionResult { status: 1 }.encode_to_vec().into()
        }
        other => return Err(unknown(other)),
    };
    Ok(Some(answer))
}

/// Runs one of the server's own actions, if it is one.
async fn own(server: &FlightServer, ask: &Ask, action: &Action) -> Result<Option<Value>> {
    let FlightServer { database, operations, backup_folder, declared_tables, .. } = server;
    let access = ask.session().access();
    if let (
        Some(access),
        action::STATUS
        | action::SCHEMA_PLAN
        | action::SCHEMA_APPLY
        | action::CHECKPOINT
        | action::BACKUP
        | action::GRANT
        | action::REVOKE,
    ) = (&access, action.r#type.as_str())
    {
        return Err(access.only_admins(&format!("the action {}", action.r#type)));
    }
    let (body, ingest) = (&action.body, &server.infos.puts.ingest);
    let answer = match action.r#type.as_str() {
        action::STATUS => status(server),
        action::INGEST_STATUS => ingest::producer_status(ingest, access.as_deref(), body)?,
        action::FORGET_LOADS => ingest::forget_loads(ingest, ask.session(), body).await?,
        action::SCHEMAS => declared_tables::list(declared_tables, access, body).await?,
        action::SCHEMA_PLAN => declared_tables::plan(declared_tables, body).await?,
        action::SCHEMA_APPLY => declared_tables::apply(declared_tables, body).await?,
        action::GRANT => grants::grant(server, body).await?,
        action::REVOKE => grants::revoke(server, body).await?,
        action::GRANTS => grants::list(server, ask),
        action::CHECKPOINT => operations::checkpoint(operations, database).await?,
        action::BACKUP => operations::backup(operations, backup_folder.as_deref(), body).await?,
        _ => return accounts::run(server, ask, action).await,
    };
    Ok(Some(answer))
}

/// An action and what of its body may be told: whom and what it is for, never a secret or a condition.
fn described(action: &Action) -> String {
    const TOLD: [&str; 8] = ["user", "name", "on", "rights", "role", "tables", "hide", "table"];
    let mut text = shorten(&action.r#type, 100);
    if !text.starts_with("pintail.") {
        return text;
    }
    let body: Value = serde_json::from_slice(&action.body).unwrap_or_default();
    for key in TOLD {
        let told = match &body[key] {
            Value::String(told) => told.clone(),
            Value::Array(several) if !several.is_empty() => {
                several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => continue,
        };
        text += &format!(" {key}={}", shorten(&told, 100));
    }
    text
}

/// The declared tables that are there for somebody.
pub(super) async fn declared(tables: &DeclaredTables, access: Option<Arc<Access>>) -> Result<Value> {
    declared_tables::list(tables, access, &[]).await
}

fn unknown(name: &str) -> Error {
    let known: Vec<String> = list().into_iter().map(|action| action.r#type).collect();
    Error::unsupported(format!(
        "unknown action \"{}\"; this server has {}",
        shorten(name, 100),
        known.join(", ")
    ))
}
