//! The body of a DoPut or DoExchange -> the same gRPC messages, whose Arrow bodies lie aligned in memory.
//! Runs on: tonic's connection tasks.
//! Never: holds more than one message, or one that has no room; decides whether a message is right: what it cannot read passes as it is.
//!
//! tonic joins the frames of a message in a buffer in which the Arrow body starts at any byte, so that it had to be copied
//! once more. Here `FlightData.data_body` is taken out of the message below tonic: its frames are joined where the arrays
//! will lie. The call finds it in [`Arrived`], one for each message.

mod pool;
mod room;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use pintail_protocol::frame::{BODY_KEY, PREFIX_BYTES as PREFIX};
pub(in crate::flight) use pool::Pool;
use pool::{Landing, SMALL_BYTES, Stream};
pub(in crate::flight) use room::Room;
use room::{Door, Held};

/// What a request's body has brought, beside what tonic hands on.
#[derive(Debug, Clone, Default)]
pub(in crate::flight) struct Arrived(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    bodies: Mutex<VecDeque<Arrow>>,
    // Of the message that was given last.
    held: Mutex<Option<Held>>,
}

/// The Arrow body of a message, and its room.
#[derive(Debug, Default)]
struct Arrow {
    bytes: Bytes,
    held: Option<Held>,
}

impl Arrived {
    /// True once the client has closed its side itself.
    ///
    /// Symptom: a put whose client cancelled it was committed with the rows that had arrived. Cause: tonic's
    /// server-side `Streaming` turns a reset with CANCEL into the end of the stream (codec/decode.rs), which looks
    /// like a client that is done. Official way: none. Our way: watch the body below tonic, where the end of the
    /// stream and a reset are still two things.
    pub(in crate::flight) fn ended_properly(&self) -> bool {
        self.0.ended.load(Ordering::Acquire)
    }

    /// The Arrow body of the next message; empty where it has none, or still has it itself.
    pub(in crate::flight) fn body(&self) -> Bytes {
        let Arrow { bytes, held } = self.bodies().pop_front().unwrap_or_default();
        *self.held() = held;
        bytes
    }

    /// The last message is counted elsewhere from now on, or gone.
    pub(in crate::flight) fn is_taken(&self) {
        *self.held() = None;
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bodies(&self) -> std::sync::MutexGuard<'_, VecDeque<Arrow>> {
        self.0.bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's body on its way to tonic.
pub(in crate::flight) struct Aligned<B> {
    body: Pin<Box<B>>,
    arrived: Arrived,
    stream: Stream,
    door: Door,
    /// A message above it is tonic's to refuse.
    message_bytes_max: usize,
    position: Position,
    /// Bytes that have not been looked at.
    unread: Bytes,
    is_over: bool,
}

/// Where in a message the stream is.
enum Position {
    Prefix(BytesMut),
    Message(Message),
    /// So many bytes, and then the next message.
    Passing(usize),
}

struct Message {
    /// Prefix, and the fields so far, without the Arrow body.
    kept: BytesMut,
    /// Bytes of the message that have not come.
    left: usize,
    /// Where in `kept` the next field begins.
    field: usize,
    /// The Arrow body, and how much of it has not come.
    body: Option<(Landing, usize)>,
    /// Bytes of an Arrow body that there has to be room for first.
    wants: Option<usize>,
    held: Option<Held>,
}

impl<B> Aligned<B> {
    pub(in crate::flight) fn new(body: B, arrived: Arrived, pool: &Pool, message_bytes_max: usize) -> Self {
        let position = Position::Prefix(BytesMut::with_capacity(PREFIX));
        Self {
            body: Box::pin(body),
            arrived,
            stream: pool.stream(),
            door: pool.room().door(),
            message_bytes_max,
            position,
            unread: Bytes::new(),
            is_over: false,
        }
    }

    /// Takes what it can of the bytes that are there; what goes on to tonic.
    fn read(&mut self) -> Option<Bytes> {
        while !self.unread.is_empty() || self.is_whole() {
            match &mut self.position {
                Position::Passing(left) => {
                    let taken = self.unread.split_to(self.unread.len().min(*left));
                    *left -= taken.len();
                    if *left == 0 {
                        self.position = Position::Prefix(BytesMut::with_capacity(PREFIX));
                    }
                    return Some(taken);
                }
                Position::Prefix(prefix) => {
                    let taken = self.unread.split_to(self.unread.len().min(PREFIX - prefix.len()));
                    prefix.extend_from_slice(&taken);
                    if prefix.len() == PREFIX {
                        let prefix = std::mem::take(prefix);
                        let is_packed = prefix[0] != 0;
                        let length = (&prefix[1..]).get_u32() as usize;
                        if is_packed || length == 0 || length > self.message_bytes_max {
                            self.arrived.bodies().push_back(Arrow::default());
                            self.position = match length {
                                0 => Position::Prefix(BytesMut::with_capacity(PREFIX)),
                                _ => Position::Passing(length),
                            };
                            return Some(prefix.freeze());
                        }
                        self.position = Position::Message(Message {
                            kept: prefix,
                            left: length,
                            field: PREFIX,
                            body: None,
                            wants: None,
                            held: None,
                        });
                    }
                }
                Position::Message(message) => {
                    message.take(&mut self.unread, &self.stream);
                    if message.wants.is_some() {
                        return None;
                    }
                    if message.left == 0 {
                        let (message, body) = message.whole();
                        self.arrived.bodies().push_back(body);
                        self.position = Position::Prefix(BytesMut::with_capacity(PREFIX));
                        return Some(message);
                    }
                }
            }
        }
        None
    }
}

impl<B> Aligned<B> {
    /// Whether all of a message is there, and it only waited for room.
    fn is_whole(&self) -> bool {
        matches!(&self.position, Position::Message(message) if message.left == 0 && message.wants.is_none())
    }

    fn wants_room(&self) -> bool {
        matches!(&self.position, Position::Message(message) if message.wants.is_some())
    }

    /// Waits for the room that the message wants.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { position, door, stream, .. } = self;
        if let Position::Message(message) = position
            && let Some(bytes) = message.wants
        {
            message.held = ready!(door.poll(bytes, context));
            message.wants = None;
            message.find_body(stream);
        }
        Poll::Ready(())
    }
}

impl Message {
    /// Takes bytes of this message, unless there has to be room for it first.
    fn take(&mut self, unread: &mut Bytes, stream: &Stream) {
        if self.wants.is_some() {
            return;
        }
        let mut here = unread.split_to(unread.len().min(self.left));
        self.left -= here.len();
        if let Some((body, missing)) = &mut self.body {
            let part = here.split_to(here.len().min(*missing));
            body.extend(&part);
            *missing -= part.len();
        }
        if here.is_empty() {
            return;
        }
        self.kept.extend_from_slice(&here);
        if self.body.is_none() {
            self.find_body(stream);
        }
    }

    /// Finds the Arrow body among the fields that are there.
    fn find_body(&mut self, stream: &Stream) {
        while let Some(found) = next_field(&self.kept[self.field..]) {
            let Field { is_arrow, from, length } = found;
            let (start, from) = (self.field, self.field + from);
            let here = self.kept.len() - from;
            if is_arrow && length <= here + self.left {
                if length >= SMALL_BYTES && self.held.is_none() {
                    self.wants = Some(length);
                    return;
                }
                let mut body = stream.body(length);
                let part = length.min(here);
                body.extend(&self.kept[from..from + part]);
                // What follows it, if all of it is there.
                let rest = self.kept.split_off(from + part);
                self.kept.truncate(start);
                self.kept.unsplit(rest);
                self.body = Some((body, length - part));
                return;
            }
            if length > here {
                return;
            }
            self.field = from + length;
        }
    }

    /// The message without its Arrow body, and that.
    fn whole(&mut self) -> (Bytes, Arrow) {
        let mut kept = std::mem::take(&mut self.kept);
        // It was not longer before, when its length was 4 bytes.
        let length = u32::try_from(kept.len() - PREFIX).unwrap_or(u32::MAX);
        (&mut kept[1..PREFIX]).put_u32(length);
        let bytes = self.body.take().map_or_else(Bytes::new, |(body, _)| body.landed());
        (kept.freeze(), Arrow { bytes, held: self.held.take() })
    }
}

/// A field of a protobuf message.
struct Field {
    /// Whether it is `FlightData.data_body`.
    is_arrow: bool,
    /// Where its value begins.
    from: usize,
    length: usize,
}

/// The field that bytes begin with, when its head is there; a value without a length has one of its own.
///
/// Source: Protocol Buffers, "Encoding".
fn next_field(bytes: &[u8]) -> Option<Field> {
    let mut rest = bytes;
    let key = varint(&mut rest)?;
    let length = match key & 7 {
        0 => {
            let before = rest.len();
            let mut value = rest;
            varint(&mut value)?;
            before - value.len()
        }
        1 => 8,
        2 => usize::try_from(varint(&mut rest)?).ok()?,
        5 => 4,
        // Groups, and what is no wire type.
        _ => return None,
    };
    Some(Field { is_arrow: key == BODY_KEY, from: bytes.len() - rest.len(), length })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

impl<B: Body> Body for Aligned<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            if let Some(bytes) = self.read() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.wants_room() {
                ready!(self.poll_room(context));
                continue;
            }
            if self.is_over {
                return Poll::Ready(None);
            }
            match self.body.as_mut().poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    self.is_over = true;
                    self.arrived.0.ended.store(true, Ordering::Release);
                    // A message that has begun is tonic's to miss.
                    let begun = match std::mem::replace(&mut self.position, Position::Passing(0)) {
                        Position::Prefix(begun) => begun,
                        Position::Message(message) => message.kept,
                        Position::Passing(_) => BytesMut::new(),
                    };
                    return Poll::Ready((!begun.is_empty()).then(|| Ok(Frame::data(begun.freeze()))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => self.unread = data.copy_to_bytes(data.remaining()),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                        }
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // Always polled to its end, so that the end is noted.
        false
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests;
