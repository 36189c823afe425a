//! The right to apply a stream once, and what each of its batches is judged by.
//! Runs on: async tasks claim and wait; the thread that commits judges.
//! Never: takes a batch twice, or one that leaves a gap; goes on once a newer epoch has been seen.

use std::sync::Arc;

use arrow::array::RecordBatch;
use pintail_protocol::action::INGEST_STATUS;
use pintail_protocol::answer::fenced;
use tokio::sync::OwnedMutexGuard;

use super::checksum::Checksum;
use super::entry::{Entry, KeyEntry, Line};
use super::image::{Newest, Recent};
use crate::error::{Error, Kind, Result};
use crate::ingest::counts::Counts;
use pintail_protocol::header::OnConflict;

/// The right to apply a stream: nobody else has it at the same time.
pub struct Claim(pub(in crate::ingest) ClaimKind);

pub(in crate::ingest) enum ClaimKind {
    Key(KeyClaim),
    Producer(ProducerClaim),
}

pub(in crate::ingest) struct KeyClaim {
    pub(super) key: Arc<str>,
    pub(super) table: Arc<str>,
    pub(super) _turn: OwnedMutexGuard<()>,
}

pub(in crate::ingest) struct ProducerClaim {
    pub(super) line: Line,
    pub(super) epoch: u64,
    // Held, it also keeps the producer from being forgotten.
    pub(super) newest_epoch: Arc<Newest>,
    // The line was forgotten in memory, while the table may still have rows of it.
    pub(super) begins_anew: bool,
    pub(super) last: Option<u64>,
    pub(super) rows: u64,
    pub(super) recent: Recent,
    pub(super) _turn: OwnedMutexGuard<()>,
}

/// What to do about a stream with a key.
pub enum Keyed {
    /// Apply it.
    New(Claim),
    /// It has been applied before.
    Known(KeyEntry),
}

impl KeyClaim {
    pub(in crate::ingest) fn entry(&self, checksum: u64, counts: Counts, on_conflict: OnConflict) -> Entry {
        let entry = KeyEntry { table: Arc::clone(&self.table), checksum, counts, on_conflict };
        Entry::Key { key: Arc::clone(&self.key), entry }
    }
}

impl Claim {
    /// Whether its epoch, or that its line begins anew, is yet to be written down.
    pub(in crate::ingest) fn has_new_epoch(&self) -> bool {
        match &self.0 {
            ClaimKind::Key(_) => false,
            ClaimKind::Producer(claim) => claim.begins_anew || !claim.newest_epoch.is_durable(claim.epoch),
        }
    }
}

impl ProducerClaim {
    /// Highest sequence number taken so far, those of this stream included.
    pub(in crate::ingest) fn last(&self) -> Option<u64> {
        self.last
    }

    /// Errors: `Aborted` once a newer epoch has been seen.
    pub(in crate::ingest) fn check_fence(&self) -> Result<()> {
        let newest = *self.newest_epoch.seen.borrow();
        if newest > self.epoch { Err(fenced(&self.line.producer, self.epoch, newest)) } else { Ok(()) }
    }

    /// Completes once a newer epoch has been seen, so that a quiet stream does not keep its successor waiting.
    pub(in crate::ingest) async fn shut_out(&self) -> Error {
        let mut changes = self.newest_epoch.seen.subscribe();
        match changes.wait_for(|newest| *newest > self.epoch).await {
            Ok(newest) => fenced(&self.line.producer, self.epoch, *newest),
            // The claim itself holds the sender.
            Err(_) => Error::internal("a producer's epoch is gone"),
        }
    }

    /// As `judge`, with the checksum of the batch computed here.
    pub(in crate::ingest) fn judge_batch(
        &mut self,
        seq: Option<u64>,
        batch: &RecordBatch,
    ) -> Result<Option<Entry>> {
        let seq = seq.ok_or_else(|| Error::internal("a producer's batch has no number"))?;
        self.judge(seq, Checksum::of(batch)?, batch.num_rows() as u64)
    }

    /// What to write down for a new batch; `None` for one that has been taken before.
    ///
    /// Errors: `Exists` for a known number with other content, `Conflict` for a gap.
    fn judge(&mut self, seq: u64, checksum: u64, rows: u64) -> Result<Option<Entry>> {
        self.check_fence()?;
        let producer = &self.line.producer;
        match self.last {
            Some(last) if seq <= last => {
                if self.recent.checksum(seq).is_some_and(|known| known != checksum) {
                    return Err(Error::new(
                        Kind::Exists,
                        format!(
                            "producer \"{producer}\": batch {seq} was stored before with other content; a retry \
                             must send the same rows under the same seq"
                        ),
                    ));
                }
                return Ok(None);
            }
            Some(last) if seq == last + 1 => {}
            None if seq <= 1 => {}
            None => return Err(self.unknown(seq)),
            Some(last) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "producer \"{producer}\": batch {seq} leaves a gap, expected seq {}; {INGEST_STATUS} \
                         tells where to resume",
                        last + 1
                    ),
                ));
            }
        }
        self.last = Some(seq);
        self.rows += rows;
        self.recent.push(seq, checksum);
        Ok(Some(Entry::Batch { line: self.line.clone(), epoch: self.epoch, seq, rows: self.rows, checksum }))
    }

    /// A batch that is not a beginning, of a producer of which nothing is known.
    fn unknown(&self, seq: u64) -> Error {
        let Line { producer, table } = &self.line;
        Error::new(
            Kind::Conflict,
            format!(
                "producer \"{producer}\": batch {seq} comes first, expected seq 0 or 1; nothing is known of its batches \
                 for {table}: either none was stored, or the producer was forgotten after more than \
                 ingest.ledger_producers others wrote. Look into the table for the last rows that are there, and send \
                 the rest with seq from 0"
            ),
        )
    }
}
