//! Small INSERT statements of many clients -> one transaction for those into one table, a count for each.
//! Runs on: the threads of the statements, which wait; the transaction runs on the thread of the table's queue.
//! Never: lets one statement's error reach another; commits a statement that its client has given up.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use super::connection::Connection;
use super::database::Database;
use super::group_commit::{Answer, Groups, Work};
use super::judge::Class;
use crate::error::{Error, Kind, Result};

/// Longest text of a statement that shares a commit, in bytes: longer ones have rows enough to pay for their own.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Statements of one transaction at most.
const STATEMENTS_MAX: usize = 256;
/// How often a statement that waits looks whether its client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The small INSERT statements of a database; off until it is told for how long they may wait for company.
#[derive(Default)]
pub(super) struct Statements(OnceLock<Arc<Groups<String, Small>>>);

/// A statement that waits for a shared commit.
struct Small {
    sql: String,
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
        self.go(Self::TAKEN_BACK)
    }

    fn begin_commit(&self) -> bool {
        self.go(Self::COMMITS)
    }

    /// Whether it is at `stage` now; the first one to choose wins.
    fn go(&self, stage: u8) -> bool {
        match self.0.compare_exchange(Self::WAITS, stage, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(at) => at == stage,
        }
    }
}

impl Work for Small {
    fn rows(&self) -> usize {
        1
    }

    fn fail(self, error: Error) {
        // A thread that waits no more is nobody to tell.
        let _ = self.reply.send(Err(error));
    }
}

impl Statements {
    /// Lets statements share commits from now on; the first call counts.
    pub(super) fn switch_on(&self, database: &Arc<Database>, wait: Duration) {
        let database = Arc::downgrade(database);
        self.0.get_or_init(|| {
            Groups::new(wait, STATEMENTS_MAX, move || {
                let database = Weak::clone(&database);
                Box::new(move |group| commit_group(&database, group))
            })
        });
    }

    /// Runs `sql` with those of other clients and gives its changed-row count, after COMMIT has returned; `None` when
    /// it is not one that may share a commit: an INSERT of a few rows of its own.
    pub(super) fn run(&self, sql: &str, is_given_up: impl Fn() -> bool) -> Option<Result<u64>> {
        let groups = self.0.get()?;
        let table = target(sql)?;
        let stage = Arc::new(Stage::default());
        let (reply, answer) = sync_channel(1);
        groups.put(&table, Small { sql: sql.to_owned(), stage: Arc::clone(&stage), reply });
        Some(wait(&answer, || is_given_up() && stage.take_back()))
    }
}

fn wait(answer: &Receiver<Result<u64>>, is_taken_back: impl Fn() -> bool) -> Result<u64> {
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

fn taken_back() -> Error {
    Error::new(Kind::Cancelled, "the client left before the commit; nothing was stored")
}

/// What the INSERT calls its table, as a word to tell queues apart; `None` for a statement that does not share.
fn target(sql: &str) -> Option<String> {
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

/// Runs statements together; when that fails, each by itself, so that every client hears its own error.
fn commit_group(database: &Weak<Database>, group: Vec<Small>) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
    let mut answer = |small: Small, outcome: Result<u64>| {
        answers.push(Box::new(move || drop(small.reply.send(outcome))));
    };
    let connection = || {
        let database = database.upgrade();
        database.ok_or_else(|| Error::new(Kind::Unavailable, "the database is closed"))?.connection()
    };
    if group.len() > 1
        && let Ok(counts) = connection().and_then(|connection| together(connection, &group))
    {
        group.into_iter().zip(counts).for_each(|(small, count)| answer(small, Ok(count)));
        return answers;
    }
    for small in group {
        let alone = connection().and_then(|connection| together(connection, std::slice::from_ref(&small)));
        answer(small, alone.map(|counts| counts.into_iter().sum()));
    }
    answers
}

fn together(mut connection: Connection, group: &[Small]) -> Result<Vec<u64>> {
    connection.begin()?;
    let run = |small: &Small| {
        let _turn = connection.turn(Class::Change, &small.sql);
        connection.execute(&small.sql)
    };
    let counts = group.iter().map(run).collect::<Result<Vec<u64>>>()?;
    // As late as can be. Dropping the connection rolls back.
    if !group.iter().all(|small| small.stage.begin_commit()) {
        return Err(taken_back());
    }
    connection.commit().map(|()| counts)
}

#[cfg(test)]
mod tests {
    use super::target;

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
            assert_eq!(target(sql).as_deref(), table, "{sql}");
        }
        assert_eq!(target(&format!("INSERT INTO t VALUES ('{}')", "x".repeat(20_000))), None);
    }
}
