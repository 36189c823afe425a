//! Room for one batch, which travels with it from the wire until it is appended.
//! Runs on: any thread; given back by dropping.
//! Never: stands for more than the batch may take.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::budget::{Holder, PERMIT_BYTES};

/// What a slice of encoded rows takes at least.
pub(super) const SLICE_BYTES_MIN: usize = 1 << 20;

/// Room for one batch; given back when dropped.
pub struct Permit {
    pub(super) holder: Arc<Holder>,
    pub(super) bytes: u64,
    pub(super) expanded: usize,
    pub(super) budget: OwnedSemaphorePermit,
    pub(super) own: OwnedSemaphorePermit,
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
    pub(in crate::ingest) fn slice_bytes(&self) -> usize {
        self.expanded.max(SLICE_BYTES_MIN)
    }

    /// Gives back what the plain form does not need.
    pub(in crate::ingest) fn expands_to(&mut self, expanded: usize) {
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
