//! One DoPut stream: batches, what they carry along, the answer.
//! Runs on: the caller's task.
//! Never: ends a stream whose source failed, which the server would take for a whole one: it is cut instead.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::FlightDescriptor;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use pintail_protocol::answer::PutAnswer;
use pintail_protocol::frame::{Frame, FrameEncoder, SMALL_BYTES};
use pintail_protocol::names::TableName;
use pintail_protocol::source::{Source, SourcesMessage};
use pintail_protocol::status::from_status;
use prost::Message;

use super::client::Client;
use super::cut::cut;
use super::{runs, wire};
use crate::error::{Error, Result};

/// Bytes of one put message, about; a batch above it is cut between rows, by what each of them takes.
const MESSAGE_BYTES: usize = 32 << 20;

/// A batch, and the pieces of files that are whole with it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Rows, at least one where there are sources.
    pub batch: RecordBatch,
    /// Pieces whose last row is in this batch.
    pub sources: Vec<Source<'static>>,
}

impl Client {
    /// Puts `batches` into `table` as one stream. `headers` are the request headers, `pintail-mode` among them.
    ///
    /// Errors: an item of `batches` ends the put and is returned; otherwise what the server says.
    pub async fn put(
        &mut self,
        table: &TableName,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
        headers: &[(&'static str, String)],
    ) -> Result<PutAnswer> {
        let batches = batches.map_ok(|batch| Loaded { batch, sources: Vec::new() });
        self.put_loaded(table, schema, batches, headers).await
    }

    /// As [`Client::put`], with the pieces of files that are in the stream, for the header `pintail-sources`.
    pub async fn put_loaded(
        &mut self,
        table: &TableName,
        schema: SchemaRef,
        batches: impl Stream<Item = Result<Loaded>> + Send + 'static,
        headers: &[(&'static str, String)],
    ) -> Result<PutAnswer> {
        let declared = Arc::new(Mutex::new(Vec::new()));
        let (declaring, columns) = (Arc::clone(&declared), Arc::clone(&schema));
        let parts = batches.and_then(move |Loaded { batch, sources }| {
            lock(&declaring).extend(sources);
            let parts = with_schema(batch, &columns)
                .map(|batch| stream::iter(cut(batch, MESSAGE_BYTES).into_iter().map(runs::writable)));
            std::future::ready(parts)
        });
        let mut encoder = FrameEncoder::new(&schema, None)?;
        // Where the rows go, and their schema.
        let descriptor = FlightDescriptor::new_path(table.parts().map(str::to_owned).collect());
        let first = Frame { descriptor: descriptor.encode_to_vec().into(), ..encoder.schema(&schema)? };
        let first = stream::iter([first.into_pieces(SMALL_BYTES)]);
        let rows = parts.try_flatten().and_then(move |batch| {
            let messages = encoder.rows(&batch).and_then(|messages| {
                messages
                    .into_iter()
                    .map(|message| with_sources(message, &declared)?.into_pieces(SMALL_BYTES))
                    .collect()
            });
            std::future::ready(messages.map(|messages: Vec<_>| stream::iter(messages.into_iter().map(Ok))))
        });
        // A request stream cannot carry an error: it is cut, and never ended, so the server rolls back.
        let (broken, cut) = tokio::sync::oneshot::channel();
        let mut broken = Some(broken);
        let messages = first.chain(rows.try_flatten()).scan((), move |(), message| {
            let message = message.map_err(|error| {
                if let Some(broken) = broken.take() {
                    // The receiver lives until the call has ended.
                    let _ = broken.send(error);
                }
            });
            async move {
                match message {
                    Ok(message) => Some(message),
                    Err(()) => std::future::pending().await,
                }
            }
        });
        // A call that is dropped may leave its stream behind for a moment, and the source may end because of that. Only an
        // end that comes while the caller waits is one.
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        let end = stream::poll_fn(move |_| match waiting.strong_count() {
            0 => Poll::Pending,
            _ => Poll::Ready(None),
        });
        let messages = messages.chain(end).boxed();
        let call = async {
            let mut answers = wire::put(&self.channel, messages, headers).await?;
            let answer = answers.message().await.map_err(from_status)?;
            answer.ok_or_else(|| Error::internal("the server ended the put without an answer"))
        };
        let answer = tokio::select! {
            answer = call => answer,
            Ok(error) = cut => Err(error),
        }?;
        drop(waits);
        serde_json::from_slice(&answer.app_metadata)
            .map_err(|error| Error::internal(format!("the server's answer cannot be read: {error}")))
    }
}

/// The batch under the schema of the stream. The encoder takes metadata that differ for another schema.
///
/// Errors: `Invalid` when the columns are not those of the schema.
fn with_schema(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &rows)?)
}

/// Lets a message of rows carry what has been declared so far.
fn with_sources(mut message: Frame, declared: &Mutex<Vec<Source<'static>>>) -> Result<Frame> {
    let mut declared = lock(declared);
    let has_rows = || {
        root_as_message(&message.header)
            .is_ok_and(|header| header.header_type() == MessageHeader::RecordBatch)
    };
    if !declared.is_empty() && has_rows() {
        let sources = std::mem::take(&mut *declared);
        let text = serde_json::to_vec(&SourcesMessage { sources })
            .map_err(|error| Error::internal(format!("the sources cannot be written as JSON: {error}")))?;
        message.app_metadata = text.into();
    }
    Ok(message)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
