//! A result on the reader's thread -> the queue, in batches of message size.
//! Runs on: the reader's thread.
//! Never: holds more than one shaped batch beside the queue.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::opening::Start;
use super::queue::Queue;
use super::returned::{Limits, Returned};
use super::shape::Shaper;
use crate::engine::{self, ArraySize, Class, Cursor, Step};
use crate::error::{Error, Kind, Result};
use crate::running::Entered;
use crate::session::Open;

/// Arrays are built at twice the size of a message and sliced: handing an array from DuckDB's threads to this
/// one costs the same whatever its size. At four times, page faults eat what is saved (`make bench`, core).
const MESSAGES_PER_ARRAY: usize = 2;

/// Where the result goes, and in what shape.
pub(super) struct ResultSink<'a> {
    pub(super) runtime: &'a Handle,
    pub(super) queue: &'a Queue,
    /// The statement in the register of those that run.
    pub(super) entered: &'a Entered,
    pub(super) opened: Option<oneshot::Sender<Start>>,
    pub(super) started: Instant,
    pub(super) batch_bytes: usize,
    pub(super) batch_rows_max: Option<usize>,
    /// The statement was taken for a query before, and is refused if it is not one any more.
    pub(super) only_reads: bool,
    pub(super) returned: Limits,
}

/// Nobody waits for the result any more.
pub(super) struct Gone;

impl ResultSink<'_> {
    /// How large the engine is to make its arrays.
    pub(super) fn array_size(&self) -> ArraySize {
        ArraySize { bytes: self.batch_bytes * MESSAGES_PER_ARRAY, rows_max: self.batch_rows_max }
    }

    /// Whether the caller has left before the result began.
    pub(super) fn is_given_up(&self) -> bool {
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
        self.push(engine::count_batch(rows)?)
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
                error.reworded(format!("{}; the change itself {made}", error.message()))
            },
        )
    }

    fn push_all(&self, ready: &mut Vec<RecordBatch>) -> Result<()> {
        for batch in ready.drain(..) {
            self.push(batch)?;
        }
        Ok(())
    }

    fn push(&self, batch: RecordBatch) -> Result<()> {
        self.entered.waits();
        let pushed = self.queue.push(self.runtime, batch);
        self.entered.works();
        pushed
    }
}
