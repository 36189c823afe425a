//! The engine alone, without a server over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pintail::engine::{Database, Options};

/// The database file in a test's folder, whoever opens it.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("test.duckdb")
}

/// Small limits, and a log that nobody writes into the file before it is told to; a test changes what it is about.
pub fn options(path: impl Into<PathBuf>) -> Options {
    Options {
        path: path.into().display().to_string(),
        memory_limit_bytes: 1 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        engine_arrays: false,
        icu_extension: None,
    }
}

/// Opens or creates a database with [`options`].
pub fn open(path: impl Into<PathBuf>) -> Arc<Database> {
    Database::open(options(path)).unwrap()
}
