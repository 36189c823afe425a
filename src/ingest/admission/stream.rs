//! One stream's part of the budget: permits for its batches and dictionaries, and when it should append early.
//! Runs on: the async side asks, before it decodes; the writer thread gives back by dropping.
//! Never: lets streams that wait for each other stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pintail_protocol::decode::Need;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::budget::{Budget, DICTIONARIES_PART, Holder, PERMIT_BYTES};
use super::permit::{Permit, SLICE_BYTES_MIN};
use crate::error::{Error, Result};
use crate::session::{Counted as ClientPlace, Share};

/// Encoded rows are made plain in slices of this part of what a stream may hold, and of this much at most and at least.
const SLICE_PART: usize = 8;
const SLICE_BYTES_MAX: usize = 1 << 30;

/// How long a stream waits for room before the largest holder is asked again to append early.
const PRESS_EVERY: Duration = Duration::from_millis(20);

/// One stream's part of the budget: asks for permits, hears when it should append early.
pub(in crate::ingest) struct StreamBudget {
    budget: Arc<Budget>,
    stream: u64,
    holder: Arc<Holder>,
    own: Arc<Semaphore>,
    _place: (OwnedSemaphorePermit, Option<ClientPlace>),
}

/// Room for a dictionary.
pub(super) struct Kept {
    _budget: OwnedSemaphorePermit,
    _share: OwnedSemaphorePermit,
}

impl StreamBudget {
    /// A place among the open streams. Errors: `Exhausted` naming `ingest.max_streams` when all are taken.
    /// `share`: what its client has of them.
    pub(in crate::ingest) fn open(budget: &Arc<Budget>, share: Option<&Arc<Share>>) -> Result<Self> {
        let counted = share.map(|share| share.stream(budget.streams_max())).transpose()?;
        let (stream, holder, place) = budget.open_stream()?;
        let own = Arc::new(Semaphore::new(budget.stream_permits));
        Ok(Self { budget: Arc::clone(budget), stream, holder, own, _place: (place, counted) })
    }

    /// Room for a batch, if there is some at once.
    pub(in crate::ingest) fn try_acquire(&self, need: Need) -> Option<Permit> {
        let (bytes, expanded) = self.granted(need);
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let take = |from: &Arc<Semaphore>, permits: usize| {
            Arc::clone(from).try_acquire_many_owned(u32::try_from(permits).ok()?).ok()
        };
        let own = take(&self.own, permits.min(self.budget.stream_permits))?;
        let budget = take(&self.budget.all, permits.min(self.budget.row_permits_max()))?;
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
        (self.budget.stream_bytes() / SLICE_PART).clamp(SLICE_BYTES_MIN, SLICE_BYTES_MAX)
    }

    /// Bytes that a row may take alone.
    pub(in crate::ingest) fn row_bytes_max(&self) -> u64 {
        self.budget.stream_bytes() as u64
    }

    /// Waits for room for a batch. A batch above a limit passes alone, when all else is gone.
    pub(in crate::ingest) async fn acquire(&self, need: Need) -> Permit {
        let (bytes, expanded) = self.granted(need);
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let _counted = Counted::add(&self.budget.waiting_bytes, need.wire);
        let own = self.take(&self.own, permits.min(self.budget.stream_permits), || {
            self.holder.press.notify_one();
        });
        let own = own.await;
        let budget = self.take(&self.budget.all, permits.min(self.budget.row_permits_max()), || {
            self.budget.press_largest();
        });
        let budget = budget.await;
        self.permit(bytes, expanded, own, budget)
    }

    /// Waits for room for a dictionary.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when those of all streams would take too much of it.
    pub(super) async fn keep(&self, bytes: usize) -> Result<Kept> {
        let permits = bytes.div_ceil(PERMIT_BYTES).max(1);
        let share = u32::try_from(permits)
            .ok()
            .and_then(|permits| Arc::clone(&self.budget.dictionaries).try_acquire_many_owned(permits).ok())
            .ok_or_else(|| {
                Error::exhausted(
                    "ingest.memory_limit",
                    format!(
                        "a dictionary of {bytes} bytes: those of all open streams may take {} bytes, one in \
                         {DICTIONARIES_PART} of the limit; send plain columns or smaller dictionaries",
                        self.budget.dictionary_permits * PERMIT_BYTES
                    ),
                )
            })?;
        let budget = self.take(&self.budget.all, permits, || self.budget.press_largest()).await;
        Ok(Kept { _budget: budget, _share: share })
    }

    async fn take(&self, from: &Arc<Semaphore>, permits: usize, press: impl Fn()) -> OwnedSemaphorePermit {
        let permits = u32::try_from(permits).unwrap_or(u32::MAX);
        if let Ok(permit) = Arc::clone(from).try_acquire_many_owned(permits) {
            return permit;
        }
        let _counted = Counted::add(&self.budget.waiting, 1);
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
    pub(in crate::ingest) fn append_threshold_bytes(&self) -> u64 {
        (self.budget.stream_permits * PERMIT_BYTES / 2) as u64
    }

    /// Completes when this stream should append what it has, whole units or not.
    pub(in crate::ingest) async fn pressed(&self) {
        loop {
            self.holder.press.notified().await;
            // A request that was answered meanwhile must not cut a unit short.
            if self.budget.waiting.load(Ordering::Relaxed) > 0 {
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

impl Drop for StreamBudget {
    fn drop(&mut self) {
        self.budget.close_stream(self.stream);
    }
}
