//! A running query -> stream of batches, errors as items.
//! Runs on: the task of the call.
//! Never: ends early without an error; keeps a query alive after it is dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::time::Sleep;

use super::opening::{STOPPED, Start};
use super::queue::{self, Item, QueueReader};
use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::running::{EngineThread, INTERRUPT_EVERY};
use crate::session::InUse;

/// How long a result is waited for before it is streamed.
const SETTLE: Duration = Duration::from_millis(2);
/// A first batch above this is the beginning of a large result, which is not waited for.
const SETTLE_BYTES_MAX: u64 = 64 * 1024;

fn sleep_until(at: Instant) -> (Instant, Pin<Box<Sleep>>) {
    (at, Box::pin(tokio::time::sleep_until(at.into())))
}

/// A running query's batches. Dropping it stops the query.
pub struct ResultStream {
    schema: SchemaRef,
    class: Class,
    results: QueueReader,
    // Dropped after `results`, so that a thread that is waiting for room wakes up first.
    thread: Option<EngineThread>,
    // What makes the batches, where no thread does.
    pieces: Option<BoxStream<'static, Result<RecordBatch>>>,
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
    // The session it is for, and its transaction, until its last batch is given.
    _in_use: Vec<InUse>,
    // Batches that were waited for before anybody read.
    ahead: VecDeque<Item>,
    ended: bool,
    // Set once the deadline has passed over a change that may be in its COMMIT: when it is asked to stop again.
    asks_again: Option<Pin<Box<Sleep>>>,
    /// Time waited for a place.
    pub queued: Duration,
    /// Time of parsing, binding and starting.
    pub prepared: Duration,
    /// Time from the call to the first batch, once it came.
    pub first_batch: Option<Duration>,
    /// Rows given so far.
    pub rows: u64,
    /// Arrow bytes given so far.
    pub bytes: u64,
    started: Instant,
}

/// A statement under way, and what its result is to be read by.
pub(super) struct UnderWay {
    pub(super) results: QueueReader,
    pub(super) thread: EngineThread,
    pub(super) deadline: Option<Instant>,
    /// The session it is for, and its transaction.
    pub(super) in_use: Vec<InUse>,
    /// Time waited for a place.
    pub(super) queued: Duration,
    pub(super) started: Instant,
}

impl ResultStream {
    pub(super) fn new(start: Start, under_way: UnderWay) -> Self {
        let UnderWay { results, thread, deadline, in_use, queued, started } = under_way;
        Self {
            results,
            thread: Some(thread),
            deadline: deadline.map(sleep_until),
            _in_use: in_use,
            queued,
            prepared: start.prepared,
            started,
            ..Self::stored(start.schema, start.class, Vec::new())
        }
    }

    /// A result that is complete already.
    pub fn stored(schema: SchemaRef, class: Class, batches: Vec<RecordBatch>) -> Self {
        Self {
            schema,
            class,
            results: queue::filled(batches),
            thread: None,
            pieces: None,
            deadline: None,
            _in_use: Vec::new(),
            ahead: VecDeque::new(),
            ended: false,
            asks_again: None,
            queued: Duration::ZERO,
            prepared: Duration::ZERO,
            first_batch: None,
            rows: 0,
            bytes: 0,
            started: Instant::now(),
        }
    }

    /// A result whose batches are made one by one, each when it is asked for.
    pub fn in_pieces(
        schema: SchemaRef,
        pieces: BoxStream<'static, Result<RecordBatch>>,
        deadline: Option<Instant>,
        in_use: Vec<InUse>,
    ) -> Self {
        Self {
            pieces: Some(pieces),
            deadline: deadline.map(sleep_until),
            _in_use: in_use,
            ..Self::stored(schema, Class::Query, Vec::new())
        }
    }

    /// Waits until the first batch is there, or the result has ended without one; for a caller that reads later.
    ///
    /// Errors: what the statement failed with before its first batch.
    pub async fn wait_first(&mut self) -> Result<()> {
        if !self.ahead.is_empty() || self.ended {
            return Ok(());
        }
        let following = poll_fn(|context| self.poll_item(context)).await;
        if let Some(item) = following.transpose()? {
            self.ahead.push_back(item);
        }
        Ok(())
    }

    /// Waits a moment for a result that is small and quick, so that it leaves in one piece: each write to the
    /// socket wakes the client, and for a single row that costs more than the query.
    ///
    /// Errors: as `wait_first`.
    pub(super) async fn settle(&mut self) -> Result<()> {
        // A slow statement is not waited for.
        let Ok(first) = tokio::time::timeout(SETTLE, self.wait_first()).await else { return Ok(()) };
        first?;
        if self.ahead.front().is_some_and(|first| first.bytes > SETTLE_BYTES_MAX) {
            return Ok(());
        }
        let end = poll_fn(|context| self.poll_item(context));
        match tokio::time::timeout(SETTLE, end).await {
            Ok(Some(Ok(item))) => self.ahead.push_back(item),
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }

    /// Stops the statement; the stream ends.
    pub fn stop(&mut self) {
        self.ahead.clear();
        self.ended = true;
        self.results.items.close();
        self.thread = None;
        self.pieces = None;
    }

    /// Schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// What the statement does.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Time since the call began.
    pub fn streamed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The next batch from the queue, past those that were waited for.
    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.class == Class::Query && self.is_overdue(context) {
            return Poll::Ready(Some(Err(self.give_up(STOPPED))));
        }
        let item = match &mut self.pieces {
            None => self.results.items.poll_recv(context),
            Some(pieces) => match ready!(pieces.poll_next_unpin(context)).transpose() {
                Ok(batch) => Poll::Ready(batch.map(Item::free)),
                Err(error) => {
                    self.stop();
                    return Poll::Ready(Some(Err(error)));
                }
            },
        };
        if item.is_pending() && self.class != Class::Query && self.is_overdue(context) {
            if self.first_batch.is_some() {
                let text =
                    "the deadline passed while the rows of a change were read; the change itself was made";
                return Poll::Ready(Some(Err(self.give_up(text))));
            }
            self.ask_to_stop(context);
        }
        match ready!(item) {
            Some(item) => {
                if self.first_batch.is_none() {
                    self.first_batch = Some(self.started.elapsed());
                }
                Poll::Ready(Some(Ok(item)))
            }
            // The thread closed the queue: only its own word tells a complete result from a broken one.
            None => {
                let ended = match &mut self.thread {
                    Some(thread) => ready!(thread.poll(context)),
                    None => Ok(()),
                };
                self.ended = true;
                let stopped = self.deadline.as_ref().is_some_and(|(at, _)| *at <= Instant::now());
                Poll::Ready(ended.err().map(|error| match error.kind() {
                    Kind::Cancelled if stopped => Err(Error::new(Kind::Deadline, STOPPED)),
                    _ => Err(error),
                }))
            }
        }
    }

    fn is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        self.asks_again.is_some()
            || self.deadline.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready())
    }

    fn give_up(&mut self, text: &str) -> Error {
        self.thread = None;
        self.pieces = None;
        self.ended = true;
        Error::new(Kind::Deadline, text)
    }

    /// Interrupts a change again and again. Its own end says whether it was stopped or made: it may be in its COMMIT,
    /// and a client that is told of a stop sends it again.
    fn ask_to_stop(&mut self, context: &mut Context<'_>) {
        loop {
            if let Some(sleep) = &mut self.asks_again
                && sleep.as_mut().poll(context).is_pending()
            {
                return;
            }
            if let Some(thread) = &self.thread {
                thread.ask_to_stop();
            }
            self.asks_again = Some(Box::pin(tokio::time::sleep(INTERRUPT_EVERY)));
        }
    }
}

impl Stream for ResultStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = match self.ahead.pop_front() {
            Some(item) => Some(Ok(item)),
            None => ready!(self.poll_item(context)),
        };
        Poll::Ready(item.map(|item| {
            let item = item?;
            self.rows += item.batch.num_rows() as u64;
            self.bytes += item.bytes;
            Ok(item.batch)
        }))
    }
}
