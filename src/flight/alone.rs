//! The transport with nothing behind it: results from memory, puts that are forgotten. For benches/transport.rs.
//! Runs on: the tasks of whoever serves it.
//! Never: does less for a message than the server does on its way between socket and batch.

use std::convert::Infallible;

use arrow_flight::FlightData;
use bytes::{Buf, Bytes};
use futures::Stream;
use http_body::Body;
use tonic::{Request, Status, Streaming};

use super::wire::{Aligned, Arrived, Incoming, Pieces, Pool, Room};
use super::{CheckedMessage, Frame};
use crate::error::Result;

/// The body of a response to DoGet, as the server sends its results.
pub fn sent<S>(frames: S) -> impl Body<Data: Buf + Send, Error = Infallible> + Send
where
    S: Stream<Item = std::result::Result<Frame, Status>> + Unpin + Send,
{
    Pieces::of(frames)
}

/// Brings the bodies of puts as the server does: aligned, in memory that is used again.
#[derive(Clone)]
pub struct Puts(Pool);

impl Puts {
    /// Messages under way take up to `receive_bytes` together.
    pub fn new(receive_bytes: usize) -> Self {
        Self(Pool::new(Room::of(receive_bytes)))
    }

    /// A DoPut on its way to tonic, which takes messages of up to `message_bytes_max`.
    pub fn request<B>(
        &self,
        request: http::Request<B>,
        message_bytes_max: usize,
    ) -> http::Request<impl Body<Data = Bytes, Error = B::Error> + Send + use<B>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
    {
        let arrived = Arrived::default();
        let mut request = request.map(|body| Aligned::new(body, arrived.clone(), &self.0, message_bytes_max));
        request.extensions_mut().insert(arrived);
        request
    }
}

/// Decodes and checks every batch of a DoPut, forgets it, and counts the rows.
///
/// Errors: those of a put that is cut short or whose messages do not fit together.
pub async fn forgotten(request: Request<Streaming<FlightData>>, message_bytes_max: usize) -> Result<usize> {
    let (mut incoming, _) = Incoming::open(request, "DoPut", message_bytes_max).await?;
    let mut rows = 0;
    while let Some(message) = incoming.next().await? {
        match message {
            CheckedMessage::Rows(waiting) => rows += incoming.rows(waiting)?.num_rows(),
            CheckedMessage::Dictionary(waiting) => incoming.dictionary(waiting)?,
            CheckedMessage::Schema(_) | CheckedMessage::Nothing => {}
        }
    }
    Ok(rows)
}
