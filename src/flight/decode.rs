//! FlightData messages of one stream -> schema, then RecordBatches, validated.
//! Runs on: the task of the call.
//! Never: trusts offsets, lengths or UTF-8 from the network; panics on any message.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{Message, MessageHeader, root_as_message};
use arrow_flight::FlightData;
use bytes::Bytes;

use crate::error::{Error, Result};

/// Arrow's buffers are aligned to this; the engine's importer reads 16-byte values in place.
const ALIGNMENT: usize = 64;

/// Decodes the messages of one stream, in order.
#[derive(Default)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    messages: u64,
}

/// What one message held.
pub enum Decoded {
    /// The stream's schema; always first.
    Schema(SchemaRef),
    /// Rows, and the bytes of memory they keep alive.
    Batch(RecordBatch, usize),
    /// A dictionary for later batches, or a message with metadata only.
    Nothing,
}

impl Decoder {
    /// Decodes the next message.
    ///
    /// Errors: `Invalid`, naming the number of the message and what is wrong with it. The stream is over then.
    pub fn decode(&mut self, message: FlightData) -> Result<Decoded> {
        self.messages += 1;
        if message.data_header.is_empty() {
            return if message.data_body.is_empty() {
                Ok(Decoded::Nothing)
            } else {
                Err(self.bad("a body without an Arrow IPC header"))
            };
        }
        // arrow-rs checks what it reads, but a few inconsistent messages make it panic; those end here.
        catch_unwind(AssertUnwindSafe(|| self.decode_message(message)))
            .unwrap_or_else(|_| Err(self.bad("inconsistent Arrow IPC data")))
    }

    /// The schema, once it came.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    fn decode_message(&mut self, data: FlightData) -> Result<Decoded> {
        let message = root_as_message(&data.data_header).map_err(|error| self.bad(error))?;
        match message.header_type() {
            MessageHeader::Schema => {
                if self.schema.is_some() {
                    return Err(self.bad("a second schema in one stream"));
                }
                let header = message.header_as_schema().ok_or_else(|| self.bad("no schema in the header"))?;
                let schema: SchemaRef = Arc::new(try_fb_to_schema(header).map_err(|error| self.bad(error))?);
                self.schema = Some(Arc::clone(&schema));
                Ok(Decoded::Schema(schema))
            }
            MessageHeader::RecordBatch => {
                let schema = self.expect_schema()?;
                let header = message
                    .header_as_record_batch()
                    .ok_or_else(|| self.bad("no record batch in the header"))?;
                let body = self.body(&message, data.data_body.clone())?;
                let batch =
                    read_record_batch(&body, header, schema, &self.dictionaries, None, &message.version())
                        .map_err(|error| self.bad(error))?;
                Ok(Decoded::Batch(batch, body.len()))
            }
            MessageHeader::DictionaryBatch => {
                let schema: &Schema = &*self.expect_schema()?;
                let header = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| self.bad("no dictionary in the header"))?;
                let body = self.body(&message, data.data_body.clone())?;
                let mut dictionaries = std::mem::take(&mut self.dictionaries);
                let read = read_dictionary(&body, header, schema, &mut dictionaries, &message.version());
                self.dictionaries = dictionaries;
                read.map_err(|error| self.bad(error))?;
                Ok(Decoded::Nothing)
            }
            other => Err(self.bad(format!("an Arrow IPC message of type {other:?}"))),
        }
    }

    fn expect_schema(&self) -> Result<SchemaRef> {
        self.schema.clone().ok_or_else(|| self.bad("rows before the schema"))
    }

    /// The body, aligned. Inside a protobuf message it starts at any byte, so it is almost always copied
    /// once here as a whole; arrow-rs would otherwise copy buffer by buffer and keep the original as well.
    fn body(&self, message: &Message<'_>, body: Bytes) -> Result<Buffer> {
        let declared =
            usize::try_from(message.bodyLength()).map_err(|_| self.bad("a negative body length"))?;
        if declared > body.len() {
            return Err(self.bad(format!("a body of {} bytes where {declared} are declared", body.len())));
        }
        if body.as_ptr().align_offset(ALIGNMENT) == 0 {
            return Ok(Buffer::from(body));
        }
        let mut aligned = MutableBuffer::with_capacity(body.len());
        aligned.extend_from_slice(&body);
        Ok(aligned.into())
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        Error::invalid(format!("message {} of the stream cannot be decoded: {what}", self.messages))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode::Encoder;
    use super::*;
    use arrow::array::{DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Int32Type};
    use proptest::prelude::*;

    fn messages() -> (RecordBatch, Vec<FlightData>) {
        let words: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("s", DataType::Utf8, true),
            Field::new("d", arrow::array::Array::data_type(&words).clone(), true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
                Arc::new(StringArray::from(vec![Some("x"), Some(""), None])),
                Arc::new(words),
            ],
        )
        .unwrap();
        let mut encoder = Encoder::new(&schema, None).unwrap();
        let mut messages = vec![encoder.schema_frame(&schema).unwrap().into_flight_data()];
        messages.extend(
            encoder.encode(&batch).unwrap().into_iter().map(super::super::encode::Frame::into_flight_data),
        );
        (batch, messages)
    }

    fn decode_all(messages: Vec<FlightData>) -> Result<Vec<RecordBatch>> {
        let mut decoder = Decoder::default();
        let mut batches = Vec::new();
        for message in messages {
            if let Decoded::Batch(batch, _) = decoder.decode(message)? {
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    #[test]
    fn what_is_encoded_decodes_equal() {
        let (batch, messages) = messages();
        assert_eq!(decode_all(messages).unwrap(), [batch]);
    }

    #[test]
    fn streams_out_of_order_are_refused() {
        let (_, messages) = messages();
        let refused = |messages: Vec<FlightData>| decode_all(messages).unwrap_err().to_string();
        assert!(refused(messages[1..].to_vec()).contains("before the schema"));
        assert!(refused(vec![messages[0].clone(), messages[0].clone()]).contains("second schema"));
        let mut short = messages.clone();
        let last = short.len() - 1;
        short[last].data_body = short[last].data_body.slice(..8);
        assert!(refused(short).contains("are declared"));
    }

    proptest! {
        /// Flipped bytes anywhere give rows or a clean error, never a panic.
        #[test]
        fn damaged_messages_do_not_panic(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), header in any::<bool>()) {
            let (_, mut messages) = messages();
            for (index, value) in flips {
                let last = messages.len() - 1;
                let part = if header { &mut messages[last].data_header } else { &mut messages[last].data_body };
                let mut bytes = part.to_vec();
                let at = index.index(bytes.len());
                bytes[at] ^= value;
                *part = bytes.into();
            }
            let _ = decode_all(messages);
        }
    }
}
