//! `pintail.load`: files of the server's machine into a table, told as it goes on.
//! Runs on: the task of the call; the load on tasks and threads of its own.
//! Never: looks at a file for somebody who may not put rows into the table.

use arrow_flight::Action;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use pintail_protocol::header::{Mode, OnConflict};
use serde::Deserialize;
use serde_json::Value;
use tonic::{Request, Response};

use crate::catalog::TableName;
use crate::error::{Error, Result};
use crate::flight::names::{TEMPORARY, full_name};
use crate::flight::request::{Answers, Call, Caller, Reply};
use crate::flight::server::{FlightServer, LoadOrder};

/// Body of `pintail.load`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    paths: Vec<String>,
    table: String,
    mode: Option<String>,
    on_conflict: Option<String>,
    idempotency_key: Option<String>,
}

/// Begins the load and gives its answers as they come; the last one is what it came to.
pub(in crate::flight) fn load(
    server: &FlightServer,
    caller: Caller,
    request: Request<Action>,
    mut call: Call,
) -> Reply<Answers<arrow_flight::Result>> {
    call.about(pintail_protocol::action::LOAD);
    let answers = order(&caller, &request.get_ref().body).and_then(|order| {
        call.about(&format!("{} into {}", pintail_protocol::action::LOAD, order.table));
        server.files.load(server.clone(), order)
    });
    match answers {
        Ok(answers) => Ok(caller.with_cookie(Response::new(told(answers, call)), &server.sessions)),
        Err(error) => Err(call.failed(error)),
    }
}

/// The answers on the wire; the call ends with the last one.
fn told(answers: BoxStream<'static, Result<Value>>, call: Call) -> Answers<arrow_flight::Result> {
    stream::unfold(Some((answers, call)), |state| async move {
        let (mut answers, mut call) = state?;
        match answers.next().await {
            Some(Ok(answer)) => {
                if let Some(rows) = answer.get("rows").and_then(Value::as_u64) {
                    call.rows = rows;
                }
                let body = answer.to_string().into();
                Some((Ok(arrow_flight::Result { body }), Some((answers, call))))
            }
            Some(Err(error)) => Some((Err(call.failed(error)), None)),
            None => {
                call.ok();
                None
            }
        }
    })
    .boxed()
}

/// What is to be loaded, for somebody who may put rows into the table.
fn order(caller: &Caller, body: &[u8]) -> Result<LoadOrder> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::invalid(format!(
            "pintail.load: expected a body such as {{\"paths\": [\"exports/*.parquet\"], \"table\": \"main.wells\"}}: {why}"
        ))
    };
    let body: Body = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    if body.paths.is_empty() {
        return Err(wrong(&"\"paths\" is empty"));
    }
    let mode = body.mode.as_deref().unwrap_or(Mode::CreateAppend.name());
    let mode = Mode::from_name(mode)
        .ok_or_else(|| wrong(&"\"mode\" is to be append, create, create_append or replace"))?;
    let on_conflict = body.on_conflict.as_deref().map(|choice| {
        OnConflict::from_name(choice)
            .ok_or_else(|| wrong(&"\"on_conflict\" is to be error, ignore or replace"))
    });
    let on_conflict = on_conflict.transpose()?;
    let session = &caller.session;
    session.check()?;
    let table = full_name(&TableName::from_text(&body.table)?, session)?;
    if table.catalog.as_deref() == Some(TEMPORARY) {
        return Err(Error::invalid(format!(
            "table {table}: pintail.load loads into tables that outlive their session; expected another table's name"
        )));
    }
    let access = session.access();
    if let Some(access) = &access {
        let replaces = mode == Mode::Replace;
        let updates = on_conflict.is_some_and(|choice| choice != OnConflict::Error);
        access.check_put(table.schema.as_deref().unwrap_or("main"), &table.table, replaces, updates)?;
    }
    Ok(LoadOrder {
        principal: caller.principal.clone(),
        is_admin: access.is_none(),
        paths: body.paths,
        table,
        mode,
        on_conflict,
        key: body.idempotency_key,
    })
}
