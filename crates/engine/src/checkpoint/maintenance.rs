//! Background checkpoints: by size of the log, and when the database has gone quiet.
//! Runs on: one thread of its own.
//! Never: runs inside a commit, forces a checkpoint under load, or keeps the process alive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{Error, Kind};

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Quiet time after which even a small log is written into the file, so that the next start is fast.
const QUIET_BEFORE_CHECKPOINT: Duration = Duration::from_secs(5);

/// The checkpoint thread; dropping it stops the thread.
pub struct Maintenance {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Maintenance {
    /// Starts looking after `database`; `told` hears of each checkpoint: bytes of the log, and how long commits waited.
    pub fn start(
        database: Arc<Database>,
        told: impl Fn(u64, Duration) + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let thread = std::thread::Builder::new().name("pintail-checkpoint".into()).spawn({
            let stop = Arc::clone(&stop);
            move || look_after(&database, &stop, &told)
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed already; there is nothing left to undo.
            let _ = thread.join();
        }
    }
}

fn look_after(database: &Arc<Database>, stop: &(Mutex<bool>, Condvar), told: &impl Fn(u64, Duration)) {
    let busy = AtomicBool::new(false);
    let mut commits_seen = database.commits();
    let mut last_commit = Instant::now();
    loop {
        let stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) = stop.1.wait_timeout(stopped, LOOK_EVERY).unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
        drop(stopped);
        if database.is_lost() {
            continue;
        }
        let commits = database.commits();
        if commits != commits_seen {
            commits_seen = commits;
            last_commit = Instant::now();
        }
        let wal_bytes = database.wal_bytes();
        let by_size = wal_bytes >= database.options().checkpoint_bytes;
        let by_quiet = wal_bytes > 0 && last_commit.elapsed() >= QUIET_BEFORE_CHECKPOINT;
        if !by_size && !by_quiet {
            continue;
        }
        let started = Instant::now();
        // A panic is one checkpoint that failed, not the end of all.
        let done = catch_unwind(AssertUnwindSafe(|| database.checkpoint()))
            .unwrap_or_else(|_| Err(Error::internal("the checkpoint panicked")));
        match done {
            Ok(held_up) => {
                busy.store(false, Ordering::Relaxed);
                let took = started.elapsed();
                let (milliseconds, commits_waited_ms) = (took.as_millis() as u64, held_up.as_millis() as u64);
                tracing::debug!(wal_bytes, milliseconds, commits_waited_ms, "checkpoint");
                told(wal_bytes, held_up);
            }
            // Writers are at work; the next look tries again. Said once, not twice a second.
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::Aborted) => {
                if !busy.swap(true, Ordering::Relaxed) {
                    tracing::debug!(wal_bytes, %error, "checkpoint put off");
                }
            }
            Err(error) => tracing::warn!(wal_bytes, %error, "checkpoint failed"),
        }
    }
}
