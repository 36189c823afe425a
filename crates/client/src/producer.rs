//! Rows of an unreliable world -> numbered batches, each stored once, in order.
//! Runs on: tasks of the caller, and two tasks of its own per producer.
//! Never: gives rows up before the server has said that they are durable, sends other rows under a number that
//! was used, or keeps more bytes than its bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::delivery::Delivery;
use crate::error::{Error, Kind, Result};
use pintail_protocol::names::TableName;
use pintail_protocol::size::batch_bytes;

/// How a [`Producer`] gathers, buffers and retries.
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

/// How far the server is behind what was sent.
#[derive(Debug, Clone, Default)]
pub struct Lag {
    /// Numbered batches not yet acknowledged.
    pub batches: usize,
    /// Rows not yet acknowledged, those without a number yet included.
    pub rows: usize,
    /// Bytes of these rows.
    pub bytes: usize,
    /// Age of the oldest of these rows; zero when there are none.
    pub age: Duration,
    /// Failed attempts since something last got through.
    pub retries: u32,
    /// What the last failed attempt met, until something gets through.
    pub last_error: Option<Error>,
}

/// Sends rows into one table under a producer id, so that each is stored once whatever breaks on the way.
///
/// Rows get numbers in the order of `send`. They are kept until the server has acknowledged them, and sent again,
/// the same rows under the same number, after a broken connection or a restart of the server. A process that
/// starts again opens the producer with a higher epoch, reads [`Producer::durable`], and goes on from there in its
/// own source. Dropping a producer gives up what is not acknowledged; [`Producer::close`] waits for it.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use arrow::array::{Int64Array, RecordBatch};
/// use pintail_client::error::Result;
/// use pintail_client::{Producer, ProducerOptions, TableName};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let numbers = Arc::new(Int64Array::from(vec![1, 2, 3]));
/// let batch = RecordBatch::try_from_iter([("n", numbers as _)])?;
///
/// // The epoch is a number that grows with each start of this process.
/// let (uri, epoch) = ("grpc://127.0.0.1:8815", 1);
/// let table = TableName::from_text("numbers")?;
/// let producer =
///     Producer::open(uri, "sensor-7", epoch, table, batch.schema(), ProducerOptions::default()).await?;
/// let resume_after = producer.durable().seq;
/// producer.send(batch).await?;
/// let durable = producer.close().await?;
/// assert!(durable.seq > resume_after);
/// # Ok(())
/// # }
/// ```
pub struct Producer {
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 2],
}

/// What the caller's side and the sending side share.
pub(super) struct Shared {
    pub(super) producer: String,
    pub(super) epoch: u64,
    pub(super) uri: String,
    pub(super) table: TableName,
    pub(super) schema: SchemaRef,
    pub(super) options: ProducerOptions,
    pub(super) state: watch::Sender<State>,
}

/// A batch with its number; it stays as it is until it is acknowledged.
pub(super) struct Numbered {
    pub(super) seq: u64,
    pub(super) batch: RecordBatch,
    bytes: usize,
    since: Instant,
}

#[derive(Default)]
pub(super) struct State {
    /// Rows without a number yet.
    open: Vec<RecordBatch>,
    open_rows: usize,
    open_bytes: usize,
    open_since: Option<Instant>,
    /// Batches not acknowledged, by number, without gaps.
    pub(super) queue: VecDeque<Numbered>,
    queue_rows: usize,
    queue_bytes: usize,
    next_seq: u64,
    pub(super) durable: Durable,
    pub(super) failed: Option<Error>,
    pub(super) closing: bool,
    pub(super) retries: u32,
    pub(super) last_error: Option<Error>,
}

impl Producer {
    /// Connects, shuts older epochs of `producer` out, and asks the server where it stands.
    ///
    /// Rows of an epoch before that are still under way are committed or gone when this returns. The table is made
    /// when it does not exist and the server makes tables.
    ///
    /// Errors: `Aborted` when a newer epoch has been seen; `Invalid` for options or a schema that cannot be used;
    /// `Unavailable` when no server has answered for `give_up`.
    pub async fn open(
        uri: &str,
        producer: &str,
        epoch: u64,
        table: TableName,
        schema: SchemaRef,
        options: ProducerOptions,
    ) -> Result<Self> {
        if options.batch_rows == 0 || options.batch_bytes == 0 || options.buffer_bytes == 0 {
            return Err(Error::invalid(
                "a producer's batch_rows, batch_bytes and buffer_bytes: expected numbers above 0, found 0",
            ));
        }
        let shared = Arc::new(Shared {
            producer: producer.to_owned(),
            epoch,
            uri: uri.to_owned(),
            table,
            schema,
            options,
            state: watch::Sender::new(State::default()),
        });
        let delivery = Delivery::begin(Arc::clone(&shared)).await?;
        let linger = Arc::clone(&shared);
        let tasks = [tokio::spawn(delivery.run()), tokio::spawn(async move { linger.seal_when_due().await })];
        Ok(Self { shared, tasks })
    }

    /// Takes rows over; waits while the buffer is full. Rows of one call that fit into one batch stay in one batch,
    /// so they are stored together or not at all.
    ///
    /// Errors: `Invalid` for other columns than the producer's; else what made the producer fail, which is final.
    /// When this is cancelled, a batch above `batch_rows` or `batch_bytes` may have been taken over in part.
    pub async fn send(&self, batch: RecordBatch) -> Result<()> {
        if batch.schema().fields() != self.shared.schema.fields() {
            return Err(Error::invalid(format!(
                "producer \"{}\": expected the columns {}, found {}",
                self.shared.producer,
                names(&self.shared.schema),
                names(&batch.schema())
            )));
        }
        let bytes = batch_bytes(&batch);
        let options = &self.shared.options;
        let parts = batch.num_rows().div_ceil(options.batch_rows).max(bytes.div_ceil(options.batch_bytes));
        let rows_per_part = batch.num_rows().div_ceil(parts.max(1)).max(1);
        for from in (0..batch.num_rows()).step_by(rows_per_part) {
            let part = batch.slice(from, rows_per_part.min(batch.num_rows() - from));
            self.shared.take(part).await?;
        }
        Ok(())
    }

    /// Waits until everything sent before is durable.
    ///
    /// Errors: what made the producer fail; `lag` says what is not acknowledged then.
    pub async fn flush(&self) -> Result<()> {
        let mut until = 0;
        self.shared.state.send_modify(|state| {
            self.shared.seal(state);
            until = state.next_seq;
        });
        let mut changes = self.shared.state.subscribe();
        let state = changes
            .wait_for(|state| {
                state.failed.is_some() || state.queue.front().is_none_or(|first| first.seq >= until)
            })
            .await
            .map_err(|_| Error::internal("the producer's state is gone"))?;
        let is_done = state.queue.front().is_none_or(|first| first.seq >= until);
        match &state.failed {
            Some(error) if !is_done => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// What is durable.
    pub fn durable(&self) -> Durable {
        self.shared.state.borrow().durable
    }

    /// What is not, and why.
    pub fn lag(&self) -> Lag {
        let state = self.shared.state.borrow();
        let oldest = state.queue.front().map(|first| first.since).or(state.open_since);
        Lag {
            batches: state.queue.len(),
            rows: state.queue_rows + state.open_rows,
            bytes: state.bytes(),
            age: oldest.map_or(Duration::ZERO, |oldest| oldest.elapsed()),
            retries: state.retries,
            last_error: state.failed.clone().or_else(|| state.last_error.clone()),
        }
    }

    /// Waits until everything is durable and ends the stream.
    ///
    /// Errors: as `flush`.
    pub async fn close(mut self) -> Result<Durable> {
        self.flush().await?;
        self.shared.state.send_modify(|state| state.closing = true);
        // A panic there has been printed already; everything is durable.
        let _ = (&mut self.tasks[0]).await;
        Ok(self.durable())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shared {
    async fn take(&self, batch: RecordBatch) -> Result<()> {
        let bytes = batch_bytes(&batch);
        let mut changes = self.state.subscribe();
        let mut batch = Some(batch);
        loop {
            let has_room = |state: &State| {
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

    fn push(&self, state: &mut State, batch: RecordBatch, bytes: usize) {
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
    fn seal(&self, state: &mut State) {
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
    async fn seal_when_due(&self) {
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

impl State {
    fn bytes(&self) -> usize {
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

fn names(schema: &SchemaRef) -> String {
    schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    fn shared(options: ProducerOptions) -> Shared {
        Shared {
            producer: "p".into(),
            epoch: 0,
            uri: String::new(),
            table: TableName::from_text("t").unwrap(),
            schema: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)])),
            options,
            state: watch::Sender::new(State::default()),
        }
    }

    fn batch(shared: &Shared, rows: usize) -> RecordBatch {
        let column = Int64Array::from_iter_values(0..rows as i64);
        RecordBatch::try_new(Arc::clone(&shared.schema), vec![Arc::new(column)]).unwrap()
    }

    fn seqs_and_rows(shared: &Shared) -> Vec<(u64, usize)> {
        shared.state.borrow().queue.iter().map(|one| (one.seq, one.batch.num_rows())).collect()
    }

    /// Rows of one call stay together; a batch is closed when the next rows would not fit.
    #[tokio::test]
    async fn batches_are_cut_between_calls() {
        let shared = shared(ProducerOptions { batch_rows: 10, ..ProducerOptions::default() });
        for rows in [4, 5, 3, 10, 1] {
            shared.take(batch(&shared, rows)).await.unwrap();
        }
        assert_eq!(seqs_and_rows(&shared), [(0, 9), (1, 3), (2, 10)]);
        shared.state.send_modify(|state| shared.seal(state));
        assert_eq!(seqs_and_rows(&shared).last(), Some(&(3, 1)));
    }

    /// An acknowledgement covers every number up to it; one of the past or the future is refused.
    #[tokio::test]
    async fn acknowledgements_are_cumulative() {
        let shared = shared(ProducerOptions { linger: Duration::ZERO, ..ProducerOptions::default() });
        for rows in [1, 2, 3, 4] {
            shared.take(batch(&shared, rows)).await.unwrap();
        }
        let mut outcome = Ok(());
        shared.state.send_modify(|state| outcome = state.acknowledge(Some(2)));
        outcome.unwrap();
        assert_eq!(shared.state.borrow().durable, Durable { seq: Some(2), rows: 6 });
        assert_eq!(seqs_and_rows(&shared), [(3, 4)]);
        assert_eq!(shared.state.borrow().batch_from(0).map(|one| one.seq), Some(3));
        assert!(shared.state.borrow().batch_from(4).is_none());
        for (seq, part) in [(Some(4), "none above batch 3"), (Some(1), "has lost batches"), (None, "none is")]
        {
            let mut refused = Ok(());
            shared.state.send_modify(|state| refused = state.acknowledge(seq));
            let refused = refused.unwrap_err();
            assert!(refused.kind() == Kind::Conflict && refused.message().contains(part), "{refused}");
        }
    }

    /// A full buffer holds `send` up until an acknowledgement makes room; a batch larger than it goes alone.
    #[tokio::test]
    async fn a_full_buffer_holds_the_caller_up() {
        let options = ProducerOptions { buffer_bytes: 800, ..ProducerOptions::default() };
        let shared = Arc::new(shared(options));
        shared.take(batch(&shared, 1000)).await.unwrap();
        let waiting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.take(batch(&shared, 10)).await }
        });
        let mut changes = shared.state.subscribe();
        // The open rows get their number, because nothing else would make room.
        drop(changes.wait_for(|state| state.queue.len() == 1).await.unwrap());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        shared.state.send_modify(|state| state.acknowledge(Some(0)).unwrap());
        waiting.await.unwrap().unwrap();
        assert_eq!(shared.state.borrow().open_rows, 10);
    }
}
