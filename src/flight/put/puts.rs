//! What puts work on.

use std::sync::Arc;

use crate::catalog::TableName;
use crate::flight::names::TEMPORARY;
use crate::flight::result::Results;
use crate::ingest::Ingest;

/// What puts work on: the write side, and the read side for statements.
#[derive(Clone)]
pub(in crate::flight) struct Puts {
    pub(in crate::flight) ingest: Arc<Ingest>,
    pub(in crate::flight) results: Results,
    /// Whether a put that gives no mode may make its table.
    pub(in crate::flight) auto_create: bool,
    /// Whether committed rows outlive the process.
    pub(in crate::flight) keeps_rows: bool,
}

impl Puts {
    /// Whether committed rows of one table outlive the process: temporary ones end with their client.
    pub(super) fn keeps(&self, table: &TableName) -> bool {
        let is_temporary =
            table.catalog.as_deref().is_some_and(|catalog| catalog.eq_ignore_ascii_case(TEMPORARY));
        !is_temporary && self.keeps_rows
    }
}
