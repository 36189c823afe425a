//! A stream whose key is known -> the answer that it got the first time.
//! Runs on: the task of the call.
//! Never: stores a row; takes other content for the same.

use pintail_protocol::decode::CheckedMessage;

use super::answer::PutOutcome;
use super::puts::Puts;
use crate::catalog::TableName;
use crate::error::Result;
use crate::flight::request::Call;
use crate::flight::wire::Incoming;
use crate::ingest::{Counts, KeyEntry, StreamChecksum};
use crate::metrics;

/// Reads a stream that has been applied before to its end, and gives the first answer again.
pub(super) async fn answer_again(
    puts: &Puts,
    mut incoming: Incoming,
    known: &KeyEntry,
    table: &TableName,
    call: &mut Call,
) -> Result<PutOutcome> {
    let mut checksum = StreamChecksum::default();
    let mut intake = puts.ingest.intake(None)?;
    while let Some(message) = incoming.next().await? {
        match message {
            CheckedMessage::Rows(rows) => {
                let _room = intake.room(rows.need()).await;
                checksum.add(&incoming.rows(rows)?)?;
            }
            CheckedMessage::Dictionary(dictionary) => {
                intake.dictionary(dictionary.dictionary(), dictionary.held_bytes()).await?;
                incoming.dictionary(dictionary)?;
            }
            CheckedMessage::Schema(_) | CheckedMessage::Nothing => {}
        }
    }
    let (ack, on_conflict) = checksum.answer(known, table)?;
    call.rows = 0;
    metrics::rows_in(ack.counts.rows, call.bytes);
    metrics::put_rows(Counts { rows: ack.counts.rows, ..Counts::default() }.outcomes());
    call.duplicate();
    Ok(PutOutcome { ack, durable: puts.keeps(table), on_conflict, rejects: ack.counts.rejected > 0 })
}
