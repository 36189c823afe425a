//! Transactions on a connection: begin, commit, roll back, and the turns that statements and commits take with checkpoints.
//! Never: takes a COMMIT that failed for one that may be done again on the same connection.

use duckdb::Parameters;

use super::connection::Connection;
use crate::database::{CommitKind, Hold, Interrupt, StatementTurn, Touched};
use crate::duckdb_error::is_aborted;
use crate::error::{Error, Kind, Result};
use crate::sql::{Class, Impact, Insert, impact};

impl Connection {
    /// Opens a transaction. It ends with `commit`, or is rolled back when the connection is dropped.
    pub fn begin(&mut self) -> Result<()> {
        self.sees_commits();
        self.execute_same("BEGIN TRANSACTION")?;
        self.in_transaction = true;
        self.reshapes.set(false);
        Ok(())
    }

    /// Opens a transaction in which the engine refuses every change but to temporary tables. It ends with `rollback`.
    pub fn begin_read_only(&mut self) -> Result<()> {
        self.execute_same("BEGIN TRANSACTION READ ONLY")?;
        self.in_transaction = true;
        self.reshapes.set(false);
        Ok(())
    }

    /// Says what the connection's transactions are for; a status shows it when one keeps checkpoints off.
    pub fn set_purpose(&self, purpose: &str) {
        purpose.clone_into(&mut self.purpose.borrow_mut());
    }

    /// Refuses to go on with a transaction that has kept checkpoints off for too long.
    ///
    /// Errors: `Aborted`, naming the setting; the transaction can only be rolled back.
    pub fn check_hold(&self) -> Result<()> {
        if self.hold.borrow().as_ref().is_some_and(Hold::has_to_end) {
            return Err(Error::new(
                Kind::Aborted,
                "the transaction has kept checkpoints off for too long and is rolled back (limit: \
                 database.checkpoint_hold); commit earlier, in smaller transactions",
            ));
        }
        Ok(())
    }

    fn keeps_checkpoints_off(&self, what: &str) {
        let mut hold = self.hold.borrow_mut();
        if self.in_transaction && hold.is_none() {
            let purpose = self.purpose.borrow();
            let what = if purpose.is_empty() { what } else { &purpose };
            *hold =
                Some(self.database.holders.enter(what.to_owned(), Interrupt::new(self.duckdb_for_binding())));
        }
    }

    fn is_over(&mut self) {
        self.in_transaction = false;
        self.hold.get_mut().take();
        self.purpose.get_mut().clear();
    }

    /// Commits. When this returns, the rows are in the log or the file, synced. The transaction is over either way.
    ///
    /// Errors: `Aborted` when another transaction was first; nothing was applied then. After any error the connection
    /// is closed instead of reused.
    pub fn commit(&mut self) -> Result<()> {
        self.commit_and(|| ())
    }

    /// As [`Connection::commit`], and then calls `done`; no other commit is made in between.
    pub fn commit_and(&mut self, done: impl FnOnce()) -> Result<()> {
        // The engine looks for interrupts before COMMIT does its work: a deadline that passes now would leave the
        // transaction open and aborted.
        self.disarm();
        if let Err(error) = self.check_hold() {
            let _ = self.rollback();
            return Err(error);
        }
        let touched = self.touched.take();
        if let Err(error) = self.database.row_commits.wait(&touched) {
            let _ = self.rollback();
            return Err(error);
        }
        if let Err(error) = self.follow_tables() {
            let _ = self.rollback();
            return Err(error);
        }
        let kind = if self.reshapes.take() { CommitKind::Reshapes } else { CommitKind::Rows };
        let committed = {
            let _turn = self.database.gate.commit(kind);
            self.check_dropped().and_then(|()| self.execute_same("COMMIT")).map(|()| {
                self.database.row_commits.note(&touched);
                done();
            })
        };
        self.is_over();
        match committed {
            Ok(()) => {
                self.is_at_rest.set(true);
                self.database.count_commit();
                Ok(())
            }
            Err(error) => {
                self.spoil();
                // What COMMIT left open holds locks until the connection is closed, which may be later.
                let _ = self.execute_same("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Does what is a single INSERT outside of a transaction, unless the shape of a table has changed since
    /// [`Database::shape`] gave `shape`: then it gives `None`. When this returns, its rows are in the log, synced.
    pub fn commits_itself<T>(
        &mut self,
        shape: u64,
        insert: &Insert,
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<Option<T>> {
        self.disarm();
        *self.touched.get_mut() = Touched::default();
        self.touches(Class::Change, &insert.head)?;
        self.database.row_commits.wait(&self.touched.borrow())?;
        let done = {
            // A trigger of its table may delete. Taken before the commit's turn, which a checkpoint waits for.
            let _statement = self.database.surface().has_triggers().then(|| self.deletes());
            // No shape changes while this turn is held.
            let _turn = self.database.gate.commit(CommitKind::Rows);
            if self.database.gate.shape() != Some(shape) {
                return Ok(None);
            }
            // Also after an error, which may come after the commit.
            let worked = work(self);
            self.database.row_commits.note(&self.touched.take());
            worked?
        };
        self.database.count_commit();
        Ok(Some(done))
    }

    /// Runs statements of the server's own that make or change tables, in a transaction of their own.
    pub fn define(&mut self, statements: &[String]) -> Result<()> {
        self.begin()?;
        let done = {
            let _turn = self.reshapes();
            statements.iter().try_for_each(|sql| self.execute(sql).map(|_| ()))
        };
        match done {
            Ok(()) => self.commit(),
            Err(error) => {
                // The first error is the one to report.
                let _ = self.rollback();
                Err(error)
            }
        }
    }

    /// What a statement has to hold while it runs, so that no checkpoint runs beside it; waits for one under way. Not
    /// to be held over a commit, nor between calls of a client.
    ///
    /// Errors: `Cancelled` and those of a lost database.
    pub fn turn(&self, class: Class, sql: &str) -> Result<Option<StatementTurn>> {
        self.touches(class, sql)?;
        Ok(match impact(class, sql) {
            Impact::None if class == Class::Change && self.database.surface().has_triggers() => {
                Some(self.deletes())
            }
            Impact::None => None,
            Impact::Deletes => {
                // The first word says enough; the rest may hold data.
                self.keeps_checkpoints_off(&sql.split_whitespace().next().unwrap_or_default().to_uppercase());
                Some(self.database.gate.statement())
            }
            Impact::Reshapes => Some(self.reshapes()),
        })
    }

    /// As [`Connection::turn`], for a statement of the server's own that deletes rows or may.
    pub fn deletes(&self) -> StatementTurn {
        self.keeps_checkpoints_off("DELETE");
        self.database.gate.statement()
    }

    /// As [`Connection::turn`], for statements of the server's own that change or drop tables.
    pub fn reshapes(&self) -> StatementTurn {
        self.reshapes.set(true);
        self.keeps_checkpoints_off("a change of tables");
        self.database.gate.statement()
    }

    /// Drops what the open transaction did. After an error the connection is closed instead of reused.
    pub fn rollback(&mut self) -> Result<()> {
        self.disarm();
        self.is_over();
        self.reshapes.set(false);
        let done = self.execute_same("ROLLBACK");
        match done {
            Ok(()) => self.is_at_rest.set(true),
            Err(_) => self.spoil(),
        }
        done
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    /// Whether the open transaction takes no more statements because one of them failed.
    pub fn is_aborted(&self) -> bool {
        self.in_transaction
            && self.duckdb().execute("SELECT 1", Parameters::None).is_err_and(|error| is_aborted(&error))
    }
}
