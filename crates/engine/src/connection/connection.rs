//! One DuckDB connection in use: statements, transactions, and its way back to the pool.
//! Runs on: one thread at a time; blocks.
//! Never: goes back to the pool with an open transaction, temporary objects or another schema in use.

use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use duckdb::Parameters;
use duckdb::connection::Connection as DuckDBConnection;

use super::tables::Dropping;
use crate::access::Access;
use crate::catalog::quote_name;
use crate::database::{Database, Hold, Interrupt, Progress, Touched};
use crate::duckdb_error::has_no_transaction;
use crate::error::{Error, Kind, Result};
use crate::ffi::RawConnection;
use crate::table_functions::{Published, Segment, random_token};

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
    pub(super) database: Arc<Database>,
    pub(super) in_transaction: bool,
    reusable: bool,
    pub(crate) may_hold_temporaries: bool,
    pub(super) path: Option<SchemaPath>,
    interrupts: RefCell<Vec<Interrupt>>,
    // What its client may do; `None` for admins and the server itself.
    access: Option<Arc<Access>>,
    // Whether the open transaction changes the shape of tables.
    pub(super) reshapes: Cell<bool>,
    // Whose rows the open transaction changes, and the tables that it may drop.
    pub(super) touched: RefCell<Touched>,
    pub(super) dropping: RefCell<Dropping>,
    // What the open transaction is for, and its place among those that keep checkpoints off.
    pub(super) purpose: RefCell<String>,
    pub(super) hold: RefCell<Option<Hold>>,
    // Whether the engine's last answers say that no transaction is open: asking again takes as long as a small query.
    pub(super) is_at_rest: Cell<bool>,
}

impl Connection {
    pub(crate) fn new(database: Arc<Database>, raw: RawConnection) -> Self {
        Self {
            raw: Some(Box::new(raw)),
            database,
            in_transaction: false,
            reusable: true,
            may_hold_temporaries: false,
            path: None,
            interrupts: RefCell::default(),
            access: None,
            reshapes: Cell::new(false),
            touched: RefCell::default(),
            dropping: RefCell::default(),
            purpose: RefCell::default(),
            hold: RefCell::default(),
            is_at_rest: Cell::new(true),
        }
    }

    pub(super) fn raw(&self) -> &RawConnection {
        self.raw.as_ref().expect("the connection is given back in drop alone")
    }

    pub(super) fn raw_mut(&mut self) -> &mut RawConnection {
        self.raw.as_mut().expect("the connection is given back in drop alone")
    }

    /// The connection, to run something on it.
    pub(crate) fn duckdb(&self) -> &DuckDBConnection {
        self.is_at_rest.set(false);
        self.raw().duckdb()
    }

    /// The connection, to parse, bind and describe: nothing of that leaves a transaction open.
    pub(crate) fn duckdb_for_binding(&self) -> &DuckDBConnection {
        self.raw().duckdb()
    }

    /// Whether the engine is known to have no transaction open on the connection.
    pub(crate) fn rests(&self) -> bool {
        self.is_at_rest.get()
    }

    /// Notes that a query which found the connection at rest was read to its end, which ends its own transaction.
    pub(crate) fn rests_again(&self) {
        self.is_at_rest.set(true);
    }

    /// The database this connection belongs to.
    pub fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Holds the statements that are parsed here from now on to what their sender may do; `None` for those of admins and of
    /// the server itself.
    pub fn hold_to(&mut self, access: Option<Arc<Access>>) {
        let is_same = match (&self.access, &access) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if !is_same {
            // What was prepared for one of them is not for the other.
            self.raw_mut().forget();
            self.database.about.viewed_by(self.raw().token(), access.clone());
        }
        self.access = access;
    }

    /// What the connection's client may do; `None` for admins and the server itself.
    pub fn access(&self) -> Option<&Arc<Access>> {
        self.access.as_ref()
    }

    /// Runs one statement to its end and returns the changed-row count.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        self.duckdb()
            .execute(sql, Parameters::None)
            .map(|rows| rows as u64)
            .map_err(|error| self.database.note(error))
    }

    /// Makes `segment` readable as `pintail_segment('<token>')` on this connection, until the guard is dropped.
    pub(crate) fn publish(&self, segment: Segment) -> Published<'_> {
        self.database.segments.publish(self.raw().token(), random_token(), segment)
    }

    /// As `publish`, with a token that is always the same on this connection for segments of one schema.
    pub(crate) fn publish_again(&self, segment: Segment) -> Published<'_> {
        let mut schema = DefaultHasher::new();
        segment.schema().fields().hash(&mut schema);
        let token = format!("{}{:016x}", self.raw().token(), schema.finish());
        self.database.segments.publish(self.raw().token(), token, segment)
    }

    /// Runs a statement that is always the same, such as COMMIT.
    pub(super) fn execute_same(&self, sql: &'static str) -> Result<()> {
        self.is_at_rest.set(false);
        self.raw().run_same(sql).map(|_| ()).map_err(|error| self.database.note(error))
    }

    /// Whether its client has asked it to stop.
    pub(super) fn is_given_up(&self) -> bool {
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

    /// The schema that unqualified names are looked up in, if one was chosen.
    pub(crate) fn schema_in_use(&self) -> Option<&str> {
        self.path.as_ref().map(|path| path.schema.as_str())
    }

    /// Notes that a statement may have made a temporary object.
    pub fn expect_temporaries(&mut self) {
        self.may_hold_temporaries = true;
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

impl Database {
    /// A connection of one's own until it is dropped.
    ///
    /// Errors: `Unavailable` when the database was lost to a fatal error.
    pub fn connection(self: &Arc<Self>) -> Result<Connection> {
        Ok(Connection::new(Arc::clone(self), self.take_raw()?))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.disarm();
        self.hold_to(None);
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
