//! The rows of one stream -> the write side, message by message, to their commit or back again.
//! Runs on: the task of the call.
//! Never: decodes a message before there is room for it; answers before COMMIT has returned.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pintail_protocol::decode::CheckedMessage;

use crate::error::{Error, Kind, Result, shorten};
use crate::flight::request::Call;
use crate::flight::wire::Incoming;
use crate::ingest::{Ingest, Need, Put, PutRequest, PutSummary, PutTarget, Terms, sequence};
use crate::session::Lease;

/// The batches of one put.
pub(in crate::flight) struct RowStream {
    begun: Option<FirstBatches>,
    incoming: Option<Incoming>,
}

/// Batches that are there already, and the columns of each batch that go in, in their order.
pub(super) struct FirstBatches {
    pub(super) batches: Vec<RecordBatch>,
    pub(super) columns: Vec<usize>,
}

impl RowStream {
    /// Batches that are still to come, with all of their columns.
    pub(in crate::flight) fn coming(incoming: Incoming) -> Self {
        Self { begun: None, incoming: Some(incoming) }
    }

    /// Batches that are there already, and those that come after them, if any do.
    pub(super) fn begun(begun: FirstBatches, incoming: Option<Incoming>) -> Self {
        Self { begun: Some(begun), incoming }
    }
}

/// Where the rows of a stream go, and how.
pub(in crate::flight) struct Destination {
    pub(in crate::flight) target: PutTarget,
    pub(in crate::flight) lease: Lease,
    pub(in crate::flight) terms: Terms,
}

/// Takes the rows of one stream to their commit, or back again.
pub(in crate::flight) async fn store(
    ingest: &Ingest,
    rows: RowStream,
    destination: Destination,
    call: &mut Call,
) -> Result<PutSummary> {
    let table = destination.target.to_string();
    let mut receiver = Receiver {
        ingest,
        is_numbered: destination.terms.producer.is_some(),
        declares_sources: destination.terms.sources.is_some(),
        destination: Some(destination),
        columns: None,
        put: None,
    };
    let received = receiver.receive(rows, call).await;
    let (decode, put) = match (received, receiver.put) {
        (Ok(decode), Some(put)) => (decode, put),
        (Ok(_), None) => {
            return Err(Error::invalid(format!("table {table}: the put stream carried no schema")));
        }
        (Err(error), put) => {
            // Rolled back before the client hears of it: a retry must not meet the remains.
            if let Some(put) = put {
                put.abort().await;
            }
            call.rows = 0;
            return Err(error);
        }
    };
    call.rows = 0;
    let summary = put.finish().await?;
    call.rows = summary.ack.counts.rows;
    call.stage("queue", summary.timings.queue);
    call.stage("decode", decode);
    call.stage("plain", summary.timings.plain);
    call.stage("conform", summary.timings.conform);
    call.stage("append", summary.timings.append);
    call.stage("commit", summary.timings.commit);
    Ok(summary)
}

/// A put that is fed from a stream.
struct Receiver<'a> {
    ingest: &'a Ingest,
    // Until the schema has come.
    destination: Option<Destination>,
    put: Option<Put>,
    // Those of each batch that go in; without them, all do.
    columns: Option<Vec<usize>>,
    is_numbered: bool,
    declares_sources: bool,
}

impl Receiver<'_> {
    /// Feeds the put until the client says that it is done; gives the time spent on decoding.
    async fn receive(&mut self, rows: RowStream, call: &mut Call) -> Result<Duration> {
        if let Some(begun) = rows.begun {
            self.send_begun(begun, call).await?;
        }
        let Some(mut incoming) = rows.incoming else { return Ok(Duration::ZERO) };
        loop {
            let following = match &mut self.put {
                None => incoming.next().await?,
                // Watch the writer while the client is quiet, so that a refusal does not wait for rows.
                Some(put) => tokio::select! {
                    // What is there goes first: most small puts come whole, and set no timer then.
                    biased;
                    following = incoming.next() => following?,
                    error = put.failure() => return Err(error),
                },
            };
            let Some(message) = following else { return Ok(incoming.decode) };
            self.take(message, &mut incoming, call).await?;
            match &mut self.put {
                Some(put) => put.declare(&incoming.app_metadata)?,
                None if self.declares_sources && !incoming.app_metadata.is_empty() => {
                    return Err(too_early());
                }
                None => {}
            }
        }
    }

    fn begin(&mut self, schema: SchemaRef) -> Result<Put> {
        let Destination { target, lease, terms } =
            self.destination.take().ok_or_else(|| Error::internal("a stream began a second time"))?;
        self.ingest.begin(PutRequest { target, schema, lease, terms })
    }

    async fn send_begun(&mut self, begun: FirstBatches, call: &mut Call) -> Result<()> {
        for batch in begun.batches {
            let batch = batch.project(&begun.columns)?;
            if self.put.is_none() {
                self.put = Some(self.begin(batch.schema())?);
            }
            let put = self.put.as_mut().ok_or_else(too_early)?;
            let held = batch.get_array_memory_size();
            call.bytes += held as u64;
            let room = put.room(Need { held, ..Need::default() }).await;
            put.send(batch, room, None).await?;
        }
        self.columns = Some(begun.columns);
        Ok(())
    }

    /// Takes what came last.
    async fn take(
        &mut self,
        message: CheckedMessage,
        incoming: &mut Incoming,
        call: &mut Call,
    ) -> Result<()> {
        match message {
            CheckedMessage::Schema(schema) => self.put = Some(self.begin(schema)?),
            CheckedMessage::Dictionary(dictionary) => {
                let put = self.put.as_mut().ok_or_else(too_early)?;
                put.dictionary(dictionary.dictionary(), dictionary.held_bytes()).await?;
                incoming.dictionary(dictionary)?;
            }
            CheckedMessage::Rows(rows) => {
                let put = self.put.as_mut().ok_or_else(too_early)?;
                let need = rows.need();
                let room = put.room(need).await;
                let batch = incoming.rows(rows)?;
                call.rows += batch.num_rows() as u64;
                call.bytes += need.held as u64;
                let batch = match &self.columns {
                    Some(columns) => batch.project(columns)?,
                    None => batch,
                };
                let seq = if self.is_numbered { Some(sequence(&incoming.app_metadata)?) } else { None };
                put.send(batch, room, seq).await?;
            }
            CheckedMessage::Nothing => called_off(&incoming.app_metadata)?,
        }
        Ok(())
    }
}

/// A message without rows may call the put off, `{"abort": "why"}`: clients that cannot cancel a call end it in no other way
/// than one that is whole, pyarrow's when the source of their rows fails.
fn called_off(app_metadata: &[u8]) -> Result<()> {
    if app_metadata.is_empty() {
        return Ok(());
    }
    let said: Option<serde_json::Value> = serde_json::from_slice(app_metadata).ok();
    match said.as_ref().and_then(|said| said.get("abort")?.as_str()) {
        Some(why) => {
            Err(Error::new(Kind::Cancelled, format!("the client called the put off: {}", shorten(why, 200))))
        }
        None => Ok(()),
    }
}

fn too_early() -> Error {
    Error::invalid("rows, or what is said of them, arrived before their schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_called_off_by_nothing_but_its_own_word() {
        for other in ["", "{}", "{\"seq\": 1}", "{\"abort\": true}", "abort", "[\"abort\"]", "{\"abort\""] {
            assert!(called_off(other.as_bytes()).is_ok(), "{other}");
        }
        let error = called_off(br#"{"abort": "the sensor is gone"}"#).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Cancelled, "the client called the put off: the sensor is gone")
        );
        let long = format!("{{\"abort\": \"{}\"}}", "x".repeat(100_000));
        assert!(called_off(long.as_bytes()).unwrap_err().message().len() < 300);
    }
}
