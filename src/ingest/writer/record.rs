//! What a stream's claim says of its batches: which are new, and what is written down at the next commit.
//! Runs on: the writer thread.
//! Never: lets a batch count as new that has been stored before.

use arrow::array::RecordBatch;
use pintail_protocol::header::OnConflict;

use crate::error::Result;
use crate::ingest::counts::{Ack, Counts};
use crate::ingest::exactly_once::{self, Checksum, Claim, ClaimKind, Entry};

/// The record of one stream, from commit to commit.
#[derive(Default)]
pub(super) struct Record {
    entries: Vec<Entry>,
    checksum: Checksum,
    has_new: bool,
    has_duplicates: bool,
    /// Rows of batches that were stored before, since the last commit.
    duplicate_rows: u64,
}

impl Record {
    /// Whether a batch is to be stored; what is to be remembered of it is noted.
    pub(super) fn is_new(
        &mut self,
        claim: Option<&mut Claim>,
        batch: &RecordBatch,
        seq: Option<u64>,
    ) -> Result<bool> {
        match claim.map(|claim| &mut claim.0) {
            None => {}
            Some(ClaimKind::Key(_)) => self.checksum.add(batch)?,
            Some(ClaimKind::Producer(producer)) => match producer.judge_batch(seq, batch)? {
                Some(entry) => self.entries.push(entry),
                None => {
                    self.has_duplicates = true;
                    self.duplicate_rows += batch.num_rows() as u64;
                    return Ok(false);
                }
            },
        }
        self.has_new = true;
        Ok(true)
    }

    /// Whether there are duplicates that no commit has acknowledged yet.
    pub(super) fn has_unacknowledged(&self) -> bool {
        self.duplicate_rows > 0
    }

    /// What the next commit writes down. `counts` are those of the whole stream.
    ///
    /// Errors: `Aborted` once a newer epoch has been seen.
    pub(super) fn entries(
        &mut self,
        claim: Option<&Claim>,
        counts: Counts,
        on_conflict: OnConflict,
    ) -> Result<&[Entry]> {
        match claim.map(|claim| &claim.0) {
            None => {}
            Some(ClaimKind::Producer(producer)) => producer.check_fence()?,
            Some(ClaimKind::Key(key)) => {
                self.entries = vec![key.entry(self.checksum.value(), counts, on_conflict)];
            }
        }
        Ok(exactly_once::tail(&self.entries))
    }

    /// Takes note of a commit, and completes what is said of it.
    pub(super) fn committed(&mut self, claim: Option<&Claim>, ack: &mut Ack) {
        self.entries.clear();
        ack.counts.rows += std::mem::take(&mut self.duplicate_rows);
        ack.duplicate = self.has_duplicates && !self.has_new;
        if let Some(ClaimKind::Producer(producer)) = claim.map(|claim| &claim.0) {
            ack.seq = producer.last();
        }
    }
}
