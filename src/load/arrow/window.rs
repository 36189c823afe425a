//! A record batch that is too large to be held -> messages of some of its rows each, read where they lie.
//! Runs on: threads that read; blocks.
//! Never: holds more than twice the bound, a single row that is larger apart; reads outside of the batch's body.
//!
//! Each message is the batch's own header with other numbers in it, so the decoder checks it as it does any other.
//! Compressed bodies cannot be entered in the middle; they, runs and unions are read as a whole.

use crate::error::{Error, Result};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc;
use arrow::ipc::root_as_message;
use arrow_flight::FlightData;

use super::super::input::Input;
use super::cutter::{BatchLayout, Cutter, Stop};
use super::layout::Frame;

/// The rows of a large batch that have not been read.
pub(super) struct Window {
    batch: BatchLayout,
    header: Vec<u8>,
    places: Places,
    row: u64,
    rows: u64,
    step: u64,
    bytes_max: u64,
}

/// Where the numbers lie in the header.
struct Places {
    nodes: usize,
    buffers: usize,
    rows: usize,
    body: usize,
}

impl Window {
    /// Messages of about `bytes_max` each; `None` for a batch that must be read as a whole.
    pub(super) fn over(
        frame: &Frame,
        input: &Input,
        schema: &SchemaRef,
        bytes_max: u64,
    ) -> Result<Option<Self>> {
        let header = frame.header(input)?;
        let message = root_as_message(&header).map_err(|error| Error::invalid(error.to_string()))?;
        let Some(batch) = message.header_as_record_batch() else { return Ok(None) };
        let rows = frame.rows.unwrap_or_default();
        let is_whole = schema.fields().iter().any(|field| !can_enter(field.data_type()));
        let (Some(nodes), Some(buffers)) = (batch.nodes(), batch.buffers()) else { return Ok(None) };
        if rows < 2 || batch.compression().is_some() || is_whole {
            return Ok(None);
        }
        let at = |part: &[u8]| part.as_ptr() as usize - header.as_ptr() as usize;
        let places = Places {
            nodes: at(nodes.bytes()),
            buffers: at(buffers.bytes()),
            rows: batch._tab.loc() + usize::from(batch._tab.vtable().get(ipc::RecordBatch::VT_LENGTH)),
            body: message._tab.loc() + usize::from(message._tab.vtable().get(ipc::Message::VT_BODYLENGTH)),
        };
        let natural = |number: i64| {
            u64::try_from(number).map_err(|_| Error::invalid(format!("it declares the number {number}")))
        };
        let nodes = nodes.iter().map(|node| Ok((natural(node.length())?, natural(node.null_count())?)));
        let nodes = nodes.collect::<Result<Vec<_>>>()?;
        let buffers = buffers.iter().map(|buffer| Ok((natural(buffer.offset())?, natural(buffer.length())?)));
        let buffers = buffers.collect::<Result<Vec<_>>>()?;
        let counts = batch.variadicBufferCounts().into_iter().flatten().map(natural);
        let counts = counts.collect::<Result<Vec<_>>>()?;
        let step = (u128::from(rows) * u128::from(bytes_max) / u128::from(frame.body.max(1))).max(1);
        Ok(Some(Self {
            batch: BatchLayout { frame: *frame, nodes, buffers, counts, schema: SchemaRef::clone(schema) },
            places,
            row: 0,
            rows,
            step: u64::try_from(step).unwrap_or(rows),
            bytes_max,
            header,
        }))
    }

    /// The next rows; `None` behind the last ones.
    pub(super) fn next(&mut self, input: &Input) -> Result<Option<FlightData>> {
        while self.row < self.rows {
            let count = self.step.min(self.rows - self.row);
            // A row is never cut.
            let bytes_max = if count == 1 { u64::MAX } else { self.bytes_max * 2 };
            let mut cutter = Cutter::new(&self.batch, input, bytes_max);
            match cutter.rows(self.row, count) {
                Ok(()) => {
                    let (nodes, buffers, body) = (cutter.nodes, cutter.buffers, cutter.body);
                    if (body.len() as u64) < self.bytes_max / 2 {
                        self.step = count.saturating_mul(2);
                    }
                    self.row += count;
                    return self.message(count, &nodes, &buffers, body).map(Some);
                }
                Err(Stop::TooLarge) => self.step = (count / 2).max(1),
                Err(Stop::Failed(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    fn message(
        &self,
        rows: u64,
        nodes: &[(u64, u64)],
        buffers: &[(u64, u64)],
        body: Vec<u8>,
    ) -> Result<FlightData> {
        if nodes.len() != self.batch.nodes.len() || buffers.len() != self.batch.buffers.len() {
            return Err(Error::invalid("the batch has more columns or buffers than its schema"));
        }
        let mut header = self.header.clone();
        let mut write = |at: usize, number: u64| {
            if let Some(place) = header.get_mut(at..at + 8) {
                place.copy_from_slice(&number.to_le_bytes());
            }
        };
        write(self.places.rows, rows);
        write(self.places.body, body.len() as u64);
        for (places, numbers) in [(self.places.nodes, nodes), (self.places.buffers, buffers)] {
            for (index, (first, second)) in numbers.iter().enumerate() {
                write(places + 16 * index, *first);
                write(places + 16 * index + 8, *second);
            }
        }
        Ok(FlightData { data_header: header.into(), data_body: body.into(), ..Default::default() })
    }
}

/// Whether rows of the type can be read without those before them.
fn can_enter(data_type: &DataType) -> bool {
    match data_type {
        DataType::RunEndEncoded(..) | DataType::Union(..) => false,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => can_enter(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| can_enter(field.data_type())),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
