//! Arrow IPC messages -> `FlightData` in protobuf, with the buffers of a batch where they are.
//! Runs on: any thread; pure.
//! Never: copies a body, unless it is asked to.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow::ipc::{CompressionType, root_as_message};
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::error::{Error, Result};

/// Bytes in front of a gRPC message: whether it is compressed, and its length.
pub const PREFIX_BYTES: usize = 5;
/// Parts of a body below it are copied together where each one apart is an HTTP/2 frame, and a system call, of its own.
pub const SMALL_BYTES: usize = 16 << 10;

/// One FlightData message whose body is still in the buffers it came in.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// What the stream is about, as protobuf (`FlightData.flight_descriptor`); in the first message of a client.
    pub descriptor: Bytes,
    /// Arrow IPC header (`FlightData.data_header`).
    pub header: Bytes,
    /// Application metadata.
    pub app_metadata: Bytes,
    /// Parts of the body (`FlightData.data_body`), in order.
    pub body: Vec<Buffer>,
}

/// Field numbers of `FlightData` (Flight.proto).
mod field {
    pub(super) const DESCRIPTOR: u32 = 1;
    pub(super) const DATA_HEADER: u32 = 2;
    pub(super) const APP_METADATA: u32 = 3;
    pub(super) const DATA_BODY: u32 = 1000;
}

/// How `FlightData.data_body` begins: its number, and that its length comes next.
pub const BODY_KEY: u64 = (field::DATA_BODY as u64) << 3 | 2;

impl Frame {
    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.body.iter().map(Buffer::len).sum()
    }

    /// Bytes of the message as protobuf.
    pub fn encoded_len(&self) -> usize {
        let part = |number: u32, len: usize| {
            if len == 0 { 0 } else { key_len(number) + encoded_len_varint(len as u64) + len }
        };
        part(field::DESCRIPTOR, self.descriptor.len())
            + part(field::DATA_HEADER, self.header.len())
            + part(field::APP_METADATA, self.app_metadata.len())
            + part(field::DATA_BODY, self.body_len())
    }

    /// Writes the protobuf message `FlightData`: the only copy of the body on its way to the socket.
    pub fn write(&self, target: &mut impl BufMut) {
        self.write_head(target);
        for part in &self.body {
            target.put_slice(part);
        }
    }

    /// The gRPC message in pieces, of which only those below `small_bytes` are copied: parts of the body are handed on as
    /// they are.
    ///
    /// Errors: `Invalid` for one of 4 GiB and more, which gRPC does not have.
    pub fn into_pieces(self, small_bytes: usize) -> Result<VecDeque<Bytes>> {
        let length = u32::try_from(self.encoded_len()).map_err(|_| {
            Error::invalid(format!("a message has {} bytes, and gRPC has 4 GiB at most", self.encoded_len()))
        })?;
        let mut pieces = VecDeque::new();
        let mut small = BytesMut::with_capacity(PREFIX_BYTES + self.encoded_len() - self.body_len());
        small.put_u8(0);
        small.put_u32(length);
        self.write_head(&mut small);
        for part in self.body {
            if part.len() < small_bytes {
                small.extend_from_slice(&part);
                continue;
            }
            if !small.is_empty() {
                pieces.push_back(small.split().freeze());
            }
            pieces.push_back(Bytes::from_owner(part));
        }
        if !small.is_empty() {
            pieces.push_back(small.freeze());
        }
        Ok(pieces)
    }

    /// All but the body itself.
    fn write_head(&self, target: &mut impl BufMut) {
        let head = |number: u32, len: usize, target: &mut dyn BufMut| {
            let mut target = target;
            encode_key(number, WireType::LengthDelimited, &mut target);
            encode_varint(len as u64, &mut target);
        };
        let fields = [
            (field::DESCRIPTOR, &self.descriptor),
            (field::DATA_HEADER, &self.header),
            (field::APP_METADATA, &self.app_metadata),
        ];
        for (number, bytes) in fields.into_iter().filter(|(_, bytes)| !bytes.is_empty()) {
            head(number, bytes.len(), target);
            target.put_slice(bytes);
        }
        let body_len = self.body_len();
        if body_len > 0 {
            head(field::DATA_BODY, body_len, target);
        }
    }

    /// The message as the generated type, its body copied together.
    pub fn into_flight_data(self) -> FlightData {
        let has_descriptor = !self.descriptor.is_empty();
        let mut body = Vec::with_capacity(self.body_len());
        for part in &self.body {
            body.extend_from_slice(part);
        }
        FlightData {
            flight_descriptor: FlightDescriptor::decode(self.descriptor).ok().filter(|_| has_descriptor),
            data_header: self.header,
            app_metadata: self.app_metadata,
            data_body: body.into(),
        }
    }
}

/// Cuts the encapsulated messages of an IPC stream into frames.
///
/// Source: Arrow columnar format, "Encapsulated message format": continuation marker, length of the padded
/// header, header, body of `bodyLength` bytes.
fn split(parts: Vec<Buffer>) -> Result<Vec<Frame>> {
    let mut frames = Vec::new();
    // Columns without values or validity leave empty parts behind; they belong to no message.
    let mut parts = parts.into_iter().filter(|part| !part.is_empty());
    let broken = || Error::internal("the encoded stream is not a sequence of messages");
    while let Some(prefix) = parts.next() {
        let length: [u8; 4] = prefix.get(4..8).and_then(|bytes| bytes.try_into().ok()).ok_or_else(broken)?;
        let header_len = u32::from_le_bytes(length) as usize;
        if header_len == 0 {
            // The end-of-stream marker; gRPC ends its streams itself.
            break;
        }
        let mut header = Vec::with_capacity(header_len);
        while header.len() < header_len {
            header.extend_from_slice(&parts.next().ok_or_else(broken)?);
        }
        let message = root_as_message(&header).map_err(|_| broken())?;
        let body_len = usize::try_from(message.bodyLength()).map_err(|_| broken())?;
        let mut body = Vec::new();
        let mut taken = 0;
        while taken < body_len {
            let part = parts.next().ok_or_else(broken)?;
            taken += part.len();
            body.push(part);
        }
        frames.push(Frame { header: header.into(), body, ..Frame::default() });
    }
    Ok(frames)
}

/// Encodes one stream: the schema once, then batches with the dictionaries they need.
pub struct FrameEncoder {
    stream: StreamEncoder,
    options: IpcWriteOptions,
    // The stream encoder puts the schema in front of the first batch; the schema has been sent by then.
    drop_schema: bool,
}

impl FrameEncoder {
    /// An encoder for batches of `schema`, compressing bodies if asked.
    ///
    /// Errors: `Invalid` when the schema has no IPC form.
    pub fn new(schema: &Schema, compression: Option<CompressionType>) -> Result<Self> {
        let options = IpcWriteOptions::default().try_with_compression(compression)?;
        let stream = StreamEncoder::try_new_with_options(schema, options.clone())?;
        Ok(Self { stream, options, drop_schema: true })
    }

    /// The stream's first frame.
    pub fn schema(&self, schema: &Schema) -> Result<Frame> {
        let alone = StreamEncoder::try_new_with_options(schema, self.options.clone())?.finish()?;
        split(alone)?.into_iter().next().ok_or_else(|| Error::internal("the schema was not encoded"))
    }

    /// Frames of a batch: new dictionaries, if any, and the rows.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<Frame>> {
        let mut frames = split(self.stream.encode(batch)?)?;
        if std::mem::take(&mut self.drop_schema) {
            frames.remove(0);
        }
        Ok(frames)
    }
}

/// Pieces of messages on their way to HTTP/2. Small ones that are there at once leave as one.
#[derive(Debug, Default)]
pub struct Outgoing {
    ready: VecDeque<Bytes>,
    small: BytesMut,
}

impl Outgoing {
    /// Takes the pieces of one message.
    pub fn push(&mut self, pieces: VecDeque<Bytes>) {
        for piece in pieces {
            if piece.len() < SMALL_BYTES {
                self.small.extend_from_slice(&piece);
            } else {
                self.gather();
                self.ready.push_back(piece);
            }
        }
        if self.small.len() >= SMALL_BYTES {
            self.gather();
        }
    }

    /// What may leave while more messages may be there.
    pub fn next_full(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// What is to leave when no more messages are there for now.
    pub fn next_rest(&mut self) -> Option<Bytes> {
        self.gather();
        self.ready.pop_front()
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.ready.push_back(self.small.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small pieces leave together and in order, and none waits for ever.
    #[test]
    fn small_pieces_leave_together() {
        let piece = |byte: u8, length: usize| Bytes::from(vec![byte; length]);
        let mut outgoing = Outgoing::default();
        outgoing.push([piece(1, 3)].into());
        assert_eq!(outgoing.next_full(), None);
        outgoing.push([piece(2, 2), piece(3, SMALL_BYTES), piece(4, 1)].into());
        assert_eq!(outgoing.next_full().unwrap(), [1, 1, 1, 2, 2][..]);
        assert_eq!(outgoing.next_full().unwrap(), piece(3, SMALL_BYTES));
        assert_eq!(outgoing.next_full(), None);
        assert_eq!(outgoing.next_rest().unwrap(), [4][..]);
        assert_eq!(outgoing.next_rest(), None);
        outgoing.push([piece(5, SMALL_BYTES - 1), piece(6, 1)].into());
        assert_eq!(outgoing.next_full().unwrap().len(), SMALL_BYTES);
    }

    /// A frame, its pieces and the generated type write the same bytes.
    #[test]
    fn frames_are_flight_data() {
        let large = vec![Buffer::from(vec![7_u8; 300]), vec![8_u8; SMALL_BYTES].into(), vec![9_u8; 5].into()];
        for (body, pieces) in [(vec![], 1), (large, 3)] {
            let frame = Frame {
                descriptor: FlightDescriptor::new_path(vec!["t".to_owned()]).encode_to_vec().into(),
                header: vec![1, 2, 3].into(),
                app_metadata: vec![4].into(),
                body,
            };
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            assert_eq!(bytes.len(), frame.encoded_len());
            assert_eq!(bytes, frame.clone().into_flight_data().encode_to_vec());
            assert_eq!(FlightData::decode(bytes.as_slice()).unwrap(), frame.clone().into_flight_data());
            let found = frame.into_pieces(SMALL_BYTES).unwrap();
            assert_eq!(found.len(), pieces);
            let found = found.into_iter().flatten().collect::<Vec<u8>>();
            assert_eq!(found[PREFIX_BYTES..], bytes);
            assert_eq!(found[1..PREFIX_BYTES], u32::try_from(bytes.len()).unwrap().to_be_bytes());
        }
    }
}
