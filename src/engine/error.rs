//! DuckDB's error -> the library's error, with the kind a caller can act on.
//! Runs on: any thread. Never: hides a fatal error; those mark the database as lost.

use duckdb::error::DuckDBError;

use crate::error::{Error, Kind};

/// Longest text passed on; error texts travel in gRPC headers, which clients limit to 8 KiB.
const TEXT_BYTES_MAX: usize = 1536;

/// Whether the instance can no longer be used and the process has to end.
pub(super) fn is_fatal(error: &duckdb::Error) -> bool {
    // Besides "the database has been invalidated" there is "database "name" has been invalidated".
    matches!(error.code, DuckDBError::RuntimeFatal) || error.message.contains("has been invalidated")
}

/// A full disk comes as whatever the statement was, a COMMIT among them.
fn has_no_space(text: &str) -> bool {
    text.contains("No space left on device")
}

/// So does a full buffer pool: a COMMIT reports it as a failed transaction.
fn has_no_memory(text: &str) -> bool {
    ["could not allocate block", "failed to allocate data", "failed to pin block"]
        .iter()
        .any(|part| text.contains(part))
}

impl From<duckdb::Error> for Error {
    fn from(error: duckdb::Error) -> Self {
        let kind = kind_of(&error);
        let mut text = super::advice::local(error.message);
        if has_no_space(&text) {
            // The engine's own words, whatever failed, carry a path of the server.
            let what = if text.contains("commit") { "the commit failed" } else { "the statement failed" };
            text = format!("{what}: no space left on the disk of database.path or database.temp_directory");
        }
        if let Some(position) = text.find("\nStack Trace") {
            text.truncate(position);
        }
        if kind == Kind::Exhausted && text.to_ascii_lowercase().contains("memory") {
            text.push_str(" (limit: database.memory_limit)");
        }
        Error::new(kind, crate::error::shorten(text.trim(), TEXT_BYTES_MAX))
    }
}

fn kind_of(error: &duckdb::Error) -> Kind {
    use DuckDBError as E;
    if is_fatal(error) {
        return Kind::Unavailable;
    }
    if has_no_space(&error.message) || has_no_memory(&error.message) {
        return Kind::Exhausted;
    }
    let says = |part: &str| error.message.contains(part);
    match error.code {
        E::DatabaseCatalog if says("does not exist") => Kind::NotFound,
        E::DatabaseCatalog if says("already exists") => Kind::Exists,
        E::DatabaseCatalog | E::DatabaseTransaction if says("onflict") => Kind::Aborted,
        E::DatabaseTransaction | E::DatabaseConstraint | E::DatabaseIndex => Kind::Conflict,
        E::ResourceDependency => Kind::Conflict,
        E::ResourceOutOfMemory => Kind::Exhausted,
        E::ResourceInUse | E::ResourceConnection => Kind::Unavailable,
        E::IoFileNotFound
        | E::IoReadFailure
        | E::IoEof
        | E::IoGeneral
        | E::IoNetwork
        | E::IoHttp
        | E::RuntimeInternal
        | E::RuntimeFatal
        | E::RuntimeNullPointer
        | E::DatabaseSerialization
        | E::DatabaseStatistics
        | E::Api
        | E::None => Kind::Internal,
        E::RuntimeInterrupt => Kind::Cancelled,
        E::QueryNotImplemented | E::ResourceMissingExtension | E::ResourceAutoload => Kind::Unsupported,
        E::ConfigurationPermission => Kind::Denied,
        E::DatabaseCatalog
        | E::DatabaseSequence
        | E::InputInvalid
        | E::InputParameterInvalid
        | E::InputOutOfRange
        | E::InputObjectSize
        | E::InputMetadataDeferred
        | E::TypeConversion
        | E::TypeUnknown
        | E::TypeInvalid
        | E::TypeMismatch
        | E::TypeDecimal
        | E::TypeDivideByZero
        | E::QueryParser
        | E::QuerySyntax
        | E::QueryBinder
        | E::QueryPlanner
        | E::QueryOptimizer
        | E::QueryExpression
        | E::QueryExecutor
        | E::QueryScheduler
        | E::QueryParameterNotResolved
        | E::QueryParameterNotAllowed
        | E::ConfigurationSettings
        | E::ConfigurationInvalid => Kind::Invalid,
    }
}
