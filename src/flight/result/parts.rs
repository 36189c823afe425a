//! One result in several endpoints: one run over one snapshot, whose batches go to whichever endpoint asks for the next.
//! Runs on: the task of the call that fetches an endpoint.
//! Never: gives a row to two endpoints; leaves one of them to believe that it has read a result which has failed.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::fetch::Fetch;
use super::run::Results;
use crate::error::{Error, Kind, Result};
use crate::flight::request::Call;
use crate::query::{ResultStream, RunOptions, SharedResult};

/// A result in several endpoints. Endpoints that are still to be fetched and calls that read keep it; without them it is
/// stopped.
pub(in crate::flight) struct Parts {
    fetch: Fetch,
    // Once the first endpoint is fetched.
    opened: OnceCell<SharedResult>,
}

impl Parts {
    /// `count` endpoints of what `fetch` stands for.
    pub(in crate::flight) fn of(fetch: Fetch, count: usize) -> Vec<Fetch> {
        let parts = Arc::new(Self { fetch, opened: OnceCell::new() });
        (0..count).map(|_| Fetch::Part(Arc::clone(&parts))).collect()
    }

    /// Bytes that it keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        self.fetch.bytes()
    }

    /// Joins those who read the result; the first one starts it. A deadline ends it for all of them.
    pub(super) async fn open(
        &self,
        results: &Results,
        options: RunOptions,
        call: &mut Call,
    ) -> Result<ResultStream> {
        if let Some(sql) = self.fetch.sql() {
            call.about(sql);
        }
        let deadline = options.deadline;
        let start = self.opened.get_or_try_init(|| async {
            let options = RunOptions { is_shared: true, ..options };
            let first = Box::pin(results.open(&self.fetch, options, call)).await?;
            first
                .into_shared()
                .ok_or_else(|| Error::internal("a result in several endpoints has no statement"))
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
}
