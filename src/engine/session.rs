//! One DuckDB connection in use: statements, transactions, and its way back to the pool.
//! Runs on: one thread at a time; blocks.
//! Never: goes back to the pool with an open transaction or temporary objects.

use std::sync::Arc;

use duckdb::Parameters;
use duckdb::connection::Connection;

use super::database::Database;
use super::interrupt::Interrupt;
use crate::error::Result;

/// A connection of one's own; dropping it rolls back what is open and returns it to the pool.
pub struct Session {
    // `None` only while being dropped.
    connection: Option<Connection>,
    database: Arc<Database>,
    in_transaction: bool,
    reusable: bool,
    interrupts: std::cell::RefCell<Vec<Interrupt>>,
}

impl Session {
    pub(super) fn new(database: Arc<Database>, connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            database,
            in_transaction: false,
            reusable: true,
            interrupts: std::cell::RefCell::new(Vec::new()),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("the connection leaves the session only in drop")
    }

    /// The database this session belongs to.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Runs one statement to its end and returns the changed-row count.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        self.connection()
            .execute(sql, Parameters::None)
            .map(|rows| rows as u64)
            .map_err(|error| self.database.note(error))
    }

    /// Opens a transaction. It ends with `commit`, or is rolled back when the session is dropped.
    pub fn begin(&mut self) -> Result<()> {
        self.execute("BEGIN TRANSACTION")?;
        self.in_transaction = true;
        Ok(())
    }

    /// Commits. When this returns, the rows are in the log or the file, synced.
    pub fn commit(&mut self) -> Result<()> {
        // Whatever COMMIT answers, DuckDB has left the transaction afterwards.
        self.in_transaction = false;
        self.execute("COMMIT")?;
        self.database.count_commit();
        Ok(())
    }

    /// Tells the maintenance thread that an autocommitted change went through.
    pub fn count_commit(&self) {
        self.database.count_commit();
    }

    /// Drops what the open transaction did.
    pub fn rollback(&mut self) -> Result<()> {
        self.in_transaction = false;
        self.execute("ROLLBACK").map(|_| ())
    }

    /// A handle that stops whatever this session runs, until the session is dropped.
    pub fn interrupt(&self) -> Interrupt {
        let interrupt = Interrupt::new(self.connection());
        self.interrupts.borrow_mut().push(interrupt.clone());
        interrupt
    }

    /// Marks the connection as changed (temporary objects): it is closed instead of reused.
    pub fn spoil(&mut self) {
        self.reusable = false;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for interrupt in self.interrupts.get_mut().drain(..) {
            interrupt.disarm();
        }
        let Some(connection) = self.connection.take() else { return };
        if self.in_transaction && connection.execute("ROLLBACK", Parameters::None).is_err() {
            // Closing the connection rolls back as well.
            return;
        }
        if self.reusable {
            self.database.give_back(connection);
        }
    }
}
