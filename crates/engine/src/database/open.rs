//! A database file -> an instance with Pintail's settings and functions.
//! Runs on: the thread that opens, which blocks.
//! Never: reaches out on its own (extension autoload and autoinstall are off), or overwrites a file it cannot open.

use std::path::{Path, PathBuf};

use duckdb::Parameters;
use duckdb::connection::{Connection as DuckDBConnection, SettingScope};
use duckdb::environment::{Environment, StorageLocation};
use duckdb::instance::{AttachBuilder, Instance, InstanceBuilder};

use super::no_files::refuse_files;
use super::options::Options;
use crate::catalog::quote_text;
use crate::duckdb_error::from_duckdb;
use crate::error::{Error, Result};
use crate::ffi::hold_allocations;
use crate::sql::Surface;
use crate::table_functions::{OWNER, register_owner};
use crate::timezone;

/// The setting of a connection for the engine's lossless form of results.
pub(crate) const LOSSLESS: &str = "arrow_lossless_conversion";

/// The setting of a connection that bounds what is queued of a result.
const BUFFER: &str = "max_streaming_buffer_size";

/// Settings of a connection by which the engine counts the progress of its statements.
const PROGRESS: &str = "'enable_progress_bar', 'enable_progress_bar_print', 'progress_bar_time'";

/// Settings with which tests stop checkpoints and commits half way; no client's SET gets as far as the engine.
const FAULTS: &str = "'debug_checkpoint_abort', 'debug_force_commit_failure'";

/// A log of this size is never reached.
const NEVER_BYTES: u64 = 1 << 60;

/// An instance, the database's name as a catalog, and what a client's SQL reaches.
pub(crate) struct Opened {
    pub(crate) instance: Instance,
    pub(crate) catalog: String,
    pub(crate) surface: Surface,
}

/// Opens or creates the database; `register` adds the functions of the server's own.
///
/// Errors: `Invalid` for a setting DuckDB refuses, a file that is not a database, or one locked by another process; the
/// text says which.
pub(crate) fn open(
    options: &Options,
    register: impl FnOnce(&DuckDBConnection) -> duckdb::Result<()>,
) -> Result<Opened> {
    let in_memory = !options.is_on_disk();
    check_folder(options)?;
    let settings = settings(options);
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
    let connection = instance.connect().map_err(from_duckdb)?;
    // After the log was replayed, which has to have what it needs.
    hold_allocations(&connection);
    register_owner(&connection).map_err(from_duckdb)?;
    register(&connection).map_err(from_duckdb)?;
    match &options.icu_extension {
        Some(path) => load_icu(&connection, path)?,
        None => timezone::register(&connection).map_err(from_duckdb)?,
    }
    // SQL has no way to files or the network; Parquet and Arrow files come in through `pintail load`.
    // Set last, because attaching the file itself is external access.
    // After that nothing is set any more, by whatever way SQL finds, logging and profiling among it.
    for sql in [
        "SET GLOBAL enable_external_access = false".to_owned(),
        format!("SET GLOBAL allowed_configs = ['{BUFFER}', '{}', '{LOSSLESS}', {PROGRESS}, {FAULTS}]", OWNER),
        "SET GLOBAL lock_configuration = true".to_owned(),
    ] {
        connection.execute(sql, Parameters::None).map_err(from_duckdb)?;
    }
    let catalog = catalog_name(&connection)
        .map_err(from_duckdb)?
        .ok_or_else(|| Error::internal("the database has no name"))?;
    let surface = Surface::load(&connection)?;
    drop(connection);
    Ok(Opened { instance, catalog, surface })
}

/// A connection with the settings that all have. `token`: a word that no other connection has.
pub(crate) fn connect(
    instance: &Instance,
    options: &Options,
    token: &str,
) -> duckdb::Result<DuckDBConnection> {
    let connection = instance.connect()?;
    let config = connection.config()?;
    config.set_text(OWNER, token, SettingScope::Session)?;
    // Bounds what is queued of each of its results.
    config.set_text(BUFFER, &format!("{}B", options.result_buffer_bytes), SettingScope::Session)?;
    refuse_files(&connection)?;
    Ok(connection)
}

/// Where what does not fit into memory goes; it may have to be made.
pub(crate) fn temp_directory(options: &Options) -> PathBuf {
    options.temp_directory.clone().unwrap_or_else(|| {
        if options.is_on_disk() {
            PathBuf::from(format!("{}.tmp", options.path))
        } else {
            std::env::temp_dir().join(format!("pintail-{}.tmp", std::process::id()))
        }
    })
}

fn check_folder(options: &Options) -> Result<()> {
    match Path::new(&options.path).parent() {
        Some(parent) if options.is_on_disk() && !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(Error::invalid(format!(
                "cannot open database {}: folder {} does not exist",
                options.path,
                parent.display()
            )))
        }
        _ => Ok(()),
    }
}

fn settings(options: &Options) -> Vec<(&'static str, String)> {
    let in_memory = !options.is_on_disk();
    let checkpoint_threshold =
        if in_memory { options.checkpoint_bytes.saturating_mul(2) } else { NEVER_BYTES };
    vec![
        ("memory_limit", format!("{}B", options.memory_limit_bytes)),
        ("threads", options.threads.to_string()),
        ("temp_directory", temp_directory(options).display().to_string()),
        ("max_temp_directory_size", format!("{}B", options.max_temp_bytes)),
        // A checkpoint inside a committing thread costs 38-45% of load time elsewhere, and others would commit
        // beside it (see `CheckpointGate`): with a file, only the maintenance thread checkpoints.
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
    ]
}

/// Loads DuckDB's time zone extension from a file.
///
/// Errors: `Invalid`, naming the setting, when the file is missing, of another version or platform, or broken.
fn load_icu(connection: &DuckDBConnection, path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        Error::invalid(format!("setting database.icu_extension: cannot load {}: {why}", path.display()))
    };
    if !path.is_file() {
        return Err(refuse("there is no such file"));
    }
    let text = quote_text(&path.display().to_string());
    // Connections begin in UTC, as they do without the extension; its own default is the machine's zone.
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
/// No commit runs beside a checkpoint of ours (see `CheckpointGate`), but one of an older version may have.
/// Official way: none in this version. Ours: attach once for the merge, detach without a checkpoint, then open.
fn merge_logs(path: &str, build: impl Fn() -> Result<Instance>) -> Result<()> {
    if !Path::new(&format!("{path}.wal.checkpoint")).exists() {
        return Ok(());
    }
    tracing::info!("a checkpoint was interrupted; its two logs are merged before the database is opened");
    let instance = build()?;
    let connection = instance.connect().map_err(from_duckdb)?;
    // What is in memory must not reach the file.
    connection.execute("PRAGMA disable_checkpoint_on_shutdown", Parameters::None).map_err(from_duckdb)?;
    instance
        .attach(AttachBuilder::new(StorageLocation::OnDisk(path.to_owned())))
        .map_err(|error| explain_open(path, &error))?;
    Ok(())
}

fn catalog_name(connection: &DuckDBConnection) -> duckdb::Result<Option<String>> {
    let mut result = connection.query("SELECT current_database()", Parameters::None)?;
    let Some(chunk) = result.next_chunk()? else { return Ok(None) };
    Ok(chunk.get_vector_at::<String>(0)?.reader()?.get(0)?.map(str::to_owned))
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
