//! A name that no table has -> refused where the engine would take it for a file.
//! Runs on: the thread that binds.
//! Never: looks whether there is such a file.
//!
//! Symptom: `FROM 'name.duckdb'` and `FROM "x.csv"` read the database's own file and what was spilled, without external access.
//! Cause: DuckDB 2.0.0 opens a name without a table as a file by its ending, and keeps what it has attached and its folder for
//! temporary files open to SQL.
//! Official way: a replacement scan of a connection is asked before those of the engine. Ours: one that refuses.

use duckdb::connection::{Connection as DuckDBConnection, Context};
use duckdb::error::DuckDBError;
use duckdb::qualified_name::QualifiedName;
use duckdb::replacement_scan::{ReplacementHandle, ReplacementScanBuilder, ReplacementScanCallbacks};

/// Endings that the engine reads files by, alone or before others, such as those of compression.
const ENDINGS: [&str; 11] =
    ["csv", "tsv", "parquet", "json", "jsonl", "ndjson", "geojson", "geojsonl", "db", "ddb", "duckdb"];

/// Refuses names of files.
struct NoFiles;

impl ReplacementScanCallbacks for NoFiles {
    fn scan(&self, _: &Context, name: &QualifiedName, _: ReplacementHandle<'_>) -> duckdb::Result<()> {
        let name = name.parts()?.join(".");
        if !is_file(&name) {
            return Ok(());
        }
        Err(duckdb::Error {
            code: DuckDBError::ConfigurationPermission,
            message: format!(
                "there is no table \"{}\", and SQL has no way to files; `pintail load` loads them",
                crate::error::shorten(&name, 100)
            ),
        })
    }
}

/// Whether the name has an ending of a file anywhere.
fn is_file(name: &str) -> bool {
    name.to_lowercase().split('.').skip(1).any(|part| {
        let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
        let end = part.find(|letter| !is_word(letter)).unwrap_or(part.len());
        ENDINGS.contains(&&part[..end])
    })
}

/// Lets a connection take no name for a file.
pub(super) fn refuse_files(connection: &DuckDBConnection) -> duckdb::Result<()> {
    ReplacementScanBuilder::new(NoFiles).register(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_told_by_their_endings() {
        for name in ["a.csv", "x/a.CSV.gz", "a.parquet?x=1", "s.json", "/srv/a.duckdb", "a.db", "*.ndjson"] {
            assert!(is_file(name), "{name}");
        }
        for name in ["wells", "main.wells", "csv", "duckdb", "a.duckdb_tables", "s.databases", ""] {
            assert!(!is_file(name), "{name}");
        }
    }
}
