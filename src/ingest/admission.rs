//! Byte permits that travel with a batch from the wire until it is appended.
//! Runs on: the async side asks, before it decodes; the writer thread gives back by dropping.
//! Never: drops a batch, or lets streams that wait for each other stand still: when the budget is used up,
//! the stream that holds the most is told to append what it has.
//!
//! A message that waits for room is in memory as it came from the wire, and no more: each stream has one at most, so
//! that they are bounded by `ingest.max_streams` times `server.max_message_bytes`. HTTP/2 holds back the others.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pintail_protocol::decode::Need;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// One permit stands for this many bytes; semaphores count in `u32`.
const PERMIT_BYTES: usize = 1024;

/// Dictionaries stay for the length of their stream, and may take this part of the budget; rows leave it to them.
const DICTIONARIES_PART: usize = 4;
/// Encoded rows are made plain in slices of this part of what a stream may hold, and of this much at most and at least.
const SLICE_PART: usize = 8;
const SLICE_BYTES_MAX: usize = 1 << 30;
const SLICE_BYTES_MIN: usize = 1 << 20;

/// How long a stream waits for room before the largest holder is asked again to append early.
const PRESS_EVERY: Duration = Duration::from_millis(20);

/// The budget of the whole server.
pub(super) struct Admission {
    budget: Arc<Semaphore>,
    budget_permits: usize,
    dictionaries: Arc<Semaphore>,
    dictionary_permits: usize,
    stream_permits: usize,
    streams: Arc<Semaphore>,
    streams_max: usize,
    holders: Mutex<HashMap<u64, Arc<Holder>>>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
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
pub struct Permit {
    holder: Arc<Holder>,
    bytes: u64,
    expanded: usize,
    budget: OwnedSemaphorePermit,
    own: OwnedSemaphorePermit,
}

/// A stream's place, and what it keeps from its beginning to its end.
pub struct Intake {
    gate: Arc<Gate>,
    dictionaries: HashMap<i64, Kept>,
}

/// Room for a dictionary.
struct Kept {
    _budget: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

impl Admission {
    /// A budget of `memory_bytes` over all streams, `stream_bytes` for each, and `streams_max` streams.
    pub(super) fn new(memory_bytes: usize, stream_bytes: usize, streams_max: usize) -> Arc<Self> {
        let budget_permits = (memory_bytes / PERMIT_BYTES).min(Semaphore::MAX_PERMITS);
        let dictionary_permits = budget_permits / DICTIONARIES_PART;
        Arc::new(Self {
            budget: Arc::new(Semaphore::new(budget_permits)),
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

    /// Bytes of batches between the wire and the commit, messages that wait for room included.
    pub(super) fn inflight_bytes(&self) -> u64 {
        let held = (self.budget_permits - self.budget.available_permits()) * PERMIT_BYTES;
        (held + self.waiting_bytes.load(Ordering::Relaxed)) as u64
    }

    /// Bytes that a message may unpack to.
    pub(super) fn stream_bytes(&self) -> usize {
        self.stream_permits * PERMIT_BYTES
    }

    /// A batch that is larger passes alone, but beside the dictionaries of others.
    fn row_permits_max(&self) -> usize {
        self.budget_permits - self.dictionary_permits
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
    /// Room for a batch, if there is some at once.
    pub(super) fn try_acquire(&self, need: Need) -> Option<Permit> {
        let (bytes, expanded) = self.granted(need);
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let take = |from: &Arc<Semaphore>, permits: usize| {
            Arc::clone(from).try_acquire_many_owned(u32::try_from(permits).ok()?).ok()
        };
        let own = take(&self.own, permits.min(self.admission.stream_permits))?;
        let budget = take(&self.admission.budget, permits.min(self.admission.row_permits_max()))?;
        Some(self.permit(bytes, expanded, own, budget))
    }

    fn permit(
        &self,
        bytes: usize,
        expanded: usize,
        own: OwnedSemaphorePermit,
        budget: OwnedSemaphorePermit,
    ) -> Permit {
        self.holder.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        Permit { holder: Arc::clone(&self.holder), bytes: bytes as u64, expanded, budget, own }
    }

    /// All that is to be held at one time, and the part of it that is for the plain form.
    fn granted(&self, need: Need) -> (usize, usize) {
        let expanded = need.expanded.min(self.slice_bytes());
        (need.held.saturating_add(expanded), expanded)
    }

    /// What a slice of rows takes that is made plain.
    fn slice_bytes(&self) -> usize {
        (self.admission.stream_bytes() / SLICE_PART).clamp(SLICE_BYTES_MIN, SLICE_BYTES_MAX)
    }

    /// Bytes that a row may take alone.
    pub(super) fn row_bytes_max(&self) -> u64 {
        self.admission.stream_bytes() as u64
    }

    /// Waits for room for a batch. A batch above a limit passes alone, when all else is gone.
    pub(super) async fn acquire(&self, need: Need) -> Permit {
        let (bytes, expanded) = self.granted(need);
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let _counted = Counted::add(&self.admission.waiting_bytes, need.wire);
        let own = self.take(&self.own, permits.min(self.admission.stream_permits), || {
            self.holder.press.notify_one();
        });
        let own = own.await;
        let budget = self.take(&self.admission.budget, permits.min(self.admission.row_permits_max()), || {
            self.admission.press_largest();
        });
        let budget = budget.await;
        self.permit(bytes, expanded, own, budget)
    }

    /// Waits for room for a dictionary.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when those of all streams would take too much of it.
    async fn keep(&self, bytes: usize) -> Result<Kept> {
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let share = u32::try_from(permits)
            .ok()
            .and_then(|permits| Arc::clone(&self.admission.dictionaries).try_acquire_many_owned(permits).ok())
            .ok_or_else(|| {
                Error::exhausted(
                    "ingest.memory_limit",
                    format!(
                        "a dictionary of {bytes} bytes: those of all open streams may take {} bytes, one in \
                         {DICTIONARIES_PART} of the limit; send plain columns or smaller dictionaries",
                        self.admission.dictionary_permits * PERMIT_BYTES
                    ),
                )
            })?;
        let budget = self.take(&self.admission.budget, permits, || self.admission.press_largest()).await;
        Ok(Kept { _budget: budget, _share: share })
    }

    async fn take(&self, from: &Arc<Semaphore>, permits: usize, press: impl Fn()) -> OwnedSemaphorePermit {
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(permits) {
            return permit;
        }
        let _counted = Counted::add(&self.admission.waiting, 1);
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

/// Counts what waits for as long as it waits, however the wait ends.
struct Counted<'a>(&'a AtomicUsize, usize);

impl<'a> Counted<'a> {
    fn add(counter: &'a AtomicUsize, count: usize) -> Self {
        counter.fetch_add(count, Ordering::Relaxed);
        Self(counter, count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

impl Intake {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, dictionaries: HashMap::new() }
    }

    /// Room for a batch, if there is some at once.
    pub fn try_room(&self, need: Need) -> Option<Permit> {
        self.gate.try_acquire(need)
    }

    /// Waits for room for a batch.
    pub async fn room(&self, need: Need) -> Permit {
        match self.gate.try_acquire(need) {
            Some(permit) => permit,
            None => self.gate.acquire(need).await,
        }
    }

    /// Waits for room for a dictionary, in the place of the one before.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when those of all streams would take too much of it.
    pub async fn dictionary(&mut self, id: i64, bytes: usize) -> Result<()> {
        // The one before stays until the new one is decoded; the next batch is not far.
        let kept = self.gate.keep(bytes).await?;
        self.dictionaries.insert(id, kept);
        Ok(())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.admission.holders().remove(&self.stream);
    }
}

impl Permit {
    /// Bytes this permit stands for.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes among them that are for the plain form.
    pub fn expanded_bytes(&self) -> usize {
        self.expanded
    }

    /// Bytes of a slice that is made plain in this room. What no header tells gets the least.
    pub(super) fn slice_bytes(&self) -> usize {
        self.expanded.max(SLICE_BYTES_MIN)
    }

    /// Gives back what the plain form does not need.
    pub(super) fn expands_to(&mut self, expanded: usize) {
        let spare = self.expanded.saturating_sub(expanded);
        self.expanded -= spare;
        self.bytes -= spare as u64;
        self.holder.bytes.fetch_sub(spare as u64, Ordering::Relaxed);
        let wanted = usize::try_from(self.bytes).unwrap_or(usize::MAX).div_ceil(PERMIT_BYTES).max(1);
        for held in [&mut self.budget, &mut self.own] {
            drop(held.split(held.num_permits().saturating_sub(wanted)));
        }
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

    fn held(bytes: usize) -> Need {
        Need { wire: bytes, held: bytes, expanded: 0 }
    }

    #[tokio::test]
    async fn permits_come_back_when_dropped() {
        let admission = Admission::new(4 * MIB, 2 * MIB, 2);
        let gate = admission.enter().unwrap();
        let permit = gate.acquire(held(MIB)).await;
        assert_eq!(admission.inflight_bytes(), MIB as u64);
        drop(permit);
        assert_eq!(admission.inflight_bytes(), 0);
    }

    #[tokio::test]
    async fn a_batch_above_the_stream_limit_passes_alone() {
        let admission = Admission::new(4 * MIB, MIB, 1);
        let gate = admission.enter().unwrap();
        let _large = gate.acquire(held(64 * MIB)).await;
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
        let _held_small = small.acquire(held(MIB)).await;
        let held_large = large.acquire(held(2 * MIB)).await;
        let waiting = tokio::spawn(async move { third.acquire(held(2 * MIB)).await.bytes() });
        large.pressed().await;
        drop(held_large);
        assert_eq!(waiting.await.unwrap(), 2 * MIB as u64);
    }

    /// The plain form of a batch has room for a slice, whatever the whole would take; what it turns out not to need
    /// goes back.
    #[tokio::test]
    async fn the_plain_form_has_room_for_a_slice() {
        let admission = Admission::new(8 * MIB, 8 * MIB, 1);
        let gate = admission.enter().unwrap();
        let mut permit = gate.acquire(Need { wire: MIB, held: MIB, expanded: usize::MAX }).await;
        assert_eq!((permit.bytes(), permit.slice_bytes()), (2 * MIB as u64, MIB));
        assert_eq!(admission.inflight_bytes(), 2 * MIB as u64);
        permit.expands_to(MIB / 2);
        assert_eq!(admission.inflight_bytes(), (MIB + MIB / 2) as u64);
        drop(permit);
        assert_eq!(admission.inflight_bytes(), 0);
    }

    /// Dictionaries never take the room without which no row could go on.
    #[tokio::test]
    async fn dictionaries_have_a_share_and_rows_pass_beside_them() {
        let admission = Admission::new(8 * MIB, 8 * MIB, 2);
        let mut first = Intake::new(Arc::new(admission.enter().unwrap()));
        let mut second = Intake::new(Arc::new(admission.enter().unwrap()));
        first.dictionary(1, MIB).await.unwrap();
        let error = second.dictionary(1, 2 * MIB).await.unwrap_err().to_string();
        assert!(error.contains("2097152 bytes") && error.contains("ingest.memory_limit"), "{error}");
        second.dictionary(1, MIB).await.unwrap();
        assert_eq!(admission.inflight_bytes(), 2 * MIB as u64);
        let all = second.room(held(64 * MIB)).await;
        assert_eq!(admission.inflight_bytes(), 8 * MIB as u64);
        drop((all, first, second));
        assert_eq!(admission.inflight_bytes(), 0);
    }

    #[tokio::test]
    async fn messages_that_wait_are_counted() {
        let admission = Admission::new(4 * MIB, 4 * MIB, 2);
        let (first, second) = (admission.enter().unwrap(), admission.enter().unwrap());
        let all = first.acquire(held(3 * MIB)).await;
        let waiting = tokio::spawn(async move { second.acquire(held(2 * MIB)).await.bytes() });
        first.pressed().await;
        // Permits that it waits for may count as taken already.
        assert!(admission.inflight_bytes() >= 5 * MIB as u64);
        drop(all);
        waiting.await.unwrap();
        assert_eq!(admission.inflight_bytes(), 0);
    }
}
