//! The parts of a server and how they know each other.
//! Runs on: the start of the server; blocks.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use super::load::Loader;
use crate::about::{ProducerLine, Recorder, Sources};
use crate::auth::{Gate, Grants};
use crate::catalog::Declarations;
use crate::config::Config;
use crate::engine::{self, Database, MemoryUse, Options};
use crate::error::{Error, Kind, Result};
use crate::flight::FlightParts;
use crate::ingest::{Ingest, LineStatus};
use crate::metrics;
use crate::operations::Operations;
use crate::query::Query;
use crate::running::Running;
use crate::session::Sessions;
use crate::tls::Places;

use super::watchdog::Watchdog;

/// How the engine is opened for a configuration.
pub fn engine_options(config: &Config) -> Options {
    Options {
        path: config.database.path.clone(),
        memory_limit_bytes: config.engine_memory_bytes(),
        threads: config.database.worker_threads(),
        temp_directory: config.database.temp_directory.clone(),
        max_temp_bytes: config.database.max_temp_size.0,
        checkpoint_bytes: config.database.checkpoint_bytes.0,
        checkpoint_hold: config.database.checkpoint_hold.0,
        result_buffer_bytes: config.query.buffer_bytes.0,
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
    pub(super) recorder: Arc<Recorder>,
    pub(super) watchdog: Watchdog<Vec<MemoryUse>>,
    /// What is known of each port, by its name.
    ports: Mutex<Vec<(&'static str, Places)>>,
    sessions: OnceLock<Arc<Sessions>>,
    bounds: Vec<(&'static str, f64)>,
    engine_version: String,
    started: SystemTime,
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
            recorder: Recorder::new(database, config),
            watchdog: watchdog(database)?,
            ports: Mutex::default(),
            sessions: OnceLock::new(),
            bounds: bounds(config),
            engine_version: engine::engine_version(&database.connection()?)?,
            started: SystemTime::now(),
            gate: Arc::new(Gate::open(database, config)?),
            draining: Arc::default(),
        })
    }

    /// Lets the tables `pintail.*` ask for what is known elsewhere. `metrics` gives those of the process.
    pub(super) fn tell(self: &Arc<Self>, metrics: impl Fn(&Self) -> String + Send + Sync + 'static) {
        // The recorder is one of the parts.
        let (parts, others) = (Arc::downgrade(self), Arc::downgrade(self));
        let producers = move || {
            let Some(parts) = parts.upgrade() else { return Vec::new() };
            let lines = parts.ingest.producers();
            let line = |(producer, epoch, line): (String, u64, LineStatus)| {
                let LineStatus { table, seq, rows, .. } = line;
                ProducerLine { producer, epoch, table, seq, rows }
            };
            lines.into_iter().map(line).collect()
        };
        let metrics = move || others.upgrade().map(|parts| metrics(&parts)).unwrap_or_default();
        self.recorder.asks(Sources { producers: Box::new(producers), metrics: Box::new(metrics) });
    }

    /// Counts the connections of a port.
    pub(super) fn count(&self, port: &'static str, places: Places) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).push((port, places));
    }

    /// Values that are looked up when somebody asks.
    pub(super) fn levels(&self) -> metrics::Levels {
        let Self { database, ingest, query, watchdog, .. } = self;
        let mut plain = self.bounds.clone();
        plain.extend([
            ("pintail_ingest_inflight_bytes", ingest.inflight_bytes() as f64),
            ("pintail_ingest_waiting_bytes", ingest.waiting_bytes() as f64),
            ("pintail_ingest_streams", ingest.streams_open() as f64),
            ("pintail_queries_running", query.running() as f64),
            ("pintail_queries_queued", query.queued() as f64),
            ("pintail_wal_bytes", database.wal_bytes() as f64),
            ("pintail_database_bytes", database.file_bytes() as f64),
            ("pintail_database_lost", f64::from(u8::from(database.is_lost()))),
            ("pintail_engine_answer_age_seconds", watchdog.age().as_secs_f64()),
            ("process_start_time_seconds", metrics::timestamp(self.started)),
        ]);
        if let Some(sessions) = self.sessions.get() {
            plain.extend([
                ("pintail_sessions", sessions.sessions_open() as f64),
                ("pintail_transactions", sessions.transactions_open() as f64),
                ("pintail_prepared_statements", sessions.prepared_open() as f64),
            ]);
        }
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        // While the engine does not answer, what it said last is not told again.
        let memory = watchdog.answer().unwrap_or_default();
        metrics::Levels {
            plain,
            connections: ports.iter().map(|(port, places)| (*port, places.taken())).collect(),
            engine_memory: memory
                .into_iter()
                .map(|one| (one.tag, one.memory_bytes, one.temp_bytes))
                .collect(),
            engine_version: self.engine_version.clone(),
        }
    }

    /// What the Flight calls work on.
    pub(super) fn of_flight(
        &self,
        sessions: &Arc<Sessions>,
        declarations: Arc<Declarations>,
        config: &Config,
    ) -> FlightParts {
        // There is one set of sessions.
        let _ = self.sessions.set(Arc::clone(sessions));
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
            recorder: Arc::clone(&self.recorder),
            files: Arc::new(Loader::new(config)),
        }
    }
}

/// Asks the engine what it uses its memory for, every second.
fn watchdog(database: &Arc<Database>) -> Result<Watchdog<Vec<MemoryUse>>> {
    // Not the database itself, which is closed when the server is gone.
    let database = Arc::downgrade(database);
    Watchdog::start(move || {
        let database =
            database.upgrade().ok_or_else(|| Error::new(Kind::Unavailable, "the database is closed"))?;
        engine::memory_use(&database.connection()?)
    })
}

/// Gauges that stay as they are set.
fn bounds(config: &Config) -> Vec<(&'static str, f64)> {
    vec![
        ("pintail_connections_max", config.server.max_connections as f64),
        ("pintail_transactions_max", config.session.max_transactions as f64),
        ("pintail_ingest_memory_limit_bytes", config.ingest.memory_limit.0 as f64),
        ("pintail_ingest_streams_max", config.ingest.max_streams as f64),
        ("pintail_queries_max", config.query.max_concurrent as f64),
        ("pintail_checkpoint_due_bytes", config.database.checkpoint_bytes.0 as f64),
        ("pintail_engine_memory_limit_bytes", config.engine_memory_bytes() as f64),
    ]
}
