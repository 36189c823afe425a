//! FlightData messages of one stream -> schema, then RecordBatches, validated.
//! Runs on: the task of the call.
//! Never: trusts offsets, lengths or UTF-8 from the network; allocates what a message merely declares; panics on any
//! message.
//!
//! A message is looked at first and decoded second, so that there can be room for it before it takes any.

mod check;
mod wide;
#[cfg(test)]
mod written;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc;
use arrow::ipc::reader::{read_dictionary, read_record_batch};
use arrow::ipc::{Message, MessageHeader, root_as_footer, root_as_message};
use arrow_flight::FlightData;
use bytes::Bytes;

pub use check::DEPTH_MAX;
use check::{Limits, Sizes};

use crate::error::{Error, Kind, Result};
use crate::expand;

/// Arrow's buffers are aligned to this; the engine's importer reads 16-byte values in place.
const ALIGNMENT: usize = 64;

/// Decodes the messages of one stream, in order. A clone goes on from where it was made.
#[derive(Clone)]
pub struct Decoder {
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    known: HashMap<i64, Known>,
    /// Bytes of the dictionaries that batches may still refer to, beside those in force.
    replaced: usize,
    messages: u64,
    bytes_max: usize,
}

/// What is known of a dictionary.
#[derive(Clone, Copy, Default)]
struct Known {
    bytes: usize,
    longest_value: usize,
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

/// What one message holds, before its body is decoded.
pub enum CheckedMessage {
    /// The stream's schema; always first.
    Schema(SchemaRef),
    /// Rows.
    Rows(Undecoded),
    /// A dictionary for later batches.
    Dictionary(Undecoded),
    /// Metadata only.
    Nothing,
}

/// A message that fits together, to be decoded once there is room for it.
pub struct Undecoded {
    data: FlightData,
    sizes: Sizes,
    dictionary: i64,
}

/// The room that a batch needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Need {
    /// Bytes of its message, in memory already.
    pub wire: usize,
    /// Bytes that it keeps alive once it is decoded.
    pub held: usize,
    /// Bytes that its plain form takes beside them; what is too much for a stream is done in slices.
    pub expanded: usize,
}

impl Undecoded {
    /// Bytes that it keeps alive once it is decoded; of a dictionary, with what it is added to.
    pub fn held_bytes(&self) -> usize {
        self.sizes.held
    }

    /// The room that it needs. What views repeat is not in it.
    pub fn need(&self) -> Need {
        Need { wire: self.data.data_body.len(), held: self.sizes.held, expanded: self.sizes.expanded }
    }

    /// Which dictionary it is.
    pub fn dictionary(&self) -> i64 {
        self.dictionary
    }
}

/// For what is trusted, such as a server's answer to its own client.
impl Default for Decoder {
    fn default() -> Self {
        Self::within(usize::MAX)
    }
}

impl Decoder {
    /// A decoder for messages that unpack to `bytes_max` at most, which is `ingest.stream_memory_limit`.
    pub fn within(bytes_max: usize) -> Self {
        Self {
            schema: None,
            dictionaries: HashMap::new(),
            known: HashMap::new(),
            replaced: 0,
            messages: 0,
            bytes_max,
        }
    }

    /// Decodes the next message.
    ///
    /// Errors: as `look` and `rows`.
    pub fn decode(&mut self, message: FlightData) -> Result<Decoded> {
        Ok(match self.look(message)? {
            CheckedMessage::Schema(schema) => Decoded::Schema(schema),
            CheckedMessage::Rows(waiting) => {
                let held_bytes = waiting.held_bytes();
                Decoded::Batch(self.rows(waiting)?, held_bytes)
            }
            CheckedMessage::Dictionary(waiting) => {
                self.dictionary(waiting)?;
                Decoded::Nothing
            }
            CheckedMessage::Nothing => Decoded::Nothing,
        })
    }

    /// Takes the schema from the footer of an Arrow file, in the place of a first message.
    ///
    /// Errors: as `look`.
    pub fn footer(&mut self, footer: &[u8]) -> Result<SchemaRef> {
        self.caught(|decoder| {
            let read = root_as_footer(footer).map_err(|error| decoder.bad(error))?;
            let header = read.schema().ok_or_else(|| decoder.bad("a footer without a schema"))?;
            decoder.begin(header, footer.len())
        })
    }

    /// Looks at the next message: whether what it declares fits together, and how much room it needs.
    ///
    /// Errors: `Invalid`, or `Exhausted` for what a setting bounds, naming the number of the message, the column
    /// and what is wrong with it. The stream is over then.
    pub fn look(&mut self, message: FlightData) -> Result<CheckedMessage> {
        self.messages += 1;
        if message.data_header.is_empty() {
            return if message.data_body.is_empty() {
                Ok(CheckedMessage::Nothing)
            } else {
                Err(self.bad("a body without an Arrow IPC header"))
            };
        }
        self.caught(|decoder| decoder.look_at(message))
    }

    /// Decodes rows that have been looked at last.
    ///
    /// Errors: `Invalid`, naming the number of the message and what is wrong with it. The stream is over then.
    pub fn rows(&mut self, waiting: Undecoded) -> Result<RecordBatch> {
        self.caught(|decoder| {
            let Undecoded { mut data, .. } = waiting;
            let message = root_as_message(&data.data_header).map_err(|error| decoder.bad(error))?;
            let header = message.header_as_record_batch().ok_or_else(|| decoder.bad("no record batch"))?;
            let body = body(std::mem::take(&mut data.data_body), header.compression().is_some());
            let schema = decoder.expect_schema()?;
            read_record_batch(&body, header, schema, &decoder.dictionaries, None, &message.version())
                .map_err(|error| decoder.bad(error))
        })
    }

    /// Takes a dictionary that has been looked at last.
    ///
    /// Errors: as `rows`.
    pub fn dictionary(&mut self, waiting: Undecoded) -> Result<()> {
        self.caught(|decoder| {
            let Undecoded { mut data, sizes, dictionary: id } = waiting;
            let message = root_as_message(&data.data_header).map_err(|error| decoder.bad(error))?;
            let header = message.header_as_dictionary_batch().ok_or_else(|| decoder.bad("no dictionary"))?;
            let is_packed = header.data().is_some_and(|data| data.compression().is_some());
            let body = body(std::mem::take(&mut data.data_body), is_packed);
            let schema: &Schema = &*decoder.expect_schema()?;
            let mut dictionaries = std::mem::take(&mut decoder.dictionaries);
            let read = read_dictionary(&body, header, schema, &mut dictionaries, &message.version());
            decoder.dictionaries = dictionaries;
            read.map_err(|error| decoder.bad(error))?;
            let values = decoder.dictionaries.get(&id).ok_or_else(|| decoder.bad("no dictionary"))?;
            let known = Known { bytes: sizes.held, longest_value: expand::longest_value(values) };
            let before = decoder.known.insert(id, known).unwrap_or_default();
            decoder.replaced = decoder.replaced.max(before.bytes);
            Ok(())
        })
    }

    /// The schema, once it came.
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// arrow-rs checks what it reads, but a few inconsistent messages make it panic; those end here.
    fn caught<T>(&mut self, run: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(|| run(self)))
            .unwrap_or_else(|_| Err(self.bad("inconsistent Arrow IPC data")))
    }

    fn look_at(&mut self, data: FlightData) -> Result<CheckedMessage> {
        let message = root_as_message(&data.data_header).map_err(|error| self.bad(error))?;
        match message.header_type() {
            MessageHeader::Schema => {
                if self.schema.is_some() {
                    return Err(self.bad("a second schema in one stream"));
                }
                let header = message.header_as_schema().ok_or_else(|| self.bad("no schema in the header"))?;
                Ok(CheckedMessage::Schema(self.begin(header, data.data_header.len())?))
            }
            MessageHeader::RecordBatch => {
                let schema = self.expect_schema()?;
                let header = message
                    .header_as_record_batch()
                    .ok_or_else(|| self.bad("no record batch in the header"))?;
                let mut sizes = self.check(&message, header, &data.data_body, &schema)?;
                if sizes.expanded > 0 {
                    // Rows that wait to be made plain keep the dictionaries alive that were theirs.
                    sizes.held = sizes.held.saturating_add(self.replaced);
                }
                Ok(CheckedMessage::Rows(Undecoded { data, sizes, dictionary: 0 }))
            }
            MessageHeader::DictionaryBatch => {
                let schema = self.expect_schema()?;
                let header = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| self.bad("no dictionary in the header"))?;
                let id = header.id();
                let (column, values) = dictionary_values(&schema, id)
                    .ok_or_else(|| self.bad(format!("a dictionary {id} that no column has")))?;
                let values = Schema::new(vec![Field::new(column, values, true)]);
                let batch = header.data().ok_or_else(|| self.bad("a dictionary without values"))?;
                let mut sizes = self.check(&message, batch, &data.data_body, &values)?;
                if header.isDelta() {
                    let before = self.known.get(&id).ok_or_else(|| {
                        self.bad(format!("values for the dictionary {id}, which has not come before"))
                    })?;
                    // Adding makes a new array out of the two.
                    sizes.held = sizes.held.saturating_add(before.bytes);
                }
                let all = self.known.iter().filter(|(known, _)| **known != id).map(|(_, known)| known.bytes);
                let all = all.sum::<usize>().saturating_add(sizes.held);
                if all > self.bytes_max {
                    return Err(self.refused(Error::exhausted(
                        "ingest.stream_memory_limit",
                        format!(
                            "the dictionaries of the stream take {all} bytes where {} are allowed; send plain \
                             columns or smaller dictionaries",
                            self.bytes_max
                        ),
                    )));
                }
                Ok(CheckedMessage::Dictionary(Undecoded { data, sizes, dictionary: id }))
            }
            other => Err(self.bad(format!("an Arrow IPC message of type {other:?}"))),
        }
    }

    fn begin(&mut self, header: ipc::Schema<'_>, header_bytes: usize) -> Result<SchemaRef> {
        check::schema(header, header_bytes).map_err(|error| self.refused(error))?;
        let schema: SchemaRef = Arc::new(wide::schema(header).map_err(|error| self.refused(error))?);
        self.schema = Some(Arc::clone(&schema));
        Ok(schema)
    }

    fn check(
        &self,
        message: &Message<'_>,
        header: ipc::RecordBatch<'_>,
        body: &[u8],
        schema: &Schema,
    ) -> Result<Sizes> {
        let declared =
            usize::try_from(message.bodyLength()).map_err(|_| self.bad("a negative body length"))?;
        if declared > body.len() {
            return Err(self.bad(format!("a body of {} bytes where {declared} are declared", body.len())));
        }
        let longest = |id: i64| self.known.get(&id).map_or(0, |known| known.longest_value);
        let limits = Limits {
            bytes_max: self.bytes_max,
            setting: "ingest.stream_memory_limit",
            longest_value: &longest,
        };
        check::batch(header, message.version(), body, schema, &limits).map_err(|error| self.refused(error))
    }

    fn expect_schema(&self) -> Result<SchemaRef> {
        self.schema.clone().ok_or_else(|| self.bad("rows before the schema"))
    }

    fn refused(&self, error: Error) -> Error {
        let what = if error.kind() == Kind::Exhausted { "is too large" } else { "cannot be decoded" };
        error.context(format!("message {} of the stream {what}", self.messages))
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        self.refused(Error::invalid(what.to_string()))
    }
}

/// The body, aligned. Inside a protobuf message it starts at any byte, so it is almost always copied
/// once here as a whole; arrow-rs would otherwise copy buffer by buffer and keep the original as well. What is to be
/// unpacked is read where it is.
fn body(body: Bytes, is_packed: bool) -> Buffer {
    if is_packed || body.as_ptr().align_offset(ALIGNMENT) == 0 {
        return Buffer::from(body);
    }
    let mut aligned = MutableBuffer::with_capacity(body.len());
    aligned.extend_from_slice(&body);
    aligned.into()
}

/// The name of the first column that has a dictionary, and the type of its values.
fn dictionary_values(schema: &Schema, id: i64) -> Option<(String, DataType)> {
    #[expect(deprecated, reason = "arrow-rs keeps the ids of dictionaries nowhere else")]
    let fields = schema.fields_with_dict_id(id);
    let field = fields.first()?;
    match field.data_type() {
        DataType::Dictionary(_, values) => Some((field.name().clone(), (**values).clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
