//! Frames of a result -> the body of an HTTP/2 response, whose data are the batches' own buffers.
//! Runs on: the connection tasks.
//! Never: copies a buffer of some size; ends a result without its status.
//!
//! A tonic codec writes a message into one buffer, so that every byte of a result was copied once more on its way to the
//! socket. Here an HTTP/2 frame refers to the buffers of one message or several.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::Stream;
use http::HeaderMap;
use http_body::{Body, Frame as HttpFrame};
use pintail_protocol::frame::Frame;
use tonic::Status;

use super::parts::Parts;

/// Parts of a message below it are copied together: a slice of a system call costs about as much.
const SMALL_BYTES: usize = 2 << 10;
/// A message below it is copied into one piece.
const WHOLE_BYTES: usize = 64 << 10;
/// Bytes of one frame's data; a client takes no larger ones.
const FRAME_BYTES: usize = 1 << 20;

/// The body of a response to DoGet.
pub(in crate::flight) struct Pieces<S> {
    /// `None` once its end has been told.
    frames: Option<S>,
    /// What is there to leave.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    /// How the result has ended, until the client has heard it.
    ended: Option<Status>,
}

impl<S> Pieces<S> {
    pub(in crate::flight) fn of(frames: S) -> Self {
        Self { frames: Some(frames), ready: VecDeque::new(), ready_bytes: 0, ended: None }
    }

    fn push(&mut self, frame: Frame) -> Result<(), Status> {
        let small = if frame.encoded_len() < WHOLE_BYTES { usize::MAX } else { SMALL_BYTES };
        for piece in frame.into_pieces(small).map_err(Status::from)? {
            self.ready_bytes += piece.len();
            self.ready.push_back(piece);
        }
        Ok(())
    }

    /// The data of the next frame, of what is there.
    fn data(&mut self) -> Option<HttpFrame<Parts>> {
        let mut parts = Parts::default();
        // Whole messages of a small result lie in one piece each; together they leave in one, too.
        let mut small = BytesMut::new();
        while let Some(piece) = self.ready.front_mut() {
            let room = FRAME_BYTES - parts.remaining() - small.len();
            if room == 0 {
                break;
            }
            let taken = piece.split_to(room.min(piece.len()));
            if piece.is_empty() {
                self.ready.pop_front();
            }
            self.ready_bytes -= taken.len();
            if taken.len() < SMALL_BYTES {
                small.put_slice(&taken);
                continue;
            }
            parts.push(small.split().freeze());
            parts.push(taken);
        }
        parts.push(small.freeze());
        parts.has_remaining().then(|| HttpFrame::data(parts))
    }
}

/// What ends the response.
fn trailers(status: &Status) -> HttpFrame<Parts> {
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
    type Data = Parts;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Parts>, Infallible>>> {
        let this = &mut *self;
        while this.ready_bytes < FRAME_BYTES {
            let Some(frames) = &mut this.frames else { break };
            let status = match Pin::new(frames).poll_next(context) {
                Poll::Pending => {
                    let data = this.data();
                    return data.map_or(Poll::Pending, |data| Poll::Ready(Some(Ok(data))));
                }
                Poll::Ready(Some(Ok(frame))) => match this.push(frame) {
                    Ok(()) => continue,
                    Err(status) => status,
                },
                Poll::Ready(Some(Err(status))) => status,
                Poll::Ready(None) => Status::ok(""),
            };
            // The frames are let go of before the client hears of the end.
            (this.frames, this.ended) = (None, Some(status));
        }
        let next = this.data().or_else(|| this.ended.take().map(|status| trailers(&status)));
        Poll::Ready(next.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::IoSlice;

    use arrow::buffer::Buffer;
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
                Ok(mut data) => {
                    assert!(data.remaining() <= FRAME_BYTES);
                    bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                }
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

    /// Buffers of some size leave from where they are, several in one frame of HTTP/2.
    #[test]
    fn frames_refer_to_the_buffers_of_their_messages() {
        let body = |lengths: &[usize]| -> Vec<Buffer> {
            lengths.iter().map(|length| Buffer::from(vec![7_u8; *length])).collect()
        };
        let large = body(&[3_000, 100, 500_000, 2_000, 700_000, 40_000]);
        // Kept, so that their places are not used again.
        let _kept = large.clone();
        let places: Vec<(*const u8, usize)> = large.iter().map(|part| (part.as_ptr(), part.len())).collect();
        let frames = [large, body(&[10_000, 20_000]), body(&[30])]
            .map(|body| Ok(Frame { header: vec![1; 200].into(), body, ..Frame::default() }));
        let mut pieces = Pieces::of(stream::iter(frames));
        let mut sizes = Vec::new();
        let mut kept = 0;
        while let Some(frame) = block_on(poll_fn(|context| Pin::new(&mut pieces).poll_frame(context))) {
            let Ok(data) = frame.unwrap().into_data() else { continue };
            let mut slices = [IoSlice::new(&[]); 32];
            let count = data.chunks_vectored(&mut slices);
            let is_own = |slice: &&IoSlice<'_>| {
                places.iter().any(|(place, length)| {
                    (*place as usize..*place as usize + length).contains(&(slice.as_ptr() as usize))
                })
            };
            kept += slices[..count].iter().filter(is_own).map(|slice| slice.len()).sum::<usize>();
            assert_eq!(slices[..count].iter().map(|slice| slice.len()).sum::<usize>(), data.remaining());
            sizes.push(data.remaining());
        }
        assert_eq!(kept, 3_000 + 500_000 + 700_000 + 40_000);
        assert_eq!(sizes[0], FRAME_BYTES);
        assert_eq!(sizes.len(), 2, "three messages in two frames");
    }
}
