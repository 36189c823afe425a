//! One checkpoint: when it may run, and which transactions have to end for it.
//! Never: runs beside a commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::database::Database;
use crate::error::{Error, Kind, Result};

/// How long a checkpoint waits for statements that change rows; new ones wait behind it.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same with a log twice as large as it should be.
const PATIENCE_OVERDUE: Duration = Duration::from_secs(2);

impl Database {
    /// Writes the log into the database file, and says for how long it kept commits waiting. Blocks; waits for
    /// commits under way, and for nobody else. Once the log is twice as large as it should be, transactions that have
    /// kept checkpoints off for longer than `checkpoint_hold` are ended.
    ///
    /// Errors: `Conflict` or `Aborted` while writers are active, naming the oldest; try again later.
    pub fn checkpoint(self: &Arc<Self>) -> Result<Duration> {
        let is_overdue = self.wal_bytes() >= self.options().checkpoint_bytes.saturating_mul(2);
        let done = self.try_checkpoint(if is_overdue { PATIENCE_OVERDUE } else { PATIENCE });
        let Err(error) = done else { return done };
        if is_overdue {
            self.holders.end_older_than(self.options().checkpoint_hold);
        }
        match self.holders.list().first() {
            Some(oldest) if matches!(error.kind(), Kind::Conflict | Kind::Aborted) => Err(Error::new(
                error.kind(),
                format!(
                    "transactions keep the checkpoint off, the oldest for {} ({}); try again later",
                    humantime::format_duration(Duration::from_secs(oldest.age.as_secs())),
                    oldest.what
                ),
            )),
            _ => Err(error),
        }
    }

    fn try_checkpoint(self: &Arc<Self>, patience: Duration) -> Result<Duration> {
        let connection = self.connection()?;
        let _turn = self.gate.checkpoint(patience).ok_or_else(|| {
            Error::new(Kind::Conflict, "statements that change rows are running; try again later")
        })?;
        let started = Instant::now();
        connection.execute("CHECKPOINT").map(|_| started.elapsed())
    }
}
