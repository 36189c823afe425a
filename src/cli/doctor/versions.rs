//! Versions: the database file's against the engine in this program, a server's against this program.

use std::io::Read;
use std::path::Path;

use pintail::config::Config;
use pintail::engine::{Database, Options, engine_version};
use pintail::error::Result;
use pintail::server::engine_options;
use serde_json::Value;

use super::Finding;

/// What a database file begins with, behind a checksum.
const MAGIC: &[u8] = b"DUCK";
const MAGIC_AT: usize = 8;
/// Where it says which version wrote it.
const VERSION_AT: usize = 52;
const VERSION_BYTES: usize = 32;

pub(super) fn check_file(config: &Config) -> Finding {
    let path = Path::new(&config.database.path);
    if config.database.path == ":memory:" || !path.exists() {
        return Finding::note("database", "there is no file yet; the first start makes one");
    }
    match (written_by(path), own(config)) {
        (Err(error), _) => Finding::wrong("database", format!("{} cannot be read: {error}", path.display())),
        (Ok(None), _) => Finding::wrong(
            "database",
            format!("{} is not a DuckDB database file; name another one (database.path)", path.display()),
        ),
        (Ok(Some(file)), Ok(own)) => compare(&file, &own, path),
        (Ok(Some(_)), Err(error)) => {
            Finding::wrong("database", format!("the engine does not start: {error}"))
        }
    }
}

fn compare(file: &str, own: &str, path: &Path) -> Finding {
    let number = |text: &str| -> Vec<u64> {
        text.trim_start_matches('v').split(['.', '-']).map_while(|part| part.parse().ok()).collect()
    };
    let text = format!("{} was written by DuckDB {file}, and this program has {own}", path.display());
    if number(file) > number(own) {
        return Finding::wrong(
            "database",
            format!("{text}; use a newer pintail, or restore a backup of an older one"),
        );
    }
    Finding::right("database", text)
}

/// The version in a file's head; `None` when it is no database.
fn written_by(path: &Path) -> std::io::Result<Option<String>> {
    let mut head = Vec::new();
    std::fs::File::open(path)?.take((VERSION_AT + VERSION_BYTES) as u64).read_to_end(&mut head)?;
    if head.get(MAGIC_AT..MAGIC_AT + MAGIC.len()) != Some(MAGIC) {
        return Ok(None);
    }
    let version = head.get(VERSION_AT..).unwrap_or_default();
    let end = version.iter().position(|byte| *byte == 0).unwrap_or(version.len());
    Ok(Some(String::from_utf8_lossy(&version[..end]).into_owned()))
}

/// The version of the engine in this program.
fn own(config: &Config) -> Result<String> {
    let options = Options { path: ":memory:".into(), temp_directory: None, ..engine_options(config) };
    engine_version(&Database::open(options)?.connection()?)
}

pub(super) fn check_server(status: &Value) -> Finding {
    let server = status["version"].as_str().unwrap_or("?");
    let own = env!("CARGO_PKG_VERSION");
    let healthy = status["database"]["healthy"].as_bool().unwrap_or(false);
    if !healthy {
        return Finding::wrong("server", "its database is lost; see its log");
    }
    if server != own {
        return Finding::note(
            "server",
            format!("it is pintail {server}, and this program is {own}; use the same"),
        );
    }
    Finding::right("server", format!("pintail {server}, as this program"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_file_of_a_newer_engine_is_wrong() {
        let path = Path::new("a.duckdb");
        for (file, verdict) in [
            ("v2.0.0", Verdict::Right),
            ("v1.4.1", Verdict::Right),
            ("v2.0.1", Verdict::Wrong),
            ("v10.0.0", Verdict::Wrong),
        ] {
            assert_eq!(compare(file, "v2.0.0", path).verdict, verdict, "{file}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.duckdb");
        std::fs::write(
            &file,
            "not a database, whatever its name is; and longer than the head is, for good measure ..........",
        )
        .unwrap();
        assert_eq!(written_by(&file).unwrap(), None);
        std::fs::write(&file, "").unwrap();
        assert_eq!(written_by(&file).unwrap(), None);
    }
}
