//! Queue of batches -> segments -> one transaction -> one commit, or a commit per slice.
//! Runs on: a blocking thread of its own for the length of one put stream; it owns session and transaction.
//! Never: acknowledges before COMMIT has returned, or commits a stream whose end it has not seen.

mod event;
mod record;
mod stream;
mod table_hold;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use stream::Writer;
pub(super) use stream::roll_back;

use super::counts::PutSummary;
use super::job::{Job, Message};
use super::placement::Transaction;
use crate::error::Result;
use crate::session::Lease;

/// Runs one put stream to its commit, or rolls it back. Blocks for as long as the client sends.
pub(super) fn run(
    job: Job,
    lease: Lease,
    runtime: &Handle,
    mut begun: Vec<Message>,
    mut messages: mpsc::Receiver<Message>,
) -> Result<PutSummary> {
    if begun.is_empty() && job.waits_for_values() {
        // A client that has left or sends nothing is noticed below.
        let limit = job.shared.idle_timeout;
        let first = runtime.block_on(async { tokio::time::timeout(limit, messages.recv()).await });
        begun.extend(first.ok().flatten());
    }
    let mut connection = lease.open()?;
    let transaction = if connection.joins_transaction() { Transaction::Clients } else { Transaction::Own };
    let is_clients = transaction == Transaction::Clients;
    let mut writer = match Writer::begin(job, &begun, &mut connection, transaction) {
        Ok(writer) => writer,
        Err(error) if is_clients => return Err(connection.explain(error)),
        Err(error) => {
            roll_back(&mut connection);
            return Err(error);
        }
    };
    match writer.write(&mut connection, runtime, begun, messages) {
        Ok(()) => Ok(writer.summary),
        Err(error) if is_clients => {
            let error = writer.told(error);
            // DuckDB has no savepoints: what was appended before the error cannot be taken back alone.
            let table = &writer.placement.shown;
            connection.break_transaction(&format!("a put into {table} failed half way: {error}"));
            Err(connection.explain(error))
        }
        Err(error) => {
            roll_back(&mut connection);
            if writer.summary.ack.counts.rows == 0 {
                writer.holds.remove_table(&writer.job, &mut connection);
            }
            Err(writer.told(error))
        }
    }
}
