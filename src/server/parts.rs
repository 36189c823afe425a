//! The parts of a server and how they know each other.
//! Runs on: the start of the server; blocks.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::auth::{Gate, Grants};
use crate::catalog::Declarations;
use crate::config::Config;
use crate::engine::{Database, Options};
use crate::error::Result;
use crate::flight::FlightParts;
use crate::ingest::Ingest;
use crate::operations::Operations;
use crate::query::Query;
use crate::running::Running;
use crate::session::Sessions;

/// How the engine is opened for a configuration.
pub fn engine_options(config: &Config) -> Options {
    Options {
        path: config.database.path.clone(),
        memory_limit_bytes: config.database.memory_limit_bytes(),
        threads: config.database.worker_threads(),
        temp_directory: config.database.temp_directory.clone(),
        max_temp_bytes: config.database.max_temp_size.0,
        checkpoint_bytes: config.database.checkpoint_bytes.0,
        checkpoint_hold: config.database.checkpoint_hold.0,
        result_buffer_bytes: config.query.buffer_bytes.0,
        read_ahead_bytes: config.query.read_ahead.0,
        engine_arrays: config.query.engine_arrays,
        icu_extension: config.database.icu_extension.clone(),
    }
}

/// What every port and every task of a server works on.
pub(super) struct Parts {
    pub(super) database: Arc<Database>,
    pub(super) ingest: Arc<Ingest>,
    pub(super) query: Arc<Query>,
    pub(super) running: Arc<Running>,
    pub(super) gate: Arc<Gate>,
    pub(super) grants: Arc<Grants>,
    /// No new calls: the server stops.
    pub(super) draining: Arc<AtomicBool>,
}

impl Parts {
    /// The read side and the write side of `database`.
    ///
    /// Errors: as `Ingest::new`.
    pub(super) fn new(
        database: &Arc<Database>,
        declarations: &Arc<Declarations>,
        config: &Config,
    ) -> Result<Self> {
        let running = Arc::new(Running::default());
        let ingest = Ingest::new(Arc::clone(database), &config.ingest, Arc::clone(declarations))?;
        let query = Query::new(Arc::clone(database), Arc::clone(&running), &config.query);
        let configured = config.auth.users.iter().filter(|user| !user.grants.is_empty());
        let grants = Grants::new(configured.map(|user| (user.name.clone(), user.grants.clone())).collect());
        grants.load(&database.connection()?)?;
        Ok(Self {
            database: Arc::clone(database),
            ingest: Arc::new(ingest),
            query: Arc::new(query),
            running,
            grants: Arc::new(grants),
            gate: Arc::new(Gate::open(database, config)?),
            draining: Arc::default(),
        })
    }

    /// What the Flight calls work on.
    pub(super) fn of_flight(&self, sessions: &Arc<Sessions>, declarations: Arc<Declarations>) -> FlightParts {
        let operations = Operations::new(Arc::clone(&self.database), Arc::clone(&self.running));
        FlightParts {
            database: Arc::clone(&self.database),
            ingest: Arc::clone(&self.ingest),
            query: Arc::clone(&self.query),
            operations: Arc::new(operations),
            gate: Arc::clone(&self.gate),
            grants: Arc::clone(&self.grants),
            sessions: Arc::clone(sessions),
            declarations,
        }
    }
}
