//! Small puts of many clients into one table -> one transaction, one commit, an answer for each.
//! Runs on: the thread of the table's queue (`group`).
//! Never: lets one client's bad rows fail another's, or changes the order of one client's puts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use pintail_protocol::header::OnConflict;

use super::error::PutError;
use super::exactly_once::{self, Checksum, ClaimKind, Entry};
use super::job::{Job, Message};
use super::placement::{self, Placement, Transaction, Wanted};
use super::row_groups::{self, Rows};
use super::shared::Shared;
use super::vocabulary::counts::{Ack, Counts, PutSummary, Timings};
use super::vocabulary::request::Target;
use super::writer::roll_back;
use crate::catalog::TableName;
use crate::engine::group_commit::{Answer, Groups, Work};
use crate::engine::{Connection, UNIT_ROWS};
use crate::error::{Error, Kind, Result};

/// Placements that a table's thread remembers at most.
const KNOWN_MAX: usize = 16;
/// How often a put that met another transaction is tried again before its client hears of it.
const TRIES: u32 = 5;

/// A whole put that is small enough to share a transaction.
pub(super) struct SmallPut {
    pub(super) job: Job,
    pub(super) batches: Vec<Message>,
    pub(super) reply: oneshot::Sender<Result<PutSummary>>,
    /// Where the one who waits for the reply runs.
    pub(super) runtime: Handle,
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
        // A client that has left is nobody to tell.
        let _ = self.reply.send(Err(error));
    }
}

/// Gathers small puts by table.
pub(super) type GroupCommit = Groups<TableName, SmallPut>;

/// Small puts wait `wait` at most for others to commit with.
pub(super) fn start(shared: &Arc<Shared>, wait: Duration) -> Arc<GroupCommit> {
    let shared = Arc::clone(shared);
    Groups::new(wait, UNIT_ROWS, move || {
        let shared = Arc::clone(&shared);
        let mut known = Known::default();
        Box::new(move |group: Vec<SmallPut>| {
            let runtime = group.first().map(|put| put.runtime.clone());
            let replies = commit_group(&shared, group, &mut known);
            let Some(runtime) = runtime else { return Vec::new() };
            // Told by a task of theirs: from here, each would wake a thread of the runtime by itself.
            let tell =
                async move { replies.into_iter().for_each(|(reply, outcome)| drop(reply.send(outcome))) };
            vec![Box::new(move || drop(runtime.spawn(tell))) as Answer]
        })
    })
}

type Reply = oneshot::Sender<Result<PutSummary>>;

/// Commits puts together; when that fails, each by itself, so that every client hears its own error.
fn commit_group(
    shared: &Shared,
    group: Vec<SmallPut>,
    known: &mut Known,
) -> Vec<(Reply, Result<PutSummary>)> {
    let mut answers = Vec::with_capacity(group.len());
    let mut members: Vec<Member> = Vec::with_capacity(group.len());
    for put in group {
        match Member::look(put) {
            Ok(member) => members.push(member),
            Err((reply, error)) => answers.push((reply, Err(error))),
        }
    }
    if members.len() > 1 {
        match commit(shared, &mut members, known) {
            Ok(summaries) => {
                let replies = members.into_iter().map(|member| member.reply);
                answers.extend(replies.zip(summaries.into_iter().map(Ok)));
                return answers;
            }
            Err(error) => {
                tracing::debug!(%error, puts = members.len(), "shared commit failed; each goes alone");
            }
        }
    }
    for member in members {
        let mut alone = [member];
        let mut outcome = commit(shared, &mut alone, known);
        for attempt in 1..TRIES {
            // It met another transaction; nothing of it was applied.
            if !outcome.as_ref().is_err_and(|error| error.kind() == Kind::Aborted && !alone[0].is_claimed()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5) * attempt);
            outcome = commit(shared, &mut alone, known);
        }
        let outcome = outcome.map(|summaries| summaries.into_iter().next().unwrap_or_default());
        let [member] = alone;
        answers.push((member.reply, outcome));
    }
    answers
}

/// One put of a group, its batches looked at.
struct Member {
    job: Job,
    batches: Vec<RecordBatch>,
    permits: Vec<super::admission::Permit>,
    /// What is written down for a producer's batches.
    entries: Vec<Entry>,
    duplicate_rows: u64,
    has_duplicates: bool,
    bytes: u64,
    reply: Reply,
}

impl Member {
    /// Sorts out what has been applied before.
    fn look(put: SmallPut) -> Result<Self, (Reply, Error)> {
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

    fn take(&mut self, batch: RecordBatch, permit: super::admission::Permit, seq: Option<u64>) -> Result<()> {
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

    fn wanted(&self) -> Wanted<'_> {
        self.job.wanted(&self.batches, Transaction::Own)
    }

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Whether it is one of a producer, for which `Aborted` also says that a newer epoch has come.
    fn is_claimed(&self) -> bool {
        self.job.terms.claim.is_some()
    }

    /// What is written down with the rows, once it is known what became of them.
    fn remembered(&self, counts: Counts) -> Result<Vec<Entry>> {
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

    fn summary(&self, counts: Counts, placement: &Placement, made: bool, timings: Timings) -> PutSummary {
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
            created: placement.created || made,
            rejects: placement.rejected.is_some(),
            timings,
        }
    }

    /// Whether its rows can be told apart only when they are appended alone.
    fn wants_own_counts(&self, placement: &Placement) -> bool {
        placement.on_conflict != OnConflict::Error || placement.rejected.is_some()
    }
}

/// Puts of one shape, whose rows go into one INSERT.
struct Shape {
    schema: SchemaRef,
    on_conflict: OnConflict,
    members: Vec<usize>,
}

/// Placements that held for the groups before, until a table changes.
#[derive(Default)]
struct Known {
    shape: Option<u64>,
    placements: Vec<Arc<Placement>>,
}

impl Known {
    /// Forgets what may no longer hold.
    fn refresh(&mut self, shape: Option<u64>) {
        if shape.is_none() || shape != self.shape {
            *self = Self { shape, placements: Vec::new() };
        }
    }

    /// The placement of puts like `job`, known or looked up by `place`.
    fn find(&mut self, job: &Job, place: impl FnOnce() -> Result<Placement>) -> Result<Arc<Placement>> {
        let holds = |placement: &&Arc<Placement>| {
            placement.shown == job.shown
                && placement.on_conflict == job.terms.on_conflict
                && placement.schema.fields() == job.schema.fields()
        };
        if let Some(known) = self.placements.iter().find(holds) {
            return Ok(Arc::clone(known));
        }
        let placement = Arc::new(place()?);
        // One that makes or changes the table holds once.
        if placement.first.is_empty() && !placement.created {
            self.placements.truncate(KNOWN_MAX - 1);
            self.placements.insert(0, Arc::clone(&placement));
        }
        Ok(placement)
    }
}

/// One transaction for all `members`, on a connection of the pool.
fn commit(shared: &Shared, members: &mut [Member], known: &mut Known) -> Result<Vec<PutSummary>> {
    let Some(first) = members.first() else { return Ok(Vec::new()) };
    let Target::Table { table, .. } = &first.job.target else {
        return Err(Error::internal("a small put goes into no table"));
    };
    let (table, user) = (table.clone(), shared.tables.enter(table));
    let mut connection = shared.database.connection()?;
    let mut made_table = false;
    let committed = commit_on(shared, &mut connection, members, known, &mut made_table);
    if committed.is_err() {
        roll_back(&mut connection);
        known.refresh(None);
        if made_table {
            placement::remove_if_empty(shared, &mut connection, &table, &user);
        }
    }
    committed
}

fn commit_on(
    shared: &Shared,
    connection: &mut Connection,
    members: &mut [Member],
    known: &mut Known,
    made_table: &mut bool,
) -> Result<Vec<PutSummary>> {
    if members.iter().any(Member::is_claimed) {
        shared.ledger.prepare(connection)?;
    }
    let shapes = shapes(members);
    for _ in 0..TRIES {
        for shape in &shapes {
            let member = &members[shape.members[0]];
            known.refresh(shared.database.shape());
            // Where its placement is known, the table is there.
            if known.placements.is_empty() {
                *made_table |= placement::prepare(&member.wanted(), connection)?;
            }
        }
        let shape = shared.database.shape();
        known.refresh(shape);
        let Some(shape) = shape else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let mut done = match as_one_insert(shared, connection, shape, &shapes, members, known)? {
            Some(done) => done,
            None => in_a_transaction(shared, connection, shape, &shapes, members, known)?,
        };
        if let Some(summaries) = done.take() {
            crate::metrics::group_commit(members.len());
            let made = *made_table;
            let summary = |(member, (counts, placement)): (&Member, (Counts, Arc<Placement>))| {
                member.summary(counts, &placement, made, summaries.timings)
            };
            return Ok(members.iter().zip(summaries.parts).map(summary).collect());
        }
        known.refresh(None);
    }
    let what = &members[0].job.shown;
    Err(Error::new(Kind::Aborted, format!("table {what} is being changed; send it again")))
}

/// What became of each member, and how long it took.
struct Done {
    parts: Vec<(Counts, Arc<Placement>)>,
    timings: Timings,
}

/// Where all there is to do is one INSERT, it commits itself: two statements less. The outer `None`: it is more than
/// that; the inner: a table has changed since `shape`.
fn as_one_insert(
    shared: &Shared,
    connection: &mut Connection,
    shape: u64,
    shapes: &[Shape],
    members: &[Member],
    known: &mut Known,
) -> Result<Option<Option<Done>>> {
    let [only] = shapes else { return Ok(None) };
    if members.iter().any(Member::is_claimed) {
        return Ok(None);
    }
    let job = &members[0].job;
    let started = Instant::now();
    // Looked up outside of a transaction: it holds as long as no shape has changed, and `commits_itself` looks.
    let placement = known.find(job, || placement::place(&members[0].wanted(), connection));
    let placement = match placement {
        Ok(placement) => placement,
        Err(_) if shared.database.shape() != Some(shape) => return Ok(Some(None)),
        Err(error) => return Err(error),
    };
    if !placement.first.is_empty() || members.iter().any(|member| member.wants_own_counts(&placement)) {
        return Ok(None);
    }
    nobody_left(members)?;
    let conform = started.elapsed();
    let started = Instant::now();
    let mut counts = vec![Counts::default(); members.len()];
    let inserted = connection.commits_itself(shape, |connection| {
        append_shape(connection, only, &placement, members, &mut counts)
    })?;
    let timings = Timings { conform, append: started.elapsed(), ..Timings::default() };
    let parts = counts.into_iter().map(|counts| (counts, Arc::clone(&placement))).collect();
    Ok(Some(inserted.map(|()| Done { parts, timings })))
}

/// All shapes, one after the other, in one transaction: each sees what those before it have changed. `None` when a table
/// has changed since `shape`.
fn in_a_transaction(
    shared: &Shared,
    connection: &mut Connection,
    shape: u64,
    shapes: &[Shape],
    members: &[Member],
    known: &mut Known,
) -> Result<Option<Done>> {
    let started = Instant::now();
    let mut timings = Timings::default();
    let mut counts = vec![Counts::default(); members.len()];
    let mut placements: Vec<Option<Arc<Placement>>> = vec![None; members.len()];
    connection.begin()?;
    for one in shapes {
        let first = &members[one.members[0]];
        let job = &first.job;
        let placing = Instant::now();
        let placed = known.find(job, || placement::place(&first.wanted(), connection));
        timings.conform += placing.elapsed();
        let appended = placed.and_then(|placement| {
            placement.begin(connection)?;
            append_shape(connection, one, &placement, members, &mut counts)?;
            Ok(placement)
        });
        // The transaction has its snapshot by now. What was known of the tables is right if it was before that.
        if shared.database.shape() != Some(shape) {
            connection.rollback()?;
            return Ok(None);
        }
        let placement = appended?;
        if !placement.first.is_empty() {
            // The next shape must see what this one has changed, and nobody else may go by it before COMMIT.
            known.refresh(None);
        }
        for index in &one.members {
            placements[*index] = Some(Arc::clone(&placement));
        }
    }
    timings.append = started.elapsed().saturating_sub(timings.conform);
    // As late as can be.
    nobody_left(members)?;
    let mut entries = Vec::new();
    for (member, counts) in members.iter().zip(&counts) {
        entries.extend(member.remembered(*counts)?);
    }
    shared.ledger.record(connection, &entries)?;
    let committing = Instant::now();
    connection.commit().map_err(|error| PutError::from(error).in_table(&members[0].job.shown))?;
    timings.commit = committing.elapsed();
    shared.ledger.remember(&entries);
    let parts = counts.into_iter().zip(placements.into_iter().flatten()).collect();
    Ok(Some(Done { parts, timings }))
}

/// A client that has left takes its rows along, and the others go on without it.
fn nobody_left(members: &[Member]) -> Result<()> {
    match members.iter().find(|member| member.job.left.load(Ordering::Acquire)) {
        None => Ok(()),
        Some(member) => {
            let cause = "the client left before the end of the stream";
            Err(PutError::new(Kind::Cancelled, &member.job.shown, cause).nothing_stored().into())
        }
    }
}

/// Sorts the members by what their INSERT looks like.
fn shapes(members: &[Member]) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let Job { schema, terms, .. } = &member.job;
        let same = shapes.iter_mut().find(|shape| {
            shape.on_conflict == terms.on_conflict
                && (Arc::ptr_eq(&shape.schema, schema) || shape.schema.fields() == schema.fields())
        });
        match same {
            Some(shape) => shape.members.push(index),
            None => shapes.push(Shape {
                schema: Arc::clone(schema),
                on_conflict: terms.on_conflict,
                members: vec![index],
            }),
        }
    }
    shapes
}

fn append_shape(
    connection: &Connection,
    shape: &Shape,
    placement: &Placement,
    members: &[Member],
    counts: &mut [Counts],
) -> Result<()> {
    let together = shape.members.iter().all(|index| !members[*index].wants_own_counts(placement));
    let parts: Vec<&[usize]> =
        if together { vec![&shape.members] } else { shape.members.chunks(1).collect() };
    for part in parts {
        let batches: Vec<RecordBatch> =
            part.iter().flat_map(|index| members[*index].batches.iter().cloned()).collect();
        if batches.is_empty() {
            continue;
        }
        // Rows of a few bytes each: one array is cheaper for the engine than many.
        let joined =
            if batches.len() == 1 { batches[0].clone() } else { concat_batches(&shape.schema, &batches)? };
        let mut units = Vec::new();
        for from in (0..joined.num_rows()).step_by(UNIT_ROWS) {
            units.push([joined.slice(from, UNIT_ROWS.min(joined.num_rows() - from))].into());
        }
        let producer = match part {
            [only] => members[*only].job.terms.producer.as_deref(),
            _ => None,
        };
        let done = row_groups::append(connection, placement, Rows { units, before: 0, producer })
            .map_err(|error| error.in_table(&placement.shown))?;
        match part {
            [only] => counts[*only] = done,
            several => {
                for index in several {
                    let rows = members[*index].rows();
                    counts[*index] = Counts { rows, inserted: rows, ..Counts::default() };
                }
            }
        }
    }
    Ok(())
}
