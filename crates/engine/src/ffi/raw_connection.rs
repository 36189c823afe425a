//! Statements kept beside the connection they belong to: prepared, or only read.
//! Never: hands out a statement for longer than the connection is borrowed.

use std::cell::{Cell, RefCell};
use std::mem::transmute;
use std::sync::Arc;

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::statement::{PreparedStatement, Statement};
use duckdb::{Parameters, Result};

/// A connection and the statements prepared on it, so that preparing happens once per connection.
pub(crate) struct RawConnection {
    // Boxed, because a prepared statement refers to the statement's connection by address. Declared first, so
    // that the statements are dropped before the connection.
    kept: Vec<(String, Box<PreparedStatement<'static>>)>,
    // The server's own, which run to their end: prepared, and those that cannot be only read once.
    own: RefCell<Vec<(String, Box<PreparedStatement<'static>>)>>,
    read: RefCell<Vec<(&'static str, Statement<'static>)>>,
    describing: RefCell<Option<Statement<'static>>>,
    // Clients' statements that were read a moment ago, by their text, the one used last at the end.
    recent: RefCell<Vec<(String, Statement<'static>)>>,
    // Whether results leave in the engine's lossless form.
    lossless: Cell<bool>,
    duckdb: Box<DuckDBConnection>,
    token: String,
    // What the engine may queue of a result.
    // Dropped last: as long as it is there, so may be the connection.
    _alive: Arc<()>,
}

// SAFETY: a connection may move between threads (`DuckDBConnection` is `Send`). A prepared statement is a handle to an
// object that holds the connection's shared client context and no thread of its own; every call on it goes
// through that context. A statement that was only read is a syntax tree of its own. `RawConnection` is not `Sync`, so
// connection and statements are used by one thread at a time.
unsafe impl Send for RawConnection {}

impl RawConnection {
    /// `token`: a word that no other connection has. `alive` is held for as long as the connection is open.
    pub(crate) fn new(duckdb: DuckDBConnection, token: String, alive: Arc<()>) -> Self {
        Self {
            kept: Vec::new(),
            own: RefCell::default(),
            read: RefCell::default(),
            describing: RefCell::default(),
            recent: RefCell::default(),
            lossless: Cell::new(false),
            duckdb: Box::new(duckdb),
            token,
            _alive: alive,
        }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn duckdb(&self) -> &DuckDBConnection {
        &self.duckdb
    }

    /// Prepares `statement` and keeps it under `sql`, forgetting the one unused for longest when there are
    /// `kept_max` already.
    pub(crate) fn keep(&mut self, sql: &str, statement: &Statement<'static>, kept_max: usize) -> Result<()> {
        let prepared = self.prepare(statement)?;
        if self.kept.len() >= kept_max {
            self.kept.remove(0);
        }
        self.kept.push((sql.to_owned(), prepared));
        Ok(())
    }

    fn prepare(&self, statement: &Statement<'static>) -> Result<Box<PreparedStatement<'static>>> {
        let prepared = statement.prepare(&self.duckdb, false)?;
        // SAFETY: only the lifetime changes. The statement refers to `*self.duckdb`, which is boxed and
        // never replaced, and `kept` and `own` are dropped before it. The longer lifetime does not leave this
        // type: `last` gives the statement out for as long as `self` is borrowed, `run_own` not at all.
        Ok(Box::new(unsafe { transmute::<PreparedStatement<'_>, PreparedStatement<'static>>(prepared) }))
    }

    fn parse(&self, sql: &str) -> Result<Statement<'static>> {
        let mut statements = self.duckdb.parse(sql)?;
        statements
            .next()
            .unwrap_or_else(|| Err(duckdb::Error::api_error("a statement vanished while parsing")))
    }

    /// Runs a statement of the server's own to its end, which is prepared the first time, and gives the changed
    /// rows. The `own_max` used last are remembered.
    pub(crate) fn run_own(&self, sql: &str, own_max: usize) -> Result<usize> {
        let mut own = self.own.borrow_mut();
        let entry = match own.iter().position(|(known, _)| known == sql) {
            Some(index) => own.remove(index),
            None => (sql.to_owned(), self.prepare(&self.parse(sql)?)?),
        };
        // One that fails is forgotten: it may have been bound to what is no longer there.
        let rows = entry.1.execute(Parameters::None)?.drain()?;
        if own.len() >= own_max {
            own.remove(0);
        }
        own.push(entry);
        Ok(rows)
    }

    /// Runs a statement that is always the same, such as COMMIT, to its end; it is parsed the first time.
    pub(crate) fn run_same(&self, sql: &'static str) -> Result<usize> {
        let mut read = self.read.borrow_mut();
        let index = match read.iter().position(|(known, _)| *known == sql) {
            Some(index) => index,
            None => {
                read.push((sql, self.parse(sql)?));
                read.len() - 1
            }
        };
        read[index].1.query(&self.duckdb, Parameters::None)?.drain()
    }

    /// Binds the statement by which `table_functions` describes columns to this connection; it is read the first time.
    pub(crate) fn bind_describing(&self) -> Result<()> {
        let mut describing = self.describing.borrow_mut();
        let statement = match &mut *describing {
            Some(statement) => statement,
            none => none.insert(self.parse(&format!("FROM system.main.pintail_describe('{}')", self.token))?),
        };
        statement.bind(&self.duckdb).map(|_| ())
    }

    /// A client's statement with the text `sql`, if it was read a moment ago. Reading one takes as long as binding it.
    pub(crate) fn take_recent(&self, sql: &str) -> Option<Statement<'static>> {
        let mut recent = self.recent.borrow_mut();
        let index = recent.iter().rposition(|(known, _)| known == sql)?;
        Some(recent.remove(index).1)
    }

    /// Keeps a client's statement for a moment; `bytes_max` of text in all.
    pub(crate) fn keep_recent(&self, sql: &str, statement: Statement<'static>, bytes_max: usize) {
        if sql.len() > bytes_max {
            return;
        }
        let mut recent = self.recent.borrow_mut();
        recent.push((sql.to_owned(), statement));
        let mut bytes: usize = recent.iter().map(|(sql, _)| sql.len()).sum();
        let mut forgotten = 0;
        while bytes > bytes_max {
            bytes -= recent[forgotten].0.len();
            forgotten += 1;
        }
        recent.drain(..forgotten);
    }

    /// Whether results leave in the engine's lossless form; set by whoever changes it.
    pub(crate) fn lossless(&self) -> &Cell<bool> {
        &self.lossless
    }

    /// Whether `sql` is kept; marks it as the one used last.
    pub(crate) fn touch(&mut self, sql: &str) -> bool {
        let Some(index) = self.kept.iter().position(|(kept, _)| kept == sql) else { return false };
        let entry = self.kept.remove(index);
        self.kept.push(entry);
        true
    }

    /// The statement used last, if it is `sql`.
    pub(crate) fn last<'raw>(&'raw self, sql: &str) -> Option<&'raw PreparedStatement<'raw>> {
        let (kept, prepared) = self.kept.last()?;
        (kept == sql).then_some(&**prepared)
    }

    /// Forgets every statement: an object they refer to may be gone.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
        self.own.get_mut().clear();
        self.recent.get_mut().clear();
    }
}
