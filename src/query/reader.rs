//! One statement, from its text to its last batch, pushed into the queue while there is room.
//! Runs on: a blocking thread for the length of the query; it owns session and cursor.
//! Never: holds more than one shaped batch beside the queue.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arrow::array::{Int64Array, RecordBatch};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::Running;
use super::shape::Shaper;
use super::stream::{Queue, Start};
use crate::engine::{self, Class, Cursor, Database, Interrupt, Step};
use crate::error::Result;

/// Arrays are built at twice the size of a message and sliced: handing an array from DuckDB's threads to this
/// one costs the same whatever its size. At four times, page faults eat what is saved (`make bench`, core).
const MESSAGES_PER_ARRAY: usize = 2;

pub(super) struct Job {
    pub(super) database: Arc<Database>,
    pub(super) running: Arc<Running>,
    pub(super) interrupt: Arc<OnceLock<Interrupt>>,
    pub(super) sql: String,
    pub(super) batch_bytes: usize,
    pub(super) batch_rows_max: Option<usize>,
}

pub(super) fn run(job: &Job, runtime: &Handle, opened: oneshot::Sender<Start>, queue: &Queue) -> Result<()> {
    let started = Instant::now();
    let mut session = job.database.session()?;
    let interrupt = job.interrupt.get_or_init(|| session.interrupt());
    let _entered = job.running.enter(interrupt.clone());
    let described = engine::describe(&session, &job.sql)?;
    let class = described.class;
    if class == Class::Definition {
        // A temporary object lives in its connection; the next user must not meet it.
        session.spoil();
    }
    let start = |schema| Start { schema, class, prepared: started.elapsed() };
    if described.is_count {
        if opened.send(start(Arc::clone(&described.schema))).is_err() {
            return Ok(());
        }
        let rows = session.execute(&job.sql)?;
        session.count_commit();
        let count = Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]);
        let batch = RecordBatch::try_new(described.schema, vec![Arc::new(count)])?;
        return queue.push(runtime, batch);
    }
    let array_bytes = job.batch_bytes * MESSAGES_PER_ARRAY;
    let mut cursor = Cursor::open(&session, &job.sql, &described.schema, array_bytes, job.batch_rows_max)?;
    if opened.send(start(Arc::clone(cursor.schema()))).is_err() {
        return Ok(());
    }
    stream(job, &mut cursor, runtime, queue)?;
    if class == Class::Change {
        session.count_commit();
    }
    Ok(())
}

fn stream(job: &Job, cursor: &mut Cursor<'_>, runtime: &Handle, queue: &Queue) -> Result<()> {
    let mut shaper = Shaper::new(Arc::clone(cursor.schema()), job.batch_bytes, job.batch_rows_max);
    let mut ready: Vec<RecordBatch> = Vec::new();
    let mut sent = false;
    loop {
        let array = match cursor.step()? {
            Step::Batch(array) => Some(array),
            Step::Finished => None,
            Step::Waiting => {
                // Nothing has been sent yet: do not let the first rows wait for others to join them.
                if !sent {
                    shaper.flush(&mut ready)?;
                    sent |= !ready.is_empty();
                    push_all(queue, runtime, &mut ready)?;
                }
                cursor.next_batch()?
            }
        };
        let Some(array) = array else { break };
        if array.num_rows() > 0 {
            shaper.push(array, &mut ready)?;
        }
        sent |= !ready.is_empty();
        push_all(queue, runtime, &mut ready)?;
    }
    shaper.flush(&mut ready)?;
    push_all(queue, runtime, &mut ready)
}

fn push_all(queue: &Queue, runtime: &Handle, ready: &mut Vec<RecordBatch>) -> Result<()> {
    for batch in ready.drain(..) {
        queue.push(runtime, batch)?;
    }
    Ok(())
}
