//! A backup as a call: a thread of its own behind, stopped when the caller leaves or the server stops.
//! Runs on: async tasks call [`Operations::backup`].
//! Never: takes a place from queries; writes on for nobody.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::engine::{self, BackupTarget, Database};
use crate::error::Result;
use crate::running::{EngineThread, Manner, Running};

/// Cancels the copy when it is dropped: its caller has left, or has its answer.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writes a copy of the database, as it is now, and gives its size in bytes.
pub(super) async fn backup(
    database: Arc<Database>,
    running: Arc<Running>,
    target: BackupTarget,
) -> Result<u64> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let caller = CancelOnDrop(Arc::clone(&cancelled));
    let interrupt = Arc::new(OnceLock::new());
    let own_interrupt = Arc::clone(&interrupt);
    let written = Arc::new(OnceLock::new());
    let answer = Arc::clone(&written);
    #[expect(clippy::disallowed_methods, reason = "this is a bridge: one blocking thread per backup")]
    let handle = tokio::task::spawn_blocking(move || {
        let mut connection = database.connection()?;
        let interrupt = own_interrupt.get_or_init(|| connection.interrupt());
        let _entered = running.enter(interrupt.clone(), Manner::Steady);
        let bytes =
            engine::backup(&mut connection, &target, &cancelled).map_err(|error| running.explain(error))?;
        // Set once, by this thread.
        let _ = answer.set(bytes);
        Ok(())
    });
    let done = EngineThread::new(interrupt, handle).ended().await;
    drop(caller);
    done.map(|()| written.get().copied().unwrap_or_default())
}
