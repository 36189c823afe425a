//! Names of the request headers that are Pintail's own, and their values.
//! Runs on: any thread; pure.
//! Never: decides what a value does.

/// What all of them begin with.
pub const PREFIX: &str = "pintail-";

/// What a put does about its table: [`Mode`].
pub const MODE: &str = "pintail-mode";
/// When a put commits: [`STREAM`] or [`PROGRESS`].
pub const COMMIT: &str = "pintail-commit";
/// What becomes of rows whose key is there already: [`OnConflict`].
pub const ON_CONFLICT: &str = "pintail-on-conflict";
/// A name for a whole stream, which is then applied once.
pub const IDEMPOTENCY_KEY: &str = "pintail-idempotency-key";
/// Who numbers the batches of a stream, each of which is then applied once.
pub const PRODUCER: &str = "pintail-producer";
/// Which life of that producer: an older one is refused.
pub const EPOCH: &str = "pintail-epoch";
/// How the bodies of a result are compressed.
pub const COMPRESSION: &str = "pintail-compression";
/// Rows of a result's batch at most.
pub const BATCH_ROWS: &str = "pintail-batch-rows";
/// How long a call may take.
pub const TIMEOUT_MS: &str = "pintail-timeout-ms";
/// Whether types leave as Arrow's extension types.
pub const EXTENSION_TYPES: &str = "pintail-extension-types";
/// In how many parts a result is to be given, to be read beside each other.
pub const ENDPOINTS: &str = "pintail-endpoints";
/// What to do about files whose rows are stored already: [`Sources`].
pub const SOURCES: &str = "pintail-sources";

/// [`COMMIT`] at the end of the stream.
pub const STREAM: &str = "stream";
/// [`COMMIT`] as rows come.
pub const PROGRESS: &str = "progress";

/// What a put does about its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The table must exist.
    Append,
    /// The table must not exist.
    Create,
    /// Create the table when it does not exist.
    CreateAppend,
    /// Drop what is there and create the table anew, in the same transaction as the rows. A declared table keeps
    /// its shape.
    Replace,
    /// Like `Replace`, but the table must exist.
    ReplaceExisting,
}

impl Mode {
    /// As [`MODE`] spells it. `ReplaceExisting`, which Flight SQL ingest alone asks for, reads as `Replace`.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Append => "append",
            Mode::Create => "create",
            Mode::CreateAppend => "create_append",
            Mode::Replace | Mode::ReplaceExisting => "replace",
        }
    }

    /// The other way.
    pub fn from_name(name: &str) -> Option<Self> {
        [Mode::Append, Mode::Create, Mode::CreateAppend, Mode::Replace]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// What becomes of a row whose primary key is in the table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The stream is refused.
    #[default]
    Error,
    /// The row that is there stays.
    Ignore,
    /// The new row takes its place.
    Replace,
}

impl OnConflict {
    /// As headers and the ledger spell it.
    pub fn name(self) -> &'static str {
        match self {
            OnConflict::Error => "error",
            OnConflict::Ignore => "ignore",
            OnConflict::Replace => "replace",
        }
    }

    /// The other way.
    pub fn from_name(name: &str) -> Option<Self> {
        [OnConflict::Error, OnConflict::Ignore, OnConflict::Replace]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// What a stream that declares its sources wants to be done about those that are stored already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Store nothing when one of them is.
    Once,
    /// Store them again.
    Again,
    /// Forget all that was stored in the table before.
    Anew,
}

impl Sources {
    /// As [`SOURCES`] spells it.
    pub fn name(self) -> &'static str {
        match self {
            Sources::Once => "once",
            Sources::Again => "again",
            Sources::Anew => "anew",
        }
    }

    /// The other way.
    pub fn from_name(name: &str) -> Option<Self> {
        [Sources::Once, Sources::Again, Sources::Anew].into_iter().find(|one| one.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_they_are_spelled() {
        for mode in [Mode::Append, Mode::Create, Mode::CreateAppend, Mode::Replace] {
            assert_eq!(Mode::from_name(mode.name()), Some(mode));
        }
        for choice in [OnConflict::Error, OnConflict::Ignore, OnConflict::Replace] {
            assert_eq!(OnConflict::from_name(choice.name()), Some(choice));
        }
        for sources in [Sources::Once, Sources::Again, Sources::Anew] {
            assert_eq!(Sources::from_name(sources.name()), Some(sources));
        }
        assert_eq!(Mode::from_name("Append").map(Mode::name), None);
    }
}
