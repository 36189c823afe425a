//! One DoPut stream: batches, what they carry along, the answer.
//! Runs on: the caller's task.
//! Never: ends a stream whose source failed, which the server would take for a whole one: it is cut instead.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tonic::Request;

use super::cut::cut;
use super::{Client, PutAnswer, from_status, runs};
use crate::error::{Error, Result};
use pintail_protocol::names::TableName;

/// Bytes of one put message, about; a batch above it is cut between rows, by what each of them takes.
const MESSAGE_BYTES: usize = 32 << 20;

/// A batch, and the pieces of files that are whole with it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Rows, at least one where there are sources.
    pub batch: RecordBatch,
    /// Pieces whose last row is in this batch.
    pub sources: Vec<Source>,
}

/// A piece of a file whose rows are in a put with header `pintail-sources`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// What the file is remembered by.
    pub file: String,
    /// Checksum of the piece, 16 hex digits.
    pub piece: String,
    /// Its rows.
    pub rows: u64,
    /// How often it is known to be stored already; `once` refuses what is stored more often.
    pub stored: u64,
    /// How many pieces of the file are known to be stored already; `once` refuses when there are more.
    pub of_file: u64,
}

#[derive(Serialize)]
struct Sources {
    sources: Vec<Source>,
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
        let (report, mut failed) = tokio::sync::oneshot::channel();
        let mut report = Some(report);
        let declared = Arc::new(Mutex::new(Vec::new()));
        let (declaring, columns) = (Arc::clone(&declared), Arc::clone(&schema));
        let parts = batches.and_then(move |Loaded { batch, sources }| {
            lock(&declaring).extend(sources);
            let parts = with_schema(batch, &columns)
                .map(|batch| stream::iter(cut(batch, MESSAGE_BYTES).into_iter().map(runs::writable)));
            std::future::ready(parts)
        });
        let batches = parts.try_flatten().map_err(move |error| {
            if let Some(report) = report.take() {
                // The receiver lives until the call has ended.
                let _ = report.send(error.clone());
            }
            FlightError::ExternalError(Box::new(error))
        });
        let descriptor = FlightDescriptor::new_path(table.parts().map(str::to_owned).collect());
        let messages = FlightDataEncoderBuilder::new()
            .with_schema(schema)
            .with_flight_descriptor(Some(descriptor))
            .with_dictionary_handling(DictionaryHandling::Resend)
            // It would cut by rows as if all were of one size, and counts what slices do not hold.
            .with_max_flight_data_size(usize::MAX)
            .build(batches);
        // A request stream cannot carry an error: it is cut, and never ended, so the server rolls back.
        let (broken, cut) = tokio::sync::oneshot::channel();
        let mut broken = Some(broken);
        let messages = messages.scan((), move |(), message| {
            let message = message
                .map_err(|error| Error::internal(format!("a batch could not be encoded: {error}")))
                .and_then(|message| with_sources(message, &declared));
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
        let mut request = Request::new(messages.chain(end));
        for (name, value) in headers {
            let value = value.parse().map_err(|_| Error::invalid(format!("header {name} is not ASCII")))?;
            request.metadata_mut().insert(*name, value);
        }
        let call = async {
            let mut answers = self.inner.do_put(request).await.map_err(from_status)?.into_inner();
            let answer = answers.message().await.map_err(from_status)?;
            answer.ok_or_else(|| Error::internal("the server ended the put without an answer"))
        };
        let answer = tokio::select! {
            answer = call => answer,
            // What the source of the batches said comes first.
            Ok(error) = cut => Err(failed.try_recv().unwrap_or(error)),
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
fn with_sources(mut message: FlightData, declared: &Mutex<Vec<Source>>) -> Result<FlightData> {
    let mut declared = lock(declared);
    let has_rows = || {
        root_as_message(&message.data_header)
            .is_ok_and(|header| header.header_type() == MessageHeader::RecordBatch)
    };
    if !declared.is_empty() && has_rows() {
        let sources = std::mem::take(&mut *declared);
        let text = serde_json::to_vec(&Sources { sources })
            .map_err(|error| Error::internal(format!("the sources cannot be written as JSON: {error}")))?;
        message.app_metadata = text.into();
    }
    Ok(message)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
