//! A queue bounded in bytes between the reader thread and the call.
//! Runs on: the thread pushes, the async side polls.
//! Never: waits for a reader that has gone, or longer than `query.stall_timeout`.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

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
}

impl Item {
    /// A batch that takes no room of a queue.
    pub(super) fn free(batch: RecordBatch) -> Self {
        let bytes = batch_bytes(&batch) as u64;
        Self { batch, bytes, _room: None }
    }
}

/// A queue of `batches`, which nobody adds to.
pub(super) fn filled(batches: Vec<RecordBatch>) -> QueueReader {
    let (sender, items) = mpsc::channel(batches.len().max(1));
    for batch in batches {
        // There is a place for each of them, and the receiver is here.
        let _ = sender.try_send(Item::free(batch));
    }
    QueueReader { items }
}

/// The thread's end.
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    room_permits: usize,
    stall_timeout: Duration,
}

/// The call's end.
pub(super) struct QueueReader {
    pub(super) items: mpsc::Receiver<Item>,
}

/// Both ends of a queue that holds `buffer_bytes`.
pub(super) fn queue(buffer_bytes: usize, stall_timeout: Duration) -> (Queue, QueueReader) {
    let room_permits = (buffer_bytes / PERMIT_BYTES).max(1);
    let (sender, items) = mpsc::channel(QUEUE_BATCHES);
    let room = Arc::new(Semaphore::new(room_permits));
    (Queue { items: sender, room, room_permits, stall_timeout }, QueueReader { items })
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
                        format!("the reader took no batch for {}", humantime::format_duration(self.stall_timeout)),
                    )),
                },
            }
        })
    }
}
