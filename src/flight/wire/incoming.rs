//! The request stream of a DoPut or DoExchange, or the body of an HTTP request -> messages that fit together, one after the
//! other.
//! Runs on: the task of the call.
//! Never: takes a client that left for one that has finished; decodes a message before its caller has room for it.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use pintail_protocol::decode::{CheckedMessage, Decoder, Undecoded};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Request, Status, Streaming};

use super::body::Arrived;
use crate::error::{Error, Kind, Result};

/// The messages of a stream that a client sends, told apart from a client that left.
pub(in crate::flight) struct Incoming {
    source: Source,
    decoder: Decoder,
    // The first message, until it has been decoded.
    first: Option<FlightData>,
    // What was given back.
    unread: Option<CheckedMessage>,
    /// `app_metadata` of the message that came last.
    pub(in crate::flight) app_metadata: Bytes,
    /// Time spent on decoding.
    pub(in crate::flight) decode: Duration,
}

/// Messages of a body, each with the room that it holds until it is taken.
pub(in crate::flight) type BodyMessages =
    BoxStream<'static, Result<(FlightData, Option<OwnedSemaphorePermit>)>>;

/// Where messages come from.
enum Source {
    Call { stream: Box<Streaming<FlightData>>, arrived: Arrived },
    Body { messages: BodyMessages, held: Option<OwnedSemaphorePermit> },
}

impl Incoming {
    /// The messages of a body. They may unpack to `bytes_max`.
    pub(in crate::flight) fn of_body(messages: BodyMessages, bytes_max: usize) -> Self {
        Self::of(Source::Body { messages, held: None }, bytes_max)
    }

    fn of(source: Source, bytes_max: usize) -> Self {
        Self {
            source,
            decoder: Decoder::within(bytes_max),
            first: None,
            unread: None,
            app_metadata: Bytes::new(),
            decode: Duration::ZERO,
        }
    }

    /// Waits for the first message, which says what the stream is for. Messages may unpack to `bytes_max`.
    pub(in crate::flight) async fn open(
        request: Request<Streaming<FlightData>>,
        call: &str,
        bytes_max: usize,
    ) -> Result<(Self, FlightDescriptor)> {
        let arrived = request.extensions().get::<Arrived>().cloned().unwrap_or_default();
        let stream = Box::new(request.into_inner());
        let mut incoming = Self::of(Source::Call { stream, arrived }, bytes_max);
        let mut first = incoming.message().await?.ok_or_else(|| {
            Error::invalid(format!("the {call} stream is empty; expected a FlightDescriptor and a schema"))
        })?;
        let descriptor = first.flight_descriptor.take().ok_or_else(|| {
            Error::invalid(format!("the first message of a {call} must carry a FlightDescriptor"))
        })?;
        incoming.first = Some(first);
        Ok((incoming, descriptor))
    }

    /// The next message, or `None` when the client has said that it is done. Rows and dictionaries are to be decoded
    /// before the next one is asked for.
    pub(in crate::flight) async fn next(&mut self) -> Result<Option<CheckedMessage>> {
        if let Some(message) = self.unread.take() {
            return Ok(Some(message));
        }
        let message = match self.first.take() {
            Some(first) => first,
            None => match self.message().await? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        let started = Instant::now();
        // Copied: it is a part of the message, and would keep all of it in memory.
        self.app_metadata = Bytes::copy_from_slice(&message.app_metadata);
        let message = self.decoder.look(message);
        self.decode += started.elapsed();
        message.map(Some)
    }

    /// Decodes the rows that `next` gave last.
    pub(in crate::flight) fn rows(&mut self, waiting: Undecoded) -> Result<RecordBatch> {
        self.is_taken();
        let started = Instant::now();
        let batch = self.decoder.rows(waiting);
        self.decode += started.elapsed();
        batch
    }

    /// Takes the dictionary that `next` gave last.
    pub(in crate::flight) fn dictionary(&mut self, waiting: Undecoded) -> Result<()> {
        self.is_taken();
        let started = Instant::now();
        let taken = self.decoder.dictionary(waiting);
        self.decode += started.elapsed();
        taken
    }

    /// Gives back what `next` gave last.
    pub(in crate::flight) fn unread(&mut self, message: CheckedMessage) {
        self.unread = Some(message);
    }

    /// The last message is counted elsewhere from now on, or gone.
    fn is_taken(&mut self) {
        match &mut self.source {
            Source::Call { arrived, .. } => arrived.is_taken(),
            Source::Body { held, .. } => *held = None,
        }
    }

    async fn message(&mut self) -> Result<Option<FlightData>> {
        let left = || {
            let text = "the client left before the end of the stream; nothing was stored";
            Error::new(Kind::Cancelled, text)
        };
        self.is_taken();
        let (stream, arrived) = match &mut self.source {
            Source::Call { stream, arrived } => (stream, arrived),
            Source::Body { messages, held } => {
                return Ok(match messages.next().await.transpose()? {
                    Some((message, room)) => {
                        *held = room;
                        Some(message)
                    }
                    None => None,
                });
            }
        };
        match stream.message().await {
            Ok(Some(mut message)) => {
                let body = arrived.body();
                if message.data_body.is_empty() {
                    message.data_body = body;
                }
                Ok(Some(message))
            }
            Ok(None) if arrived.ended_properly() => Ok(None),
            Ok(None) => Err(left()),
            Err(status) => Err(match status.code() {
                // tonic's own word for a message above `max_decoding_message_size`.
                Code::OutOfRange | Code::ResourceExhausted => Error::exhausted(
                    "server.max_message_bytes",
                    format!(
                        "a message of the stream is too large: {}; send smaller batches",
                        status.message()
                    ),
                ),
                _ if is_unreadable(&status) => Error::invalid(status.message()),
                Code::Cancelled => left(),
                _ => left().context(status.message()),
            }),
        }
    }
}

/// Whether a message of the client's is none: tonic says that the server is at fault, as gRPC has it.
pub(in crate::flight) fn is_unreadable(status: &Status) -> bool {
    status.code() == Code::Internal && status.message().starts_with("failed to decode Protobuf message")
}
