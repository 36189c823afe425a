//! What a put answers with: JSON for a native put, a count for Flight SQL.
//! Runs on: any thread; pure.

use arrow_flight::PutResult;
use arrow_flight::sql::DoPutUpdateResult;
use pintail_protocol::answer::PutAnswer;
use prost::Message;

use crate::ingest::{Ack, OnConflict};

/// What became of a put, and which of its counts are told.
#[derive(Debug, Clone, Copy)]
pub(in crate::flight) struct PutOutcome {
    pub(super) ack: Ack,
    pub(super) durable: bool,
    pub(super) on_conflict: OnConflict,
    pub(super) rejects: bool,
}

impl PutOutcome {
    /// What the client reads. Counts that can only be all or nothing are left out.
    pub(in crate::flight) fn answer(self, table: &str) -> PutAnswer {
        let Ack { counts, seq, duplicate } = self.ack;
        let splits = self.on_conflict != OnConflict::Error || self.rejects;
        PutAnswer {
            table: table.to_owned(),
            rows: counts.rows,
            durable: self.durable,
            duplicate,
            inserted: splits.then_some(counts.inserted),
            ignored: splits.then_some(counts.ignored),
            replaced: splits.then_some(counts.replaced),
            rejected: self.rejects.then_some(counts.rejected),
            seq,
        }
    }
}

/// How many rows a statement or an ingest has changed.
pub(super) fn update_result(rows: u64) -> PutResult {
    let result = DoPutUpdateResult { record_count: i64::try_from(rows).unwrap_or(i64::MAX) };
    PutResult { app_metadata: result.encode_to_vec().into() }
}
