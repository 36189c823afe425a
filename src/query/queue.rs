//! A queue bounded in bytes between the reader thread and the calls that its result goes to.
//! Runs on: the thread pushes, the async side polls; several calls may take from one queue.
//! Never: waits for a reader that has gone; gives a batch to two calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use async_channel::{Receiver, Sender};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::admission::Place;
use crate::error::{Error, Kind, Result};
use crate::size::batch_bytes;

/// Batches queued at most; bytes are the bound that matters, this one keeps tiny batches in check.
const QUEUE_BATCHES: usize = 256;
/// One permit stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// A batch and the room that it takes in the queue.
pub(super) struct Item {
    pub(super) batch: RecordBatch,
    pub(super) bytes: u64,
    _room: Option<OwnedSemaphorePermit>,
    place: Option<Arc<Place>>,
}

impl Item {
    /// A batch that takes no room of a queue.
    pub(super) fn free(batch: RecordBatch) -> Self {
        let bytes = batch_bytes(&batch) as u64;
        Self { batch, bytes, _room: None, place: None }
    }

    /// The batch is kept elsewhere, and its query needs no place for it.
    pub(super) fn without_place(mut self) -> Self {
        self.place = None;
        self
    }
}

/// The thread's end.
pub(super) struct Queue {
    // The query's place, which every batch in the queue keeps as well. Given back before the queue ends.
    place: Arc<Place>,
    items: Sender<Item>,
    room: Arc<Semaphore>,
    room_permits: usize,
    clock: Arc<Clock>,
}

/// The other end, before anybody reads.
pub(super) struct QueueReader {
    pub(super) items: Receiver<Item>,
    pub(super) clock: Arc<Clock>,
}

/// Since when batches wait for a reader.
pub(super) struct Clock(Mutex<Waiting>);

struct Waiting {
    /// Batches in the queue, one that waits for room included.
    batches: usize,
    /// Whether there has been one.
    has_begun: bool,
    since: Instant,
}

/// Both ends of a queue that holds `buffer_bytes`.
pub(super) fn queue(buffer_bytes: usize, place: Place) -> (Queue, QueueReader) {
    let room_permits = (buffer_bytes / PERMIT_BYTES).max(1);
    let (sender, items) = async_channel::bounded(QUEUE_BATCHES);
    let waiting = Waiting { batches: 0, has_begun: false, since: Instant::now() };
    let clock = Arc::new(Clock(Mutex::new(waiting)));
    let room = Arc::new(Semaphore::new(room_permits));
    let place = Arc::new(place);
    (
        Queue { place, items: sender, room, room_permits, clock: Arc::clone(&clock) },
        QueueReader { items, clock },
    )
}

impl Queue {
    /// Blocks until there is room for the batch.
    ///
    /// Errors: `Cancelled` when nobody reads any more.
    pub(super) fn push(&self, runtime: &Handle, batch: RecordBatch) -> Result<()> {
        let bytes = batch_bytes(&batch);
        let permits =
            u32::try_from(bytes.div_ceil(PERMIT_BYTES).clamp(1, self.room_permits)).unwrap_or(u32::MAX);
        let gone = || Error::new(Kind::Cancelled, "nobody reads the result any more");
        self.clock.comes();
        let room = match Arc::clone(&self.room).try_acquire_many_owned(permits) {
            Ok(room) => room,
            Err(_) => runtime.block_on(async {
                tokio::select! {
                    () = self.items.closed() => Err(gone()),
                    room = Arc::clone(&self.room).acquire_many_owned(permits) => room.map_err(|_| gone()),
                }
            })?,
        };
        let place = Some(Arc::clone(&self.place));
        let item = Item { batch, bytes: bytes as u64, _room: Some(room), place };
        self.items.send_blocking(item).map_err(|_| gone())
    }
}

impl Clock {
    /// A batch waits from now on.
    fn comes(&self) {
        let mut waiting = self.lock();
        if waiting.batches == 0 {
            waiting.since = Instant::now();
        }
        waiting.batches += 1;
        waiting.has_begun = true;
    }

    /// A reader has taken one.
    pub(super) fn taken(&self) {
        let mut waiting = self.lock();
        waiting.batches = waiting.batches.saturating_sub(1);
        waiting.since = Instant::now();
    }

    /// How long batches have waited for somebody to take one; `None` when there are none.
    pub(super) fn waited(&self) -> Option<Duration> {
        let waiting = self.lock();
        (waiting.batches > 0).then(|| waiting.since.elapsed())
    }

    /// Whether there has been a batch.
    pub(super) fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::super::admission::Admission;
    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("a", column)]).unwrap()
    }

    /// A full queue lets go of its thread when it is closed, whatever is in it, and knows how long it has waited.
    #[tokio::test]
    async fn a_full_queue_waits_for_its_reader_and_not_for_one_that_has_gone() {
        let admission = Admission::new(1, 0, Duration::ZERO);
        let (queue, reader) = queue(16 * 1024, admission.enter(None, None).await.unwrap());
        let handle = Handle::current();
        let thread = std::thread::Builder::new()
            .spawn(move || (0..).find_map(|_| queue.push(&handle, batch(1000)).err()))
            .unwrap();
        while reader.clock.waited().is_none_or(|waited| waited < Duration::from_millis(20)) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(reader.items.len(), 2, "16 KiB hold two of them");
        reader.items.recv().await.unwrap();
        reader.clock.taken();
        assert!(reader.clock.waited().is_some_and(|waited| waited < Duration::from_millis(20)));
        reader.items.close();
        let error = thread.join().unwrap().unwrap();
        assert_eq!(error.kind(), Kind::Cancelled);
        assert_eq!(admission.running(), 1, "a batch is in the queue");
        while reader.items.try_recv().is_ok() {}
        assert_eq!(admission.running(), 0);
    }
}
