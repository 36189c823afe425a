//! A backup as a call: a thread of its own behind, stopped when the caller leaves or the server stops.
//! Runs on: async tasks call [`Query::backup`]. Never: takes a place from queries; writes on for nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::{Query, stream};
use crate::engine::{self, BackupTarget};
use crate::error::Result;

/// Says that nobody waits any more, when it is dropped.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Query {
    /// Writes a copy of the database, as it is now, and gives its size in bytes. Dropping this stops the copy, and
    /// leaves nothing behind.
    ///
    /// Errors: as `engine::backup`; `Unavailable` when the server stops.
    pub async fn backup(&self, target: BackupTarget) -> Result<u64> {
        let cancelled = Arc::new(AtomicBool::new(false));
        let waiting = Waiting(Arc::clone(&cancelled));
        let (database, running) = (Arc::clone(&self.database), Arc::clone(&self.running));
        let interrupt = Arc::new(OnceLock::new());
        let stop = Arc::clone(&interrupt);
        let written = Arc::new(OnceLock::new());
        let answer = Arc::clone(&written);
        #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per backup")]
        let handle = tokio::task::spawn_blocking(move || {
            let mut connection = database.connection()?;
            let handle = stop.get_or_init(|| connection.interrupt());
            let _entered = running.enter(handle.clone());
            let bytes = engine::backup(&mut connection, &target, &cancelled)
                .map_err(|error| running.explain(error))?;
            // Set once, by this thread.
            let _ = answer.set(bytes);
            Ok(())
        });
        let mut thread = stream::ReaderThread { interrupt, handle: Some(handle) };
        let done = std::future::poll_fn(|context| thread.poll(context)).await;
        drop(waiting);
        done.map(|()| written.get().copied().unwrap_or_default())
    }
}
