//! Frames of a result -> the body of an HTTP/2 response, whose data are the batches' own buffers.
//! Runs on: tonic's connection tasks.
//! Never: copies a buffer of some size; ends a result without its status.
//!
//! A tonic codec writes a message into one buffer, so that every byte of a result was copied once more on its way to the
//! socket. HTTP/2 takes the parts of a message one by one.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame as HttpFrame};
use pintail_protocol::frame::{Frame, Outgoing};
use tonic::Status;

/// The body of a response to DoGet.
pub(in crate::flight) struct Pieces<S> {
    /// `None` once its end has been told.
    frames: Option<S>,
    outgoing: Outgoing,
    /// How the result has ended, until the client has heard it.
    ended: Option<Status>,
}

impl<S> Pieces<S> {
    pub(in crate::flight) fn of(frames: S) -> Self {
        Self { frames: Some(frames), outgoing: Outgoing::default(), ended: None }
    }
}

/// What ends the response.
fn trailers(status: &Status) -> HttpFrame<Bytes> {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        // Words that HTTP does not have; the code goes alone.
        trailers = HeaderMap::new();
        trailers.insert("grpc-status", (status.code() as i32).into());
    }
    HttpFrame::trailers(trailers)
}

impl<S> Body for Pieces<S>
where
    S: Stream<Item = Result<Frame, Status>> + Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.outgoing.next_full() {
                return Poll::Ready(Some(Ok(HttpFrame::data(piece))));
            }
            if let Some(frames) = &mut this.frames {
                let status = match Pin::new(frames).poll_next(context) {
                    Poll::Pending => {
                        let rest = this.outgoing.next_rest().map(|piece| Ok(HttpFrame::data(piece)));
                        return rest.map_or(Poll::Pending, |rest| Poll::Ready(Some(rest)));
                    }
                    Poll::Ready(Some(Ok(frame))) => match frame.into_pieces() {
                        Ok(pieces) => {
                            this.outgoing.push(pieces);
                            continue;
                        }
                        Err(error) => Status::from(error),
                    },
                    Poll::Ready(Some(Err(status))) => status,
                    Poll::Ready(None) => Status::ok(""),
                };
                // The frames are let go of before the client hears of the end.
                (this.frames, this.ended) = (None, Some(status));
            }
            if let Some(piece) = this.outgoing.next_rest() {
                return Poll::Ready(Some(Ok(HttpFrame::data(piece))));
            }
            return Poll::Ready(this.ended.take().map(|status| Ok(trailers(&status))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use arrow_flight::FlightData;
    use futures::executor::block_on;
    use futures::stream;
    use pintail_protocol::frame::PREFIX_BYTES;
    use prost::Message;

    use super::*;

    fn ended(frames: Vec<Result<Frame, Status>>) -> (Vec<u8>, Option<HeaderMap>) {
        let mut body = Pieces::of(stream::iter(frames));
        let (mut bytes, mut trailers) = (Vec::new(), None);
        while let Some(frame) = block_on(poll_fn(|context| Pin::new(&mut body).poll_frame(context))) {
            assert!(trailers.is_none(), "something comes after the status");
            match frame.unwrap().into_data() {
                Ok(data) => bytes.extend_from_slice(&data),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        (bytes, trailers)
    }

    /// Messages as tonic would write them, and then the status.
    #[test]
    fn frames_and_their_status() {
        let frame =
            Frame { header: vec![1, 2].into(), body: vec![vec![3_u8; 100_000].into()], ..Frame::default() };
        let (bytes, trailers) = ended(vec![Ok(frame.clone()), Ok(frame.clone())]);
        let one = PREFIX_BYTES + frame.encoded_len();
        assert_eq!(bytes.len(), 2 * one);
        let found = FlightData::decode(&bytes[one + PREFIX_BYTES..]).unwrap();
        assert_eq!(found, frame.into_flight_data());
        assert_eq!(trailers.unwrap()["grpc-status"], "0");
        let (bytes, trailers) = ended(vec![Err(Status::aborted("späť")), Ok(Frame::default())]);
        let trailers = trailers.unwrap();
        assert!(bytes.is_empty());
        assert_eq!(trailers["grpc-status"], "10");
        assert_eq!(Status::from_header_map(&trailers).unwrap().message(), "späť");
    }
}
