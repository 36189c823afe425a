//! A text file whose columns are known: its blocks as pieces, each with a checksum, and their rows.
//! Runs on: threads that read; blocks.
//! Never: gives a record twice that a former load has stored.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::Result;
use arrow::datatypes::SchemaRef;
use xxhash_rust::xxh3::Xxh3;

use super::block::{At, BLOCK_BYTES, Block, Blocks, trimmed};
use super::shortened::ErrorContext;
use super::unpack::open_blocks;
use super::{csv, json};
use crate::files::found::FoundFile;
use crate::files::input::{Batches, Input, LoadFile, Piece, PieceReader, Stamp};
use crate::files::sniff::Compression;

/// Bytes that are read at once for the checksum of a compressed file.
const STEP_BYTES: usize = 1 << 20;

/// A text file whose columns are known.
pub(super) struct TextFile(pub(super) Arc<Content>);

/// What its readers share.
pub(super) struct Content {
    pub(super) found: FoundFile,
    pub(super) stamp: Stamp,
    pub(super) compression: Compression,
    pub(super) delimiter: Option<u8>,
    /// The first line of CSV.
    pub(super) head: String,
    pub(super) schema: SchemaRef,
    pub(super) context: Arc<ErrorContext>,
    /// Where blocks begin, as far as any reader got.
    pub(super) starts: Mutex<Vec<At>>,
    pub(super) pieces: Vec<Piece>,
    pub(super) unfinished: bool,
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
        self.reader_of_rest(HashSet::new())
    }

    fn reader_of_rest(&self, stored: HashSet<u64>) -> Result<Box<dyn PieceReader>> {
        let file = Arc::clone(&self.0);
        let input = file.found.open()?;
        if input.stamp() != file.stamp {
            return Err(input.changed());
        }
        Ok(Box::new(TextReader {
            file,
            input,
            stored,
            left_out: Vec::new(),
            blocks: None,
            next: 0,
            held: None,
            unfinished: None,
        }))
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
        let (schema, context) = (Arc::clone(&self.schema), Arc::clone(&self.context));
        match self.delimiter {
            Some(delimiter) => Box::new(csv::CsvBatches::new(block, schema, delimiter, context)),
            None => Box::new(json::JsonBatches::new(block, schema, context)),
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
    /// under. `left_out` gets the checksums that the records before it were stored under.
    fn rest(&self, mut block: Block, stored: &HashSet<u64>, left_out: &mut Vec<u64>) -> (Block, u64) {
        let mut checksum = self.begin(block.at.offset);
        let mut known = 0;
        for (index, (place, record)) in block.records().enumerate() {
            checksum.update(trimmed(record).as_bytes());
            checksum.update(b"\n");
            if stored.is_empty() {
                continue;
            }
            let so_far = checksum.digest();
            if stored.contains(&so_far) {
                known = index + 1;
                left_out.push(so_far);
                checksum = self.begin(block.at.offset + (place + record.len()) as u64);
            }
        }
        let is_whole = known == block.ends.len();
        if known > 0 {
            block.skip(known);
        }
        match left_out.pop_if(|_| is_whole) {
            Some(last) => (block, last),
            None => (block, checksum.digest()),
        }
    }
}

/// Reads blocks in their order.
struct TextReader {
    file: Arc<Content>,
    input: Input,
    /// Checksums of what former loads have stored of the file.
    stored: HashSet<u64>,
    /// Those of them that were met in the piece that was asked for last, before the rest of it.
    left_out: Vec<u64>,
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
        self.left_out.clear();
        let file = Arc::clone(&self.file);
        let of_blocks = file.pieces.len() - usize::from(file.unfinished);
        if piece < of_blocks {
            let block = self.block(piece)?;
            return Ok(file.rest(block, &self.stored, &mut self.left_out));
        }
        if self.unfinished.is_none() {
            self.block(of_blocks - 1)?;
        }
        let block = self.unfinished.take().ok_or_else(|| self.input.changed())?;
        Ok(file.rest(block, &self.stored, &mut self.left_out))
    }

    /// A block by its number. Those before it are passed over, for quotes and lines are counted from the beginning.
    fn block(&mut self, wanted: usize) -> Result<Block> {
        let (known, at) = self.file.start(wanted);
        let behind = self.blocks.is_none() || self.next > wanted || self.next < known;
        if behind {
            let (delimiter, shown) = (self.file.delimiter, self.file.context.shown.as_str());
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

    fn left_out(&self) -> &[u64] {
        &self.left_out
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
            Some(open_blocks(&input, file.compression, file.delimiter, &file.context.shown, start)?);
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
