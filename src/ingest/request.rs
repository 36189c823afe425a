//! What a put asks for: where its rows go, when they are committed, and on what terms.
//! Runs on: any thread; pure values.
//! Never: looks whether it can be done.

use std::fmt;

use arrow::datatypes::SchemaRef;
use pintail_protocol::header::{Mode, OnConflict, Sources};
use tokio::sync::watch;

use super::counts::Ack;
use crate::catalog::TableName;
use crate::engine::BulkInsert;
use crate::ingest::exactly_once::Claim;
use crate::session::Lease;

/// When the rows of a stream are committed.
#[derive(Debug, Default)]
pub enum Commit {
    /// At the end: all of them or none.
    #[default]
    Stream,
    /// As they come; each commit is acknowledged.
    Progress(watch::Sender<Ack>),
}

impl Commit {
    /// Whether rows are committed before the end of their stream.
    pub fn is_progress(&self) -> bool {
        matches!(self, Commit::Progress(_))
    }
}

/// Where the rows of a stream go.
#[derive(Debug, Clone)]
pub enum PutTarget {
    /// Into a table.
    Table {
        /// Its full name.
        table: TableName,
        /// Its name as the client gave it, for texts.
        shown: TableName,
        /// What to do about it.
        mode: Mode,
    },
    /// Into an INSERT of the client's own, whose parameters they are.
    Statement {
        /// What of it is to be run for the rows.
        bulk: Box<BulkInsert>,
        /// The full name of its table, where it is known.
        table: Option<TableName>,
    },
}

impl fmt::Display for PutTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutTarget::Table { shown, .. } => shown.fmt(f),
            PutTarget::Statement { table: Some(table), .. } => f.write_str(&table.table),
            PutTarget::Statement { table: None, .. } => f.write_str("of the statement"),
        }
    }
}

/// How a stream wants to be taken.
#[derive(Default)]
pub struct Terms {
    /// About rows whose key is known.
    pub on_conflict: OnConflict,
    /// When to commit.
    pub commit: Commit,
    /// For a stream that is to be applied once.
    pub claim: Option<Claim>,
    /// Who sends it, for the record of rejected rows.
    pub producer: Option<String>,
    /// For a stream that declares what files its rows are from.
    pub sources: Option<Sources>,
}

/// A stream about to begin.
pub struct PutRequest {
    /// Where the rows go.
    pub target: PutTarget,
    /// Schema of the batches as they arrive.
    pub schema: SchemaRef,
    /// The connection to put through.
    pub lease: Lease,
    /// On what terms.
    pub terms: Terms,
}
