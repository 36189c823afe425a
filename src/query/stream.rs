//! Queue bounded in bytes between the reader thread and the call -> stream of batches, errors as items.
//! Runs on: the thread pushes, the async side polls.
//! Never: ends early without an error; keeps a query alive after it is dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::readable;
use crate::engine::{Class, Interrupt};
use crate::error::{Error, Kind, Result};
use crate::session::InUse;
use crate::size::batch_bytes;

/// Batches queued at most; bytes are the bound that matters, this one keeps tiny batches in check.
const QUEUE_BATCHES: usize = 256;
/// One permit stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// How long a result is waited for before it is streamed.
const SETTLE: Duration = Duration::from_millis(2);
/// A first batch above this is the beginning of a large result, which is not waited for.
const SETTLE_BYTES_MAX: u64 = 64 * 1024;

struct Item {
    batch: RecordBatch,
    bytes: u64,
    _room: Option<OwnedSemaphorePermit>,
}

impl Item {
    /// A batch that takes no room of a queue.
    fn free(batch: RecordBatch) -> Self {
        let bytes = batch_bytes(&batch) as u64;
        Self { batch, bytes, _room: None }
    }
}

fn sleep_until(at: Instant) -> (Instant, Pin<Box<Sleep>>) {
    (at, Box::pin(tokio::time::sleep_until(at.into())))
}

/// The thread's end.
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    room_permits: usize,
    stall_timeout: Duration,
}

/// The call's end.
pub(super) struct Results {
    items: mpsc::Receiver<Item>,
}

pub(super) fn queue(buffer_bytes: usize, stall_timeout: Duration) -> (Queue, Results) {
    let room_permits = (buffer_bytes / PERMIT_BYTES).max(1);
    let (sender, items) = mpsc::channel(QUEUE_BATCHES);
    let room = Arc::new(Semaphore::new(room_permits));
    (Queue { items: sender, room, room_permits, stall_timeout }, Results { items })
}

impl Queue {
    /// Blocks until there is room for the batch.
    ///
    /// Errors: `Cancelled` when nobody reads any more; `Exhausted` when the reader stalls too long.
    pub(super) fn push(&self, runtime: &Handle, batch: RecordBatch) -> Result<()> {
        let bytes = batch_bytes(&batch);
        let permits =
            u32::try_from(bytes.div_ceil(PERMIT_BYTES).clamp(1, self.room_permits)).unwrap_or(u32::MAX);
        runtime.block_on(async {
            let place = async {
                let room = Arc::clone(&self.room).acquire_many_owned(permits).await;
                let slot = self.items.reserve().await;
                room.ok().zip(slot.ok())
            };
            let gone = || Error::new(Kind::Cancelled, "nobody reads the result any more");
            tokio::select! {
                () = self.items.closed() => Err(gone()),
                placed = tokio::time::timeout(self.stall_timeout, place) => match placed {
                    Ok(Some((room, slot))) => {
                        slot.send(Item { batch, bytes: bytes as u64, _room: Some(room) });
                        Ok(())
                    }
                    Ok(None) => Err(gone()),
                    Err(_) => Err(Error::exhausted(
                        "query.stall_timeout",
                        format!("the reader took no batch for {}", readable(self.stall_timeout)),
                    )),
                },
            }
        })
    }
}

/// What the reader thread says before the first batch.
pub(super) struct Start {
    pub(super) schema: SchemaRef,
    pub(super) class: Class,
    pub(super) prepared: Duration,
}

/// How often a reader that nobody waits for is asked to stop. An interrupt that falls between two statements
/// of the thread is lost, so one is not enough.
pub(super) const INTERRUPT_EVERY: Duration = Duration::from_millis(20);

/// What a client hears of a statement that its deadline has ended.
pub(super) const STOPPED: &str =
    "the query ran longer than the call's deadline or query.timeout allows, and was stopped";

/// The thread of a query, and the way to stop it. Dropping it stops the query, at any moment of its life.
pub(super) struct ReaderThread {
    pub(super) interrupt: Arc<OnceLock<Interrupt>>,
    pub(super) handle: Option<JoinHandle<Result<()>>>,
}

impl ReaderThread {
    /// Interrupts what it runs.
    pub(super) fn ask_to_stop(&self) {
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
    }

    /// What the thread ended with.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(handle) = &mut self.handle else { return Poll::Ready(Ok(())) };
        let ended = ready!(handle.poll_unpin(context));
        self.handle = None;
        Poll::Ready(
            ended.unwrap_or_else(|error| Err(Error::internal(format!("the query thread failed: {error}")))),
        )
    }
}

/// Waits until the result begins, or `reader` ends before that. When the deadline passes first, the statement is stopped,
/// and its own end says whether it was: a change that is in its COMMIT is made.
///
/// Errors: `Deadline`.
pub(super) async fn opened(
    deadline: Option<Instant>,
    mut opening: oneshot::Receiver<Start>,
    reader: &mut ReaderThread,
) -> Result<std::result::Result<Start, oneshot::error::RecvError>> {
    let Some(deadline) = deadline else { return Ok(opening.await) };
    if let Ok(start) = tokio::time::timeout_at(deadline.into(), &mut opening).await {
        return Ok(start);
    }
    if reader.interrupt.get().is_none() {
        // It waits for its connection. The thread looks at this after it has given the interrupt.
        opening.close();
        fence(Ordering::SeqCst);
        if reader.interrupt.get().is_none() {
            return Err(Error::new(Kind::Deadline, "the deadline passed before the query started"));
        }
    }
    loop {
        reader.ask_to_stop();
        match tokio::time::timeout(INTERRUPT_EVERY, &mut opening).await {
            Err(_) => {}
            Ok(Ok(start)) if start.class == Class::Query => return Err(Error::new(Kind::Deadline, STOPPED)),
            // The rows that a change gives back come after its COMMIT.
            Ok(Ok(start)) => return Ok(Ok(start)),
            Ok(Err(_)) => {
                return Err(match poll_fn(|context| reader.poll(context)).await {
                    Err(error) if error.kind() != Kind::Cancelled => error,
                    _ => Error::new(Kind::Deadline, STOPPED),
                });
            }
        }
    }
}

impl Drop for ReaderThread {
    fn drop(&mut self) {
        let Some(mut handle) = self.handle.take() else { return };
        if let Some(interrupt) = self.interrupt.get() {
            interrupt.interrupt();
        }
        let interrupt = Arc::clone(&self.interrupt);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                while tokio::time::timeout(INTERRUPT_EVERY, &mut handle).await.is_err() {
                    if let Some(interrupt) = interrupt.get() {
                        interrupt.interrupt();
                    }
                }
            });
        }
    }
}

/// A running query's batches. Dropping it stops the query.
pub struct ResultStream {
    schema: SchemaRef,
    class: Class,
    results: Results,
    // Dropped after `results`, so that a thread that is waiting for room wakes up first.
    reader: Option<ReaderThread>,
    // What makes the batches, where no thread does.
    pieces: Option<BoxStream<'static, Result<RecordBatch>>>,
    deadline: Option<(Instant, Pin<Box<Sleep>>)>,
    // The session it is for, and its transaction, until its last batch is given.
    in_use: Vec<InUse>,
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

impl ResultStream {
    pub(super) fn new(
        start: Start,
        results: Results,
        reader: ReaderThread,
        deadline: Option<Instant>,
        queued: Duration,
        started: Instant,
    ) -> Self {
        Self {
            schema: start.schema,
            class: start.class,
            results,
            reader: Some(reader),
            pieces: None,
            deadline: deadline.map(sleep_until),
            in_use: Vec::new(),
            ahead: VecDeque::new(),
            ended: false,
            asks_again: None,
            queued,
            prepared: start.prepared,
            first_batch: None,
            rows: 0,
            bytes: 0,
            started,
        }
    }

    /// A result that is complete already.
    pub fn stored(schema: SchemaRef, class: Class, batches: Vec<RecordBatch>) -> Self {
        let (sender, items) = mpsc::channel(batches.len().max(1));
        for batch in batches {
            // There is a place for each of them, and the receiver is here.
            let _ = sender.try_send(Item::free(batch));
        }
        Self {
            schema,
            class,
            results: Results { items },
            reader: None,
            pieces: None,
            deadline: None,
            in_use: Vec::new(),
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
            in_use,
            ..Self::stored(schema, Class::Query, Vec::new())
        }
    }

    /// Keeps something in use for as long as the result.
    pub(super) fn hold(&mut self, in_use: Vec<InUse>) {
        self.in_use = in_use;
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
        self.reader = None;
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
                let ended = match &mut self.reader {
                    Some(reader) => ready!(reader.poll(context)),
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
        self.reader = None;
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
            if let Some(reader) = &self.reader {
                reader.ask_to_stop();
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
