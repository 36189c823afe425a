//! The codec of DoGet: takes tickets, writes frames straight into the socket's buffer.
//! Runs on: tonic's connection tasks.
//! Never: copies a batch's buffers before that.
//!
//! The generated server encodes a result twice: batch -> `Vec` of the IPC body -> gRPC message. A tonic codec
//! sees the message buffer itself, so [`FrameCodec`] leaves out the first copy (bench `encode`).

use arrow_flight::Ticket;
use pintail_protocol::frame::Frame;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// Takes tickets, gives frames.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Ticket;
    type Encoder = FrameEncoder;
    type Decoder = ProstDecoder<Ticket>;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// Writes a [`Frame`] as the protobuf message `FlightData`.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameEncoder;

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.reserve(frame.encoded_len());
        frame.write(target);
        Ok(())
    }
}
