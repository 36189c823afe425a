//! CSV and NDJSON, plain or compressed -> schema, pieces and batches.
//! Runs on: threads that read. Never: changes a value silently; stores a record of a growing file twice.
//!
//! A piece is a block of about 8 MiB of whole records. Blocks end at fixed marks, so a file that grows at its end keeps
//! all blocks but the last. Of that one a former load has stored the beginning: its checksum is among those `known` of
//! the file, and is found again by taking the records one by one into a checksum and looking it up after each. What is
//! known is left out, and the piece is the rest, with a checksum of its own. A checksum is of the place in the file, the
//! first line and the records, not of types: those found in a file may change when it grows, and a record would be stored
//! twice. What follows the last newline is a piece of its own: a writer may be in the middle of it.
//!
//! A compressed file is one piece.

mod block;
mod column;
mod csv;
mod header;
mod json;
mod shape;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashSet;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use pintail::error::{Error, Result};
use xxhash_rust::xxh3::Xxh3;

use self::block::{At, BLOCK_BYTES, Block, Blocks, trimmed};
use super::input::{Batches, FoundFile, Input, InputReader, LoadFile, Piece, PieceReader, Stamp};
use super::sniff::Compression;

/// Bytes of text that types are found in.
const INFER_BYTES: u64 = 64 << 20;
const BATCH_ROWS: usize = 8_192;
const STEP_BYTES: usize = 1 << 20;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// With a first line of names; delimited by what that line has most of.
    Csv,
    /// An object on each line.
    Ndjson,
}

/// What errors say besides what is wrong.
#[derive(Debug)]
struct Told {
    shown: String,
    advice: &'static str,
    /// The types are the table's.
    typed: bool,
}

/// Opens a file and finds its columns: the table's types for columns that `given` has, text for others; without a table
/// they are found in all of the file, up to 64 MiB of text. `known` are the checksums stored of this file.
///
/// Errors: `Invalid` naming file, line, and column or field.
pub(super) fn open(
    found: &FoundFile,
    kind: Kind,
    compression: Compression,
    given: Option<&SchemaRef>,
    known: &Arc<HashSet<u64>>,
) -> Result<Arc<dyn LoadFile>> {
    let input = found.open()?;
    let told = Told {
        shown: found.shown.clone(),
        advice: match given {
            Some(_) => "change the value, or the type of the table's column",
            None => {
                "give the column the type VARCHAR (or JSON) by CREATE TABLE before the load, or ALTER TABLE where a part \
                 is loaded, and load the file again"
            }
        },
        typed: given.is_some(),
    };
    let begin = first_byte(&input, compression)?;
    let open_with = |delimiter| open_blocks(&input, compression, delimiter, &told.shown, begin);
    let mut blocks = open_with(None)?;
    let (mut head, mut names, mut delimiter) = (String::new(), Vec::new(), None);
    if kind == Kind::Csv {
        let found_delimiter = header::delimiter(&first_line(&mut open_with(Some(b','))?, &told)?);
        // Once more, for a name may hold a newline and the delimiter tells where its quotes are.
        blocks = open_with(Some(found_delimiter))?;
        head = first_line(&mut blocks, &told)?;
        names = header::names(&head, found_delimiter, &told.shown)?;
        delimiter = Some(found_delimiter);
    }
    let start = blocks.at();
    let given = given.map(AsRef::as_ref);
    let schema = match (kind, delimiter, given) {
        (Kind::Csv, Some(_), Some(given)) => csv::given_schema(&names, given),
        (Kind::Csv, Some(delimiter), None) => {
            let mut inference = csv::Inference::new(&names, delimiter);
            let whole = infer(&mut blocks, start, |block| inference.add(block, &told))?;
            inference.schema(whole)
        }
        _ => {
            let mut inference = json::Inference::default();
            let whole = infer(&mut blocks, start, |block| inference.add(block, given, &told))?;
            inference.schema(given, whole, &told)?
        }
    };
    let (pieces, unfinished) = pieces(&input, compression, start)?;
    Ok(Arc::new(TextFile(Arc::new(Content {
        found: found.clone(),
        stamp: input.stamp(),
        compression,
        delimiter,
        head,
        schema: Arc::new(schema),
        told: Arc::new(told),
        starts: Mutex::new(vec![start]),
        pieces,
        unfinished,
        known: Arc::clone(known),
    }))))
}

/// The first record of CSV.
fn first_line(blocks: &mut Blocks, told: &Told) -> Result<String> {
    let first = blocks.next(blocks.at().offset + 1)?;
    match first.as_ref().map(|block| trimmed(&block.text)) {
        None | Some("") => {
            Err(Error::invalid(format!("{}, line 1: expected the names of the columns", told.shown)))
        }
        Some(line) => Ok(line.to_owned()),
    }
}

/// Past a byte order mark.
fn first_byte(input: &Input, compression: Compression) -> Result<At> {
    let mut first = Vec::new();
    let reader = unpacked(input, compression, 0)?;
    reader.take(3).read_to_end(&mut first).map_err(|error| super::input::unreadable(input.shown(), error))?;
    let offset = if first == BYTE_ORDER_MARK { 3 } else { 0 };
    Ok(At { offset, line: 1 })
}

/// The text from a place on. Compressed text is always read from its beginning.
fn open_blocks(
    input: &Input,
    compression: Compression,
    delimiter: Option<u8>,
    shown: &str,
    at: At,
) -> Result<Blocks> {
    Ok(Blocks::new(unpacked(input, compression, at.offset)?, shown, delimiter, at))
}

fn unpacked(input: &Input, compression: Compression, offset: u64) -> Result<Box<dyn Read + Send>> {
    let packed = |start| InputReader::new(input.clone(), start);
    let unreadable = |error| super::input::unreadable(input.shown(), error);
    let mut reader: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok(Box::new(packed(offset))),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(packed(0)))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(packed(0)).map_err(unreadable)?),
    };
    std::io::copy(&mut reader.by_ref().take(offset), &mut std::io::sink()).map_err(unreadable)?;
    Ok(reader)
}

/// Shows the first 64 MiB; whether that is all.
fn infer(blocks: &mut Blocks, start: At, mut add: impl FnMut(&Block) -> Result<()>) -> Result<bool> {
    let mut mark = start.offset + BLOCK_BYTES;
    while mark <= start.offset + INFER_BYTES {
        let Some(block) = blocks.next(mark)? else { return Ok(true) };
        add(&block)?;
        mark += BLOCK_BYTES;
    }
    blocks.is_ended()
}

/// The pieces of a file whose records begin at `start`, and whether the last one is a record that no newline ends.
fn pieces(input: &Input, compression: Compression, start: At) -> Result<(Vec<Piece>, bool)> {
    let len = input.len();
    if compression != Compression::None {
        let pieces =
            if len == 0 { vec![] } else { vec![Piece { rows: None, bytes: len, held: BLOCK_BYTES }] };
        return Ok((pieces, false));
    }
    if start.offset >= len {
        return Ok((vec![], false));
    }
    let first = start.offset / BLOCK_BYTES;
    let piece = |block: u64| {
        let begin = (block * BLOCK_BYTES).max(start.offset);
        Piece { rows: None, bytes: ((block + 1) * BLOCK_BYTES).min(len) - begin, held: BLOCK_BYTES }
    };
    let mut pieces: Vec<Piece> = (first..len.div_ceil(BLOCK_BYTES)).map(piece).collect();
    let mut tail = vec![0; usize::try_from((len - start.offset).min(64 << 10)).unwrap_or_default()];
    input.read_at(len - tail.len() as u64, &mut tail)?;
    let after = tail.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
    if after > 0 {
        if let Some(last) = pieces.last_mut() {
            last.bytes = last.bytes.saturating_sub(after);
        }
        pieces.push(Piece { rows: None, bytes: after, held: after });
    }
    Ok((pieces, after > 0))
}

/// A text file whose columns are known.
struct TextFile(Arc<Content>);

/// What its readers share.
struct Content {
    found: FoundFile,
    stamp: Stamp,
    compression: Compression,
    delimiter: Option<u8>,
    /// The first line of CSV.
    head: String,
    schema: SchemaRef,
    told: Arc<Told>,
    /// Where blocks begin, as far as any reader got.
    starts: Mutex<Vec<At>>,
    pieces: Vec<Piece>,
    unfinished: bool,
    known: Arc<HashSet<u64>>,
}

impl LoadFile for TextFile {
    fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    fn pieces(&self) -> &[Piece] {
        &self.0.pieces
    }

    fn has_open_end(&self) -> bool {
        self.0.unfinished
    }

    fn reader(&self) -> Result<Box<dyn PieceReader>> {
        let file = Arc::clone(&self.0);
        let input = file.found.open()?;
        if input.stamp() != file.stamp {
            return Err(input.changed());
        }
        Ok(Box::new(TextReader { file, input, blocks: None, next: 0, held: None, unfinished: None }))
    }
}

impl Content {
    /// Where the marks after a block are, from 0.
    fn mark(&self, block: usize) -> u64 {
        let first = self.start(0).1.offset / BLOCK_BYTES;
        (first + block as u64 + 1) * BLOCK_BYTES
    }

    /// The last block at or before `block` whose beginning is known.
    fn start(&self, block: usize) -> (usize, At) {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let last = block.min(starts.len() - 1);
        (last, starts[last])
    }

    fn learn_start(&self, block: usize, at: At) {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        if starts.len() == block {
            starts.push(at);
        }
    }

    fn batches(&self, block: Block) -> Batches {
        let (schema, told) = (Arc::clone(&self.schema), Arc::clone(&self.told));
        match self.delimiter {
            Some(delimiter) => Box::new(csv::CsvBatches::new(block, schema, delimiter, told)),
            None => Box::new(json::JsonBatches::new(block, schema, told)),
        }
    }

    /// A checksum of records from a place on.
    fn begin(&self, offset: u64) -> Xxh3 {
        let mut checksum = Xxh3::new();
        checksum.update(self.head.as_bytes());
        checksum.update(&offset.to_le_bytes());
        checksum
    }

    /// The part of a block that was not stored before, and its checksum; of a block that was, the checksum it was stored
    /// under.
    fn unknown(&self, mut block: Block) -> (Block, u64) {
        let mut checksum = self.begin(block.at.offset);
        let mut stored = None;
        for (index, (place, record)) in block.records().enumerate() {
            checksum.update(trimmed(record).as_bytes());
            checksum.update(b"\n");
            if self.known.is_empty() {
                continue;
            }
            let so_far = checksum.digest();
            if self.known.contains(&so_far) {
                stored = Some((index + 1, so_far));
                checksum = self.begin(block.at.offset + (place + record.len()) as u64);
            }
        }
        match stored {
            Some((count, last)) if count == block.ends.len() => {
                block.skip(count);
                (block, last)
            }
            Some((count, _)) => {
                block.skip(count);
                (block, checksum.digest())
            }
            None => (block, checksum.digest()),
        }
    }
}

/// Reads blocks in their order.
struct TextReader {
    file: Arc<Content>,
    input: Input,
    blocks: Option<Blocks>,
    /// The block that `blocks` stands before.
    next: usize,
    /// A piece whose checksum was asked for.
    held: Option<(usize, Block, u64)>,
    /// The record at the end of the file that no newline ends.
    unfinished: Option<Block>,
}

impl TextReader {
    /// The piece's records and checksum.
    fn piece(&mut self, piece: usize) -> Result<(Block, u64)> {
        if let Some((held, block, checksum)) = self.held.take()
            && held == piece
        {
            return Ok((block, checksum));
        }
        let file = Arc::clone(&self.file);
        let of_blocks = file.pieces.len() - usize::from(file.unfinished);
        if piece < of_blocks {
            return self.block(piece).map(|block| file.unknown(block));
        }
        if self.unfinished.is_none() {
            self.block(of_blocks - 1)?;
        }
        let block = self.unfinished.take().ok_or_else(|| self.input.changed())?;
        Ok(file.unknown(block))
    }

    /// A block by its number. Those before it are passed over, for quotes and lines are counted from the beginning.
    fn block(&mut self, wanted: usize) -> Result<Block> {
        let (known, at) = self.file.start(wanted);
        let behind = self.blocks.is_none() || self.next > wanted || self.next < known;
        if behind {
            let (delimiter, shown) = (self.file.delimiter, self.file.told.shown.as_str());
            self.blocks = Some(open_blocks(&self.input, Compression::None, delimiter, shown, at)?);
            self.next = known;
        }
        let Some(blocks) = &mut self.blocks else { return Err(self.input.changed()) };
        loop {
            let at = blocks.at();
            let block = blocks.next(self.file.mark(self.next))?;
            self.next += 1;
            self.file.learn_start(self.next, blocks.at());
            let mut block = block.unwrap_or(Block { at, text: String::new(), ends: vec![] });
            if self.file.unfinished
                && let Some(unfinished) = block.split_unfinished()
            {
                self.unfinished = Some(unfinished);
            }
            if self.next > wanted {
                return Ok(block);
            }
        }
    }

    /// The checksum of a compressed file is that of its bytes as they are.
    fn packed_checksum(&self) -> Result<u64> {
        let mut checksum = Xxh3::new();
        let mut step = vec![0; STEP_BYTES];
        let mut at = 0;
        while at < self.input.len() {
            let wanted = usize::try_from(self.input.len() - at).unwrap_or(STEP_BYTES).min(STEP_BYTES);
            self.input.read_at(at, &mut step[..wanted])?;
            checksum.update(&step[..wanted]);
            at += wanted as u64;
        }
        self.input.check_unchanged()?;
        Ok(checksum.digest())
    }
}

impl PieceReader for TextReader {
    fn checksum(&mut self, piece: usize) -> Result<u64> {
        if self.file.compression != Compression::None {
            return self.packed_checksum();
        }
        let (block, checksum) = self.piece(piece)?;
        self.input.check_unchanged()?;
        self.held = Some((piece, block, checksum));
        Ok(checksum)
    }

    fn read(&mut self, piece: usize) -> Result<Batches> {
        let file = Arc::clone(&self.file);
        if file.compression == Compression::None {
            let (block, _) = self.piece(piece)?;
            self.input.check_unchanged()?;
            return Ok(file.batches(block));
        }
        let start = file.start(0).1;
        let input = self.input.clone();
        let mut blocks =
            Some(open_blocks(&input, file.compression, file.delimiter, &file.told.shown, start)?);
        let mut mark = start.offset;
        let mut open: Option<Batches> = None;
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                if let Some(batch) = open.as_mut().and_then(Iterator::next) {
                    if batch.is_err() {
                        blocks = None;
                    }
                    return Some(batch);
                }
                mark += BLOCK_BYTES;
                match blocks.as_mut()?.next(mark) {
                    Ok(Some(block)) => open = Some(file.batches(block)),
                    Ok(None) => {
                        blocks = None;
                        return input.check_unchanged().err().map(Err);
                    }
                    Err(error) => {
                        blocks = None;
                        return Some(Err(error));
                    }
                }
            }
        })))
    }
}

/// A value as errors show it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
