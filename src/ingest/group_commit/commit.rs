//! One transaction for all puts of a group.
//! Runs on: the thread of the table's queue, on a connection of the pool.
//! Never: commits rows of a client that has left; goes by tables that have changed since they were looked up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::member::{GroupOutcome, Member};
use super::placement_cache::PlacementCache;
use super::shape::{Shape, append_shape, shapes};
use crate::engine::Connection;
use crate::error::{Error, Kind, Result};
use crate::ingest::counts::{Counts, PutSummary, Timings};
use crate::ingest::error::PutError;
use crate::ingest::placement::{self, Patience, Placement};
use crate::ingest::request::PutTarget;
use crate::ingest::shared::Shared;
use crate::ingest::writer::roll_back;

/// One transaction for all `members`, on a connection of the pool.
pub(super) fn commit(
    shared: &Shared,
    members: &[Member],
    cache: &mut PlacementCache,
    patience: &mut Patience,
) -> Result<Vec<PutSummary>> {
    let Some(first) = members.first() else { return Ok(Vec::new()) };
    let PutTarget::Table { table, .. } = &first.job.target else {
        return Err(Error::internal("a small put goes into no table"));
    };
    let user = shared.tables.enter(table);
    let mut connection = shared.database.connection()?;
    let shapes = shapes(members);
    let mut attempt =
        Attempt { shared, connection: &mut connection, members, shapes: &shapes, cache, patience };
    let mut made_table = false;
    let committed = attempt.run(&mut made_table);
    if committed.is_err() {
        roll_back(&mut connection);
        cache.refresh(None);
        if made_table {
            placement::remove_if_empty(shared, &mut connection, table, &user);
        }
    }
    committed
}

/// A group on its way into a transaction.
struct Attempt<'a> {
    shared: &'a Shared,
    connection: &'a mut Connection,
    members: &'a [Member],
    shapes: &'a [Shape],
    cache: &'a mut PlacementCache,
    patience: &'a mut Patience,
}

/// How far a way of committing came.
enum Progress {
    /// All is committed.
    Done(Committed),
    /// A table has changed since it was looked up: nothing is applied, and the group begins anew.
    TableChanged,
    /// There is more to do than one INSERT.
    NeedsTransaction,
}

/// What became of each member, and how long it took.
struct Committed {
    parts: Vec<(Counts, Arc<Placement>)>,
    timings: Timings,
}

impl Attempt<'_> {
    fn run(&mut self, made_table: &mut bool) -> Result<Vec<PutSummary>> {
        let (shared, members) = (self.shared, self.members);
        if members.iter().any(Member::is_claimed) {
            shared.ledger.prepare(self.connection)?;
        }
        loop {
            for shape in self.shapes {
                self.cache.refresh(shared.database.shape());
                // Where its placement is known, the table is there.
                if self.cache.is_empty() {
                    let wanted = members[shape.members[0]].wanted();
                    *made_table |= placement::prepare(&wanted, self.connection)?;
                }
            }
            let version = shared.database.shape();
            self.cache.refresh(version);
            let Some(version) = version else {
                self.patience.pause(&members[0].job.shown)?;
                check_no_client_left(members)?;
                continue;
            };
            let progress = match self.as_one_insert(version)? {
                Progress::NeedsTransaction => self.in_a_transaction(version)?,
                other => other,
            };
            if let Progress::Done(Committed { parts, timings }) = progress {
                crate::metrics::group_commit(members.len());
                let outcome = GroupOutcome { made_table: *made_table, timings };
                let summary = |(member, (counts, placement)): (&Member, (Counts, Arc<Placement>))| {
                    member.summary(counts, &placement, outcome)
                };
                return Ok(members.iter().zip(parts).map(summary).collect());
            }
            self.cache.refresh(None);
            self.patience.pause(&members[0].job.shown)?;
            check_no_client_left(members)?;
        }
    }

    /// Where all there is to do is one INSERT, it commits itself: two statements less. `version` is that of the tables'
    /// shapes.
    fn as_one_insert(&mut self, version: u64) -> Result<Progress> {
        let members = self.members;
        let [only] = self.shapes else { return Ok(Progress::NeedsTransaction) };
        if members.iter().any(Member::is_claimed) {
            return Ok(Progress::NeedsTransaction);
        }
        // Looked up outside of a transaction: it holds as long as no shape has changed, and `commits_itself` looks.
        let connection = &mut *self.connection;
        let wanted = members[0].wanted();
        let started = Instant::now();
        let placement = match self.cache.find(&members[0].job, || placement::place(&wanted, connection)) {
            Ok(placement) => placement,
            Err(_) if self.shared.database.shape() != Some(version) => return Ok(Progress::TableChanged),
            Err(error) => return Err(error),
        };
        if !placement.first.is_empty() || members.iter().any(|member| member.wants_own_counts(&placement)) {
            return Ok(Progress::NeedsTransaction);
        }
        check_no_client_left(members)?;
        let conform = started.elapsed();
        let started = Instant::now();
        let mut counts = vec![Counts::default(); members.len()];
        let inserted = connection.commits_itself(version, &placement.insert, |connection| {
            append_shape(connection, only, &placement, members, &mut counts)
        })?;
        let timings = Timings { conform, append: started.elapsed(), ..Timings::default() };
        let parts = counts.into_iter().map(|counts| (counts, Arc::clone(&placement))).collect();
        Ok(match inserted {
            Some(()) => Progress::Done(Committed { parts, timings }),
            None => Progress::TableChanged,
        })
    }

    /// All shapes, one after the other, in one transaction: each sees what those before it have changed. `version` is
    /// that of the tables' shapes.
    fn in_a_transaction(&mut self, version: u64) -> Result<Progress> {
        let (shared, members) = (self.shared, self.members);
        let connection = &mut *self.connection;
        let started = Instant::now();
        let mut timings = Timings::default();
        let mut counts = vec![Counts::default(); members.len()];
        let mut placements: Vec<Option<Arc<Placement>>> = vec![None; members.len()];
        connection.begin()?;
        for shape in self.shapes {
            let first = &members[shape.members[0]];
            let placing = Instant::now();
            let placed = self.cache.find(&first.job, || placement::place(&first.wanted(), connection));
            timings.conform += placing.elapsed();
            let appended = placed.and_then(|placement| {
                placement.begin(connection)?;
                append_shape(connection, shape, &placement, members, &mut counts)?;
                Ok(placement)
            });
            // The transaction has its snapshot by now. What was known of the tables is right if it was before that.
            if shared.database.shape() != Some(version) {
                connection.rollback()?;
                return Ok(Progress::TableChanged);
            }
            let placement = appended?;
            if !placement.first.is_empty() {
                // The next shape must see what this one has changed, and nobody else may go by it before COMMIT.
                self.cache.refresh(None);
            }
            for index in &shape.members {
                placements[*index] = Some(Arc::clone(&placement));
            }
        }
        timings.append = started.elapsed().saturating_sub(timings.conform);
        // As late as can be.
        check_no_client_left(members)?;
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
        Ok(Progress::Done(Committed { parts, timings }))
    }
}

/// A client that has left takes its rows along, and the others go on without it.
///
/// Errors: `Cancelled` naming the table.
fn check_no_client_left(members: &[Member]) -> Result<()> {
    match members.iter().find(|member| member.job.left.load(Ordering::Acquire)) {
        None => Ok(()),
        Some(member) => {
            let cause = "the client left before the end of the stream";
            Err(PutError::new(Kind::Cancelled, &member.job.shown, cause).nothing_stored().into())
        }
    }
}
