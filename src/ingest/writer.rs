//! Queue of batches -> segments -> one transaction -> one commit.
//! Runs on: a blocking thread of its own for the length of one put stream; it owns session and transaction.
//! Never: acknowledges before COMMIT has returned, or commits a stream whose end it has not seen.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::admission::{Gate, Permit};
use super::gather::Gather;
use super::{Mode, PutSummary, Target, Timings};
use crate::catalog::{self, Table, TableName};
use crate::engine::{self, Insert, Segment, Session};
use crate::error::{Error, Kind, Result};
use crate::session::Lease;

/// What the async side sends.
pub(super) enum Message {
    /// The next batch, plain, in the stream's schema.
    Batch(RecordBatch, Permit),
    /// The stream is complete: append the rest and commit.
    Finish,
}

/// What a writer needs to know about its stream.
pub(super) struct Job {
    /// Set when nobody waits for the put any more.
    pub(super) left: Arc<AtomicBool>,
    pub(super) what: String,
    pub(super) target: Target,
    pub(super) schema: SchemaRef,
    pub(super) gate: Arc<Gate>,
    pub(super) threads: usize,
    pub(super) idle_timeout: Duration,
    pub(super) creating: Arc<Mutex<()>>,
}

enum Event {
    Message(Message),
    Pressed,
    Gone,
    Idle,
}

/// Runs one put stream to its commit, or rolls it back. Blocks for as long as the client sends.
pub(super) fn run(
    job: &Job,
    lease: Lease,
    runtime: &Handle,
    messages: mpsc::Receiver<Message>,
) -> Result<PutSummary> {
    let mut session = lease.open()?;
    let joins = session.joins_transaction();
    let prepared = match prepare(job, &mut session, joins) {
        Ok(prepared) => prepared,
        Err(error) if joins => return Err(session.explain(error)),
        Err(error) => {
            if session.in_transaction() && session.rollback().is_err() {
                session.spoil();
            }
            return Err(error);
        }
    };
    let written = write(job, &mut session, joins, &prepared.insert, runtime, messages);
    match written {
        Ok(mut summary) => {
            summary.created = prepared.created;
            Ok(summary)
        }
        Err(error) if joins => {
            // DuckDB has no savepoints: what was appended before the error cannot be taken back alone.
            session.break_transaction(&format!("a put into {} failed half way: {error}", job.what));
            Err(session.explain(error))
        }
        Err(error) => {
            // The first error is the one the client needs; a failed rollback closes the connection anyway.
            if session.rollback().is_err() {
                session.spoil();
            }
            if let Some(table) = &prepared.created_outside {
                remove_if_empty(job, &session, table);
            }
            Err(error)
        }
    }
}

struct Prepared {
    insert: Insert,
    created: bool,
    // The table, if it was created in a transaction of its own.
    created_outside: Option<TableName>,
}

/// Finds or makes the table, opens the transaction, and decides how columns go in.
fn prepare(job: &Job, session: &mut Session, joins: bool) -> Result<Prepared> {
    let (table, shown, mode) = match &job.target {
        Target::Table { table, shown, mode } => (table, shown, *mode),
        Target::Statement(insert) => {
            if !joins {
                session.begin()?;
            }
            return Ok(Prepared { insert: insert.clone(), created: false, created_outside: None });
        }
    };
    let what = &job.what;
    let existing = engine::find_table(session, table)?;
    let (existing, created, created_outside) = match (mode, existing) {
        (Mode::Append | Mode::ReplaceExisting, None) => {
            return Err(Error::not_found(format!(
                "table {what} does not exist; create it first, or put with mode create or create_append"
            )));
        }
        (Mode::Create, Some(_)) => {
            return Err(Error::new(
                Kind::Exists,
                format!("table {what} already exists; put with mode append, create_append or replace"),
            ));
        }
        (Mode::Create | Mode::Replace | Mode::ReplaceExisting, _) => (None, true, None),
        (Mode::Append | Mode::CreateAppend, Some(existing)) => (Some(existing), false, None),
        (Mode::CreateAppend, None) if joins => (None, true, None),
        (Mode::CreateAppend, None) => {
            // Created in a transaction of its own: several streams may start on a new table at the same
            // time, and a table made inside a long transaction would turn the others away.
            let _one_at_a_time = job.creating.lock().unwrap_or_else(PoisonError::into_inner);
            let mut created = false;
            if engine::find_table(session, table)?.is_none() {
                create(job, session, table, shown, false)?;
                created = true;
            }
            let existing = engine::find_table(session, table)?.ok_or_else(|| {
                Error::new(
                    Kind::Aborted,
                    format!("table {what} was dropped while the stream began; send it again"),
                )
            })?;
            (Some(existing), created, created.then(|| table.clone()))
        }
    };
    let columns = match existing {
        Some(existing) => {
            let offered =
                engine::describe_rows(session, &job.schema).map_err(|error| refuse_types(what, error))?;
            let existing = Table { name: shown.clone(), ..existing };
            let conformed = catalog::conform(&existing, &offered)?;
            if !joins {
                session.begin()?;
            }
            conformed.columns
        }
        None => {
            if !joins {
                session.begin()?;
            }
            let replace = matches!(mode, Mode::Replace | Mode::ReplaceExisting);
            create(job, session, table, shown, replace)?;
            let names = job.schema.fields().iter().map(|field| field.name());
            names.map(|name| (name.clone(), catalog::quote_name(name))).collect()
        }
    };
    let insert = Insert { head: catalog::insert_head(table, &columns), tail: String::new() };
    Ok(Prepared { insert, created, created_outside })
}

fn create(job: &Job, session: &Session, table: &TableName, shown: &TableName, replace: bool) -> Result<()> {
    catalog::check_new_table(shown, &job.schema)?;
    let columns =
        engine::describe_rows(session, &job.schema).map_err(|error| refuse_types(&job.what, error))?;
    let types: Vec<String> = columns.into_iter().map(|(_, duckdb_type)| duckdb_type).collect();
    session
        .execute(&catalog::create_table(table, &job.schema, &types, replace))
        .map(|_| ())
        .map_err(|error| error.context(format!("table {}", job.what)))
}

fn refuse_types(table: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("table {table}: a column's type cannot be stored: {error}"))
}

/// A stream that made its table and failed leaves no trace of it, unless others have put rows meanwhile.
fn remove_if_empty(job: &Job, session: &Session, table: &TableName) {
    let _one_at_a_time = job.creating.lock().unwrap_or_else(PoisonError::into_inner);
    let name = table.to_sql();
    // DROP inside the same transaction as the look: a row that another stream commits in between makes the
    // DROP conflict, and the table stays.
    let dropped = session.execute("BEGIN TRANSACTION").and_then(|_| {
        let empty = session.execute(&format!("CREATE TEMP TABLE pintail_probe AS FROM {name} LIMIT 1"))? == 0;
        if empty { session.execute(&format!("DROP TABLE {name}")) } else { Ok(0) }
    });
    let ended = match dropped {
        Ok(_) => session.execute("DROP TABLE temp.pintail_probe").and_then(|_| session.execute("COMMIT")),
        Err(error) => session.execute("ROLLBACK").and(Err(error)),
    };
    if let Err(error) = ended {
        tracing::warn!(table = %job.what, %error, "an empty table of a failed stream could not be removed");
    }
}

fn write(
    job: &Job,
    session: &mut Session,
    joins: bool,
    insert: &Insert,
    runtime: &Handle,
    mut messages: mpsc::Receiver<Message>,
) -> Result<PutSummary> {
    // Enough units that every thread of the engine has one; a single unit would be appended by one thread.
    let units_per_statement = job.threads.max(2);
    let threshold = job.gate.append_threshold_bytes();
    let mut gather = Gather::new(Arc::clone(&job.schema));
    let mut summary = PutSummary { durable: !joins, ..PutSummary::default() };
    let mut timings = Timings::default();
    loop {
        let event = runtime.block_on(next_event(&mut messages, &job.gate, job.idle_timeout));
        let mut press = false;
        match event {
            Event::Message(Message::Batch(batch, permit)) => {
                summary.bytes += permit.bytes();
                gather.push(batch, permit)?;
            }
            Event::Message(Message::Finish) => break,
            Event::Pressed => press = true,
            Event::Gone => return Err(gone(job)),
            Event::Idle => {
                return Err(Error::new(
                    Kind::Deadline,
                    format!(
                        "table {}: no batch arrived for {} (limit: ingest.idle_timeout); nothing was stored",
                        job.what,
                        humantime::format_duration(job.idle_timeout)
                    ),
                ));
            }
        }
        let full = gather.whole_units() >= units_per_statement;
        let heavy = gather.bytes() >= threshold;
        if full || heavy || press {
            // Under pressure a short unit is better than a standstill; otherwise only whole ones go.
            let all = (heavy || press) && gather.whole_units() == 0;
            summary.rows += append(session, insert, &mut gather, units_per_statement, all, &mut timings)
                .map_err(|error| error.context(format!("table {}", job.what)))?;
        }
    }
    while !gather.is_empty() {
        summary.rows += append(session, insert, &mut gather, units_per_statement, true, &mut timings)
            .map_err(|error| error.context(format!("table {}", job.what)))?;
    }
    if job.left.load(Ordering::Acquire) {
        return Err(gone(job));
    }
    if joins {
        summary.timings = timings;
        return Ok(summary);
    }
    let started = Instant::now();
    session.commit().map_err(|error| error.context(format!("table {}", job.what)))?;
    timings.commit = started.elapsed();
    summary.timings = timings;
    Ok(summary)
}

fn gone(job: &Job) -> Error {
    let text =
        format!("table {}: the client left before the end of the stream; nothing was stored", job.what);
    Error::new(Kind::Cancelled, text)
}

fn append(
    session: &Session,
    insert: &Insert,
    gather: &mut Gather,
    units_max: usize,
    all: bool,
    timings: &mut Timings,
) -> Result<u64> {
    let started = Instant::now();
    let taken = gather.take(units_max, all)?;
    if taken.units.is_empty() {
        return Ok(0);
    }
    let rows = engine::append(session, insert, Segment::new(gather.schema(), taken.units))?;
    // Only now may the room be used again: until the statement was over, the engine read these buffers.
    drop(taken.permits);
    timings.append += started.elapsed();
    Ok(rows)
}

async fn next_event(messages: &mut mpsc::Receiver<Message>, gate: &Gate, idle: Duration) -> Event {
    tokio::select! {
        biased;
        message = messages.recv() => message.map_or(Event::Gone, Event::Message),
        () = gate.pressed() => Event::Pressed,
        () = tokio::time::sleep(idle) => Event::Idle,
    }
}
