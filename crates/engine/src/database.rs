//! An open database: connections, checkpoints, sizes, opening anew after a fatal error.
//! Runs on: any thread; opening, checkpointing and closing block.
//! Never: opens a file a second time while a connection to the first instance is in use.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use duckdb::instance::Instance;

use super::backup::BackupTarget;
use super::checkpoint_gate::CheckpointGate;
use super::connection::Connection;
use super::culprits::Culprits;
use super::describe::Descriptions;
use super::duckdb_error::{from_duckdb, is_fatal, is_of_storage};
use super::ffi::RawConnection;
use super::group::Statements;
use super::holders::{CheckpointHold, Holders};
use super::open::{connect, open, temp_directory};
use super::segment::{Segments, random_token};
use super::surface::Surface;
use crate::error::{Error, Kind, Result};

/// How to open a database. Sizes in bytes.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, or `:memory:`.
    pub path: String,
    /// DuckDB's buffer memory.
    pub memory_limit_bytes: u64,
    /// DuckDB's worker threads, the calling thread included.
    pub threads: usize,
    /// Spill directory; `None` puts it beside the file.
    pub temp_directory: Option<PathBuf>,
    /// Disk the spill directory may use.
    pub max_temp_bytes: u64,
    /// WAL size at which the maintenance thread checkpoints.
    pub checkpoint_bytes: u64,
    /// How long a transaction may keep checkpoints off once the log is twice that size.
    pub checkpoint_hold: Duration,
    /// Result bytes DuckDB may queue per query ahead of the reader.
    pub result_buffer_bytes: u64,
    /// DuckDB's own time zone extension; `None` uses the functions of `timezone` instead.
    pub icu_extension: Option<PathBuf>,
}

/// Connections kept for reuse; more are opened under load and closed afterwards.
const IDLE_CONNECTIONS_MAX: usize = 64;

/// How long a checkpoint waits for statements that change rows; new ones wait behind it.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same with a log twice as large as it should be.
const PATIENCE_OVERDUE: Duration = Duration::from_secs(2);

fn lost() -> Error {
    Error::new(
        Kind::Unavailable,
        "the database was lost to a fatal error and is being opened anew; try again",
    )
}

impl Options {
    /// Whether there is a file behind the database.
    pub(super) fn is_on_disk(&self) -> bool {
        self.path != ":memory:"
    }
}

/// Told the text of a fatal error.
type Report = Box<dyn Fn(&str) + Send + Sync>;

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
    pub(super) segments: Segments,
    pub(super) statements: Statements,
    pub(super) descriptions: Descriptions,
    surface: OnceLock<Surface>,
    lost: AtomicBool,
    storage_failed: AtomicBool,
    on_lost: OnceLock<Report>,
    culprits: Culprits,
    commits: AtomicU64,
    // The backup being written.
    pub(super) copying: Mutex<Option<BackupTarget>>,
    pub(super) gate: Arc<CheckpointGate>,
    pub(super) holders: Arc<Holders>,
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
            statements: Statements::default(),
            descriptions: Descriptions::default(),
            surface: OnceLock::new(),
            lost: AtomicBool::new(false),
            storage_failed: AtomicBool::new(false),
            on_lost: OnceLock::new(),
            culprits: Culprits::default(),
            commits: AtomicU64::new(0),
            copying: Mutex::new(None),
            gate: Arc::default(),
            holders: Arc::default(),
        };
        database.open_instance(&mut database.instance.write().unwrap_or_else(PoisonError::into_inner))?;
        Ok(Arc::new(database))
    }

    fn open_instance(&self, instance: &mut Option<Arc<Instance>>) -> Result<()> {
        let opened = open(&self.options, |connection| {
            self.segments.register(connection)?;
            self.descriptions.register(connection)
        })?;
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
        self.lost.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// A connection of one's own until it is dropped.
    ///
    /// Errors: `Unavailable` when the database was lost to a fatal error.
    pub fn connection(self: &Arc<Self>) -> Result<Connection> {
        if self.is_lost() {
            return Err(lost());
        }
        let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let raw = match pooled {
            Some(raw) => raw,
            None => self.connect()?,
        };
        Ok(Connection::new(Arc::clone(self), raw))
    }

    pub(super) fn give_back(&self, raw: RawConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_CONNECTIONS_MAX && !self.is_lost() {
            idle.push(raw);
        }
    }

    /// Looks at an engine error before it is passed on: a fatal one marks the database as lost.
    pub(super) fn note(&self, error: duckdb::Error) -> Error {
        if is_fatal(&error) && !self.lost.swap(true, Ordering::SeqCst) {
            tracing::error!(error = %error.message, "fatal engine error; the database has to be opened anew");
            self.culprits.met();
            self.storage_failed.store(is_of_storage(&error), Ordering::SeqCst);
            if let Some(report) = self.on_lost.get() {
                report(&error.message);
            }
        }
        from_duckdb(error)
    }

    /// Lets small INSERT statements of several clients share a commit from now on; they wait for company for `wait`
    /// at most.
    pub fn share_commits(self: &Arc<Self>, wait: Duration) {
        self.statements.switch_on(self, wait);
    }

    /// Refuses a statement that has ended in fatal engine errors before.
    ///
    /// Errors: `Denied`, with its fingerprint.
    pub fn check_culprit(&self, sql: &str) -> Result<()> {
        self.culprits.check(sql)
    }

    /// Takes note that `sql` has failed on this thread. If the database was lost to it, it is remembered.
    pub fn failed(&self, sql: &str) {
        self.culprits.failed(sql);
    }

    /// Calls `report`, from the thread that meets it, whenever the engine has a fatal error.
    pub fn on_lost(&self, report: impl Fn(&str) + Send + Sync + 'static) {
        // A second hook is a programming error without effect on users; the first one stays.
        let _ = self.on_lost.set(Box::new(report));
    }

    /// Whether the database was lost to its disk: to be opened again by a new process, once somebody has looked at it.
    pub fn has_failed_storage(&self) -> bool {
        self.storage_failed.load(Ordering::SeqCst)
    }

    /// Whether a fatal error has made the database unusable.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Commits so far, to tell an idle database from a busy one.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn count_commit(&self) {
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

    /// What clients' statements may reach.
    pub(super) fn surface(&self) -> &Surface {
        self.surface.get_or_init(Surface::default)
    }

    /// The instance; whoever has it keeps a lost database from being opened anew.
    pub(super) fn instance(&self) -> Result<Arc<Instance>> {
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

    /// Writes the log into the database file, and says for how long it kept commits waiting. Blocks; waits for
    /// commits under way, and for nobody else. Once the log is twice as large as it should be, transactions that have
    /// kept checkpoints off for longer than `checkpoint_hold` are ended.
    ///
    /// Errors: `Conflict` or `Aborted` while writers are active, naming the oldest; try again later.
    pub fn checkpoint(self: &Arc<Self>) -> Result<Duration> {
        let is_overdue = self.wal_bytes() >= self.options.checkpoint_bytes.saturating_mul(2);
        let done = self.try_checkpoint(is_overdue);
        let Err(error) = done else { return done };
        if is_overdue {
            self.holders.end_older_than(self.options.checkpoint_hold);
        }
        match self.holders.list().first() {
            Some(oldest) if matches!(error.kind(), Kind::Conflict | Kind::Aborted) => Err(Error::new(
                error.kind(),
                format!(
                    "transactions keep the checkpoint off, the oldest for {} ({}); try again later",
                    humantime::format_duration(Duration::from_secs(oldest.age.as_secs())),
                    oldest.what
                ),
            )),
            _ => Err(error),
        }
    }

    fn try_checkpoint(self: &Arc<Self>, is_overdue: bool) -> Result<Duration> {
        let connection = self.connection()?;
        let patience = if is_overdue { PATIENCE_OVERDUE } else { PATIENCE };
        let _turn = self.gate.checkpoint(patience).ok_or_else(|| {
            Error::new(Kind::Conflict, "statements that change rows are running; try again later")
        })?;
        let started = Instant::now();
        connection.execute("CHECKPOINT").map(|_| started.elapsed())
    }
}
