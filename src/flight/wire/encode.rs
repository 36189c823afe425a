//! RecordBatch -> frames: Arrow IPC header and the batch's own buffers, ready to be written once.
//! Runs on: the task of the call.
//! Never: copies a batch's buffers; `pieces` hands them to HTTP/2 as they are.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::ipc::CompressionType;
use pintail_protocol::decode::DEPTH_MAX;
use pintail_protocol::frame::{Frame, FrameEncoder};

use super::form::{Form, Shaping};
use crate::error::{Error, Result};

/// Encodes one stream: the schema once, then batches with the dictionaries they need.
pub struct Encoder {
    frames: FrameEncoder,
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
    pub(in crate::flight) fn in_form(
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
        let shaping = Shaping::new(schema, form);
        Ok(Self { frames: FrameEncoder::new(shaping.schema(), compression)?, shaping })
    }

    /// The stream's first frame. Known before the first batch, so that a client can start on the schema.
    pub fn schema_frame(&self, schema: &Schema) -> Result<Frame> {
        self.frames.schema(&self.shaping.form().schema(schema))
    }

    /// Frames of a batch: new dictionaries, if any, and the rows.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Frame>> {
        self.frames.rows(&self.shaping.batch(batch)?)
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
