//! One statement, from its text to its last batch, pushed into the queue while there is room.
//! Runs on: a blocking thread for the length of the query; it owns connection and cursor.
//! Never: holds more than one shaped batch beside the queue.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::opening::Start;
use super::queue::Queue;
use super::returned::Limits;
use super::sink::ResultSink;
use super::statement::Statement;
use super::{bound, text};
use crate::engine::{Interrupt, Progress};
use crate::error::{Error, Kind, Result};
use crate::running::{Manner, Running};
use crate::session::Lease;

/// A statement to be run, and how.
pub(super) struct Job {
    pub(super) lease: Lease,
    pub(super) statement: Statement,
    pub(super) running: Arc<Running>,
    pub(super) interrupt: Arc<OnceLock<Interrupt>>,
    pub(super) progress: Option<Arc<OnceLock<Progress>>>,
    pub(super) batch_bytes: usize,
    pub(super) batch_rows_max: Option<usize>,
    /// The statement was taken for a query before, and is refused if it is not one any more.
    pub(super) only_reads: bool,
    pub(super) returned: Limits,
}

/// Runs the statement to its end.
pub(super) fn run(job: Job, runtime: &Handle, opened: oneshot::Sender<Start>, queue: &Queue) -> Result<()> {
    let started = Instant::now();
    let mut connection = job.lease.open()?;
    let interrupt = job.interrupt.get_or_init(|| connection.interrupt());
    let entered = job.running.enter(interrupt.clone(), Manner::Client);
    let mut sink = ResultSink {
        runtime,
        queue,
        entered: &entered,
        opened: Some(opened),
        started,
        batch_bytes: job.batch_bytes,
        batch_rows_max: job.batch_rows_max,
        only_reads: job.only_reads,
        returned: job.returned,
    };
    // Either this thread sees that nobody waits, or the call sees the interrupt and waits for what becomes of it.
    fence(Ordering::SeqCst);
    if sink.is_given_up() {
        return Err(Error::new(Kind::Cancelled, "the deadline passed before the statement started"));
    }
    if let Some(progress) = &job.progress {
        // The first one stays; there is no second statement in a job.
        let _ = progress.set(connection.progress()?);
    }
    let sql = match &job.statement {
        Statement::Text(sql) | Statement::Script(sql) => sql,
        Statement::Bound(bound, _) => bound.sql(),
    };
    connection.database().check_culprit(sql)?;
    connection.expect_temporaries(sql)?;
    let done = match &job.statement {
        Statement::Text(sql) => text::run_one(&mut connection, sql, &mut sink),
        Statement::Script(sql) => text::run_script(&mut connection, sql, &mut sink),
        Statement::Bound(bound, described) => bound::run(&mut connection, bound, described, &mut sink),
    };
    done.map_err(|error| {
        connection.database().failed(sql);
        connection.explain(entered.explain(error))
    })?;
    connection.keep_temporaries(sql)
}
