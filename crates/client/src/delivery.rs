//! Numbered batches of a producer -> one DoPut stream after another, until each is acknowledged.
//! Runs on: one task per producer.
//! Never: sends a batch before those with lower numbers, retries what the server has refused for good, or lets a
//! second stream begin before the server has told where the first one got to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{TryStreamExt, stream};
use pintail_protocol::answer::{IngestStatus, PutAnswer, fenced};
use pintail_protocol::status::from_status;
use pintail_protocol::{action, header};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};

use super::backlog::{Backlog, Durable, Shared};
use super::client::Client;
use crate::error::{Error, Kind, Result};

/// Messages encoded ahead of the wire.
const MESSAGES_AHEAD: usize = 4;
/// How long connecting and asking where to resume may take; the server lets a stream wait 20 s for the one before.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest pause that a server may ask for.
const ASKED_MAX: Duration = Duration::from_secs(60);

/// The sending side of a producer.
pub(super) struct Delivery {
    shared: Arc<Shared>,
    // `None` when the next attempt has to connect and ask first.
    client: Option<Client>,
    // Since when nothing gets through.
    failing: Option<Instant>,
}

/// What to do about an attempt that did not work.
enum Failure {
    Retry(Error),
    Final(Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        from_status(status).into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error.kind() {
            Kind::Unavailable
            | Kind::Exhausted
            | Kind::Aborted
            | Kind::Cancelled
            | Kind::Deadline
            | Kind::Internal => Failure::Retry(error),
            Kind::Invalid
            | Kind::NotFound
            | Kind::Exists
            | Kind::Conflict
            | Kind::Unsupported
            | Kind::Denied
            | Kind::Unauthenticated => Failure::Final(error),
        }
    }
}

impl Delivery {
    /// Connects and asks where the producer stands, with retries.
    pub(super) async fn begin(shared: Arc<Shared>) -> Result<Self> {
        let mut delivery = Self { shared, client: None, failing: None };
        loop {
            match delivery.connect().await {
                Ok((client, durable)) => {
                    delivery.client = Some(client);
                    delivery.failing = None;
                    delivery.shared.state.send_modify(|state| {
                        state.start_after(durable);
                        state.retries = 0;
                        state.last_error = None;
                    });
                    return Ok(delivery);
                }
                Err(failure) => delivery.pause(failure).await?,
            }
        }
    }

    /// Sends until the producer is closed, or fails for good.
    pub(super) async fn run(mut self) {
        let mut changes = self.shared.state.subscribe();
        loop {
            // Nothing to send is no reason to hold a stream open.
            let wanted =
                changes.wait_for(|state| !state.queue.is_empty() || state.closing || state.failed.is_some());
            match wanted.await {
                Ok(state) if state.failed.is_some() || state.queue.is_empty() => return,
                Ok(_) => {}
                Err(_) => return,
            }
            let durable = self.shared.state.borrow().durable;
            let Err(failure) = self.attempt().await else { continue };
            self.client = None;
            let (has_moved, has_more) = {
                let state = self.shared.state.borrow();
                (state.durable != durable, !state.queue.is_empty())
            };
            if !has_more && matches!(failure, Failure::Retry(_)) {
                // A quiet stream was ended, for example by the server's idle timeout; the next batch opens another.
                continue;
            }
            if has_moved {
                self.failing = None;
                self.shared.state.send_modify(|state| state.retries = 0);
            }
            if let Err(error) = self.pause(failure).await {
                self.shared.state.send_modify(|state| {
                    state.failed.get_or_insert(error);
                });
                return;
            }
        }
    }

    /// One connection, one stream; returns when the stream has ended with nothing left to send.
    async fn attempt(&mut self) -> Result<(), Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            None => {
                let (client, durable) = self.connect().await?;
                self.acknowledge(durable.seq)?;
                self.client.insert(client)
            }
        };
        let mut client = client.clone();
        let (messages, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let mut request = Request::new(ReceiverStream::new(receiver));
        self.set_headers(&mut request, header::PROGRESS)?;
        let answers = async {
            let mut answers = client.inner().do_put(request).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                let answer: PutAnswer = serde_json::from_slice(&answer.app_metadata).map_err(unreadable)?;
                self.acknowledge(answer.seq)?;
            }
            Ok::<(), Failure>(())
        };
        tokio::select! {
            ended = answers => ended?,
            error = self.feed(messages) => return Err(error),
        }
        let state = self.shared.state.borrow();
        if state.closing && state.queue.is_empty() {
            return Ok(());
        }
        Err(Failure::Retry(Error::new(Kind::Unavailable, "the server ended the stream before its end")))
    }

    /// Sends what there is, in order, and what comes; after the end, waits for the answers.
    async fn feed(&self, messages: mpsc::Sender<FlightData>) -> Failure {
        match self.feed_to_end(messages).await {
            // The stream's answers say what is wrong with it.
            Ok(()) => std::future::pending().await,
            Err(error) => Failure::Final(error),
        }
    }

    async fn feed_to_end(&self, messages: mpsc::Sender<FlightData>) -> Result<()> {
        let mut changes = self.shared.state.subscribe();
        let first = self.encode(None).await?;
        if send_all(&messages, first).await.is_none() {
            return Ok(());
        }
        let mut next = 0;
        loop {
            let batch = {
                let state = changes.wait_for(|state| state.batch_from(next).is_some() || state.closing).await;
                let state = state.map_err(|_| Error::internal("the producer's state is gone"))?;
                match state.batch_from(next) {
                    Some(numbered) => (numbered.seq, numbered.batch.clone()),
                    // Dropping the sender ends the stream.
                    None => return Ok(()),
                }
            };
            next = batch.0 + 1;
            let encoded = self.encode(Some(batch)).await?;
            if send_all(&messages, encoded).await.is_none() {
                return Ok(());
            }
        }
    }

    /// The schema, or the messages of one batch: dictionaries, and the rows with their number.
    async fn encode(&self, batch: Option<(u64, RecordBatch)>) -> Result<Vec<FlightData>> {
        let (seq, batch) = batch.map_or((None, None), |(seq, batch)| (Some(seq), Some(batch)));
        let batch = batch.map(super::runs::writable).transpose()?.map(Ok);
        let path = self.shared.table.parts().map(str::to_owned).collect();
        let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
            .with_schema(Arc::clone(&self.shared.schema))
            .with_flight_descriptor(Some(FlightDescriptor::new_path(path)))
            .with_dictionary_handling(DictionaryHandling::Resend)
            // One message per batch, whatever its size: a number names a whole batch.
            .with_max_flight_data_size(usize::MAX)
            .build(stream::iter(batch))
            .try_collect()
            .await
            .map_err(|error| Error::internal(format!("a batch could not be encoded: {error}")))?;
        if let Some(seq) = seq {
            messages.remove(0);
            if let Some(rows) = messages.last_mut() {
                rows.app_metadata = json!({ "seq": seq }).to_string().into();
            }
        }
        Ok(messages)
    }

    /// A connection, and where the producer stands once nothing of it is under way any more.
    async fn connect(&self) -> Result<(Client, Durable), Failure> {
        let late = || {
            let limit = humantime::format_duration(CONNECT_TIMEOUT);
            Failure::Retry(Error::new(Kind::Deadline, format!("the server did not answer within {limit}")))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, self.connect_and_ask()).await.unwrap_or_else(|_| Err(late()))
    }

    async fn connect_and_ask(&self) -> Result<(Client, Durable), Failure> {
        let mut client = Client::connect_with(&self.shared.uri, &self.shared.options.connect).await?;
        // A stream without rows: the server refuses it when a newer epoch is known, shuts older ones out, and
        // answers only when the stream before it has ended.
        let empty = self.wait_for_turn(&mut client).await;
        if let Err(Failure::Final(error)) = empty {
            return Err(Failure::Final(error));
        }
        let body = json!({ "producer": self.shared.producer }).to_string();
        let status = client.action_with(action::INGEST_STATUS, body).await?;
        let status: IngestStatus = serde_json::from_value(status).map_err(unreadable)?;
        if status.epoch > self.shared.epoch {
            let error = fenced(&self.shared.producer, self.shared.epoch, status.epoch);
            return Err(Failure::Final(error));
        }
        empty?;
        let table = self.shared.table.in_ledger();
        let durable = match status.tables.get(&table) {
            Some(line) => Durable { seq: Some(line.seq), rows: line.rows },
            None => Durable::default(),
        };
        Ok((client, durable))
    }

    async fn wait_for_turn(&self, client: &mut Client) -> Result<(), Failure> {
        let schema = self.encode(None).await?;
        let mut request = Request::new(stream::iter(schema));
        self.set_headers(&mut request, header::STREAM)?;
        let answers = client.inner().do_put(request).await?.into_inner();
        let _answers: Vec<_> = answers.try_collect().await?;
        Ok(())
    }

    fn set_headers<T>(&self, request: &mut Request<T>, commit: &str) -> Result<()> {
        let epoch = self.shared.epoch.to_string();
        let headers = [
            (header::PRODUCER, Some(self.shared.producer.as_str())),
            (header::EPOCH, Some(epoch.as_str())),
            (header::COMMIT, Some(commit)),
            (header::ON_CONFLICT, self.shared.options.on_conflict.as_deref()),
        ];
        for (name, value) in headers {
            let Some(value) = value else { continue };
            let value = value.parse().map_err(|_| {
                Error::invalid(format!("header {name}: expected ASCII text, found \"{value}\""))
            })?;
            request.metadata_mut().insert(name, value);
        }
        Ok(())
    }

    fn acknowledge(&self, seq: Option<u64>) -> Result<()> {
        let mut outcome = Ok(());
        self.shared.state.send_modify(|state: &mut Backlog| {
            let before = state.durable.seq;
            outcome = state.acknowledge(seq);
            if state.durable.seq != before {
                state.retries = 0;
                state.last_error = None;
            }
        });
        outcome
    }

    /// Waits before the next attempt, longer each time, and for as long as the server asks.
    ///
    /// Errors: a failure that no retry changes; `Unavailable` when nothing got through for `give_up`.
    async fn pause(&mut self, failure: Failure) -> Result<()> {
        let options = &self.shared.options;
        let error = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Retry(error) => error,
        };
        let since = *self.failing.get_or_insert_with(Instant::now);
        if since.elapsed() >= options.give_up {
            return Err(Error::new(
                Kind::Unavailable,
                format!(
                    "producer \"{}\" gave up: nothing got through for {}; the last attempt: {error}",
                    self.shared.producer,
                    humantime::format_duration(options.give_up)
                ),
            ));
        }
        let asked = error.retry_after().unwrap_or_default().min(ASKED_MAX);
        let mut retries = 0;
        self.shared.state.send_modify(|state| {
            retries = state.retries;
            state.retries = state.retries.saturating_add(1);
            state.last_error = Some(error);
        });
        tokio::time::sleep(backoff(options.backoff, options.backoff_max, retries).max(asked)).await;
        Ok(())
    }
}

/// The pause before retry number `retries`, varied so that many clients do not come back at once.
fn backoff(first: Duration, longest: Duration, retries: u32) -> Duration {
    let pause = first.saturating_mul(1_u32.checked_shl(retries.min(31)).unwrap_or(u32::MAX)).min(longest);
    pause.mul_f64(0.5 + rand::random::<f64>())
}

async fn send_all(to: &mpsc::Sender<FlightData>, messages: Vec<FlightData>) -> Option<()> {
    for message in messages {
        to.send(message).await.ok()?;
    }
    Some(())
}

fn unreadable(error: serde_json::Error) -> Failure {
    Failure::Final(Error::internal(format!("the server's answer cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound_and_vary() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(5));
        for (retries, middle) in [(0, 50), (1, 100), (3, 400), (10, 5000), (60, 5000)] {
            let middle = Duration::from_millis(middle);
            let pauses: Vec<_> = (0..50).map(|_| backoff(first, longest, retries)).collect();
            assert!(pauses.iter().all(|pause| *pause >= middle / 2 && *pause <= middle * 3 / 2));
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }

    /// What a retry can mend is retried; what it cannot ends the producer.
    #[test]
    fn refusals_are_final_and_breaks_are_not() {
        let is_final = |kind| matches!(Failure::from(Error::new(kind, "x")), Failure::Final(_));
        let finals: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| is_final(*kind)).collect();
        let expected = [
            Kind::Invalid,
            Kind::NotFound,
            Kind::Exists,
            Kind::Conflict,
            Kind::Unsupported,
            Kind::Denied,
            Kind::Unauthenticated,
        ];
        assert_eq!(finals, expected);
    }
}
