//! A small put in its group: what of it is new, what is written down with it, and what its client is told.
//! Runs on: the thread of the table's queue.
//! Never: counts a batch as new that has been stored before.

use arrow::array::RecordBatch;
use pintail_protocol::header::OnConflict;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::engine::group_commit::Work;
use crate::error::{Error, Result};
use crate::ingest::admission::Permit;
use crate::ingest::counts::{Ack, Counts, PutSummary, Timings};
use crate::ingest::exactly_once::{self, Checksum, ClaimKind, Entry};
use crate::ingest::job::{Job, Message};
use crate::ingest::placement::{Placement, Transaction, Wanted};

pub(super) type Reply = oneshot::Sender<Result<PutSummary>>;

/// A whole put that is small enough to share a transaction.
pub(in crate::ingest) struct SmallPut {
    pub(in crate::ingest) job: Job,
    pub(in crate::ingest) batches: Vec<Message>,
    pub(in crate::ingest) reply: oneshot::Sender<Result<PutSummary>>,
    /// The runtime of the task that waits for the reply.
    pub(in crate::ingest) runtime: Handle,
}

impl Work for SmallPut {
    fn rows(&self) -> usize {
        let rows = |message: &Message| match message {
            Message::Batch(batch, ..) => batch.num_rows(),
            Message::Large(..) | Message::Finish(_) => 0,
        };
        self.batches.iter().map(rows).sum()
    }

    fn fail(self, error: Error) {
        // The client may have left; then nobody waits for the reply.
        let _ = self.reply.send(Err(error));
    }
}

/// What holds for all puts of a group.
#[derive(Clone, Copy)]
pub(super) struct GroupOutcome {
    /// Whether the table was made for it, in a transaction of its own.
    pub(super) made_table: bool,
    pub(super) timings: Timings,
}

/// One put of a group, without the batches that were applied before.
pub(super) struct Member {
    pub(super) job: Job,
    pub(super) batches: Vec<RecordBatch>,
    permits: Vec<Permit>,
    /// What is written down for a producer's batches.
    entries: Vec<Entry>,
    duplicate_rows: u64,
    has_duplicates: bool,
    bytes: u64,
    pub(super) reply: Reply,
}

impl Member {
    /// Leaves out the batches that have been applied before.
    pub(super) fn judge(put: SmallPut) -> Result<Self, (Reply, Error)> {
        let SmallPut { job, batches, reply, .. } = put;
        let mut member = Self {
            job,
            batches: Vec::with_capacity(batches.len()),
            permits: Vec::with_capacity(batches.len()),
            entries: Vec::new(),
            duplicate_rows: 0,
            has_duplicates: false,
            bytes: 0,
            reply,
        };
        for message in batches {
            let Message::Batch(batch, permit, seq) = message else { continue };
            if let Err(error) = member.take(batch, permit, seq) {
                return Err((member.reply, error));
            }
        }
        Ok(member)
    }

    fn take(&mut self, batch: RecordBatch, permit: Permit, seq: Option<u64>) -> Result<()> {
        self.bytes += permit.bytes();
        self.permits.push(permit);
        if let Some(ClaimKind::Producer(producer)) = self.job.terms.claim.as_mut().map(|claim| &mut claim.0) {
            match producer.judge_batch(seq, &batch)? {
                Some(entry) => self.entries.push(entry),
                None => {
                    self.has_duplicates = true;
                    self.duplicate_rows += batch.num_rows() as u64;
                    return Ok(());
                }
            }
        }
        if batch.num_rows() > 0 {
            self.batches.push(batch);
        }
        Ok(())
    }

    pub(super) fn wanted(&self) -> Wanted<'_> {
        self.job.wanted(&self.batches, Transaction::Own)
    }

    pub(super) fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Whether it is one of a producer, for which `Aborted` also says that a newer epoch has come.
    pub(super) fn is_claimed(&self) -> bool {
        self.job.terms.claim.is_some()
    }

    /// What is written down with the rows, once it is known what became of them.
    pub(super) fn remembered(&self, counts: Counts) -> Result<Vec<Entry>> {
        match self.job.terms.claim.as_ref().map(|claim| &claim.0) {
            None => Ok(Vec::new()),
            Some(ClaimKind::Producer(producer)) => {
                producer.check_fence()?;
                Ok(exactly_once::tail(&self.entries).to_vec())
            }
            Some(ClaimKind::Key(key)) => {
                let mut checksum = Checksum::default();
                self.batches.iter().try_for_each(|batch| checksum.add(batch))?;
                Ok(vec![key.entry(checksum.value(), counts, self.job.terms.on_conflict)])
            }
        }
    }

    /// What its client is told. `shared` is what holds for the whole group.
    pub(super) fn summary(&self, counts: Counts, placement: &Placement, shared: GroupOutcome) -> PutSummary {
        let seq = match self.job.terms.claim.as_ref().map(|claim| &claim.0) {
            Some(ClaimKind::Producer(producer)) => producer.last(),
            _ => None,
        };
        let mut counts = counts;
        counts.rows += self.duplicate_rows;
        PutSummary {
            ack: Ack { counts, seq, duplicate: self.has_duplicates && self.entries.is_empty() },
            durable: true,
            bytes: self.bytes,
            created: placement.created || shared.made_table,
            rejects: placement.rejected.is_some(),
            timings: shared.timings,
        }
    }

    /// Whether its rows can be told apart only when they are appended alone.
    pub(super) fn wants_own_counts(&self, placement: &Placement) -> bool {
        placement.on_conflict != OnConflict::Error || placement.rejected.is_some()
    }
}
