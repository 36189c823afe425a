//! The budget of bytes of the whole server, and what each stream holds of it.
//! Runs on: async tasks take; any thread gives back by dropping.
//! Never: waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// One permit stands for this many bytes; semaphores count in `u32`.
pub(super) const PERMIT_BYTES: usize = 1024;

/// Dictionaries stay for the length of their stream, and may take this part of the budget; rows leave it to them.
pub(super) const DICTIONARIES_PART: usize = 4;

/// The budget of the whole server.
pub(in crate::ingest) struct Budget {
    pub(super) all: Arc<Semaphore>,
    budget_permits: usize,
    pub(super) dictionaries: Arc<Semaphore>,
    pub(super) dictionary_permits: usize,
    pub(super) stream_permits: usize,
    streams: Arc<Semaphore>,
    streams_max: usize,
    holders: Mutex<HashMap<u64, Arc<Holder>>>,
    pub(super) waiting: AtomicUsize,
    pub(super) waiting_bytes: AtomicUsize,
    next_stream: AtomicU64,
}

/// What one stream holds, and how it is asked to append early.
#[derive(Default)]
pub(super) struct Holder {
    pub(super) bytes: AtomicU64,
    pub(super) press: Notify,
}

impl Budget {
    /// A budget of `memory_bytes` over all streams, `stream_bytes` for each, and `streams_max` streams.
    pub(in crate::ingest) fn new(memory_bytes: usize, stream_bytes: usize, streams_max: usize) -> Arc<Self> {
        let budget_permits = (memory_bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
        let dictionary_permits = budget_permits / DICTIONARIES_PART;
        Arc::new(Self {
            all: Arc::new(Semaphore::new(budget_permits)),
            budget_permits,
            dictionaries: Arc::new(Semaphore::new(dictionary_permits)),
            dictionary_permits,
            stream_permits: (stream_bytes / PERMIT_BYTES).min(budget_permits),
            streams: Arc::new(Semaphore::new(streams_max)),
            streams_max,
            holders: Mutex::new(HashMap::new()),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            next_stream: AtomicU64::new(0),
        })
    }

    /// A stream's number, what it holds, and its place among the open ones.
    ///
    /// Errors: `Exhausted` naming `ingest.max_streams` when all places are taken.
    pub(super) fn open_stream(&self) -> Result<(u64, Arc<Holder>, OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Error::busy("ingest.max_streams", format!("{} put streams are open already", self.streams_max))
        })?;
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let holder = Arc::new(Holder::default());
        self.holders().insert(stream, Arc::clone(&holder));
        Ok((stream, holder, place))
    }

    /// Streams that may be open.
    pub(super) fn streams_max(&self) -> usize {
        self.streams_max
    }

    /// Takes a stream that has ended off the list.
    pub(super) fn close_stream(&self, stream: u64) {
        self.holders().remove(&stream);
    }

    /// Bytes of batches between the wire and the commit, messages that wait for room included.
    pub(in crate::ingest) fn inflight_bytes(&self) -> u64 {
        let held = (self.budget_permits - self.all.available_permits()) * PERMIT_BYTES;
        (held + self.waiting_bytes.load(Ordering::Relaxed)) as u64
    }

    /// Bytes of messages that wait for room.
    pub(in crate::ingest) fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes.load(Ordering::Relaxed) as u64
    }

    /// Bytes that a message may unpack to.
    pub(in crate::ingest) fn stream_bytes(&self) -> usize {
        self.stream_permits * PERMIT_BYTES
    }

    /// A batch that is larger passes alone, but beside the dictionaries of others.
    pub(super) fn row_permits_max(&self) -> usize {
        self.budget_permits - self.dictionary_permits
    }

    /// Streams open.
    pub(in crate::ingest) fn streams_open(&self) -> u64 {
        (self.streams_max - self.streams.available_permits()) as u64
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn press_largest(&self) {
        let largest =
            self.holders().values().max_by_key(|holder| holder.bytes.load(Ordering::Relaxed)).map(Arc::clone);
        if let Some(holder) = largest {
            holder.press.notify_one();
        }
    }
}
