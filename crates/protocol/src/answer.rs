//! Answers of the server that its clients read: JSON, each form once.
//! Runs on: any thread; pure.
//! Never: refuses a field that it does not know; a newer server may say more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// What the server says about a put, after its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutAnswer {
    /// The table, as the client named it.
    pub table: String,
    /// Rows stored.
    pub rows: u64,
    /// Whether the rows survive a crash of the server: not those of an in-memory database or a temporary table, nor,
    /// until its COMMIT, those of a transaction.
    pub durable: bool,
    /// Whether the server had this stream before and stored nothing now.
    pub duplicate: bool,
    /// Rows that are new in the table; told where they can differ from `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inserted: Option<u64>,
    /// Rows left out because their key was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<u64>,
    /// Rows put in the place of one with their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<u64>,
    /// Rows written to the table of rejected rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<u64>,
    /// Highest sequence number of a producer that is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

impl PutAnswer {
    /// As it stands in `PutResult.app_metadata`.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Where a producer can resume: the answer of `pintail.ingest_status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestStatus {
    /// Its lasting name.
    pub producer: String,
    /// Newest epoch seen.
    pub epoch: u64,
    /// That of the table written last into.
    pub seq: Option<u64>,
    /// Its durable rows.
    pub rows: u64,
    /// All tables, by their names in the ledgers.
    pub tables: BTreeMap<String, TableStatus>,
}

/// Where a producer stands with one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableStatus {
    /// Highest durable sequence number.
    pub seq: u64,
    /// Durable rows.
    pub rows: u64,
}

/// What a producer hears when another instance of it has taken over, from the server or from its own side.
pub fn fenced(producer: &str, epoch: u64, newest: u64) -> Error {
    Error::new(
        Kind::Aborted,
        format!(
            "producer \"{producer}\" is fenced: epoch {epoch} is older than {newest}, which has been seen; another \
             instance has taken over"
        ),
    )
}
