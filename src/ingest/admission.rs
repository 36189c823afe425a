//! Byte permits that travel with a batch from the wire until it is appended.
//! Runs on: the async side asks, the writer thread gives back by dropping.
//! Never: drops a batch, or lets streams that wait for each other stand still: when the budget is used up,
//! the stream that holds the most is told to append what it has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// One permit stands for this many bytes; semaphores count in `u32`.
const PERMIT_BYTES: usize = 1024;

/// How long a stream waits for room before the largest holder is asked again to append early.
const PRESS_EVERY: Duration = Duration::from_millis(20);

/// The budget of the whole server.
pub(super) struct Admission {
    budget: Arc<Semaphore>,
    budget_permits: usize,
    stream_permits: usize,
    streams: Arc<Semaphore>,
    streams_max: usize,
    holders: Mutex<HashMap<u64, Arc<Holder>>>,
    waiting: AtomicUsize,
    next_stream: AtomicU64,
}

/// What one stream holds, and how it is asked to append early.
#[derive(Default)]
struct Holder {
    bytes: AtomicU64,
    press: Notify,
}

/// One stream's place: asks for permits, hears when it should append early.
pub(super) struct Gate {
    admission: Arc<Admission>,
    stream: u64,
    holder: Arc<Holder>,
    own: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

/// Room for one batch; given back when dropped.
pub(super) struct Permit {
    holder: Arc<Holder>,
    bytes: u64,
    _budget: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

impl Admission {
    /// A budget of `memory_bytes` over all streams, `stream_bytes` for each, and `streams_max` streams.
    pub(super) fn new(memory_bytes: usize, stream_bytes: usize, streams_max: usize) -> Arc<Self> {
        let budget_permits = (memory_bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            budget: Arc::new(Semaphore::new(budget_permits)),
            budget_permits,
            stream_permits: (stream_bytes / PERMIT_BYTES).min(budget_permits),
            streams: Arc::new(Semaphore::new(streams_max)),
            streams_max,
            holders: Mutex::new(HashMap::new()),
            waiting: AtomicUsize::new(0),
            next_stream: AtomicU64::new(0),
        })
    }

    /// A place for one stream. Errors: `Exhausted` naming `ingest.max_streams` when all are taken.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Gate> {
        let place = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            Error::exhausted(
                "ingest.max_streams",
                format!("{} put streams are open already", self.streams_max),
            )
        })?;
        let stream = self.next_stream.fetch_add(1, Ordering::Relaxed);
        let holder = Arc::new(Holder::default());
        self.holders().insert(stream, Arc::clone(&holder));
        Ok(Gate {
            admission: Arc::clone(self),
            stream,
            holder,
            own: Arc::new(Semaphore::new(self.stream_permits)),
            _place: place,
        })
    }

    /// Bytes of batches between the wire and the commit.
    pub(super) fn inflight_bytes(&self) -> u64 {
        ((self.budget_permits - self.budget.available_permits()) * PERMIT_BYTES) as u64
    }

    /// Streams open.
    pub(super) fn streams_open(&self) -> u64 {
        (self.streams_max - self.streams.available_permits()) as u64
    }

    fn holders(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Holder>>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn press_largest(&self) {
        let largest =
            self.holders().values().max_by_key(|holder| holder.bytes.load(Ordering::Relaxed)).map(Arc::clone);
        if let Some(holder) = largest {
            holder.press.notify_one();
        }
    }
}

impl Gate {
    /// Room for a batch of `bytes`, if there is some at once.
    pub(super) fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let take = |from: &Arc<Semaphore>, permits: usize| {
            Arc::clone(from).try_acquire_many_owned(u32::try_from(permits).ok()?).ok()
        };
        let own = take(&self.own, permits.min(self.admission.stream_permits))?;
        let budget = take(&self.admission.budget, permits.min(self.admission.budget_permits))?;
        Some(self.permit(bytes, own, budget))
    }

    fn permit(&self, bytes: usize, own: OwnedSemaphorePermit, budget: OwnedSemaphorePermit) -> Permit {
        self.holder.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Permit { holder: Arc::clone(&self.holder), bytes: bytes as u64, _budget: budget, _own: own }
    }

    /// Waits for room for a batch of `bytes`. A batch above a limit passes alone, when all else is gone.
    pub(super) async fn acquire(&self, bytes: usize) -> Permit {
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let own = self.take(&self.own, permits.min(self.admission.stream_permits), || {
            self.holder.press.notify_one();
        });
        let own = own.await;
        let budget = self.take(&self.admission.budget, permits.min(self.admission.budget_permits), || {
            self.admission.press_largest();
        });
        let budget = budget.await;
        self.permit(bytes, own, budget)
    }

    async fn take(&self, from: &Arc<Semaphore>, permits: usize, press: impl Fn()) -> OwnedSemaphorePermit {
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(permits) {
            return permit;
        }
        let _counted = Waiting::count(&self.admission.waiting);
        let waiting = Arc::clone(from).acquire_many_owned(permits);
        tokio::pin!(waiting);
        loop {
            press();
            tokio::select! {
                permit = &mut waiting => return permit.expect("the semaphores are never closed"),
                () = tokio::time::sleep(PRESS_EVERY) => {}
            }
        }
    }

    /// Bytes this stream may hold before its writer should append, so that reading goes on meanwhile.
    pub(super) fn append_threshold_bytes(&self) -> u64 {
        (self.admission.stream_permits * PERMIT_BYTES / 2) as u64
    }

    /// Completes when this stream should append what it has, whole units or not.
    pub(super) async fn pressed(&self) {
        loop {
            self.holder.press.notified().await;
            // A request that was answered meanwhile must not cut a unit short.
            if self.admission.waiting.load(Ordering::Relaxed) > 0 {
                return;
            }
        }
    }
}

/// Counts a waiting stream for as long as it waits, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.admission.holders().remove(&self.stream);
    }
}

impl Permit {
    /// Bytes this permit stands for.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.holder.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn permits_come_back_when_dropped() {
        let admission = Admission::new(4 * MIB, 2 * MIB, 2);
        let gate = admission.enter().unwrap();
        let permit = gate.acquire(MIB).await;
        assert_eq!(admission.inflight_bytes(), MIB as u64);
        drop(permit);
        assert_eq!(admission.inflight_bytes(), 0);
    }

    #[tokio::test]
    async fn a_batch_above_the_stream_limit_passes_alone() {
        let admission = Admission::new(4 * MIB, MIB, 1);
        let gate = admission.enter().unwrap();
        let _large = gate.acquire(64 * MIB).await;
    }

    #[tokio::test]
    async fn the_stream_limit_is_named_when_hit() {
        let admission = Admission::new(MIB, MIB, 1);
        let _first = admission.enter().unwrap();
        let error = admission.enter().err().unwrap();
        assert!(error.to_string().contains("ingest.max_streams"), "{error}");
    }

    /// Streams that hold the whole budget without a full unit would wait for ever; one is asked to append.
    #[tokio::test]
    async fn a_full_budget_presses_the_largest_holder() {
        let admission = Admission::new(4 * MIB, 4 * MIB, 3);
        let (small, large, third) =
            (admission.enter().unwrap(), admission.enter().unwrap(), admission.enter().unwrap());
        let _held_small = small.acquire(MIB).await;
        let held_large = large.acquire(3 * MIB).await;
        let waiting = tokio::spawn(async move { third.acquire(MIB).await.bytes() });
        large.pressed().await;
        drop(held_large);
        assert_eq!(waiting.await.unwrap(), MIB as u64);
    }
}
