//! Files and streams of Arrow's own format: their batches as pieces, their content as checksums.
//! Runs on: threads that read; blocks.
//! Never: cuts a batch between two pieces; believes what a header declares before it is held against the file; takes
//! an early end for a whole file.
//!
//! Messages are decoded by the server's own decoder, which looks at what a message declares before it allocates any of
//! it. A batch that is too large to be held is read in slices.

mod cutter;
mod layout;
mod window;

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::ingest::StreamChecksum;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use pintail_protocol::decode::{Decoded, Decoder};
use xxhash_rust::xxh3::Xxh3;

use super::found::FoundFile;
use super::input::{Batches, Input, LoadFile, Piece, PieceReader, Stamp};
use layout::{Frame, Layout};
use window::Window;

/// A batch above this is read in slices of about half of it, unless it is compressed.
const BATCH_BYTES: u64 = 32 << 20;
/// What one message may unpack to. A few compressed bytes can declare anything.
const UNPACKED_BYTES_MAX: usize = 4 << 30;

/// Reads what an Arrow file or stream says about itself.
///
/// Errors: `Invalid` naming the file and, where it is one, the batch: a file that is cut short, a footer that says other
/// things than the file holds.
pub(super) fn open(found: &FoundFile) -> Result<Arc<dyn LoadFile>> {
    let input = found.open()?;
    let (layout, decoder) = begin(found, &input)?;
    let schema =
        decoder.schema().cloned().ok_or_else(|| failed(found, Error::invalid("it has no schema")))?;
    let (pieces, batches) = cut(&layout.frames);
    Ok(Arc::new(ArrowFile { found: found.clone(), stamp: input.stamp(), schema, pieces, batches }))
}

fn begin(found: &FoundFile, input: &Input) -> Result<(Layout, Decoder)> {
    let read = || {
        let layout = layout::read(input)?;
        let mut decoder = Decoder::within(UNPACKED_BYTES_MAX);
        layout.begin(&mut decoder)?;
        Ok((layout, decoder))
    };
    read().map_err(|error| failed(found, error))
}

/// Which batches make a piece: each one that has rows, so that a file that grows keeps all the pieces it had.
fn cut(frames: &[Frame]) -> (Vec<Piece>, Vec<u32>) {
    let (mut pieces, mut counts) = (Vec::new(), Vec::new());
    let (mut rows, mut bytes, mut count) = (0_u64, 0_u64, 0_u32);
    for frame in frames {
        bytes = bytes.saturating_add(frame.bytes());
        let Some(more) = frame.rows else { continue };
        rows = rows.saturating_add(more);
        count += 1;
        if rows > 0 {
            pieces.push(Piece { rows: Some(rows), bytes, held: bytes });
            counts.push(count);
            (rows, bytes, count) = (0, 0, 0);
        }
    }
    if rows > 0 {
        pieces.push(Piece { rows: Some(rows), bytes, held: bytes });
        counts.push(count);
    }
    (pieces, counts)
}

struct ArrowFile {
    found: FoundFile,
    stamp: Stamp,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    /// Batches of each piece.
    batches: Vec<u32>,
}

impl LoadFile for ArrowFile {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn reader(&self) -> Result<Box<dyn PieceReader>> {
        let input = self.found.open()?;
        if input.stamp() != self.stamp {
            return Err(Error::new(
                Kind::Conflict,
                format!("{} was written to after it was looked at; load it again", self.found.shown),
            ));
        }
        let (layout, decoder) = begin(&self.found, &input)?;
        let mut ends = Vec::with_capacity(self.batches.len());
        let (mut end, mut batch) = (0, 0);
        for count in &self.batches {
            let mut left = *count;
            while left > 0 {
                let frame = layout.frames.get(end).ok_or_else(|| cut_short(&self.found))?;
                left -= u32::from(frame.rows.is_some());
                end += 1;
            }
            ends.push((end, batch));
            batch += u64::from(*count);
        }
        Ok(Box::new(ArrowReader {
            found: self.found.clone(),
            input,
            frames: layout.frames.into(),
            pieces: self.pieces.clone(),
            ends,
            at: 0,
            fresh: decoder.clone(),
            decoder,
        }))
    }
}

struct ArrowReader {
    found: FoundFile,
    input: Input,
    frames: Arc<[Frame]>,
    pieces: Vec<Piece>,
    /// Of each piece the frame that it ends before, and the number of its first batch from 0.
    ends: Vec<(usize, u64)>,
    /// The piece that `decoder` has the dictionaries for, those within it apart.
    at: usize,
    decoder: Decoder,
    fresh: Decoder,
}

impl ArrowReader {
    fn batches(&mut self, piece: usize) -> Result<Reading> {
        if piece < self.at {
            self.decoder = self.fresh.clone();
            self.at = 0;
        }
        let start = |piece: usize| piece.checked_sub(1).map_or(0, |before| self.ends[before].0);
        let (Some((end, first_batch)), Some(known)) = (self.ends.get(piece), self.pieces.get(piece)) else {
            return Err(failed(&self.found, Error::internal("it has no such piece")));
        };
        for frame in &self.frames[start(self.at)..start(piece)] {
            if frame.rows.is_none() {
                let message = frame.read(&self.input).map_err(|error| failed(&self.found, error))?;
                self.decoder.decode(message).map_err(|error| self.undecoded(*first_batch, error))?;
            }
        }
        self.at = piece;
        Ok(Reading {
            found: self.found.clone(),
            input: self.input.clone(),
            frames: Arc::clone(&self.frames),
            next: start(piece),
            end: *end,
            decoder: self.decoder.clone(),
            batch: *first_batch,
            rows_left: known.rows.unwrap_or_default(),
            window: None,
            is_over: false,
        })
    }

    fn undecoded(&self, batch: u64, error: Error) -> Error {
        failed(&self.found, undecoded(batch, error))
    }
}

impl PieceReader for ArrowReader {
    fn checksum(&mut self, piece: usize) -> Result<u64> {
        let mut values = StreamChecksum::default();
        // Where a batch is read in slices, the slices count as the batches that they are; their cut goes by the file's
        // content alone.
        let batches = self.batches(piece)?;
        let schema = self.fresh.schema().cloned();
        for batch in batches {
            values.add(&batch?).map_err(|error| failed(&self.found, error))?;
        }
        let mut checksum = Xxh3::new();
        for field in schema.iter().flat_map(|schema| schema.fields()) {
            checksum.update(format!("{}\0{}\0", field.name(), field.data_type()).as_bytes());
        }
        checksum.update(&values.value().to_le_bytes());
        Ok(checksum.digest())
    }

    fn read(&mut self, piece: usize) -> Result<Batches> {
        Ok(Box::new(self.batches(piece)?))
    }
}

/// The batches of one piece as they are read.
struct Reading {
    found: FoundFile,
    input: Input,
    frames: Arc<[Frame]>,
    next: usize,
    end: usize,
    decoder: Decoder,
    /// The number of the next batch of the file, from 0.
    batch: u64,
    rows_left: u64,
    window: Option<Window>,
    is_over: bool,
}

impl Reading {
    fn advance(&mut self) -> Result<Option<arrow::array::RecordBatch>> {
        loop {
            let message = match &mut self.window {
                Some(window) => match window.next(&self.input)? {
                    Some(message) => message,
                    None => {
                        self.window = None;
                        continue;
                    }
                },
                None if self.next == self.end => {
                    self.input.check_unchanged()?;
                    return match self.rows_left {
                        0 => Ok(None),
                        _ => Err(cut_short(&self.found)),
                    };
                }
                None => {
                    let frame = self.frames[self.next];
                    self.next += 1;
                    self.batch += u64::from(frame.rows.is_some());
                    let schema = self.decoder.schema().cloned();
                    if frame.rows.is_some()
                        && frame.body > BATCH_BYTES
                        && let Some(schema) = schema
                        && let Some(window) = Window::over(&frame, &self.input, &schema, BATCH_BYTES / 2)?
                    {
                        self.window = Some(window);
                        continue;
                    }
                    frame.read(&self.input)?
                }
            };
            if let Some(batch) = self.decoded(message)? {
                return Ok(Some(batch));
            }
        }
    }

    fn decoded(&mut self, message: FlightData) -> Result<Option<arrow::array::RecordBatch>> {
        let Decoded::Batch(batch, _) = self.decoder.decode(message)? else { return Ok(None) };
        let rows = batch.num_rows() as u64;
        self.rows_left = self
            .rows_left
            .checked_sub(rows)
            .ok_or_else(|| Error::invalid("it holds more rows than the file says"))?;
        Ok((rows > 0).then_some(batch))
    }
}

impl Iterator for Reading {
    type Item = Result<arrow::array::RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        match self.advance() {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                self.is_over = true;
                None
            }
            Err(error) => {
                self.is_over = true;
                let error = match error.kind() {
                    Kind::Conflict => error,
                    _ => failed(&self.found, undecoded(self.batch.saturating_sub(1), error)),
                };
                Some(Err(error))
            }
        }
    }
}

/// `batch` is its number from 0.
fn undecoded(batch: u64, error: Error) -> Error {
    let number = batch + 1;
    if error.kind() == Kind::Exhausted {
        return Error::invalid(format!(
            "record batch {number} unpacks to more than {} GiB; write it in smaller batches",
            UNPACKED_BYTES_MAX >> 30
        ));
    }
    error.reworded(format!("record batch {number}: {error}"))
}

fn failed(found: &FoundFile, error: Error) -> Error {
    error.context(format!("cannot read {}", found.shown))
}

fn cut_short(found: &FoundFile) -> Error {
    failed(found, Error::invalid("it holds fewer rows than it says"))
}

#[cfg(test)]
mod tests;
