//! SmallInsert INSERT statements of many clients, waiting to be committed together: which of them may, and their answers.
//! Runs on: the threads of the statements, which wait; `connection::grouped` commits on the thread of the table's queue.
//! Never: gives a client an answer before COMMIT returned; goes on with a statement that its client has given up.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::groups::{Answer, Committer, Groups, Work};
use crate::error::{Error, Kind, Result};

/// Longest text of a statement that shares a commit, in bytes: longer ones have rows enough to pay for their own.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// SmallInserts of one transaction at most.
const STATEMENTS_MAX: usize = 256;
/// How often a statement that waits looks whether its client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The small INSERT statements of a database; off until it is told for how long they may wait for each other.
#[derive(Default)]
pub(crate) struct SmallInserts(OnceLock<Arc<Groups<String, SmallInsert>>>);

/// A statement that waits for a shared commit.
pub(crate) struct SmallInsert {
    pub(crate) sql: String,
    stage: Arc<Stage>,
    reply: SyncSender<Result<u64>>,
}

/// Whether a statement can still be taken back: either its client does so, or its COMMIT begins.
#[derive(Default)]
struct Stage(AtomicU8);

impl Stage {
    const WAITS: u8 = 0;
    const TAKEN_BACK: u8 = 1;
    const COMMITS: u8 = 2;

    fn take_back(&self) -> bool {
        self.reach(Self::TAKEN_BACK)
    }

    fn begin_commit(&self) -> bool {
        self.reach(Self::COMMITS)
    }

    /// Whether it is at `stage` now; the first one to choose wins.
    fn reach(&self, stage: u8) -> bool {
        match self.0.compare_exchange(Self::WAITS, stage, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(at) => at == stage,
        }
    }
}

impl SmallInsert {
    /// Whether it is to be committed; its client cannot take it back any more then.
    pub(crate) fn begin_commit(&self) -> bool {
        self.stage.begin_commit()
    }

    /// Tells the client what became of it, once the answer is called.
    pub(crate) fn answer(self, outcome: Result<u64>) -> Answer {
        Box::new(move || drop(self.reply.send(outcome)))
    }
}

impl Work for SmallInsert {
    fn rows(&self) -> usize {
        1
    }

    fn fail(self, error: Error) {
        // The client's thread may have stopped waiting.
        let _ = self.reply.send(Err(error));
    }
}

impl SmallInserts {
    /// Lets statements share commits from now on; `committer` is called once for each table's queue. The first call
    /// counts.
    pub(crate) fn switch_on(
        &self,
        wait: Duration,
        committer: impl Fn() -> Committer<SmallInsert> + Send + Sync + 'static,
    ) {
        self.0.get_or_init(|| Groups::new(wait, STATEMENTS_MAX, committer));
    }

    /// Runs `sql` with those of other clients and gives its changed-row count, after COMMIT has returned; `None` when
    /// it is not one that may share a commit: an INSERT of a few rows of its own.
    pub(crate) fn run(&self, sql: &str, is_given_up: impl Fn() -> bool) -> Option<Result<u64>> {
        let groups = self.0.get()?;
        let table = table_of(sql)?;
        let stage = Arc::new(Stage::default());
        let (reply, answer) = sync_channel(1);
        groups.put(&table, SmallInsert { sql: sql.to_owned(), stage: Arc::clone(&stage), reply });
        Some(wait_for(&answer, || is_given_up() && stage.take_back()))
    }
}

fn wait_for(answer: &Receiver<Result<u64>>, is_taken_back: impl Fn() -> bool) -> Result<u64> {
    loop {
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(outcome) => return outcome,
            Err(RecvTimeoutError::Timeout) if is_taken_back() => return Err(taken_back()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::internal(
                    "the thread of the shared commit failed; nothing of this was stored",
                ));
            }
        }
    }
}

/// What a client that has left would have heard.
pub(crate) fn taken_back() -> Error {
    Error::new(Kind::Cancelled, "the client left before the commit; nothing was stored")
}

/// What the INSERT calls its table, as a word to tell queues apart; `None` for a statement that does not share.
fn table_of(sql: &str) -> Option<String> {
    if sql.len() > TEXT_BYTES_MAX {
        return None;
    }
    let text = sql.trim_start().to_ascii_lowercase();
    let rest = text.strip_prefix("insert")?.trim_start().strip_prefix("into")?;
    // A SELECT may read for long, and a RETURNING has rows to give back.
    if ["select", "returning", "from"].iter().any(|word| text.contains(word)) {
        return None;
    }
    let table = rest.trim_start().split(|letter: char| letter.is_whitespace() || letter == '(').next()?;
    Some(table.to_owned())
}

#[cfg(test)]
mod tests {
    use super::table_of;

    #[test]
    fn small_inserts_share_by_table() {
        for (sql, table) in [
            ("INSERT INTO t VALUES (1)", Some("t")),
            (" insert into s.\"T\"(a) values (1);", Some("s.\"t\"")),
            ("INSERT INTO t SELECT 1", None),
            ("INSERT INTO t VALUES (1) RETURNING a", None),
            ("INSERT OR REPLACE INTO t VALUES (1)", None),
            ("DELETE FROM t", None),
        ] {
            assert_eq!(table_of(sql).as_deref(), table, "{sql}");
        }
        assert_eq!(table_of(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(20_000))), None);
    }
}
