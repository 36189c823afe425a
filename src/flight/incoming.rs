//! The request stream of a DoPut or DoExchange -> decoded messages, one after the other.
//! Runs on: the task of the call.
//! Never: takes a client that left for one that has finished.

use std::time::{Duration, Instant};

use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use tonic::{Code, Request, Streaming};

use super::decode::{Decoded, Decoder};
use super::wire::Ended;
use crate::error::{Error, Kind, Result};

/// The messages of a stream that a client sends, decoded, told apart from a client that left.
pub(super) struct Incoming {
    stream: Streaming<FlightData>,
    ended: Ended,
    decoder: Decoder,
    // The first message, until it has been decoded.
    first: Option<FlightData>,
    // What was looked at and given back.
    unread: Option<Decoded>,
    /// `app_metadata` of the message decoded last.
    pub(super) app_metadata: Bytes,
    /// Time spent on decoding.
    pub(super) decode: Duration,
}

impl Incoming {
    /// Waits for the first message, which says what the stream is for.
    pub(super) async fn open(
        request: Request<Streaming<FlightData>>,
        call: &str,
    ) -> Result<(Self, FlightDescriptor)> {
        let ended = request.extensions().get::<Ended>().cloned().unwrap_or_default();
        let mut incoming = Self {
            stream: request.into_inner(),
            ended,
            decoder: Decoder::default(),
            first: None,
            unread: None,
            app_metadata: Bytes::new(),
            decode: Duration::ZERO,
        };
        let mut first = incoming.message().await?.ok_or_else(|| {
            Error::invalid(format!("the {call} stream is empty; expected a FlightDescriptor and a schema"))
        })?;
        let descriptor = first.flight_descriptor.take().ok_or_else(|| {
            Error::invalid(format!("the first message of a {call} must carry a FlightDescriptor"))
        })?;
        incoming.first = Some(first);
        Ok((incoming, descriptor))
    }

    /// The next message, decoded, or `None` when the client has said that it is done.
    pub(super) async fn next(&mut self) -> Result<Option<Decoded>> {
        if let Some(decoded) = self.unread.take() {
            return Ok(Some(decoded));
        }
        let message = match self.first.take() {
            Some(first) => first,
            None => match self.message().await? {
                Some(message) => message,
                None => return Ok(None),
            },
        };
        let started = Instant::now();
        self.app_metadata = message.app_metadata.clone();
        let decoded = self.decoder.decode(message);
        self.decode += started.elapsed();
        decoded.map(Some)
    }

    /// Gives back what `next` gave last.
    pub(super) fn unread(&mut self, decoded: Decoded) {
        self.unread = Some(decoded);
    }

    async fn message(&mut self) -> Result<Option<FlightData>> {
        let left = || {
            let text = "the client left before the end of the stream; nothing was stored";
            Error::new(Kind::Cancelled, text)
        };
        match self.stream.message().await {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) if self.ended.properly() => Ok(None),
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
                Code::Cancelled => left(),
                _ => left().context(status.message()),
            }),
        }
    }
}
