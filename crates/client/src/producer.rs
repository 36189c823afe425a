//! Rows of an unreliable world -> numbered batches, each stored once, in order.
//! Runs on: tasks of the caller, and two tasks of its own per producer.
//! Never: gives rows up before the server has said that they are durable, sends other rows under a number that
//! was used, or keeps more bytes than its bound.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pintail_protocol::names::TableName;
use pintail_protocol::size::batch_bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::backlog::{Backlog, Durable, ProducerOptions, Shared};
use super::delivery::Delivery;
use crate::error::{Error, Result};

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

/// One life of a producer: from a start of its process to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance<'a> {
    /// The name that lasts over restarts.
    pub producer: &'a str,
    /// A number that grows with each start; the newest shuts older ones out.
    pub epoch: u64,
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
/// use pintail_client::{Instance, Producer, ProducerOptions, TableName};
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
///     Producer::open(uri, Instance { producer: "sensor-7", epoch }, table, batch.schema(), ProducerOptions::default()).await?;
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

impl Producer {
    /// Connects, shuts older epochs of the producer out, and asks the server where it stands.
    ///
    /// Rows of an epoch before that are still under way are committed or gone when this returns. The table is made
    /// when it does not exist and the server makes tables.
    ///
    /// Errors: `Aborted` when a newer epoch has been seen; `Invalid` for options or a schema that cannot be used;
    /// `Unavailable` when no server has answered for `give_up`.
    pub async fn open(
        uri: &str,
        instance: Instance<'_>,
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
            producer: instance.producer.to_owned(),
            epoch: instance.epoch,
            uri: uri.to_owned(),
            table,
            schema,
            options,
            state: watch::Sender::new(Backlog::default()),
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

fn names(schema: &SchemaRef) -> String {
    schema
        .fields()
        .iter()
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect::<Vec<_>>()
        .join(", ")
}
