//! What a ticket stands for -> its result, running.
//! Runs on: the task of the call.
//! Never: waits for a client with a connection of the pool in its hands.

use std::sync::{Arc, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::{StreamExt, stream};

use super::fetch::{Fetch, Parts};
use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::flight::metadata::Metadata;
use crate::flight::request::Call;
use crate::query::{Query, ResultStream, RunOptions, Statement};
use crate::session::{On, Owner, Sessions};

/// Runs what is to be fetched, for the session that asked for it.
#[derive(Clone)]
pub(in crate::flight) struct Results {
    pub(in crate::flight) sessions: Arc<Sessions>,
    pub(in crate::flight) query: Arc<Query>,
}

impl Results {
    /// Starts what a ticket stands for.
    pub(in crate::flight) async fn open(
        &self,
        fetch: &Fetch,
        options: RunOptions,
        call: &mut Call,
    ) -> Result<ResultStream> {
        match fetch {
            Fetch::Statement { sql, on, owner } => {
                call.statement(sql);
                let lease = self.sessions.of(owner)?.lease_of(owner, *on).await?;
                self.query.run(lease, Statement::Text(sql.clone()), options).await
            }
            Fetch::Bound { prepared, bound, described, owner, .. } => {
                call.statement(bound.sql());
                let session = self.sessions.of(owner)?;
                let lease = session.lease_of(owner, session.now(prepared.on)).await?;
                let statement = Statement::Bound(bound.clone(), described.clone());
                self.query.run(lease, statement, options).await
            }
            Fetch::Metadata { metadata, owner } => {
                call.about(metadata.name());
                self.open_metadata(metadata.clone(), owner.clone(), options).await
            }
            Fetch::Stored { schema, class, batches } => {
                Ok(ResultStream::stored(Arc::clone(schema), *class, batches.clone()))
            }
            Fetch::Part(parts) => self.join(parts, options, call).await,
            Fetch::Begun(result) => {
                let begun = result.lock().unwrap_or_else(PoisonError::into_inner).take();
                begun.map(|result| *result).ok_or_else(|| {
                    Error::not_found("this result could be fetched once, and has been; poll for it again")
                })
            }
        }
    }

    /// Joins those who read a result through its endpoints; the first one starts it. A deadline ends it for all of them.
    async fn join(&self, parts: &Parts, options: RunOptions, call: &mut Call) -> Result<ResultStream> {
        if let Some(sql) = parts.fetch.sql() {
            call.statement(sql);
        }
        let deadline = options.deadline;
        let start = parts.opened.get_or_try_init(|| async {
            let options = RunOptions { is_shared: true, ..options };
            let first = Box::pin(self.open(&parts.fetch, options, call)).await?;
            let shared = first.into_shared();
            shared.ok_or_else(|| Error::internal("a result in several endpoints has no statement"))
        });
        let shared = match deadline {
            None => start.await?,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), start)
                .await
                .map_err(|_| Error::new(Kind::Deadline, "the deadline passed before the query started"))??,
        };
        let mut result = shared.read();
        if let Some(deadline) = deadline {
            result.end_at(deadline);
        }
        Ok(result)
    }

    /// Reads the beginning of an answer; the rest is read piece by piece as the client takes it, past the places and the
    /// queue like all short catalog work. No connection waits for the client in between.
    async fn open_metadata(
        &self,
        metadata: Metadata,
        owner: Owner,
        options: RunOptions,
    ) -> Result<ResultStream> {
        let lease = self.sessions.of(&owner)?.lease_of(&owner, On::Join).await?;
        let (schema, in_use) = (metadata.schema(), lease.in_use());
        let begun = self.query.catalog(lease, move |connection| {
            let mut answer = metadata.begin(connection)?;
            Ok((answer.next(connection)?, answer))
        });
        let (first, answer) = begun.await?;
        if answer.is_done() {
            return Ok(ResultStream::stored(schema, Class::Query, vec![first]));
        }
        let results = self.clone();
        let rest = stream::try_unfold(answer, move |mut answer| {
            let (results, owner) = (results.clone(), owner.clone());
            async move {
                if answer.is_done() {
                    return Ok(None);
                }
                let lease = results.sessions.of(&owner)?.lease_of(&owner, On::Join).await?;
                let piece =
                    results.query.catalog(lease, move |connection| Ok((answer.next(connection)?, answer)));
                piece.await.map(Some)
            }
        });
        let pieces = stream::once(std::future::ready(Ok(first))).chain(rest).boxed();
        Ok(ResultStream::in_pieces(schema, pieces, options.deadline, in_use))
    }
}

/// Runs a statement to its end and counts the changed rows.
pub(in crate::flight) async fn count_changed(mut result: ResultStream) -> Result<u64> {
    let mut rows = 0;
    while let Some(batch) = result.next().await {
        rows += changed_rows(&batch?, result.class());
    }
    Ok(rows)
}

/// Rows changed, as the result of a change or definition says it.
pub(in crate::flight) fn changed_rows(batch: &RecordBatch, class: Class) -> u64 {
    if class == Class::Query || batch.num_columns() != 1 {
        return batch.num_rows() as u64;
    }
    match batch.column(0).as_primitive_opt::<Int64Type>() {
        Some(counts) if batch.schema_ref().field(0).name() == "count" => {
            counts.iter().flatten().filter_map(|count| u64::try_from(count).ok()).sum()
        }
        // RETURNING gives the changed rows themselves.
        _ => batch.num_rows() as u64,
    }
}
