//! Memory of the whole process, looked at ten times a second; above the limit, statements are stopped until it is below.
//! Runs on: a thread of its own, so that it looks whatever the others do.
//! Never: stops a put, a commit or the server's own work; stops a statement for memory that malloc only keeps.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::config::Bytes;
use crate::engine::{look_at_memory, set_process_limit, trim_malloc};
use crate::error::Error;
use crate::metrics;
use crate::query::Query;
use crate::running::Running;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often malloc is asked for what it keeps, which takes it a while.
const TRIM_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that nothing can be stopped.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// Looks at the memory of the process until it is dropped.
pub(super) struct Guard {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Guard {
    /// Holds the process to `limit`, in bytes. Of several servers in one process, the last one's limit counts.
    pub(super) fn start(limit: u64, running: Arc<Running>, query: Arc<Query>) -> io::Result<Self> {
        set_process_limit(limit, metrics::resident_bytes);
        let (stop, stopped) = channel();
        let look = Look { limit, running, query, trimmed: None, complained: None };
        let thread = Builder::new().name("memory".into()).spawn(move || look.run(&stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been logged.
            let _ = thread.join();
        }
    }
}

struct Look {
    limit: u64,
    running: Arc<Running>,
    query: Arc<Query>,
    trimmed: Option<Instant>,
    complained: Option<Instant>,
}

impl Look {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut was_above = false;
        while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let mut resident = look_at_memory();
            if resident > self.limit && is_due(&mut self.trimmed, TRIM_EVERY) {
                trim_malloc();
                resident = look_at_memory();
            }
            let is_above = resident > self.limit;
            if is_above {
                self.relieve(resident);
            } else if was_above {
                trim_malloc();
            }
            was_above = is_above;
        }
    }

    fn relieve(&mut self, resident: u64) {
        let why = |what: &str| {
            let (has, limit) = (in_mib(resident), in_mib(self.limit));
            let text = format!("the server had {has} in memory, its limit is {limit}, and stopped {what}");
            Error::exhausted("server.memory_limit", text)
        };
        let statement = why("the statement that had worked for longest without a result");
        let stopped = self.running.sacrifice(&statement).or_else(|| {
            self.query.let_go_of_one(&why("the result that had waited for its reader for longest"))
        });
        match stopped {
            // One that was told before has not ended yet.
            Some(Duration::ZERO) => {}
            Some(worked) => {
                metrics::sacrificed();
                tracing::warn!(
                    resident_bytes = resident,
                    limit_bytes = self.limit,
                    milliseconds = worked.as_millis() as u64,
                    "memory is above server.memory_limit; a statement was stopped"
                );
            }
            None if is_due(&mut self.complained, COMPLAIN_EVERY) => {
                tracing::error!(
                    resident_bytes = resident,
                    limit_bytes = self.limit,
                    "memory is above server.memory_limit, and no statement is running; lower database.memory_limit or \
                     ingest.memory_limit, or raise server.memory_limit"
                );
            }
            None => {}
        }
    }
}

/// Whether the last time is longer ago than `every`; this is the last time then.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|at| at.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

/// Rounded up, for people.
fn in_mib(bytes: u64) -> Bytes {
    Bytes::mib(bytes.div_ceil(1 << 20))
}
