//! DoPut that commits as rows come: an acknowledgement for each commit, then the last answer or the error.
//! Runs on: a task of its own for the put, so that a client that reads no answers does not hold up its rows.
//! Never: keeps more than the newest acknowledgement; they are cumulative.

use arrow_flight::PutResult;
use futures::StreamExt;
use futures::stream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use super::answer::PutOutcome;
use super::dispatch::dispatch;
use super::opened::Opened;
use super::puts::Puts;
use crate::error::Error;
use crate::flight::request::{Answers, Call};
use crate::ingest::Ack;
use crate::metrics;

/// The put's task; it ends with the stream of its answers.
struct Task {
    put: Option<JoinHandle<Result<PutResult, Status>>>,
    acks: watch::Receiver<Ack>,
    table: String,
    template: PutOutcome,
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(put) = &self.put {
            put.abort();
        }
    }
}

/// Starts the put and gives its answers as they come.
pub(in crate::flight) fn put_in_progress(puts: &Puts, opened: Opened, mut call: Call) -> Answers<PutResult> {
    let (progress, acks) = watch::channel(Ack::default());
    let (table, template) = (opened.table(), opened.template(puts));
    let puts = puts.clone();
    let told = acks.clone();
    let put = tokio::spawn(async move {
        let answer = dispatch(&puts, opened, Some(progress), &mut call).await;
        if answer.is_err() {
            // What was acknowledged before stays stored.
            let ack = *told.borrow();
            call.rows = ack.counts.rows;
            metrics::rows_in(ack.counts.rows, call.bytes);
            metrics::put_rows(ack.counts.outcomes());
        }
        call.end(answer)
    });
    let task = Task { put: Some(put), acks, table, template };
    stream::unfold(task, |mut task| async move {
        let answer = task.next().await?;
        Some((answer, task))
    })
    .boxed()
}

impl Task {
    async fn next(&mut self) -> Option<Result<PutResult, Status>> {
        let put = self.put.as_mut()?;
        let ended = tokio::select! {
            biased;
            Ok(()) = self.acks.changed() => {
                let ack = *self.acks.borrow_and_update();
                let answer = PutOutcome { ack, ..self.template };
                return Some(Ok(PutResult { app_metadata: answer.answer(&self.table).to_json().into() }));
            }
            ended = put => ended,
        };
        self.put = None;
        let failed = |error: tokio::task::JoinError| {
            Err(Error::internal(format!("the put's task failed: {error}")).into())
        };
        Some(ended.unwrap_or_else(failed))
    }
}
