//! How a database is to be opened.

use std::path::PathBuf;
use std::time::Duration;

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
    /// Result bytes DuckDB may queue ahead of the reader of each query.
    pub result_buffer_bytes: u64,
    /// Whether results are gathered by the engine's own format, whose arrays are bounded in rows alone.
    pub engine_arrays: bool,
    /// DuckDB's own time zone extension; `None` uses the functions of `timezone` instead.
    pub icu_extension: Option<PathBuf>,
}

impl Options {
    /// Whether there is a file behind the database.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.path != ":memory:"
    }

    /// A small database in memory.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self {
            path: ":memory:".into(),
            memory_limit_bytes: 1 << 28,
            threads: 2,
            temp_directory: None,
            max_temp_bytes: 1 << 28,
            checkpoint_bytes: 1 << 28,
            checkpoint_hold: Duration::from_secs(300),
            result_buffer_bytes: 1 << 20,
            engine_arrays: false,
            icu_extension: None,
        }
    }
}
