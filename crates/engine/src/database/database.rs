//! An open database: what all its connections share, sizes, opening anew after a fatal error.
//! Runs on: any thread; opening and closing block.
//! Never: opens a file a second time while a connection to the first instance is in use.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use duckdb::instance::Instance;

use super::backup_target::BackupTarget;
use super::checkpoint_gate::CheckpointGate;
use super::holders::{CheckpointHold, Holders};
use super::open::{connect, open, temp_directory};
use super::options::Options;
use super::row_commits::RowCommits;
use crate::access::Windows;
use crate::duckdb_error::from_duckdb;
use crate::error::{Error, Kind, Result};
use crate::ffi::RawConnection;
use crate::group_commit::SmallInserts;
use crate::health::{Health, lost};
use crate::read::Likely;
use crate::sql::{Masked, Surface, masked};
use crate::table_functions::{About, Descriptions, Segments, Teller, random_token};

/// Connections kept for reuse; more are opened under load and closed afterwards.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// An open DuckDB database.
pub struct Database {
    // `None` while a lost database is opened anew.
    instance: RwLock<Option<Arc<Instance>>>,
    options: Options,
    wal_path: Option<PathBuf>,
    // Every connection has a share of it.
    alive: Arc<()>,
    idle: Mutex<Vec<RawConnection>>,
    catalog: OnceLock<String>,
    pub(crate) segments: Segments,
    pub(crate) small_inserts: SmallInserts,
    pub(crate) descriptions: Descriptions,
    pub(crate) about: About,
    pub(crate) likely: Likely,
    pub(crate) windows: Windows,
    surface: OnceLock<Surface>,
    health: Health,
    commits: AtomicU64,
    // The backup being written.
    pub(crate) copying: Mutex<Option<BackupTarget>>,
    pub(crate) gate: Arc<CheckpointGate>,
    pub(crate) row_commits: Arc<RowCommits>,
    pub(crate) holders: Arc<Holders>,
}

impl Database {
    /// Opens or creates the database.
    ///
    /// Errors: `Invalid` for a setting DuckDB refuses, a file that is not a database, or one locked by
    /// another process; the text says which.
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let database = Self {
            instance: RwLock::new(None),
            wal_path: options.is_on_disk().then(|| PathBuf::from(format!("{}.wal", options.path))),
            options,
            alive: Arc::default(),
            idle: Mutex::new(Vec::new()),
            catalog: OnceLock::new(),
            segments: Segments::default(),
            small_inserts: SmallInserts::default(),
            descriptions: Descriptions::default(),
            about: About::default(),
            likely: Likely::default(),
            windows: Windows::default(),
            surface: OnceLock::new(),
            health: Health::default(),
            commits: AtomicU64::new(0),
            copying: Mutex::new(None),
            gate: Arc::default(),
            row_commits: Arc::default(),
            holders: Arc::default(),
        };
        database.open_instance(&mut database.instance.write().unwrap_or_else(PoisonError::into_inner))?;
        Ok(Arc::new(database))
    }

    fn open_instance(&self, instance: &mut Option<Arc<Instance>>) -> Result<()> {
        let opened = open(&self.options, |connection| {
            self.segments.register(connection)?;
            self.descriptions.register(connection)?;
            self.about.register(connection)
        })?;
        self.about.register_names(&opened.instance).map_err(from_duckdb)?;
        self.catalog.get_or_init(|| opened.catalog);
        // When it is opened anew, what was noted since the start counts: it is more than the catalog says.
        self.surface.get_or_init(|| opened.surface);
        *instance = Some(Arc::new(opened.instance));
        Ok(())
    }

    fn connect(&self) -> Result<RawConnection> {
        // Held until the connection counts, so that none is opened on an instance that is being closed.
        let instance = self.instance.read().unwrap_or_else(PoisonError::into_inner);
        let instance = instance.as_ref().ok_or_else(lost)?;
        let token = random_token();
        let connection = connect(instance, &self.options, &token).map_err(from_duckdb)?;
        Ok(RawConnection::new(connection, token, Arc::clone(&self.alive)))
    }

    /// Opens the database anew after a fatal error: closes the instance once nobody uses a connection to it any more,
    /// replays the log as a start does, and serves again. Blocks.
    ///
    /// Errors: `Unavailable` when connections are still in use after `patience`; `Invalid` when the database cannot be
    /// opened. It is lost then, and the process has to end.
    pub fn reopen(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            drop(std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner)));
            let mut instance = self.instance.write().unwrap_or_else(PoisonError::into_inner);
            let in_use = Arc::strong_count(&self.alive) - 1;
            let shared = instance.as_ref().map_or(0, |instance| Arc::strong_count(instance) - 1);
            if in_use + shared == 0 {
                // The file's lock is given up with it.
                *instance = None;
                self.open_instance(&mut instance)?;
                break;
            }
            drop(instance);
            if Instant::now() > until {
                return Err(Error::new(
                    Kind::Unavailable,
                    format!("{in_use} connections to the lost database are still in use"),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // What was known of tables may not have been durable.
        self.gate.reshaped();
        self.health.is_well_again();
        Ok(())
    }

    /// A connection that nobody has: one of the pool, or a new one.
    ///
    /// Errors: `Unavailable` when the database was lost to a fatal error.
    pub(crate) fn take_raw(&self) -> Result<RawConnection> {
        self.health.check()?;
        let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match pooled {
            Some(raw) => Ok(raw),
            None => self.connect(),
        }
    }

    pub(crate) fn give_back(&self, raw: RawConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX && !self.is_lost() {
            idle.push(raw);
        }
    }

    /// Lets SELECTs read what `teller` tells of the server, as tables of a schema `pintail`.
    pub fn told_by(&self, teller: Arc<dyn Teller>) {
        self.about.told_by(teller);
    }

    /// A statement's text without its literals, for logs and lists.
    ///
    /// Errors: `Unavailable` while the database is lost; `Invalid` for a text that has no tokens.
    pub fn masked(&self, sql: &str) -> Result<Masked> {
        let raw = self.take_raw()?;
        let masked = masked(raw.duckdb(), sql).map_err(from_duckdb);
        self.give_back(raw);
        masked
    }

    /// Looks at an engine error before it is passed on: a fatal one marks the database as lost.
    pub(crate) fn note(&self, error: duckdb::Error) -> Error {
        self.health.note(error)
    }

    /// Refuses a statement that has ended in fatal engine errors before.
    ///
    /// Errors: `Denied`, with its fingerprint.
    pub fn check_culprit(&self, sql: &str) -> Result<()> {
        self.health.culprits.check(sql)
    }

    /// Takes note that `sql` has failed on this thread. If the database was lost to it, it is remembered.
    pub fn failed(&self, sql: &str) {
        self.health.culprits.failed(sql);
    }

    /// Calls `report`, from the thread that meets it, whenever the engine has a fatal error.
    pub fn on_lost(&self, report: impl Fn(&str) + Send + Sync + 'static) {
        self.health.on_lost(report);
    }

    /// Whether the database was lost to its disk: to be opened again by a new process, once somebody has looked at it.
    pub fn has_failed_storage(&self) -> bool {
        self.health.has_failed_storage()
    }

    /// Whether a fatal error has made the database unusable.
    pub fn is_lost(&self) -> bool {
        self.health.is_lost()
    }

    /// Commits so far, to tell an idle database from a busy one.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(crate) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    /// Version counter, counted up when the shape of a table changes or what it is held to; `None` while that happens.
    pub fn shape(&self) -> Option<u64> {
        self.gate.shape()
    }

    /// Takes note that tables are held to something else from now on.
    pub fn reshaped(&self) {
        self.gate.reshaped();
    }

    /// Bytes in the write-ahead log; 0 for an in-memory database.
    pub fn wal_bytes(&self) -> u64 {
        self.wal_path.as_ref().and_then(|path| path.metadata().ok()).map_or(0, |data| data.len())
    }

    /// Bytes of the database file; 0 for an in-memory database.
    pub fn file_bytes(&self) -> u64 {
        std::fs::metadata(&self.options.path).map_or(0, |data| data.len())
    }

    /// Bytes of the backup being written; `None` when there is none.
    pub fn backup_bytes(&self) -> Option<u64> {
        let copying = self.copying.lock().unwrap_or_else(PoisonError::into_inner);
        copying.as_ref().map(BackupTarget::bytes_written)
    }

    /// What is known of fatal errors.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// What clients' statements may reach.
    pub(crate) fn surface(&self) -> &Surface {
        self.surface.get_or_init(Surface::default)
    }

    /// The instance; whoever has it keeps a lost database from being opened anew.
    pub(crate) fn instance(&self) -> Result<Arc<Instance>> {
        self.instance.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(lost)
    }

    /// The database's name as a catalog: the stem of its file.
    pub fn catalog(&self) -> &str {
        self.catalog.get().map_or("", String::as_str)
    }

    /// Where what does not fit into memory goes; it may have to be made.
    pub fn temp_directory(&self) -> PathBuf {
        temp_directory(&self.options)
    }

    /// What the database was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The transactions that keep checkpoints off, the oldest first.
    pub fn checkpoint_holds(&self) -> Vec<CheckpointHold> {
        self.holders.list()
    }
}
