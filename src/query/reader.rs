//! One statement, from its text to its last batch, pushed into the queue while there is room.
//! Runs on: a blocking thread for the length of the query; it owns session and cursor.
//! Never: holds more than one shaped batch beside the queue.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::opening::Start;
use super::queue::Queue;
use super::returned::{Limits, Returned};
use super::shape::Shaper;
use super::{Statement, bound};
use crate::engine::{self, Class, Cursor, Described, Interrupt, Parsed, Progress, Step};
use crate::error::{Error, Kind, Result};
use crate::running::Running;
use crate::session::{Lease, Open};

/// Arrays are built at twice the size of a message and sliced: handing an array from DuckDB's threads to this
/// one costs the same whatever its size. At four times, page faults eat what is saved (`make bench`, core).
pub(super) const MESSAGES_PER_ARRAY: usize = 2;

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

/// Where the result goes, and in what shape.
pub(super) struct ResultSink<'a> {
    runtime: &'a Handle,
    queue: &'a Queue,
    opened: Option<oneshot::Sender<Start>>,
    started: Instant,
    pub(super) batch_bytes: usize,
    pub(super) batch_rows_max: Option<usize>,
    only_reads: bool,
    pub(super) returned: Limits,
}

/// Nobody waits for the result any more.
pub(super) struct Gone;

pub(super) fn run(job: Job, runtime: &Handle, opened: oneshot::Sender<Start>, queue: &Queue) -> Result<()> {
    let mut sink = ResultSink {
        runtime,
        queue,
        opened: Some(opened),
        started: Instant::now(),
        batch_bytes: job.batch_bytes,
        batch_rows_max: job.batch_rows_max,
        only_reads: job.only_reads,
        returned: job.returned,
    };
    let mut connection = job.lease.open()?;
    let interrupt = job.interrupt.get_or_init(|| connection.interrupt());
    let _entered = job.running.enter(interrupt.clone());
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
        Statement::Text(sql) => text(&mut connection, sql, &mut sink),
        Statement::Script(sql) => script(&mut connection, sql, &mut sink),
        Statement::Bound(bound, described) => bound::prepared(&mut connection, bound, described, &mut sink),
    };
    done.map_err(|error| {
        connection.database().failed(sql);
        connection.explain(error)
    })?;
    connection.keep_temporaries(sql)
}

/// Runs one statement.
fn text(connection: &mut Open, sql: &str, sink: &mut ResultSink<'_>) -> Result<Class> {
    let statement = engine::parse(connection, sql)?;
    let described = statement.describe(connection)?.without_parameters()?;
    let class = described.class;
    sink.check(class)?;
    if described.seeds {
        connection.spoil();
    }
    if described.is_count {
        if sink.open(&described.schema, class).is_err() {
            return Ok(class);
        }
        let shared = if connection.joins_transaction() { None } else { connection.share_commit(class, sql) };
        let rows = match shared {
            Some(rows) => rows?,
            None => changing(connection, class, sql, |connection| connection.execute_parsed(&statement))?,
        };
        sink.count(rows)?;
        return Ok(class);
    }
    let array_bytes = sink.batch_bytes * MESSAGES_PER_ARRAY;
    if class == Class::Query {
        return reading(connection, described.is_proven(connection), |connection| {
            let mut cursor =
                Cursor::open(connection, &statement, &described.schema, array_bytes, sink.batch_rows_max)?;
            sink.begin(&cursor, class)?;
            sink.stream(&mut cursor).map(|()| class)
        });
    }
    let (schema, returned) = changing(connection, class, sql, |connection| {
        let mut cursor =
            Cursor::open(connection, &statement, &described.schema, array_bytes, sink.batch_rows_max)?;
        sink.begin(&cursor, class)?;
        let mut returned = Returned::new(sink.returned);
        take(connection, &mut cursor, &mut returned)?;
        Ok((Arc::clone(cursor.schema()), returned))
    })?;
    sink.give(connection, &schema, returned)?;
    Ok(class)
}

/// Runs a change to its end and keeps the rows that it gives back.
pub(super) fn take(connection: &Open, cursor: &mut Cursor<'_>, returned: &mut Returned) -> Result<()> {
    let directory = connection.database().temp_directory();
    while let Some(array) = cursor.next_batch()? {
        if array.num_rows() > 0 {
            returned.take(&directory, array)?;
        }
    }
    Ok(())
}

/// Runs statements one after the other in one transaction, and counts the changed rows.
fn script(connection: &mut Open, sql: &str, sink: &mut ResultSink<'_>) -> Result<Class> {
    let statements = engine::parse_script(connection, sql)?;
    let single = statements.len() == 1;
    let schema = Described::count().schema;
    let class = if statements.iter().any(|statement| statement.class() == Class::Definition) {
        Class::Definition
    } else {
        Class::Change
    };
    if sink.open(&schema, class).is_err() {
        return Ok(class);
    }
    if single
        && !connection.joins_transaction()
        && statements[0].without_parameters(connection).is_ok()
        && let Some(rows) = connection.share_commit(class, sql)
    {
        sink.count(rows?)?;
        return Ok(class);
    }
    if statements.iter().any(Parsed::seeds) {
        connection.spoil();
    }
    let alone = single && engine::runs_alone(sql);
    let own = !connection.joins_transaction() && !alone;
    if own {
        connection.begin()?;
    }
    let mut rows = 0;
    let count = statements.len();
    for (index, statement) in statements.iter().enumerate() {
        let changed = statement
            .without_parameters(connection)
            .and_then(|()| {
                let _turn = connection.turn(statement.class(), statement.sql(connection)?);
                connection.execute_parsed(statement)
            })
            .map_err(|error| {
                if single { error } else { error.context(format!("statement {} of {count}", index + 1)) }
            });
        match changed {
            Ok(changed) => rows += changed,
            Err(error) => {
                if own {
                    // The first error is the one to report.
                    let _ = connection.rollback();
                }
                return Err(match own && !single {
                    true => Error::new(error.kind(), format!("{} (nothing was kept)", error.message())),
                    false => error,
                });
            }
        }
    }
    if own {
        connection.commit()?;
    }
    sink.count(rows)?;
    Ok(class)
}

/// Runs a query where the engine refuses every change, unless nothing in its text can make one, or it belongs to a
/// transaction of the client.
pub(super) fn reading<T>(
    connection: &mut Open,
    is_proven: bool,
    work: impl FnOnce(&mut Open) -> Result<T>,
) -> Result<T> {
    if is_proven || connection.joins_transaction() {
        return work(connection);
    }
    connection.begin_read_only()?;
    let done = work(connection);
    // A connection that cannot roll back is closed.
    let _ = connection.rollback();
    done.map_err(|error| match error.message().ends_with(engine::READ_ONLY) {
        false => error,
        true => Error::new(
            Kind::Aborted,
            "the statement changes something, through a view or a macro that was made after it was looked at; nothing was \
             changed; send it again",
        ),
    })
}

/// Runs a change in a transaction of its own, unless it belongs to one of the client.
pub(super) fn changing<T>(
    connection: &mut Open,
    class: Class,
    sql: &str,
    work: impl FnOnce(&mut Open) -> Result<T>,
) -> Result<T> {
    // A statement that commits itself does so at a moment nobody can choose: commits wait for checkpoints, and small puts
    // for changes of tables.
    let own = !connection.joins_transaction() && !engine::runs_alone(sql);
    if own {
        connection.begin()?;
    }
    let done = {
        let _turn = connection.turn(class, sql);
        work(connection)
    };
    match done {
        Ok(done) if own => connection.commit().map(|()| done),
        Err(error) if own => {
            // The first error is the one to report; a connection that cannot roll back is closed.
            let _ = connection.rollback();
            Err(error)
        }
        done => done,
    }
}

impl ResultSink<'_> {
    fn is_given_up(&self) -> bool {
        self.opened.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Tells the caller that the result begins.
    pub(super) fn open(&mut self, schema: &SchemaRef, class: Class) -> std::result::Result<(), Gone> {
        let Some(opened) = self.opened.take() else { return Ok(()) };
        let start = Start { schema: Arc::clone(schema), class, prepared: self.started.elapsed() };
        opened.send(start).map_err(|_| Gone)
    }

    /// As `open`, for a statement that has started, whose client may have left meanwhile.
    pub(super) fn begin(&mut self, cursor: &Cursor<'_>, class: Class) -> Result<()> {
        self.open(cursor.schema(), class)
            .map_err(|Gone| Error::new(Kind::Cancelled, "nobody waits for the result any more"))
    }

    /// Refuses a statement that was a query when its ticket was made, and is not one any more.
    pub(super) fn check(&self, class: Class) -> Result<()> {
        if class == Class::Query || !self.only_reads {
            return Ok(());
        }
        Err(Error::new(
            Kind::Aborted,
            "the statement was a query when its ticket was made, and changes something now; nothing was changed; ask for it \
             again with GetFlightInfo",
        ))
    }

    pub(super) fn count(&self, rows: u64) -> Result<()> {
        self.queue.push(self.runtime, engine::count_batch(rows)?)
    }

    pub(super) fn stream(&self, cursor: &mut Cursor<'_>) -> Result<()> {
        let mut shaper = Shaper::new(Arc::clone(cursor.schema()), self.batch_bytes, self.batch_rows_max);
        let mut ready: Vec<RecordBatch> = Vec::new();
        let mut sent = false;
        loop {
            let array = match cursor.step()? {
                Step::Batch(array) => Some(array),
                Step::Finished => None,
                Step::NotReady => {
                    // Nothing has been sent yet: do not let the first rows wait for others to join them.
                    if !sent {
                        shaper.flush(&mut ready)?;
                        sent |= !ready.is_empty();
                        self.push_all(&mut ready)?;
                    }
                    cursor.next_batch()?
                }
            };
            let Some(array) = array else { break };
            if array.num_rows() > 0 {
                shaper.push(array, &mut ready)?;
            }
            sent |= !ready.is_empty();
            self.push_all(&mut ready)?;
        }
        shaper.flush(&mut ready)?;
        self.push_all(&mut ready)
    }

    /// Streams the rows of a change that is over.
    pub(super) fn give(&self, connection: &Open, schema: &SchemaRef, returned: Returned) -> Result<()> {
        let mut shaper = Shaper::new(Arc::clone(schema), self.batch_bytes, self.batch_rows_max);
        let mut ready: Vec<RecordBatch> = Vec::new();
        let given = returned.give(|batch| {
            shaper.push(batch, &mut ready)?;
            self.push_all(&mut ready)
        });
        given.and_then(|()| shaper.flush(&mut ready)).and_then(|()| self.push_all(&mut ready)).map_err(
            |error| {
                let made = if connection.joins_transaction() { "was made" } else { "has been committed" };
                Error::new(error.kind(), format!("{}; the change itself {made}", error.message()))
            },
        )
    }

    fn push_all(&self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        for batch in ready.drain(..) {
            self.queue.push(self.runtime, batch)?;
        }
        Ok(())
    }
}
