//! Room for messages that are being received or wait to be taken, over all streams.
//! Runs on: tonic's connection tasks wait; any thread gives back by dropping.
//! Never: lets a message grow that has no room; then HTTP/2 holds its client back.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// One permit stands for this many bytes; semaphores count in `u32`.
const PERMIT_BYTES: usize = 1024;

/// The room of all streams.
#[derive(Debug, Clone)]
pub(in crate::flight) struct Room {
    permits: Arc<Semaphore>,
    all: u32,
}

/// A stream's way to it.
#[derive(Debug)]
pub(super) struct Door {
    permits: PollSemaphore,
    all: u32,
}

/// Room for one message; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    _permits: OwnedSemaphorePermit,
}

impl Room {
    /// Room for `bytes`.
    pub(in crate::flight) fn of(bytes: usize) -> Self {
        let all = u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        Self { permits: Arc::new(Semaphore::new(all as usize)), all }
    }

    pub(super) fn door(&self) -> Door {
        Door { permits: PollSemaphore::new(Arc::clone(&self.permits)), all: self.all }
    }
}

impl Door {
    /// Room for a message of `bytes`. One that is larger than all of it passes alone.
    pub(super) fn poll(&mut self, bytes: usize, context: &mut Context<'_>) -> Poll<Option<Held>> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.all);
        // `None` when the semaphore is closed, which nobody does.
        Poll::Ready(
            ready!(self.permits.poll_acquire_many(context, permits)).map(|_permits| Held { _permits }),
        )
    }
}
