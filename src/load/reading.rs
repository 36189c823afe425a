//! Parts that are read on threads: the memory they hold between them, and their batches as a put stream takes them.
//! Runs on: the task of the load.
//! Never: ends a stream whose reader has stopped early.

use std::sync::Arc;

use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::client::Loaded;
use crate::error::{Error, Result};

/// MiB that parts which are read at the same time hold between them, as far as can be told before; one alone may hold more.
const READING_MIB: u32 = 96;

/// The memory of parts that are being read.
#[derive(Clone)]
pub(super) struct Memory(Arc<Semaphore>);

impl Default for Memory {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READING_MIB as usize)))
    }
}

impl Memory {
    /// Waits for the room that pieces need which hold up to `bytes`.
    pub(super) async fn room(self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let mib = u32::try_from(bytes >> 20).unwrap_or(u32::MAX).clamp(1, READING_MIB);
        let room = self.0.acquire_many_owned(mib).await;
        room.map_err(|_| Error::internal("the memory of parts is gone"))
    }
}

/// The batches up to the reader's word that there are no more. A reader that is gone without it has not read everything.
pub(super) fn to_the_end(
    batches: mpsc::Receiver<Result<Option<Loaded>>>,
) -> impl futures::Stream<Item = Result<Loaded>> + Send + 'static {
    stream::unfold(Some(batches), |batches| async move {
        let mut batches = batches?;
        match batches.recv().await {
            Some(Ok(Some(loaded))) => Some((Ok(loaded), Some(batches))),
            Some(Ok(None)) => None,
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Err(ended_early()), None)),
        }
    })
}

pub(super) fn ended_early() -> Error {
    Error::internal("the reading thread ended before the end of its files")
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    /// Without the last word the stream ends with an error, so that the put is cut and rolled back.
    #[tokio::test]
    async fn a_reader_that_is_gone_has_not_ended() {
        let (sender, batches) = mpsc::channel(4);
        drop(sender);
        let all: Vec<_> = to_the_end(batches).collect().await;
        assert_eq!(all.len(), 1);
        assert!(all[0].is_err());
        let (sender, batches) = mpsc::channel(4);
        sender.send(Ok(None)).await.unwrap();
        assert_eq!(to_the_end(batches).collect::<Vec<_>>().await.len(), 0);
    }
}
