//! The checksum of a stream that was applied before, or that is only looked at: the first answer, or a refusal.
//! Runs on: the task of the call; one pass over the bytes.
//! Never: stores anything.

use arrow::array::RecordBatch;
use pintail_protocol::header::OnConflict;

use super::checksum::Checksum;
use super::entry::KeyEntry;
use crate::catalog::TableName;
use crate::error::Result;
use crate::ingest::counts::Ack;

/// Checksum of a stream that is not to be stored.
#[derive(Default)]
pub struct StreamChecksum(Checksum);

impl StreamChecksum {
    /// Adds a batch as it came.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.add(batch)
    }

    /// The checksum of what was added.
    pub fn value(&self) -> u64 {
        self.0.value()
    }

    /// Checks that what was added is what `known` was made from, for the same table, and gives the first answer.
    pub fn answer(&self, known: &KeyEntry, table: &TableName) -> Result<(Ack, OnConflict)> {
        known.check(table, self.0.value())?;
        Ok((Ack { counts: known.counts, seq: None, duplicate: true }, known.on_conflict))
    }
}
