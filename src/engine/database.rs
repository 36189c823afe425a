//! Open a database file with Pintail's settings; sessions, checkpoints, sizes, close.
//! Runs on: any thread; opening, checkpointing and closing block.
//! Never: reaches out on its own (extension autoload and autoinstall are off), or overwrites a file it
//! cannot open.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use duckdb::Parameters;
use duckdb::connection::{Connection, SettingScope};
use duckdb::environment::{Environment, StorageLocation};
use duckdb::instance::{AttachBuilder, Instance, InstanceBuilder};

use super::backup::BackupTarget;
use super::describe::Descriptions;
use super::error::is_fatal;
use super::ffi::Link;
use super::gate::Gate;
use super::group::Group;
use super::segment::{self, Segments, random_token};
use super::session::Session;
use super::surface::Surface;
use super::timezone;
use crate::catalog::quote_text;
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
    /// Result bytes DuckDB may queue per query ahead of the reader.
    pub result_buffer_bytes: u64,
    /// DuckDB's own time zone extension; `None` uses the functions of `timezone` instead.
    pub icu_extension: Option<PathBuf>,
}

/// Sessions kept for reuse; more are opened under load and closed afterwards.
const IDLE_SESSIONS_MAX: usize = 64;

/// The setting of a connection that bounds what is queued of a result.
const BUFFER: &str = "max_streaming_buffer_size";

/// Settings of a connection by which the engine counts the progress of its statements.
const PROGRESS: &str = "'enable_progress_bar', 'enable_progress_bar_print', 'progress_bar_time'";

/// Settings with which tests stop checkpoints and commits half way; no client's SET gets as far as the engine.
const FAULTS: &str = "'debug_checkpoint_abort', 'debug_force_commit_failure'";

/// A log of this size is never reached.
const NEVER_BYTES: u64 = 1 << 60;

/// How long a checkpoint waits for statements that change rows; new ones wait behind it.
const PATIENCE: Duration = Duration::from_millis(20);
/// The same with a log twice as large as it should be.
const PATIENCE_OVERDUE: Duration = Duration::from_secs(2);

/// Told the text of a fatal error.
type Report = Box<dyn Fn(&str) + Send + Sync>;

/// An open DuckDB database.
pub struct Database {
    instance: Instance,
    options: Options,
    wal_path: Option<PathBuf>,
    idle: Mutex<Vec<Link>>,
    catalog: String,
    pub(super) segments: Segments,
    pub(super) group: Group,
    pub(super) descriptions: Descriptions,
    pub(super) surface: Surface,
    lost: AtomicBool,
    on_lost: OnceLock<Report>,
    commits: AtomicU64,
    // The backup being written.
    pub(super) copying: Mutex<Option<BackupTarget>>,
    pub(super) gate: Arc<Gate>,
}

impl Database {
    /// Opens or creates the database.
    ///
    /// Errors: `Invalid` for a setting DuckDB refuses, a file that is not a database, or one locked by
    /// another process; the text says which.
    pub fn open(options: Options) -> Result<Arc<Self>> {
        let in_memory = options.path == ":memory:";
        let temp_directory = temp_directory(&options);
        if !in_memory
            && let Some(parent) = Path::new(&options.path).parent()
            && !parent.as_os_str().is_empty()
            && !parent.is_dir()
        {
            return Err(Error::invalid(format!(
                "cannot open database {}: folder {} does not exist",
                options.path,
                parent.display()
            )));
        }
        let checkpoint_threshold =
            if in_memory { options.checkpoint_bytes.saturating_mul(2) } else { NEVER_BYTES };
        let settings = [
            ("memory_limit", format!("{}B", options.memory_limit_bytes)),
            ("threads", options.threads.to_string()),
            ("temp_directory", temp_directory.display().to_string()),
            ("max_temp_directory_size", format!("{}B", options.max_temp_bytes)),
            // A checkpoint inside a committing thread costs 38-45% of load time elsewhere, and others would commit
            // beside it (see `Gate`): with a file, only the maintenance thread checkpoints.
            ("checkpoint_threshold", format!("{checkpoint_threshold}B")),
            // A commit that skips the WAL holds its lock for a whole checkpoint.
            ("auto_checkpoint_skip_wal_threshold", u64::from(u32::MAX).saturating_mul(1024).to_string()),
            ("autoload_known_extensions", "false".into()),
            ("autoinstall_known_extensions", "false".into()),
            ("allow_community_extensions", "false".into()),
            // A locally built extension has no signature; the operator vouches for the one file that is named.
            ("allow_unsigned_extensions", options.icu_extension.is_some().to_string()),
            // Results leave as plain Utf8, Binary and List: older clients refuse view and large types.
            ("produce_arrow_string_view", "false".into()),
            ("arrow_large_buffer_size", "false".into()),
            ("preserve_insertion_order", "true".into()),
        ];
        let build = || {
            Environment::new()
                .and_then(|environment| InstanceBuilder::new().options(settings.clone()).build(&environment))
                .map_err(|error| Error::invalid(format!("the engine refuses a setting: {}", error.message)))
        };
        if !in_memory {
            merge_logs(&options.path, build)?;
        }
        let instance = build()?;
        let location =
            if in_memory { StorageLocation::InMemory } else { StorageLocation::OnDisk(options.path.clone()) };
        instance
            .attach(AttachBuilder::new(location).make_default())
            .map_err(|error| explain_open(&options.path, &error))?;
        let mut database = Self {
            instance,
            wal_path: (!in_memory).then(|| PathBuf::from(format!("{}.wal", options.path))),
            options,
            idle: Mutex::new(Vec::new()),
            catalog: String::new(),
            segments: Segments::default(),
            group: Group::default(),
            descriptions: Descriptions::default(),
            surface: Surface::default(),
            lost: AtomicBool::new(false),
            on_lost: OnceLock::new(),
            commits: AtomicU64::new(0),
            copying: Mutex::new(None),
            gate: Arc::default(),
        };
        let connection = database.instance.connect()?;
        segment::register_owner(&connection)?;
        database.segments.register(&connection)?;
        database.descriptions.register(&connection)?;
        match &database.options.icu_extension {
            Some(path) => load_icu(&connection, path)?,
            None => timezone::register(&connection)?,
        }
        // SQL has no way to files or the network; Parquet and Arrow files come in through `pintail load`.
        // Set last, because attaching the file itself is external access.
        // After that nothing is set any more, by whatever way SQL finds, logging and profiling among it.
        for sql in [
            "SET GLOBAL enable_external_access = false".to_owned(),
            format!("SET GLOBAL allowed_configs = ['{BUFFER}', '{}', {PROGRESS}, {FAULTS}]", segment::OWNER),
            "SET GLOBAL lock_configuration = true".to_owned(),
        ] {
            connection.execute(sql, Parameters::None)?;
        }
        database.catalog = catalog_name(&connection)?;
        database.surface = Surface::load(&connection)?;
        drop(connection);
        database.give_back(database.connect()?);
        Ok(Arc::new(database))
    }

    fn connect(&self) -> Result<Link> {
        let (connection, token) = (self.instance.connect()?, random_token());
        let buffer_bytes = format!("{}B", self.options.result_buffer_bytes);
        {
            let config = connection.config()?;
            config.set_text(BUFFER, &buffer_bytes, SettingScope::Session)?;
            config.set_text(segment::OWNER, &token, SettingScope::Session)?;
        }
        Ok(Link::new(connection, token))
    }

    /// A connection of one's own until the session is dropped.
    ///
    /// Errors: `Unavailable` when the database was lost to a fatal error.
    pub fn session(self: &Arc<Self>) -> Result<Session> {
        if self.is_lost() {
            return Err(Error::new(
                Kind::Unavailable,
                "the database was lost to a fatal error; the server is stopping",
            ));
        }
        let pooled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let link = match pooled {
            Some(link) => link,
            None => self.connect()?,
        };
        Ok(Session::new(Arc::clone(self), link))
    }

    pub(super) fn give_back(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_SESSIONS_MAX && !self.is_lost() {
            idle.push(link);
        }
    }

    /// Looks at an engine error before it is passed on: a fatal one marks the database as lost.
    pub(super) fn note(&self, error: duckdb::Error) -> Error {
        if is_fatal(&error) && !self.lost.swap(true, Ordering::SeqCst) {
            tracing::error!(error = %error.message, "fatal engine error; the database can no longer be used");
            if let Some(report) = self.on_lost.get() {
                report(&error.message);
            }
        }
        error.into()
    }

    /// Lets small INSERT statements of several sessions share a commit from now on.
    pub fn share_commits(&self) {
        self.group.switch_on();
    }

    /// Calls `report` once, from the thread that meets it, when the engine has a fatal error.
    pub fn on_lost(&self, report: impl Fn(&str) + Send + Sync + 'static) {
        // A second hook is a programming error without effect on users; the first one stays.
        let _ = self.on_lost.set(Box::new(report));
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

    /// A number that is another one after the shape of a table, or what it is held to, has changed.
    pub fn shape(&self) -> u64 {
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

    pub(super) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The database's name as a catalog: the stem of its file.
    pub fn catalog(&self) -> &str {
        &self.catalog
    }

    /// Where what does not fit into memory goes; it may have to be made.
    pub fn temp_directory(&self) -> PathBuf {
        temp_directory(&self.options)
    }

    /// What the database was opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Writes the log into the database file, and says for how long it kept commits waiting. Blocks; waits for
    /// commits under way, and for nobody else.
    ///
    /// Errors: `Conflict` or `Aborted` while writers are active; try again later.
    pub fn checkpoint(self: &Arc<Self>) -> Result<Duration> {
        let session = self.session()?;
        let is_overdue = self.wal_bytes() >= self.options.checkpoint_bytes.saturating_mul(2);
        let patience = if is_overdue { PATIENCE_OVERDUE } else { PATIENCE };
        let _turn = self.gate.checkpoint(patience).ok_or_else(|| {
            Error::new(Kind::Conflict, "statements that change rows are running; try again later")
        })?;
        let started = Instant::now();
        session.execute("CHECKPOINT").map(|_| started.elapsed())
    }
}

fn temp_directory(options: &Options) -> PathBuf {
    options.temp_directory.clone().unwrap_or_else(|| {
        if options.path == ":memory:" {
            std::env::temp_dir().join(format!("pintail-{}.tmp", std::process::id()))
        } else {
            PathBuf::from(format!("{}.tmp", options.path))
        }
    })
}

/// Loads DuckDB's time zone extension from a file.
///
/// Errors: `Invalid`, naming the setting, when the file is missing, of another version or platform, or broken.
fn load_icu(connection: &Connection, path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        Error::invalid(format!("setting database.icu_extension: cannot load {}: {why}", path.display()))
    };
    if !path.is_file() {
        return Err(refuse("there is no such file"));
    }
    let text = quote_text(&path.display().to_string());
    // Sessions begin in UTC, as they do without the extension; its own default is the machine's zone.
    for sql in [format!("LOAD {text}"), "SET GLOBAL TimeZone = 'UTC'".to_owned()] {
        connection.execute(sql, Parameters::None).map_err(|error| {
            refuse(&crate::error::shorten(error.message.lines().next().unwrap_or(""), 400))
        })?;
    }
    Ok(())
}

/// Brings the two logs that a kill in the middle of a checkpoint leaves into one, before the database is opened.
///
/// Symptom: after such a kill the first statement that reads a table fails with "attempted to dereference shared_ptr
/// that is NULL", and the engine is invalid from then on. Nothing is lost; the start after that works.
/// Cause: DuckDB 2.0.0 replays and merges both logs in one go; where rows of a table with a secondary index were
/// deleted, what it has in memory afterwards is unusable, while the merged log on disk is right.
/// No commit runs beside a checkpoint of ours (see `Gate`), but one of an older version may have.
/// Official way: none in this version. Ours: attach once for the merge, detach without a checkpoint, then open.
fn merge_logs(path: &str, build: impl Fn() -> Result<Instance>) -> Result<()> {
    if !Path::new(&format!("{path}.wal.checkpoint")).exists() {
        return Ok(());
    }
    tracing::info!("a checkpoint was interrupted; its two logs are merged before the database is opened");
    let instance = build()?;
    let connection = instance.connect()?;
    // What is in memory must not reach the file.
    connection.execute("PRAGMA disable_checkpoint_on_shutdown", Parameters::None)?;
    instance
        .attach(AttachBuilder::new(StorageLocation::OnDisk(path.to_owned())))
        .map_err(|error| explain_open(path, &error))?;
    Ok(())
}

fn catalog_name(connection: &Connection) -> Result<String> {
    let mut result = connection.query("SELECT current_database()", Parameters::None)?;
    let chunk = result.next_chunk()?.ok_or_else(|| Error::internal("the database has no name"))?;
    let name = chunk.get_vector_at::<String>(0)?.reader()?.get(0)?.map(str::to_owned);
    name.ok_or_else(|| Error::internal("the database has no name"))
}

fn explain_open(path: &str, error: &duckdb::Error) -> Error {
    let text = &error.message;
    let why = if text.contains("lock on file") {
        let holder = text
            .split("held in ")
            .nth(1)
            .map(|rest| rest.split(". ").next().unwrap_or(rest).trim_end_matches('.'))
            .map_or(String::new(), |holder| format!(" by {holder}"));
        format!("it is locked{holder}; stop that process or choose another file")
    } else if text.contains("not a valid DuckDB") {
        "it is not a DuckDB database file".to_owned()
    } else {
        crate::error::shorten(text.lines().next().unwrap_or("unknown error"), 400)
    };
    Error::invalid(format!("cannot open database {path}: {why}"))
}
