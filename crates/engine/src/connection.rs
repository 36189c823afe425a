//! One DuckDB connection in use: statements, transactions, and its way back to the pool.
//! Runs on: one thread at a time; blocks.
//! Never: goes back to the pool with an open transaction, temporary objects or another schema in use.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use duckdb::Parameters;
use duckdb::connection::Connection as DuckDBConnection;
use duckdb::statement::{PreparedStatement, Statement};

use super::checkpoint_gate::StatementTurn;
use super::database::Database;
use super::duckdb_error::{has_no_transaction, is_aborted};
use super::ffi::RawConnection;
use super::holders::Hold;
use super::interrupt::{Interrupt, Progress};
use super::judge::{Class, Impact, impact};
use super::segment::{Published, Segment, random_token};
use super::statement::Parsed;
use crate::catalog::quote_name;
use crate::error::{Error, Kind, Result};

/// Prepared statements kept per connection.
const PREPARED_MAX: usize = 32;
/// And of the server's own.
const OWN_MAX: usize = 8;

/// Where unqualified names are looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaPath {
    /// Catalog (database).
    pub catalog: String,
    /// Schema in it.
    pub schema: String,
}

/// A connection of one's own; dropping it rolls back what is open and returns it to the pool.
pub struct Connection {
    // `None` only while being dropped.
    raw: Option<Box<RawConnection>>,
    database: Arc<Database>,
    in_transaction: bool,
    reusable: bool,
    may_hold_temporaries: bool,
    path: Option<SchemaPath>,
    interrupts: RefCell<Vec<Interrupt>>,
    // Whether the open transaction changes the shape of tables.
    reshapes: Cell<bool>,
    // What the open transaction is for, and its place among those that keep checkpoints off.
    purpose: RefCell<String>,
    hold: RefCell<Option<Hold>>,
    // Whether the engine's last answers say that no transaction is open: asking again takes as long as a small query.
    is_at_rest: Cell<bool>,
}

impl Connection {
    pub(super) fn new(database: Arc<Database>, raw: RawConnection) -> Self {
        Self {
            raw: Some(Box::new(raw)),
            database,
            in_transaction: false,
            reusable: true,
            may_hold_temporaries: false,
            path: None,
            interrupts: RefCell::default(),
            reshapes: Cell::new(false),
            purpose: RefCell::default(),
            hold: RefCell::default(),
            is_at_rest: Cell::new(true),
        }
    }

    fn raw(&self) -> &RawConnection {
        self.raw.as_ref().expect("the connection is given back in drop alone")
    }

    fn raw_mut(&mut self) -> &mut RawConnection {
        self.raw.as_mut().expect("the connection is given back in drop alone")
    }

    /// The connection, to run something on it.
    pub(super) fn duckdb(&self) -> &DuckDBConnection {
        self.is_at_rest.set(false);
        self.raw().duckdb()
    }

    /// The connection, to parse, bind and describe: nothing of that leaves a transaction open.
    pub(super) fn duckdb_for_binding(&self) -> &DuckDBConnection {
        self.raw().duckdb()
    }

    /// Whether the engine is known to have no transaction open on the connection.
    pub(super) fn rests(&self) -> bool {
        self.is_at_rest.get()
    }

    /// Notes that a query which found the connection at rest was read to its end, which ends its own transaction.
    pub(super) fn rests_again(&self) {
        self.is_at_rest.set(true);
    }

    /// The database this connection belongs to.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Runs one statement to its end and returns the changed-row count.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        self.duckdb()
            .execute(sql, Parameters::None)
            .map(|rows| rows as u64)
            .map_err(|error| self.database.note(error))
    }

    /// Runs a statement of the server's own that comes again and again to its end; it is prepared once per connection.
    pub(super) fn execute_again(&self, sql: &str) -> Result<u64> {
        let changed = self.raw().run_own(sql, OWN_MAX);
        if changed.is_err() {
            self.is_at_rest.set(false);
        }
        changed.map(|rows| rows as u64).map_err(|error| self.database.note(error))
    }

    /// Makes `segment` readable as `pintail_segment('<token>')` on this connection, until the guard is dropped.
    pub(super) fn publish(&self, segment: Segment) -> Published<'_> {
        self.database.segments.publish(self.raw().token(), random_token(), segment)
    }

    /// As `publish`, with a token that is always the same on this connection for segments of one schema.
    pub(super) fn publish_again(&self, segment: Segment) -> Published<'_> {
        let mut schema = DefaultHasher::new();
        segment.schema().fields().hash(&mut schema);
        let token = format!("{}{:016x}", self.raw().token(), schema.finish());
        self.database.segments.publish(self.raw().token(), token, segment)
    }

    fn execute_same(&self, sql: &'static str) -> Result<()> {
        self.is_at_rest.set(false);
        self.raw().run_same(sql).map(|_| ()).map_err(|error| self.database.note(error))
    }

    /// Runs a parsed statement to its end and returns the changed-row count.
    pub fn execute_parsed(&self, parsed: &Parsed) -> Result<u64> {
        let was_at_rest = self.rests();
        let run = || parsed.statement.query(self.duckdb(), Parameters::None)?.drain();
        let rows = run().map_err(|error| self.database.note(error))?;
        self.is_at_rest.set(was_at_rest);
        Ok(rows as u64)
    }

    /// Runs the statement `sql` in a transaction that it shares with small INSERTs of other clients, and returns the
    /// changed-row count after COMMIT; `None` when it is not one that shares. An interrupt takes it back, until COMMIT.
    pub fn share_commit(&self, class: Class, sql: &str) -> Option<Result<u64>> {
        // It runs on another connection: names must mean the same there.
        let is_plain = !self.in_transaction && self.path.is_none() && !self.may_hold_temporaries;
        if !is_plain || class != Class::Change {
            return None;
        }
        self.database.statements.run(sql, || self.is_given_up())
    }

    fn is_given_up(&self) -> bool {
        self.interrupts.borrow().iter().any(Interrupt::was_asked)
    }

    /// Stops work of many statements.
    ///
    /// Errors: `Cancelled` when an interrupt was asked for.
    pub fn check_interrupt(&self) -> Result<()> {
        if self.is_given_up() {
            return Err(Error::new(Kind::Cancelled, "the statement was interrupted"));
        }
        Ok(())
    }

    /// Prepares the statement with the text `sql`, unless this connection has it already.
    pub(super) fn keep(
        &mut self,
        sql: &str,
        statement: impl FnOnce(&Self) -> Result<Statement<'static>>,
    ) -> Result<()> {
        if self.raw_mut().touch(sql) {
            return Ok(());
        }
        let statement = statement(self)?;
        let kept = self.raw_mut().keep(sql, &statement, PREPARED_MAX);
        kept.map_err(|error| self.database.note(error))
    }

    /// The statement that `keep` was last called for.
    pub(super) fn kept(&self, sql: &str) -> Result<&PreparedStatement<'_>> {
        self.is_at_rest.set(false);
        self.raw().last(sql).ok_or_else(|| Error::internal("a prepared statement was not kept"))
    }

    /// Opens a transaction. It ends with `commit`, or is rolled back when the connection is dropped.
    pub fn begin(&mut self) -> Result<()> {
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
        let committed = {
            let _turn = self.database.gate.commit(self.reshapes.take());
            self.execute_same("COMMIT").map(|()| done())
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
        work: impl FnOnce(&Self) -> Result<T>,
    ) -> Result<Option<T>> {
        self.disarm();
        let done = {
            // A trigger of its table may delete. Taken before the commit's turn, which a checkpoint waits for.
            let _statement = self.database.surface().has_triggers().then(|| self.deletes());
            // No shape changes while this turn is held.
            let _turn = self.database.gate.commit(false);
            if self.database.gate.shape() != Some(shape) {
                return Ok(None);
            }
            work(self)?
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
    pub fn turn(&self, class: Class, sql: &str) -> Option<StatementTurn> {
        match impact(class, sql) {
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
        }
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

    /// Whether nothing is open on the connection. The engine is asked, unless its last answer said so: whoever goes by
    /// its own account of what was begun and ended hands an open transaction to the next user one day.
    fn has_come_to_rest(&self) -> bool {
        if self.is_at_rest.get() {
            return true;
        }
        match self.raw().run_same("ROLLBACK") {
            // There was one; it is gone now.
            Ok(_) => true,
            Err(error) => has_no_transaction(&error),
        }
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

    /// Looks unqualified names up in `path` from now on; `None` means the database's own `main`.
    ///
    /// Errors: `NotFound` when there is no such schema.
    pub fn use_path(&mut self, path: Option<&SchemaPath>) -> Result<()> {
        if self.path.as_ref() == path {
            return Ok(());
        }
        let sql = match path {
            Some(path) => format!("USE {}.{}", quote_name(&path.catalog), quote_name(&path.schema)),
            None => format!("USE {}.main", quote_name(self.database.catalog())),
        };
        self.execute(&sql).map_err(|error| match path {
            Some(path) => Error::not_found(format!(
                "schema {}.{} cannot be used: {}",
                path.catalog,
                path.schema,
                error.message()
            )),
            None => error,
        })?;
        self.path = path.cloned();
        // Statements were bound with the other path.
        self.raw_mut().forget();
        Ok(())
    }

    /// Whether unqualified names are looked up in this catalog.
    pub fn looks_in(&self, catalog: &str) -> bool {
        self.path.as_ref().is_some_and(|path| path.catalog.eq_ignore_ascii_case(catalog))
    }

    /// Whether unqualified names are looked up in this schema.
    pub(super) fn looks_in_schema(&self, schema: &str) -> bool {
        self.path.as_ref().is_some_and(|path| path.schema.eq_ignore_ascii_case(schema))
    }

    /// Notes that a statement may have made a temporary object.
    pub fn expect_temporaries(&mut self) {
        self.may_hold_temporaries = true;
    }

    /// Whether the connection holds temporary tables, views or other objects, which live and die with it.
    pub fn has_temporaries(&self) -> Result<bool> {
        // Looking costs milliseconds, and most connections never see one.
        if !self.may_hold_temporaries {
            return Ok(false);
        }
        let sql = "SELECT 1 FROM (SELECT temporary FROM duckdb_tables() UNION ALL \
                   SELECT temporary FROM duckdb_views() WHERE NOT internal UNION ALL \
                   SELECT temporary FROM duckdb_sequences()) WHERE temporary UNION ALL \
                   SELECT 1 FROM duckdb_functions() WHERE NOT internal AND database_name = 'temp' UNION ALL \
                   SELECT 1 FROM duckdb_types() WHERE NOT internal AND database_name = 'temp' LIMIT 1";
        Ok(super::tables::query(self, sql)?.iter().any(|batch| batch.num_rows() > 0))
    }

    /// A handle that stops whatever this connection runs, until the connection is dropped.
    pub fn interrupt(&self) -> Interrupt {
        let interrupt = Interrupt::new(self.duckdb_for_binding());
        self.interrupts.borrow_mut().push(interrupt.clone());
        interrupt
    }

    /// Ends the reach of every interrupt given out: the statement they were for is over, the connection is not.
    pub fn disarm(&self) {
        for interrupt in self.interrupts.borrow_mut().drain(..) {
            interrupt.disarm();
        }
    }

    /// A way to see how far the running statement is.
    pub fn progress(&self) -> Result<Progress> {
        Progress::new(self.duckdb_for_binding()).map_err(|error| self.database.note(error))
    }

    /// Marks the connection as changed (temporary objects): it is closed instead of reused.
    pub fn spoil(&mut self) {
        self.reusable = false;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.disarm();
        // Closing a connection rolls back as well.
        if !self.reusable || !self.has_come_to_rest() || (self.path.is_some() && self.use_path(None).is_err())
        {
            return;
        }
        if let Some(raw) = self.raw.take() {
            self.database.give_back(*raw);
        }
    }
}
