//! The pieces of a part -> batches of the columns that are sent, small ones joined, each piece declared with its last row.
//! Runs on: a thread that reads; blocks. Never: holds more than one piece's batches; declares a piece that was not read to
//! its end.

use std::sync::Arc;

use crate::client::{Loaded, Source};
use crate::error::{Error, Kind, Result};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use tokio::sync::mpsc::Sender;

use super::files::{Content, Opened};
use super::known::{Known, Stored};
use super::plan::Part;
use super::report::Progress;
use crate::files::found::FoundFile;
use crate::files::input::PieceReader;

/// Rows and bytes that small batches are joined up to.
const JOINED_ROWS: usize = 65_536;
const JOINED_BYTES: usize = 4 << 20;

/// What a part came to.
#[derive(Debug, Default)]
pub(super) struct ReadPart {
    /// Pieces that were there already: file and checksum.
    pub(super) left_out: Vec<(usize, u64)>,
    /// Of those, the ones whose rows have not the same columns of folders, by file.
    pub(super) unlike: Vec<usize>,
    /// What was there already of pieces whose rest was new.
    pub(super) met: Vec<(usize, u64)>,
    /// Pieces that were sent, with their rows.
    pub(super) sent: Vec<(usize, u64, u64)>,
    /// The file that could not be read, and why.
    pub(super) failed: Option<(usize, Error)>,
}

/// Reads a part into `to`; ends early when nobody takes it. An error is sent as the last item.
pub(super) fn read_part(
    part: &Part,
    files: &Opened,
    (known, is_again): (&Known, bool),
    progress: &dyn Progress,
    to: &Sender<Result<Option<Loaded>>>,
) -> ReadPart {
    let mut done = ReadPart::default();
    let mut joined =
        Joined { schema: None, batches: Vec::new(), rows: 0, bytes: 0, sources: Vec::new(), progress, to };
    let mut open: Option<(usize, Box<dyn PieceReader>)> = None;
    // All of it is loaded, so none of it is known.
    let none = Known::default();
    let told = if is_again { &none } else { known };
    for place in &part.pieces {
        let outcome = (|| {
            let reader = match &mut open {
                Some((number, reader)) if *number == place.file => reader,
                other => {
                    // The file before is closed first.
                    *other = None;
                    &mut other.insert((place.file, files.reader(place.file, told)?)).1
                }
            };
            let file = &files.files[place.file].data.file;
            let content = files.content(place.file)?;
            let checksum = reader.checksum(place.piece)?;
            if !is_again {
                for part in reader.left_out() {
                    let stored = known.take_any(&file.name, *part, content.marks());
                    done.met.extend(stored.map(|stored| (place.file, stored.checksum)));
                }
                if let Some(stored) = known.take_any(&file.name, checksum, content.marks()) {
                    return Ok(Piece::LeftOut(stored));
                }
            }
            let checksum = content.marks().now(checksum);
            read_piece((file, content), (place.piece, checksum), reader.as_mut(), known, &mut joined)
        })();
        match outcome {
            Ok(Piece::LeftOut(stored)) => {
                done.left_out.push((place.file, stored.checksum));
                if !stored.is_alike {
                    done.unlike.push(place.file);
                }
            }
            Ok(Piece::Sent { checksum, rows }) => done.sent.push((place.file, checksum, rows)),
            Ok(Piece::NobodyTakes) => return done,
            Err(error) => {
                // Whoever took the batches is gone, and needs no reason.
                let _ = to.blocking_send(Err(error.clone()));
                done.failed = Some((place.file, error));
                return done;
            }
        }
    }
    joined.flush();
    done
}

enum Piece {
    LeftOut(Stored),
    Sent { checksum: u64, rows: u64 },
    NobodyTakes,
}

fn read_piece(
    (file, content): (&FoundFile, &Content),
    (piece, checksum): (usize, u64),
    reader: &mut dyn PieceReader,
    known: &Known,
    joined: &mut Joined<'_>,
) -> Result<Piece> {
    let mut rows = 0_u64;
    for batch in reader.read(piece)? {
        let batch = content.adapt(&batch?)?;
        rows += batch.num_rows() as u64;
        if batch.num_rows() > 0 && !joined.push(batch) {
            return Ok(Piece::NobodyTakes);
        }
    }
    // The reader has compared them with what the file promises; this is the last look before the rows are named whole.
    if let Some(promised) = content.pieces[piece].rows
        && promised != rows
    {
        return Err(Error::new(
            Kind::Invalid,
            format!("cannot read {}: expected {promised} rows, found {rows}", file.shown),
        ));
    }
    if rows > 0 {
        let (stored, of_file) = known.send(&file.name, checksum);
        joined.declare(Source {
            file: file.name.clone().into(),
            piece: format!("{checksum:016x}").into(),
            rows,
            stored,
            of_file: Some(of_file),
        });
    }
    Ok(Piece::Sent { checksum, rows })
}

/// Batches on their way to the put stream.
struct Joined<'a> {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    sources: Vec<Source<'static>>,
    progress: &'a dyn Progress,
    to: &'a Sender<Result<Option<Loaded>>>,
}

impl Joined<'_> {
    /// Takes a batch; false when nobody takes them any more.
    fn push(&mut self, batch: RecordBatch) -> bool {
        // Sliced arrays share their buffers, so this may be more than is sent; it only makes smaller messages.
        let bytes = batch.get_array_memory_size();
        if !self.batches.is_empty()
            && (self.rows + batch.num_rows() > JOINED_ROWS || self.bytes + bytes > JOINED_BYTES)
            && !self.flush()
        {
            return false;
        }
        self.rows += batch.num_rows();
        self.bytes += bytes;
        self.schema.get_or_insert_with(|| batch.schema());
        self.batches.push(batch);
        true
    }

    /// What is declared goes with the batch that has the last row of the piece, or a later one.
    fn declare(&mut self, source: Source<'static>) {
        self.sources.push(source);
    }

    fn flush(&mut self) -> bool {
        let Some(schema) = &self.schema else { return true };
        let batches = std::mem::take(&mut self.batches);
        (self.rows, self.bytes) = (0, 0);
        let joined = match batches.len() {
            0 => return true,
            1 => batches,
            // Dictionaries that do not fit into one go as they are.
            _ => concat_batches(schema, &batches).map_or(batches, |joined| vec![joined]),
        };
        let count = joined.len();
        for (number, batch) in joined.into_iter().enumerate() {
            let sources = if number + 1 == count { std::mem::take(&mut self.sources) } else { Vec::new() };
            let batch = batch.with_schema(Arc::clone(schema)).map_err(Error::from);
            let rows = batch.as_ref().map_or(0, RecordBatch::num_rows);
            let loaded = batch.map(|batch| Some(Loaded { batch, sources }));
            if self.to.blocking_send(loaded).is_err() {
                return false;
            }
            self.progress.advance(rows as u64);
        }
        true
    }
}
