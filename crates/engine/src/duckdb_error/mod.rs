//! DuckDB's error -> the library's error, with the kind a caller can act on.
//! Runs on: any thread.
//! Never: hides a fatal error (those mark the database as lost); lets a value, a name or an SQL text that an error
//! quotes decide what kind of error it is.
//!
//! The engine's code decides. Where one code stands for several causes, its text does, and only where the engine's own
//! words come before anything a user wrote, or after all of it.

mod advice;
mod text;

use duckdb::error::DuckDBError;

use crate::error::{Error, Kind};

/// Longest text passed on; error texts travel in gRPC headers, which clients limit to 8 KiB.
const TEXT_BYTES_MAX: usize = 1536;

/// What COMMIT puts in front of the error that stopped it. Its own code is always that of a transaction.
const FAILED_COMMIT: &str = "Failed to commit: ";

/// How the engine's texts about its own allocations begin.
const NO_MEMORY: [&str; 5] = [
    "could not allocate block of size ",
    "failed to allocate data of size ",
    "failed to pin block of size ",
    "failed to offload data block of size ",
    "Failed to allocate ",
];

/// What `ffi/memory.cpp` says when the whole process has no more, and what the engine makes of a `bad_alloc` of it.
const NO_PROCESS_MEMORY: [&str; 2] = ["the server has no ", "Allocation failure"];

/// How the texts of file operations begin that can run out of disk.
const FILE_WORK: [&str; 5] = [
    "Could not write ",
    "Could not ftruncate ",
    "Could not fsync ",
    "Cannot open file ",
    "Failed to create directory ",
];

/// How the texts begin of a transaction that conflicts with another one.
const COLLISIONS: [&str; 7] = [
    "Transaction conflict: ",
    "Catalog write-write conflict ",
    "Conflict on ",
    "Attempting to modify table ",
    "Failed to alter table ",
    "Cannot create index with outstanding updates",
    "Cannot CHECKPOINT: ",
];

/// The engine's words without the name of their kind, such as `Constraint Error: `, in front.
fn words(message: &str) -> &str {
    match message.split_once(" Error: ") {
        Some((kind, rest))
            if kind.len() < 32
                && kind.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ') =>
        {
            rest
        }
        _ => message,
    }
}

/// What stopped a COMMIT, if that is what failed.
fn commit_cause(error: &duckdb::Error) -> Option<&str> {
    (error.code == DuckDBError::DatabaseTransaction)
        .then(|| words(&error.message).strip_prefix(FAILED_COMMIT))
        .flatten()
}

fn begins(text: &str, with: &[&str]) -> bool {
    with.iter().any(|start| text.starts_with(start))
}

fn is_io(code: DuckDBError) -> bool {
    use DuckDBError as E;
    matches!(code, E::IoFileNotFound | E::IoReadFailure | E::IoEof | E::IoGeneral)
}

/// Whether the instance can no longer be used.
pub(crate) fn is_fatal(error: &duckdb::Error) -> bool {
    if error.code == DuckDBError::RuntimeFatal {
        return true;
    }
    // A checkpoint that fails invalidates the one attached database, and says so with the code of a file error.
    let text = match commit_cause(error) {
        Some(cause) => cause,
        None if is_io(error.code) => words(&error.message),
        None => return false,
    };
    let first = text.lines().next().unwrap_or_default();
    (first.starts_with("Database ") && first.contains(" has been invalidated because checkpointing failed"))
        || (first.starts_with("Checkpoint failed for database ")
            && first.contains("The database has been invalidated."))
}

/// Whether a fatal error came from reading or writing files. In doubt it did: then the process ends instead of going on.
pub(crate) fn is_of_storage(error: &duckdb::Error) -> bool {
    const FILES: [&str; 5] = ["IO Error", "Could not ", "Cannot open file", "fsync", "checkpoint"];
    FILES.iter().any(|word| error.message.contains(word))
}

/// Whether a statement was refused because an earlier one of its transaction failed.
pub(crate) fn is_aborted(error: &duckdb::Error) -> bool {
    error.code == DuckDBError::DatabaseTransaction
        && words(&error.message).starts_with("Current transaction is aborted")
}

/// Whether a ROLLBACK was refused because there was nothing to roll back.
pub(crate) fn has_no_transaction(error: &duckdb::Error) -> bool {
    error.code == DuckDBError::DatabaseTransaction
        && words(&error.message).starts_with("cannot rollback - no transaction is active")
}

/// Whether something of that name is there, and is no table.
pub(crate) fn is_no_table(error: &duckdb::Error) -> bool {
    error.code == DuckDBError::DatabaseCatalog && error.message.trim_end().ends_with(" is not an table")
}

/// A full disk comes as whatever the statement was, a COMMIT among them.
fn has_no_space(error: &duckdb::Error) -> bool {
    let text = match commit_cause(error) {
        Some(cause) => cause,
        None if is_io(error.code) => words(&error.message),
        None => return false,
    };
    begins(text, &FILE_WORK) && text.contains("No space left on device")
}

/// So does a full buffer pool: a COMMIT reports it as a failed transaction.
fn has_no_memory(error: &duckdb::Error) -> bool {
    error.code == DuckDBError::ResourceOutOfMemory
        || commit_cause(error)
            .is_some_and(|cause| begins(cause, &NO_MEMORY) || begins(cause, &NO_PROCESS_MEMORY))
}

/// Whether the text is `<kind> with name "<name>" already exists!`, and nothing after it.
fn says_exists(text: &str) -> bool {
    text.trim_end().ends_with(" already exists!")
}

/// Whether the text is `<kind> with name <name> does not exist…`. A name that has such words in it cannot be mistaken
/// for anything but a name that does not exist.
fn says_missing(text: &str) -> bool {
    text.split_once(" with name ").is_some_and(|(kind, rest)| {
        kind.chars().all(|letter| letter.is_ascii_alphabetic() || letter == ' ')
            && rest.contains("does not exist")
    })
}

/// The engine's error as the library's.
pub(crate) fn from_duckdb(error: duckdb::Error) -> Error {
    let kind = kind_of(&error);
    let failed_commit = commit_cause(&error).is_some();
    let mut text = if has_no_space(&error) {
        // The engine's own words, whatever failed, carry a path of the server.
        let what = if failed_commit { "the commit failed" } else { "the statement failed" };
        format!("{what}: no space left on the disk of database.path or database.temp_directory")
    } else {
        let has_no_memory = has_no_memory(&error);
        let mut text = advice::local(error.message);
        if let Some(position) = text.find("\nStack Trace") {
            text.truncate(position);
        }
        if has_no_memory {
            let of_process = begins(words(&text), &NO_PROCESS_MEMORY);
            let limit = if of_process { "server.memory_limit" } else { "database.memory_limit" };
            text.push_str(&format!(" (limit: {limit})"));
        }
        text
    };
    if failed_commit && kind == Kind::Aborted {
        text.push_str(" (another transaction was first; nothing was applied, try again)");
    }
    let text = text::for_client(text.trim());
    let text = crate::error::shorten(&text, TEXT_BYTES_MAX);
    if kind == Kind::Aborted { Error::collided(text) } else { Error::new(kind, text) }
}

/// What the caller of a COMMIT that failed should do.
fn commit_kind(cause: &str) -> Kind {
    // The engine finds violations within one transaction before COMMIT, so these come from another transaction.
    let collides = begins(cause, &COLLISIONS)
        || begins(
            cause,
            &["PRIMARY KEY or UNIQUE constraint violation: ", "Duplicate key ", "Violates foreign key "],
        );
    if collides { Kind::Aborted } else { Kind::Conflict }
}

fn kind_of(error: &duckdb::Error) -> Kind {
    use DuckDBError as E;
    if is_fatal(error) {
        return Kind::Unavailable;
    }
    if has_no_space(error) || has_no_memory(error) {
        return Kind::Exhausted;
    }
    if let Some(cause) = commit_cause(error) {
        return commit_kind(cause);
    }
    let text = words(&error.message);
    match error.code {
        E::DatabaseCatalog if says_exists(text) => Kind::Exists,
        E::DatabaseCatalog if says_missing(text) => Kind::NotFound,
        E::DatabaseTransaction if begins(text, &COLLISIONS) => Kind::Aborted,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: DuckDBError, message: &str) -> duckdb::Error {
        duckdb::Error { code, message: message.to_owned() }
    }

    #[test]
    fn the_engines_own_words_decide() {
        use DuckDBError as E;
        for (code, text, kind) in [
            (E::RuntimeFatal, "FATAL Error: anything", Kind::Unavailable),
            (
                E::IoGeneral,
                "IO Error: Database test has been invalidated because checkpointing failed. Detach and reattach it",
                Kind::Unavailable,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Failed to commit: Database test has been invalidated because checkpointing failed. x",
                Kind::Unavailable,
            ),
            (
                E::IoGeneral,
                "IO Error: Could not write file \"/x/y\": No space left on device",
                Kind::Exhausted,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Failed to commit: Could not write file \"/x\": No space left on device",
                Kind::Exhausted,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Failed to commit: could not allocate block of size 256.0 KiB (1 GiB/1 GiB used)",
                Kind::Exhausted,
            ),
            (
                E::ResourceOutOfMemory,
                "Out of Memory Error: the server has no 4.0 GiB more for a value or a buffer, its limit is 1.0 GiB",
                Kind::Exhausted,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Failed to commit: PRIMARY KEY or UNIQUE constraint violation: duplicate key \"1\"",
                Kind::Aborted,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Catalog write-write conflict on create with \"t\"",
                Kind::Aborted,
            ),
            (
                E::DatabaseTransaction,
                "TransactionContext Error: Current transaction is aborted (please ROLLBACK)",
                Kind::Conflict,
            ),
            (E::DatabaseCatalog, "Catalog Error: Table with name \"t\" already exists!", Kind::Exists),
            (
                E::DatabaseCatalog,
                "Catalog Error: Table with name t does not exist!\nDid you mean \"u\"?",
                Kind::NotFound,
            ),
            (
                E::DatabaseConstraint,
                "Constraint Error: Duplicate key \"id: 1\" violates primary key constraint.",
                Kind::Conflict,
            ),
        ] {
            assert_eq!(from_duckdb(error(code, text)).kind(), kind, "{text}");
        }
    }

    /// The engine quotes values, keys, names and statements in its errors; whatever they say, they are quotations.
    #[test]
    fn quoted_words_decide_nothing() {
        use DuckDBError as E;
        let words = [
            "database has been invalidated",
            "Database x has been invalidated because checkpointing failed.",
            "Could not write file \"f\": No space left on device",
            "could not allocate block of size 1",
            "Current transaction is aborted",
            "Transaction conflict: x",
            "FATAL Error: x",
            "TransactionContext Error: Failed to commit: Conflict on update!",
        ];
        for word in words {
            for (code, text, kind) in [
                (
                    E::DatabaseConstraint,
                    format!("Constraint Error: Duplicate key \"s: {word}\" violates unique constraint."),
                    Kind::Conflict,
                ),
                (
                    E::TypeConversion,
                    format!("Conversion Error: Could not convert string '{word}' to INT32"),
                    Kind::Invalid,
                ),
                (E::InputInvalid, format!("Invalid Input Error: {word}"), Kind::Invalid),
                (
                    E::QueryBinder,
                    format!("Binder Error: Referenced column \"{word}\" not found in FROM clause!"),
                    Kind::Invalid,
                ),
                (
                    E::DatabaseCatalog,
                    format!("Catalog Error: Table with name {word} does not exist!"),
                    Kind::NotFound,
                ),
                (
                    E::DatabaseCatalog,
                    format!("Catalog Error: Table with name \"{word}\" already exists!"),
                    Kind::Exists,
                ),
                (
                    E::DatabaseTransaction,
                    format!(
                        "TransactionContext Error: Failed to commit: PRIMARY KEY or UNIQUE constraint violation: duplicate key \"{word}\""
                    ),
                    Kind::Aborted,
                ),
            ] {
                let raw = error(code, &text);
                assert!(!is_fatal(&raw) && !is_aborted(&raw), "{text}");
                let found = from_duckdb(raw);
                assert_eq!(found.kind(), kind, "{text}");
                assert!(found.message().contains(word), "{text}");
            }
        }
        let tricky =
            error(E::DatabaseCatalog, "Catalog Error: Table with name x already exists! does not exist!");
        assert_eq!(from_duckdb(tricky).kind(), Kind::NotFound);
    }
}
