//! Rows about to be appended, and how many a table has.
//! Runs on: the thread that owns the transaction.
//! Never: scans a table to count it.

use crate::engine::{self, Connection, Unit};
use crate::error::Result;
use crate::ingest::placement::Placement;

/// Rows to be appended, with what error texts and dead letters say of them: their place in the stream, and their sender.
pub(in crate::ingest) struct Rows<'a> {
    pub(in crate::ingest) units: Vec<Unit>,
    /// Rows of the stream before these.
    pub(in crate::ingest) before: u64,
    pub(in crate::ingest) producer: Option<&'a str>,
}

/// Rows in the table, as this transaction sees it. The engine answers from its row groups, not by a scan.
pub(super) fn count(connection: &Connection, placement: &Placement) -> Result<u64> {
    let Some(table) = &placement.table else { return Ok(0) };
    engine::count_rows(connection, table)
}
