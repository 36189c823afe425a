//! The rows bound to an INSERT -> a bulk load, where that is faster or a declaration asks for whole batches.
//! Runs on: the task of the call.
//! Never: runs a statement other than the INSERT that the client sent.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::puts::Puts;
use super::rows::{Destination, FirstBatches, RowStream, store};
use crate::engine::{self, BulkInsert};
use crate::error::Result;
use crate::flight::names::full_name;
use crate::flight::request::Call;
use crate::flight::result::Fetch;
use crate::ingest::{Ingest, PutTarget, Terms};
use crate::metrics;
use crate::session::{ClientSession, Prepared};

/// An INSERT bound with more rows than this takes them as a bulk load. Below it,
/// running the prepared statement row by row is faster.
const BULK_ROWS: usize = 16;

/// A prepared INSERT that can take whole batches.
pub(super) struct Bulk<'a> {
    pub(super) session: &'a Arc<ClientSession>,
    pub(super) prepared: &'a Prepared,
    pub(super) insert: &'a BulkInsert,
}

impl Bulk<'_> {
    /// Rows up to which the INSERT runs as the prepared statement, row by row. Into a declared table it never does: its
    /// declaration is looked at for whole batches.
    pub(super) fn single_rows_max(&self, ingest: &Ingest) -> usize {
        let table = self.insert.table.as_ref().and_then(|table| full_name(table, self.session).ok());
        let is_declared = table.is_some_and(|table| ingest.is_declared(&table));
        match (is_declared, self.insert.is_one_by_one && self.insert.conflict_key.is_none()) {
            (true, _) => 0,
            // Row by row either way, and the prepared statement is faster at that.
            (false, true) => usize::MAX,
            (false, false) => BULK_ROWS,
        }
    }

    /// Takes the rows in and counts them.
    pub(super) async fn store(self, puts: &Puts, rows: RowStream, call: &mut Call) -> Result<u64> {
        let Self { session, prepared, insert } = self;
        if session.access().is_some() {
            // What was granted when it was prepared may not be any more, and the rows go in past the statement.
            let lease = session.lease(session.now(prepared.on)).await?;
            let sql = prepared.sql.clone();
            puts.results
                .query
                .catalog(lease, move |connection| engine::describe(connection, &sql).map(|_| ()))
                .await?;
        }
        let lease = session.lease(session.now(prepared.on)).await?;
        let table = insert.table.as_ref().map(|table| full_name(table, session)).transpose()?;
        let target = PutTarget::Statement { bulk: Box::new(insert.clone()), table };
        let destination = Destination { target, lease: lease.of_the_server(), terms: Terms::default() };
        let counts = store(&puts.ingest, rows, destination, call).await?.ack.counts;
        metrics::rows_in(counts.rows, call.bytes);
        metrics::put_rows(counts.outcomes());
        Ok(counts.inserted)
    }
}

/// Takes the bound rows of an INSERT in as a bulk load and counts them; `None` when that is not to be.
pub(in crate::flight) async fn change_in_bulk(
    puts: &Puts,
    fetch: &Fetch,
    call: &mut Call,
) -> Result<Option<u64>> {
    let Fetch::Bound { prepared, bound, owner, .. } = fetch else { return Ok(None) };
    let (Some(insert), Some(first)) = (&prepared.bulk, bound.rows().first()) else { return Ok(None) };
    let rows: usize = bound.rows().iter().map(RecordBatch::num_rows).sum();
    let session = &puts.results.sessions.of(owner)?;
    let bulk = Bulk { session, prepared, insert };
    if rows <= bulk.single_rows_max(&puts.ingest) {
        return Ok(None);
    }
    let columns = engine::match_columns(&prepared.described.parameters, first.schema_ref())?;
    let begun = FirstBatches { batches: bound.rows().to_vec(), columns };
    bulk.store(puts, RowStream::begun(begun, None), call).await.map(Some)
}
