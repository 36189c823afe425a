//! What a producer keeps until the server has acknowledged it: open rows, and numbered batches in their order.
//! Runs on: tasks of the caller, and those of the producer.
//! Never: keeps more bytes than its bound, changes a batch that has a number, or gives one up unacknowledged.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use pintail_protocol::names::TableName;
use pintail_protocol::size::batch_bytes;
use tokio::sync::watch;

use crate::connect::ConnectOptions;
use crate::error::{Error, Kind, Result};

/// How a [`Producer`](crate::Producer) gathers, buffers and retries.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// Rows of a numbered batch at most. Default 65536.
    pub batch_rows: usize,
    /// Bytes of a numbered batch, about. Default 4 MiB; the server takes `server.max_message_bytes`.
    pub batch_bytes: usize,
    /// How long rows wait for others to share their batch. Default 20 ms; zero sends each batch as it comes.
    pub linger: Duration,
    /// Bytes kept, acknowledged ones aside; `send` waits above it. Default 64 MiB.
    pub buffer_bytes: usize,
    /// Pause before the first retry; it doubles from one to the next. Each is varied by half. Default 50 ms.
    pub backoff: Duration,
    /// Longest pause. Default 5 s.
    pub backoff_max: Duration,
    /// How long nothing may get through before the producer fails. Default 5 min.
    pub give_up: Duration,
    /// `pintail-on-conflict` for tables with a primary key. Default: the server's, which is `error`.
    pub on_conflict: Option<String>,
    /// Who the producer is, and whom it trusts.
    pub connect: ConnectOptions,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_rows: 65_536,
            batch_bytes: 4 << 20,
            linger: Duration::from_millis(20),
            buffer_bytes: 64 << 20,
            backoff: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            give_up: Duration::from_secs(300),
            on_conflict: None,
            connect: ConnectOptions::default(),
        }
    }
}

/// What the server has said is durable, over the producer's whole life, earlier processes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// Highest number; `None` before the first batch.
    pub seq: Option<u64>,
    /// Rows up to it.
    pub rows: u64,
}

/// What the caller's side and the sending side share.
pub(super) struct Shared {
    pub(super) producer: String,
    pub(super) epoch: u64,
    pub(super) uri: String,
    pub(super) table: TableName,
    pub(super) schema: SchemaRef,
    pub(super) options: ProducerOptions,
    pub(super) state: watch::Sender<Backlog>,
}

/// A batch with its number; it stays as it is until it is acknowledged.
pub(super) struct Numbered {
    pub(super) seq: u64,
    pub(super) batch: RecordBatch,
    bytes: usize,
    pub(super) since: Instant,
}

/// What is not acknowledged yet, and what the server has said.
#[derive(Default)]
pub(super) struct Backlog {
    /// Rows without a number yet.
    open: Vec<RecordBatch>,
    pub(super) open_rows: usize,
    open_bytes: usize,
    pub(super) open_since: Option<Instant>,
    /// Batches not acknowledged, by number, without gaps.
    pub(super) queue: VecDeque<Numbered>,
    pub(super) queue_rows: usize,
    queue_bytes: usize,
    pub(super) next_seq: u64,
    pub(super) durable: Durable,
    pub(super) failed: Option<Error>,
    pub(super) closing: bool,
    pub(super) retries: u32,
    pub(super) last_error: Option<Error>,
}

impl Shared {
    pub(super) async fn take(&self, batch: RecordBatch) -> Result<()> {
        let bytes = batch_bytes(&batch);
        let mut changes = self.state.subscribe();
        let mut batch = Some(batch);
        loop {
            let has_room = |state: &Backlog| {
                state.bytes() == 0 || state.bytes().saturating_add(bytes) <= self.options.buffer_bytes
            };
            // Rows without a number are not under way; where they fill the buffer, waiting for them is in vain.
            self.state.send_if_modified(|state| {
                let is_stuck = !has_room(state) && state.queue.is_empty();
                if is_stuck {
                    self.seal(state);
                }
                is_stuck
            });
            let waited = changes.wait_for(|state| state.failed.is_some() || has_room(state)).await;
            drop(waited.map_err(|_| Error::internal("the producer's state is gone"))?);
            let mut failed = None;
            self.state.send_if_modified(|state| {
                failed = state.failed.clone();
                // Another task may have been faster.
                let may_push = failed.is_none() && has_room(state);
                if may_push && let Some(batch) = batch.take() {
                    self.push(state, batch, bytes);
                }
                may_push
            });
            match failed {
                Some(error) => return Err(error),
                None if batch.is_none() => return Ok(()),
                None => {}
            }
        }
    }

    fn push(&self, state: &mut Backlog, batch: RecordBatch, bytes: usize) {
        let rows = batch.num_rows();
        let options = &self.options;
        if state.open_rows + rows > options.batch_rows || state.open_bytes + bytes > options.batch_bytes {
            self.seal(state);
        }
        state.open.push(batch);
        state.open_rows += rows;
        state.open_bytes += bytes;
        state.open_since.get_or_insert_with(Instant::now);
        if state.open_rows >= options.batch_rows
            || state.open_bytes >= options.batch_bytes
            || options.linger.is_zero()
        {
            self.seal(state);
        }
    }

    /// Gives the open rows their number.
    pub(super) fn seal(&self, state: &mut Backlog) {
        let Some(since) = state.open_since.take() else { return };
        let (rows, bytes) = (std::mem::take(&mut state.open_rows), std::mem::take(&mut state.open_bytes));
        let open = std::mem::take(&mut state.open);
        let batch = match open.as_slice() {
            [only] => only.clone(),
            several => match concat_batches(&self.schema, several) {
                Ok(batch) => batch,
                Err(error) => {
                    // Offsets beyond 32 bits, with a `batch_bytes` above 2 GiB.
                    state.failed.get_or_insert(error.into());
                    return;
                }
            },
        };
        let seq = state.next_seq;
        state.next_seq += 1;
        state.queue_rows += rows;
        state.queue_bytes += bytes;
        state.queue.push_back(Numbered { seq, batch, bytes, since });
    }

    /// Closes batches whose rows have waited long enough.
    pub(super) async fn seal_when_due(&self) {
        let mut changes = self.state.subscribe();
        loop {
            let since = match changes.wait_for(|state| state.open_since.is_some()).await {
                Ok(state) => state.open_since,
                Err(_) => return,
            };
            let Some(due) = since.and_then(|since| since.checked_add(self.options.linger)) else { return };
            tokio::time::sleep_until(due.into()).await;
            self.state.send_if_modified(|state| {
                let is_same = state.open_since == since;
                if is_same {
                    self.seal(state);
                }
                is_same
            });
        }
    }
}

impl Backlog {
    pub(super) fn bytes(&self) -> usize {
        self.queue_bytes + self.open_bytes
    }

    /// The server's first word: where an earlier process has stopped.
    pub(super) fn start_after(&mut self, durable: Durable) {
        self.next_seq = durable.seq.map_or(0, |seq| seq + 1);
        self.durable = durable;
    }

    /// Takes note of the highest number that is durable; gives up the batches up to it.
    ///
    /// Errors: `Conflict` for a number that was never sent, or one below what was acknowledged before.
    pub(super) fn acknowledge(&mut self, seq: Option<u64>) -> Result<()> {
        if seq < self.durable.seq {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the server has lost batches: {} was acknowledged before, {} is what it has now; was another \
                     database put in its place, or this producer forgotten while more than ingest.ledger_producers \
                     others wrote?",
                    told(self.durable.seq),
                    told(seq)
                ),
            ));
        }
        let Some(seq) = seq else { return Ok(()) };
        if seq >= self.next_seq {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the server has batch {seq} and this producer has sent none above {}; is another process \
                     running with the same producer and epoch?",
                    told(self.next_seq.checked_sub(1))
                ),
            ));
        }
        while self.queue.front().is_some_and(|first| first.seq <= seq) {
            let Some(first) = self.queue.pop_front() else { break };
            self.queue_rows -= first.batch.num_rows();
            self.queue_bytes -= first.bytes;
            self.durable.rows += first.batch.num_rows() as u64;
        }
        self.durable.seq = Some(seq);
        Ok(())
    }

    /// The batch with this number, or the first one above it.
    pub(super) fn batch_from(&self, seq: u64) -> Option<&Numbered> {
        let first = self.queue.front()?.seq;
        self.queue.get(usize::try_from(seq.saturating_sub(first)).ok()?)
    }
}

fn told(seq: Option<u64>) -> String {
    seq.map_or_else(|| "none".to_owned(), |seq| format!("batch {seq}"))
}

#[cfg(test)]
mod tests;
