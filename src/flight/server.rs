//! What the calls work on, and the second hand of its expiry.
//! Runs on: async tasks of the gRPC server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;
use pintail_protocol::header::{Mode, OnConflict};
use serde_json::Value;

use super::info::{Infos, Polls};
use super::put::Puts;
use super::result::{Results, Tickets};
use crate::about::Recorder;
use crate::auth::{Gate, Grants, Principal};
use crate::catalog::{Declarations, TableName};
use crate::config::Config;
use crate::engine::Database;
use crate::error::Result;
use crate::ingest::Ingest;
use crate::operations::Operations;
use crate::query::Query;
use crate::session::{Lease, Sessions};

/// The parts of a server that the calls work on.
pub struct FlightParts {
    /// The database behind the server.
    pub database: Arc<Database>,
    /// The write side.
    pub ingest: Arc<Ingest>,
    /// The read side.
    pub query: Arc<Query>,
    /// Checkpoints and backups.
    pub operations: Arc<Operations>,
    /// Where callers say who they are.
    pub gate: Arc<Gate>,
    /// What callers may do.
    pub grants: Arc<Grants>,
    /// What lasts between calls.
    pub sessions: Arc<Sessions>,
    /// The declarations in force.
    pub declarations: Arc<Declarations>,
    /// Takes note of calls.
    pub recorder: Arc<Recorder>,
    /// Loads files of the server's machine.
    pub files: Arc<dyn FileLoader>,
}

/// Files on the server's machine that somebody asks to be loaded.
pub struct LoadOrder {
    /// Who asks, and puts the rows.
    pub principal: Arc<Principal>,
    /// Whether they may see where on the machine files lie.
    pub is_admin: bool,
    /// Files, folders and patterns.
    pub paths: Vec<String>,
    /// The table's full name.
    pub table: TableName,
    /// What to do about the table.
    pub mode: Mode,
    /// What to do about rows whose primary key is there already.
    pub on_conflict: Option<OnConflict>,
    /// A name for the load, which is then done once.
    pub key: Option<String>,
}

/// Loads files of the server's machine; `server` puts the rows where calls of `order.principal` would.
pub trait FileLoader: Send + Sync {
    /// Begins a load, which ends early when what this gives is dropped. The last answer is what the load came to.
    ///
    /// Errors: `Denied` for files that this server does not load; `Exhausted` while too many loads are under way.
    fn load(&self, server: FlightServer, order: LoadOrder) -> Result<BoxStream<'static, Result<Value>>>;
}

/// What the actions on declared tables work on.
#[derive(Clone)]
pub(super) struct DeclaredTables {
    pub(super) database: Arc<Database>,
    pub(super) query: Arc<Query>,
    pub(super) in_force: Arc<Declarations>,
}

impl DeclaredTables {
    /// A connection of the pool, on behalf of nobody.
    pub(super) fn pooled(&self) -> Lease {
        Lease::pooled(Arc::clone(&self.database))
    }
}

/// The Flight service.
#[derive(Clone)]
pub struct FlightServer {
    pub(super) database: Arc<Database>,
    pub(super) operations: Arc<Operations>,
    pub(super) gate: Arc<Gate>,
    pub(super) grants: Arc<Grants>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) infos: Infos,
    pub(super) polls: Arc<Polls>,
    pub(super) declared_tables: DeclaredTables,
    pub(super) backup_folder: Option<PathBuf>,
    pub(super) files: Arc<dyn FileLoader>,
    pub(super) slow_query: Duration,
    pub(super) recorder: Arc<Recorder>,
    pub(super) started: Instant,
}

impl FlightServer {
    /// A Flight service over the parts of a server.
    pub fn new(parts: FlightParts, config: &Config) -> Self {
        let FlightParts {
            database,
            ingest,
            query,
            operations,
            gate,
            grants,
            sessions,
            declarations,
            recorder,
            files,
        } = parts;
        let results = Results { sessions: Arc::clone(&sessions), query: Arc::clone(&query) };
        let puts = Puts {
            ingest,
            results,
            auto_create: config.ingest.auto_create,
            keeps_rows: database.options().path != ":memory:",
        };
        let tickets = Arc::new(Tickets::new(config.session.max_tickets));
        let in_force = declarations;
        let declared_tables = DeclaredTables { database: Arc::clone(&database), query, in_force };
        Self {
            database,
            operations,
            gate,
            grants,
            sessions,
            infos: Infos { puts, tickets },
            polls: Arc::default(),
            declared_tables,
            backup_folder: config.database.backup_folder(),
            files,
            slow_query: Duration::from_millis(config.log.slow_query_ms),
            recorder,
            started: Instant::now(),
        }
    }

    /// Ends what has been idle for too long: sessions, transactions, prepared statements, tickets, polls. To be
    /// called every second or so.
    pub fn sweep(&self) {
        self.sessions.sweep();
        self.infos.tickets.sweep();
        self.polls.sweep();
        Arc::clone(&self.infos.puts.ingest).tidy();
    }
}
