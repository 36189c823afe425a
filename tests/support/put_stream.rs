//! Put streams message by message: with `app_metadata`, with odd messages between, or left open.

use arrow::array::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use pintail::client::{Client, from_status};
use pintail::error::Result;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use super::batches::well_schema;

/// The messages of a put into `name`, its parts set apart by dots; each batch with its `app_metadata`, where that is
/// not NULL.
pub async fn messages(name: &str, batches: &[(RecordBatch, Value)]) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_path(name.split('.').map(str::to_owned).collect());
    let schema = batches.first().map_or_else(well_schema, |(batch, _)| batch.schema());
    // The encoder leaves batches without rows out, so they become messages without a batch.
    let items: Vec<_> = batches
        .iter()
        .filter(|(batch, _)| batch.num_rows() > 0)
        .map(|(batch, _)| Ok(batch.clone()))
        .collect();
    let encoded: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_flight_descriptor(Some(descriptor))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(items))
        .try_collect()
        .await
        .unwrap();
    let mut encoded = encoded.into_iter();
    let mut messages = vec![encoded.next().unwrap()];
    for (batch, metadata) in batches {
        let mut message = if batch.num_rows() > 0 { encoded.next().unwrap() } else { FlightData::new() };
        if !metadata.is_null() {
            message.app_metadata = metadata.to_string().into();
        }
        messages.push(message);
    }
    assert!(encoded.next().is_none());
    messages
}

/// A request with these headers.
pub fn with_headers<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (header, value) in headers {
        request.metadata_mut().insert(*header, value.parse().unwrap());
    }
    request
}

/// The request of a put that stays open: its messages are sent one by one, and without the sender it ends.
pub fn open(
    headers: &[(&'static str, &str)],
) -> (mpsc::Sender<FlightData>, Request<ReceiverStream<FlightData>>) {
    let (send, receive) = mpsc::channel(8);
    (send, with_headers(ReceiverStream::new(receive), headers))
}

/// These items and then nothing, without an end; the receiver hears when all have been taken.
pub fn endless<T: Send + 'static>(
    items: Vec<T>,
) -> (impl Stream<Item = T> + Send + 'static, oneshot::Receiver<()>) {
    let (all_taken, taken) = oneshot::channel();
    let quiet = stream::once(async move {
        let _ = all_taken.send(());
        std::future::pending().await
    });
    (stream::iter(items).chain(quiet), taken)
}

/// Puts messages as they are; the JSON of every answer, or the first error.
pub async fn send(
    client: &mut Client,
    messages: impl Stream<Item = FlightData> + Send + 'static,
    headers: &[(&'static str, &str)],
) -> Result<Vec<Value>> {
    let request = with_headers(messages, headers);
    let answers = client.inner().do_put(request).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.map_err(from_status).try_collect().await?;
    Ok(answers.iter().map(|answer| serde_json::from_slice(&answer.app_metadata).unwrap()).collect())
}
