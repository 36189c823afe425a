//! A running query -> stream of batches, errors as items.
//! Runs on: the task of the call.
//! Never: ends early without an error; keeps a query alive after it is dropped.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_channel::Receiver;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use super::opening::STOPPED;
use super::queue::Item;
use super::under_way::UnderWay;
use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::session::InUse;

/// How long a result is waited for before it is streamed.
const SETTLE: Duration = Duration::from_millis(2);
/// A first batch above this is the beginning of a large result, which is not waited for.
const SETTLE_BYTES_MAX: u64 = 64 * 1024;

/// A result's batches. Dropping it stops the query, unless others read the same result.
pub struct ResultStream {
    schema: SchemaRef,
    class: Class,
    source: Source,
    // Batches that were waited for before anybody read, or are there already.
    ahead: VecDeque<Item>,
    ended: bool,
    // What may end it from outside; they end with it.
    watches: JoinSet<()>,
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

/// Where batches come from.
enum Source {
    /// They are there already.
    Stored,
    /// They are made one by one, each when it is asked for.
    Pieces(Pieces),
    /// From the queue of a statement under way.
    Statement(Reader),
}

struct Pieces {
    pieces: BoxStream<'static, Result<RecordBatch>>,
    deadline: Option<Pin<Box<Sleep>>>,
    _in_use: Vec<InUse>,
}

/// One reader of a statement's result.
struct Reader {
    items: Pin<Box<Receiver<Item>>>,
    // `None` once it has left.
    under_way: Option<Arc<UnderWay>>,
}

impl Reader {
    fn of(under_way: &Arc<UnderWay>) -> Self {
        Self { items: Box::pin(under_way.join()), under_way: Some(Arc::clone(under_way)) }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(under_way) = self.under_way.take() {
            under_way.leave();
        }
    }
}

/// A result that several calls read together: each batch goes to the one that asks first.
pub struct SharedResult {
    schema: SchemaRef,
    class: Class,
    under_way: Arc<UnderWay>,
}

impl SharedResult {
    /// The schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// One more reader, from where the others are. What ended the result for them ends it for this one, too.
    pub fn read(&self) -> ResultStream {
        let source = Source::Statement(Reader::of(&self.under_way));
        ResultStream { source, ..ResultStream::stored(Arc::clone(&self.schema), self.class, Vec::new()) }
    }
}

/// How a statement began, as the call that reads it tells it.
pub(super) struct Started {
    pub(super) schema: SchemaRef,
    pub(super) prepared: Duration,
    /// Time waited for a place.
    pub(super) queued: Duration,
    pub(super) at: Instant,
}

impl ResultStream {
    pub(super) fn new(started: Started, under_way: &Arc<UnderWay>) -> Self {
        Self {
            source: Source::Statement(Reader::of(under_way)),
            queued: started.queued,
            prepared: started.prepared,
            started: started.at,
            ..Self::stored(started.schema, under_way.class, Vec::new())
        }
    }

    /// A result that is complete already.
    pub fn stored(schema: SchemaRef, class: Class, batches: Vec<RecordBatch>) -> Self {
        Self {
            schema,
            class,
            source: Source::Stored,
            ahead: batches.into_iter().map(Item::free).collect(),
            ended: false,
            watches: JoinSet::new(),
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
        let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at.into())));
        let source = Source::Pieces(Pieces { pieces, deadline, _in_use: in_use });
        Self { source, ..Self::stored(schema, Class::Query, Vec::new()) }
    }

    /// A result that nobody has read from yet, for several readers; `None` when no statement is under way for it.
    pub fn into_shared(mut self) -> Option<SharedResult> {
        let Source::Statement(reader) = &mut self.source else { return None };
        let under_way = reader.under_way.take()?;
        under_way.detach();
        Some(SharedResult { schema: Arc::clone(&self.schema), class: self.class, under_way })
    }

    /// Ends the statement, for all its readers, when `deadline` passes.
    pub fn end_at(&mut self, deadline: Instant) {
        self.end_after(tokio::time::sleep_until(deadline.into()), || Error::new(Kind::Deadline, STOPPED));
    }

    /// Ends the statement with `why`, for all its readers, when something has happened, whether anybody reads or not.
    pub fn end_after(&mut self, happened: impl Future<Output = ()> + Send + 'static, why: fn() -> Error) {
        let Source::Statement(Reader { under_way: Some(under_way), .. }) = &self.source else { return };
        if under_way.is_over() {
            return;
        }
        let weak = Arc::downgrade(under_way);
        self.watches.spawn(async move {
            happened.await;
            if let Some(under_way) = weak.upgrade().filter(|one| !one.is_over()) {
                under_way.stop(why());
            }
        });
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
            self.ahead.push_back(item.without_place());
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
            Ok(Some(Ok(item))) => self.ahead.push_back(item.without_place()),
            Ok(Some(Err(error))) => return Err(error),
            Ok(None) | Err(_) => {}
        }
        Ok(())
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

    /// The next batch, past those that were waited for.
    fn poll_item(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = match &mut self.source {
            Source::Stored => None,
            Source::Pieces(pieces) => ready!(pieces.poll(context)),
            Source::Statement(reader) => ready!(reader.poll(context)),
        };
        match &item {
            Some(Ok(_)) => {
                self.first_batch.get_or_insert_with(|| self.started.elapsed());
            }
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(item)
    }
}

impl Pieces {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        if let Some(sleep) = &mut self.deadline
            && sleep.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Err(Error::new(Kind::Deadline, STOPPED))));
        }
        self.pieces.poll_next_unpin(context).map(|piece| piece.map(|batch| batch.map(Item::free)))
    }
}

impl Reader {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Item>>> {
        let Some(under_way) = &self.under_way else { return Poll::Ready(None) };
        let item = match under_way.stopped() {
            Some(_) => None,
            None => ready!(self.items.as_mut().poll_next(context)),
        };
        Poll::Ready(match item {
            Some(item) => {
                under_way.taken();
                Some(Ok(item))
            }
            None => under_way.ended().err().map(Err),
        })
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
