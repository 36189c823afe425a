//! Small puts of many clients into one table -> one transaction, one commit, an answer for each.
//! Runs on: async tasks hand puts over; one blocking thread per table for as long as it has puts to commit.
//! Never: lets one client's bad rows fail another's, changes the order of one client's puts, or keeps a put
//! waiting for company longer than `ingest.group_commit_ms`.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use tokio::sync::oneshot;

use super::append::{self, Rows};
use super::checksum::Checksum;
use super::ledger::{ClaimKind, Entry};
use super::placement::{self, Placement};
use super::writer::{Job, Message, give_up, in_table};
use super::{Ack, Counts, OnConflict, PutSummary, Shared, Target, Timings};
use crate::catalog::TableName;
use crate::engine::{Session, UNIT_ROWS};
use crate::error::{Error, Kind, Result};

/// Puts merged into one transaction at most.
const GROUP_MAX: usize = 512;
/// Placements that a table's thread remembers at most.
const KNOWN_MAX: usize = 16;
/// How long a table's thread stays for more puts before it ends; a thread costs more to start than to keep.
const LINGER: Duration = Duration::from_millis(100);

/// A whole put that is small enough to share a transaction.
pub(super) struct SmallPut {
    pub(super) job: Job,
    pub(super) batches: Vec<Message>,
    pub(super) reply: oneshot::Sender<Result<PutSummary>>,
}

/// Gathers small puts by table.
pub(super) struct Coalescer {
    shared: Arc<Shared>,
    wait: Duration,
    tables: Mutex<HashMap<TableName, Arc<Table>>>,
}

/// The puts that wait for one table.
#[derive(Default)]
struct Table {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    puts: Vec<SmallPut>,
    rows: usize,
    // Set for good when the table's thread ends; later puts go to a new one.
    is_over: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coalescer {
    pub(super) fn new(shared: Arc<Shared>, wait: Duration) -> Self {
        Self { shared, wait, tables: Mutex::new(HashMap::new()) }
    }

    /// Hands a put over; its answer comes through `reply`.
    pub(super) fn put(self: &Arc<Self>, put: SmallPut) {
        let Target::Table { table: name, .. } = &put.job.target else { return };
        let name = name.clone();
        let mut tables = locked(&self.tables);
        let known = tables.get(&name).cloned();
        if let Some(table) = known {
            let mut waiting = locked(&table.waiting);
            if !waiting.is_over {
                waiting.push(put);
                table.arrived.notify_one();
                return;
            }
        }
        let table = Arc::new(Table::default());
        locked(&table.waiting).push(put);
        tables.insert(name.clone(), Arc::clone(&table));
        drop(tables);
        let coalescer = Arc::clone(self);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is a bridge: one blocking thread per table in use"
        )]
        tokio::task::spawn_blocking(move || coalescer.serve(&name, &table));
    }

    /// Commits group after group until nothing comes any more.
    fn serve(&self, name: &TableName, table: &Arc<Table>) {
        // As many puts as were under way together are worth waiting for: clients that have just had their answer are
        // about to come back. Without them, half of the clients would always wait for the other half's commit.
        let mut company = 0;
        let mut last = Duration::ZERO;
        let mut known = Known::default();
        while let Some(group) = self.next_group(table, company, last) {
            company = group.len();
            let started = Instant::now();
            let answers = commit_group(&self.shared, group, &mut known);
            last = started.elapsed();
            // Before the answers: a client that is quick with its next put must not count twice.
            company += locked(&table.waiting).puts.len();
            for (reply, outcome) in answers {
                // A client that has left is nobody to tell.
                let _ = reply.send(outcome);
            }
        }
        let mut tables = locked(&self.tables);
        if tables.get(name).is_some_and(|current| Arc::ptr_eq(current, table)) {
            tables.remove(name);
        }
    }

    /// The next puts to be committed together; `None` when the thread may end.
    fn next_group(&self, table: &Table, company: usize, last: Duration) -> Option<Vec<SmallPut>> {
        // Who comes later than a commit takes is better off with the next one, and so are those that are here.
        let patience = self.wait.min(last);
        let mut waiting = locked(&table.waiting);
        let mut first_seen = None;
        let idle_since = Instant::now();
        loop {
            if waiting.puts.is_empty() {
                let left = LINGER.saturating_sub(idle_since.elapsed());
                if left.is_zero() {
                    waiting.is_over = true;
                    return None;
                }
                waiting = table.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let since = *first_seen.get_or_insert_with(Instant::now);
            let left = patience.saturating_sub(since.elapsed());
            // A put that comes alone goes alone, at once; where there was company, a moment's wait gathers it again.
            if waiting.puts.len() >= company.max(1) || waiting.rows >= UNIT_ROWS || left.is_zero() {
                return Some(waiting.take());
            }
            waiting = table.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Waiting {
    fn push(&mut self, put: SmallPut) {
        self.rows += rows(&put);
        self.puts.push(put);
    }

    fn take(&mut self) -> Vec<SmallPut> {
        let mut count = 0;
        let mut total = 0;
        for put in &self.puts {
            if count > 0 && (count >= GROUP_MAX || total + rows(put) > UNIT_ROWS) {
                break;
            }
            count += 1;
            total += rows(put);
        }
        self.rows -= total;
        self.puts.drain(..count).collect()
    }
}

fn rows(put: &SmallPut) -> usize {
    let rows = |message: &Message| match message {
        Message::Batch(batch, ..) => batch.num_rows(),
        Message::Large(..) | Message::Finish => 0,
    };
    put.batches.iter().map(rows).sum()
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
        if outcome.is_err() && known.forget() {
            // The table may have become another one.
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
        let SmallPut { job, batches, reply } = put;
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

    fn rows(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// What is written down with the rows, once it is known what became of them.
    fn remembered(&self, counts: Counts) -> Result<Vec<Entry>> {
        match self.job.terms.claim.as_ref().map(|claim| &claim.0) {
            None => Ok(Vec::new()),
            Some(ClaimKind::Producer(producer)) => {
                producer.check_fence()?;
                Ok(super::ledger::tail(&self.entries).to_vec())
            }
            Some(ClaimKind::Key(key)) => {
                let mut checksum = Checksum::default();
                self.batches.iter().try_for_each(|batch| checksum.add(batch))?;
                Ok(vec![key.entry(checksum.value(), counts, self.job.terms.on_conflict)])
            }
        }
    }

    fn summary(&self, counts: Counts, placement: &Placement, timings: Timings) -> PutSummary {
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
            created: placement.created,
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
    placement: Arc<Placement>,
    members: Vec<usize>,
}

/// Placements that held for the groups before, until a table changes.
#[derive(Default)]
struct Known {
    shape: u64,
    placements: Vec<Arc<Placement>>,
}

impl Known {
    /// Forgets what may no longer hold.
    fn refresh(&mut self, shared: &Shared) {
        let shape = shared.database.shape();
        if shape != self.shape {
            *self = Self { shape, placements: Vec::new() };
        }
    }

    fn find(&self, what: &str, schema: &SchemaRef, on_conflict: OnConflict) -> Option<Arc<Placement>> {
        let holds = |placement: &&Arc<Placement>| {
            placement.what == what
                && placement.on_conflict == on_conflict
                && placement.schema.fields() == schema.fields()
        };
        self.placements.iter().find(holds).cloned()
    }

    fn remember(&mut self, placement: &Arc<Placement>) {
        // One that makes or changes the table holds once.
        if placement.first.is_empty() && !placement.created {
            self.placements.truncate(KNOWN_MAX - 1);
            self.placements.insert(0, Arc::clone(placement));
        }
    }

    /// Forgets everything; whether there was anything.
    fn forget(&mut self) -> bool {
        !std::mem::take(&mut self.placements).is_empty()
    }
}

/// One transaction for all `members`.
fn commit(shared: &Shared, members: &mut [Member], known: &mut Known) -> Result<Vec<PutSummary>> {
    let mut session = shared.database.session()?;
    let outcome = commit_on(shared, &mut session, members, known);
    if outcome.is_err() {
        give_up(&mut session);
    }
    match outcome {
        Ok(done) => Ok(done),
        Err((error, created)) => {
            for table in created {
                placement::remove_if_empty(shared, &session, &table);
            }
            Err(error)
        }
    }
}

fn commit_on(
    shared: &Shared,
    session: &mut Session,
    members: &mut [Member],
    known: &mut Known,
) -> Result<Vec<PutSummary>, (Error, Vec<TableName>)> {
    let mut created = Vec::new();
    let mut run = || -> Result<Vec<PutSummary>> {
        if members.iter().any(|member| member.job.terms.claim.is_some()) {
            shared.ledger.prepare(session)?;
        }
        let shapes = shapes(shared, session, members, known)?;
        created.extend(shapes.iter().filter_map(|shape| shape.placement.created_outside.clone()));
        let mut counts = vec![Counts::default(); members.len()];
        let mut entries = Vec::new();
        let started = Instant::now();
        let mut timings = Timings::default();
        if is_one_insert(&shapes, members) {
            nobody_left(members)?;
            session.commits_itself(|session| append_shape(session, &shapes[0], members, &mut counts))?;
            timings.append = started.elapsed();
        } else {
            session.begin()?;
            for shape in &shapes {
                append_shape(session, shape, members, &mut counts)?;
            }
            timings.append = started.elapsed();
            // As late as can be.
            nobody_left(members)?;
            for (member, counts) in members.iter().zip(&counts) {
                entries.extend(member.remembered(*counts)?);
            }
            shared.ledger.record(session, &entries)?;
            let committing = Instant::now();
            session.commit().map_err(|error| in_table(&members[0].job.what, error))?;
            timings.commit = committing.elapsed();
        }
        shared.ledger.remember(&entries);
        crate::metrics::group_commit(members.len());
        let placement = |index: usize| {
            shapes.iter().find(|shape| shape.members.contains(&index)).map(|shape| &*shape.placement)
        };
        let mut summaries = Vec::with_capacity(members.len());
        for (index, member) in members.iter().enumerate() {
            let placement = placement(index).ok_or_else(|| Error::internal("a put has no shape"))?;
            summaries.push(member.summary(counts[index], placement, timings));
        }
        Ok(summaries)
    };
    run().map_err(|error| (error, created))
}

/// Whether all there is to do is one INSERT, which commits itself: two statements less.
fn is_one_insert(shapes: &[Shape], members: &[Member]) -> bool {
    let [Shape { placement, .. }] = shapes else { return false };
    placement.first.is_empty()
        && members
            .iter()
            .all(|member| member.job.terms.claim.is_none() && !member.wants_own_counts(placement))
}

/// A client that has left takes its rows along, and the others go on without it.
fn nobody_left(members: &[Member]) -> Result<()> {
    match members.iter().find(|member| member.job.left.load(Ordering::Acquire)) {
        None => Ok(()),
        Some(member) => {
            let what = &member.job.what;
            let text =
                format!("table {what}: the client left before the end of the stream; nothing was stored");
            Err(Error::new(Kind::Cancelled, text))
        }
    }
}

/// Sorts the members by what their INSERT looks like.
fn shapes(shared: &Shared, session: &Session, members: &[Member], known: &mut Known) -> Result<Vec<Shape>> {
    known.refresh(shared);
    let mut shapes: Vec<Shape> = Vec::new();
    for (index, member) in members.iter().enumerate() {
        let Job { schema, terms, what, target, .. } = &member.job;
        let on_conflict = terms.on_conflict;
        let same = shapes.iter_mut().find(|shape| {
            shape.on_conflict == on_conflict
                && (Arc::ptr_eq(&shape.schema, schema) || shape.schema.fields() == schema.fields())
        });
        if let Some(shape) = same {
            shape.members.push(index);
            continue;
        }
        let placement = match known.find(what, schema, on_conflict) {
            Some(placement) => placement,
            None => {
                let placement =
                    Arc::new(placement::place(shared, target, schema, on_conflict, session, false)?);
                known.remember(&placement);
                placement
            }
        };
        shapes.push(Shape { schema: Arc::clone(schema), on_conflict, placement, members: vec![index] });
    }
    Ok(shapes)
}

fn append_shape(session: &Session, shape: &Shape, members: &[Member], counts: &mut [Counts]) -> Result<()> {
    let placement = &shape.placement;
    placement.begin(session)?;
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
        let done = append::append(session, placement, Rows { units, before: 0, producer })
            .map_err(|error| in_table(&placement.what, error))?;
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
