//! One put as the task of its call sees it: held back while it may share a transaction, else with a writer of its own.
//! Runs on: the task of the call.
//! Never: decodes; holds more than its room; leaves rows behind when it is dropped before COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pintail_protocol::decode::Need;
use pintail_protocol::header::Mode;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::admission::{Intake, Permit, StreamBudget};
use super::counts::PutSummary;
use super::exactly_once::Declared;
use super::group_commit::{GroupCommit, SmallPut};
use super::job::{Job, Message};
use super::request::{PutRequest, PutTarget};
use super::shared::Shared;
use super::writer;
use crate::engine;
use crate::error::{Error, Result};
use crate::session::Lease;

/// Batches queued between the wire and the writer; bytes are bounded by the budget, this bounds tiny ones.
const QUEUE_BATCHES: usize = 256;
/// A put is small, and may share a transaction, up to this many bytes.
const SMALL_BYTES: u64 = 1 << 20;
/// How long a put that could be small is held back for its end before it gets a writer of its own, so that what
/// is wrong with it comes out while its client is quiet.
const SMALL_WAIT: Duration = Duration::from_millis(20);

/// A put stream under way.
pub struct Put {
    plain: SchemaRef,
    may_expand: bool,
    intake: Intake,
    stage: Stage,
    queue: Duration,
    // Bringing columns to their plain form.
    plain_form: Duration,
    /// What the stream has declared, if it declares its sources.
    declared: Option<Box<Declared>>,
    _left: Left,
}

enum Stage {
    /// So far it is small enough to share a transaction.
    Held(Box<Held>),
    /// It has a writer of its own.
    Writing { messages: Option<mpsc::Sender<Message>>, writer: JoinHandle<Result<PutSummary>> },
    /// It has ended.
    Over,
}

struct Held {
    since: Instant,
    batches: Vec<Message>,
    rows: usize,
    bytes: u64,
    job: Job,
    lease: Lease,
    group_commit: Arc<GroupCommit>,
}

/// Tells the writer, when dropped, that nobody waits for the put any more. A client may end its stream and take
/// it back a moment later; until COMMIT that still counts.
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn start_writer(job: Job, lease: Lease, begun: Vec<Message>) -> Stage {
    let (messages, queue) = mpsc::channel(QUEUE_BATCHES);
    let runtime = Handle::current();
    #[expect(clippy::disallowed_methods, reason = "this is the bridge: one blocking thread per put stream")]
    let writer = tokio::task::spawn_blocking(move || writer::run(job, lease, &runtime, begun, queue));
    Stage::Writing { messages: Some(messages), writer }
}

impl Put {
    /// Holds the first batches back when the put may share a transaction; otherwise it has a writer at once.
    pub(super) fn begin(
        request: PutRequest,
        shared: &Arc<Shared>,
        budget: StreamBudget,
        group_commit: Option<&Arc<GroupCommit>>,
    ) -> Self {
        let PutRequest { target, schema, lease, terms } = request;
        let budget = Arc::new(budget);
        let plain = engine::plain_schema(&schema);
        let left = Arc::new(AtomicBool::new(false));
        let declared = terms.sources.map(|_| Box::default());
        let may_share = !terms.commit.is_progress()
            && terms.sources.is_none()
            && lease.is_pooled()
            && matches!(&target, PutTarget::Table { mode: Mode::Append | Mode::CreateAppend, .. });
        let job = Job {
            shared: Arc::clone(shared),
            left: Arc::clone(&left),
            shown: target.to_string(),
            target,
            schema: Arc::clone(&plain),
            terms,
            budget: Arc::clone(&budget),
        };
        let stage = match group_commit {
            Some(group_commit) if may_share => Stage::Held(Box::new(Held {
                since: Instant::now(),
                batches: Vec::new(),
                rows: 0,
                bytes: 0,
                job,
                lease,
                group_commit: Arc::clone(group_commit),
            })),
            _ => start_writer(job, lease, Vec::new()),
        };
        Self {
            may_expand: engine::may_expand(&schema, &plain),
            plain,
            intake: Intake::new(budget),
            stage,
            queue: Duration::ZERO,
            plain_form: Duration::ZERO,
            declared,
            _left: Left(left),
        }
    }

    /// Waits for room for the next batch, which is what slows a client down. To be asked before the batch is decoded.
    pub async fn room(&mut self, need: Need) -> Permit {
        if let Some(room) = self.intake.try_room(need) {
            return room;
        }
        let started = Instant::now();
        // Only a writer gives room back while its stream waits for more.
        self.own_writer();
        let room = self.intake.room(need).await;
        self.queue += started.elapsed();
        room
    }

    /// Waits for room for a dictionary, before it is decoded.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when dictionaries would take too much of it.
    pub async fn dictionary(&mut self, id: i64, bytes: usize) -> Result<()> {
        if matches!(&self.stage, Stage::Held(held) if !held.batches.is_empty()) {
            self.own_writer();
        }
        self.intake.dictionary(id, bytes).await
    }

    /// Hands the next batch over, with the room it has; waits while the queue is full. `seq` is its number in a
    /// producer's stream.
    ///
    /// Errors: what made the writer stop; the stream is rolled back then.
    pub async fn send(&mut self, batch: RecordBatch, mut room: Permit, seq: Option<u64>) -> Result<()> {
        let started = Instant::now();
        let rows = batch.num_rows();
        let granted = room.expanded_bytes();
        let expanded = if self.may_expand { engine::expansion(&batch, &self.plain, granted) } else { 0 };
        let message = if expanded > granted {
            self.own_writer();
            Message::Large(batch, room, seq)
        } else {
            let batch = engine::plain_batch(batch, &self.plain)?;
            room.expands_to(expanded);
            Message::Batch(batch, room, seq)
        };
        self.plain_form += started.elapsed();
        let started = Instant::now();
        let sent = match &mut self.stage {
            Stage::Held(held) => {
                held.rows += rows;
                held.bytes += match &message {
                    Message::Batch(_, room, _) | Message::Large(_, room, _) => room.bytes(),
                    Message::Finish(_) => 0,
                };
                held.batches.push(message);
                let is_small = held.rows < engine::UNIT_ROWS
                    && held.bytes < SMALL_BYTES
                    && held.batches.len() < QUEUE_BATCHES
                    && held.since.elapsed() < SMALL_WAIT;
                if !is_small {
                    self.own_writer();
                }
                true
            }
            Stage::Writing { messages: Some(messages), .. } => messages.send(message).await.is_ok(),
            Stage::Writing { messages: None, .. } | Stage::Over => false,
        };
        self.queue += started.elapsed();
        if sent { Ok(()) } else { Err(self.failure().await) }
    }

    /// Takes what a message says besides its rows: the pieces of files that the stream holds, if it declares those.
    ///
    /// Errors: `Invalid` saying what was found; `Exhausted` when they are too many.
    pub fn declare(&mut self, app_metadata: &[u8]) -> Result<()> {
        self.declared.as_mut().map_or(Ok(()), |declared| declared.add(app_metadata))
    }

    /// The put gets a writer of its own, if it has none yet.
    fn own_writer(&mut self) {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Held(held) => start_writer(held.job, held.lease, held.batches),
            other => other,
        };
    }

    /// Commits and says what was stored.
    pub async fn finish(mut self) -> Result<PutSummary> {
        let mut summary = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Held(held) => {
                let (reply, answer) = oneshot::channel();
                let Held { batches, job, group_commit, .. } = *held;
                let PutTarget::Table { table, .. } = &job.target else { return Err(over()) };
                let table = table.clone();
                group_commit.put(&table, SmallPut { job, batches, reply, runtime: Handle::current() });
                answer
                    .await
                    .unwrap_or_else(|_| Err(Error::internal("the shared transaction's thread failed")))
            }
            Stage::Writing { messages: Some(messages), mut writer } => {
                // A writer that has stopped does not take the message; its own error comes out of the join.
                let _ = messages.send(Message::Finish(self.declared.take())).await;
                join((&mut writer).await)
            }
            Stage::Writing { messages: None, .. } | Stage::Over => Err(over()),
        }?;
        summary.timings.queue += self.queue;
        summary.timings.plain += self.plain_form;
        Ok(summary)
    }

    /// Gives the put up and waits until it is rolled back, so that a client that retries meets no trace of it.
    pub async fn abort(mut self) {
        if let Stage::Writing { messages, writer } = &mut self.stage {
            *messages = None;
            if !writer.is_finished() {
                // The writer fails because the end is missing, which the caller knows.
                let _ = writer.await;
            }
        }
    }

    /// Completes when the writer stops on its own, with the reason; to be watched while the client is quiet.
    pub async fn failure(&mut self) -> Error {
        if matches!(self.stage, Stage::Held(_)) {
            tokio::time::sleep(SMALL_WAIT).await;
            self.own_writer();
        }
        let Stage::Writing { messages, writer } = &mut self.stage else { return over() };
        match join(writer.await) {
            Err(error) => {
                *messages = None;
                error
            }
            Ok(_) => Error::internal("the writer ended before the stream did"),
        }
    }
}

fn over() -> Error {
    Error::internal("the put has failed before")
}

fn join(outcome: Result<Result<PutSummary>, tokio::task::JoinError>) -> Result<PutSummary> {
    outcome.unwrap_or_else(|error| Err(Error::internal(format!("the writer thread failed: {error}"))))
}
