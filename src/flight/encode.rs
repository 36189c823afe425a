//! RecordBatch -> frames: Arrow IPC header and the batch's own buffers, ready to be written once.
//! Runs on: the task of the call.
//! Never: copies a batch's buffers; `wire::FrameCodec` writes them straight into the socket's buffer.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::CompressionType;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::{IpcWriteOptions, StreamEncoder};
use arrow_flight::FlightData;
use bytes::{BufMut, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::decode::DEPTH_MAX;
use super::form::{Form, Shaping};
use crate::error::{Error, Result};

/// One FlightData message whose body is still in the buffers it came in.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Arrow IPC header (`FlightData.data_header`).
    pub header: Bytes,
    /// Application metadata.
    pub app_metadata: Bytes,
    /// Parts of the body (`FlightData.data_body`), in order.
    pub body: Vec<Buffer>,
}

/// Field numbers of `FlightData` (Flight.proto).
mod field {
    pub(super) const DATA_HEADER: u32 = 2;
    pub(super) const APP_METADATA: u32 = 3;
    pub(super) const DATA_BODY: u32 = 1000;
}

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
        part(field::DATA_HEADER, self.header.len())
            + part(field::APP_METADATA, self.app_metadata.len())
            + part(field::DATA_BODY, self.body_len())
    }

    /// Writes the protobuf message `FlightData`: the only copy of the body on its way to the socket.
    pub fn write(&self, target: &mut impl BufMut) {
        let head = |number: u32, len: usize, target: &mut dyn BufMut| {
            let mut target = target;
            encode_key(number, WireType::LengthDelimited, &mut target);
            encode_varint(len as u64, &mut target);
        };
        if !self.header.is_empty() {
            head(field::DATA_HEADER, self.header.len(), target);
            target.put_slice(&self.header);
        }
        if !self.app_metadata.is_empty() {
            head(field::APP_METADATA, self.app_metadata.len(), target);
            target.put_slice(&self.app_metadata);
        }
        let body_len = self.body_len();
        if body_len > 0 {
            head(field::DATA_BODY, body_len, target);
            for part in &self.body {
                target.put_slice(part);
            }
        }
    }

    /// The message as the generated type, its body copied together.
    pub fn into_flight_data(self) -> FlightData {
        let mut body = Vec::with_capacity(self.body_len());
        for part in &self.body {
            body.extend_from_slice(part);
        }
        FlightData {
            flight_descriptor: None,
            data_header: self.header,
            app_metadata: self.app_metadata,
            data_body: body.into(),
        }
    }
}

/// Encodes one stream: the schema once, then batches with the dictionaries they need.
pub struct Encoder {
    stream: StreamEncoder,
    options: IpcWriteOptions,
    // The stream encoder puts the schema in front of the first batch; the schema has been sent by then.
    drop_schema: bool,
    shaping: Shaping,
}

impl Encoder {
    /// An encoder for batches of `schema`, compressing bodies if asked.
    ///
    /// Errors: `Invalid` when the schema has no IPC form.
    pub fn new(schema: &Schema, compression: Option<CompressionType>) -> Result<Self> {
        Self::in_form(&Arc::new(schema.clone()), Form::default(), compression)
    }

    /// The same for batches of `schema`, as the engine gives them, that are to leave in `form`.
    pub(super) fn in_form(
        schema: &SchemaRef,
        form: Form,
        compression: Option<CompressionType>,
    ) -> Result<Self> {
        if let Some(field) = schema.fields().iter().find(|field| depth(field.data_type()) > DEPTH_MAX) {
            let name = field.name();
            return Err(Error::invalid(format!(
                "column \"{name}\" of the result has more than {DEPTH_MAX} types nested in each other, which Arrow clients \
                 cannot read; unnest it"
            )));
        }
        let options = IpcWriteOptions::default().try_with_compression(compression)?;
        let shaping = Shaping::new(schema, form);
        let stream = StreamEncoder::try_new_with_options(shaping.schema(), options.clone())?;
        Ok(Self { stream, options, drop_schema: true, shaping })
    }

    /// The stream's first frame. Known before the first batch, so that a client can start on the schema.
    pub fn schema_frame(&self, schema: &Schema) -> Result<Frame> {
        let schema = self.shaping.form().schema(schema);
        let alone = StreamEncoder::try_new_with_options(&schema, self.options.clone())?.finish()?;
        split(alone)?.into_iter().next().ok_or_else(|| Error::internal("the schema was not encoded"))
    }

    /// Frames of a batch: new dictionaries, if any, and the rows.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Frame>> {
        let batch = self.shaping.batch(batch)?;
        let mut frames = split(self.stream.encode(&batch)?)?;
        if std::mem::take(&mut self.drop_schema) {
            frames.remove(0);
        }
        Ok(frames)
    }
}

/// Types nested in each other, itself included.
fn depth(data_type: &DataType) -> usize {
    let below = match data_type {
        DataType::List(child)
        | DataType::LargeList(child)
        | DataType::ListView(child)
        | DataType::LargeListView(child)
        | DataType::FixedSizeList(child, _)
        | DataType::Map(child, _) => depth(child.data_type()),
        DataType::Struct(fields) => {
            fields.iter().map(|field| depth(field.data_type())).max().unwrap_or_default()
        }
        DataType::Union(fields, _) => {
            fields.iter().map(|(_, field)| depth(field.data_type())).max().unwrap_or_default()
        }
        DataType::Dictionary(_, value) => depth(value),
        DataType::RunEndEncoded(_, values) => depth(values.data_type()),
        _ => 0,
    };
    below + 1
}

/// Cuts the encapsulated messages of an IPC stream into frames.
///
/// Source: Arrow columnar format, "Encapsulated message format": continuation marker, length of the padded
/// header, header, body of `bodyLength` bytes.
pub(super) fn split(parts: Vec<Buffer>) -> Result<Vec<Frame>> {
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
        frames.push(Frame { header: header.into(), app_metadata: Bytes::new(), body });
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::{Field, Int32Type};
    use pintail_protocol::decode::{Decoded, Decoder};
    use prost::Message;

    #[test]
    fn what_is_encoded_decodes_equal() {
        let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new_dictionary("d", DataType::Int32, DataType::Utf8, true),
        ]));
        let numbers = Int64Array::from(vec![Some(1), None, Some(3)]);
        let texts = StringArray::from(vec![Some("x"), Some(""), None]);
        let columns = vec![Arc::new(numbers) as _, Arc::new(texts) as _, Arc::new(words) as _];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        let mut encoder = Encoder::new(&schema, None).unwrap();
        let mut frames = vec![encoder.schema_frame(&schema).unwrap()];
        frames.extend(encoder.encode(&batch).unwrap());
        let mut decoder = Decoder::default();
        let decoded = frames.into_iter().map(|frame| decoder.decode(frame.into_flight_data()).unwrap());
        let batches = decoded.filter_map(|decoded| match decoded {
            Decoded::Batch(batch, _) => Some(batch),
            Decoded::Schema(_) | Decoded::Nothing => None,
        });
        assert_eq!(batches.collect::<Vec<_>>(), [batch]);
    }

    /// A frame and the generated type write the same bytes.
    #[test]
    fn frames_are_flight_data() {
        for body in [vec![], vec![Buffer::from(vec![7_u8; 300]), Buffer::from(vec![9_u8; 5])]] {
            let frame = Frame { header: vec![1, 2, 3].into(), app_metadata: vec![4].into(), body };
            let mut bytes = Vec::new();
            frame.write(&mut bytes);
            assert_eq!(bytes.len(), frame.encoded_len());
            assert_eq!(bytes, frame.clone().into_flight_data().encode_to_vec());
            assert_eq!(FlightData::decode(bytes.as_slice()).unwrap(), frame.into_flight_data());
        }
    }
}
