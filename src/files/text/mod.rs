//! CSV and NDJSON, plain or compressed -> schema, pieces and batches.
//! Runs on: threads that read. Never: changes a value silently; stores a record of a growing file twice.
//!
//! A piece is a block of about 8 MiB of whole records. Blocks end at fixed marks, so a file that grows at its end keeps
//! all blocks but the last. Of that one a former load has stored the beginning: its checksum is among those `stored` of
//! the file, and is found again by taking the records one by one into a checksum and looking it up after each. What is
//! known is left out, and the piece is the rest, with a checksum of its own. A checksum is of the place in the file, the
//! first line and the records, not of types: those found in a file may change when it grows, and a record would be stored
//! twice. What follows the last newline is a piece of its own: a writer may be in the middle of it.
//!
//! A compressed file is one piece.

mod block;
mod column;
mod csv;
mod file;
mod header;
mod json;
mod shape;
mod shortened;
mod streamed;
#[cfg(test)]
mod tests;
mod unpack;
mod value;

pub use self::streamed::{Given, TextStream, stream};

use std::io::Read;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use arrow::datatypes::SchemaRef;

use self::block::{At, BLOCK_BYTES, Block, Blocks, trimmed};
use self::file::{Content, TextFile};
use self::shortened::ErrorContext;
use self::unpack::{open_blocks, unpacked};
use super::found::FoundFile;
use super::input::{Input, LoadFile, Piece};
use super::sniff::Compression;

/// Bytes of text that types are found in.
const INFER_BYTES: u64 = 64 << 20;
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The form of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With a first line of names; delimited by what that line has most of.
    Csv,
    /// An object on each line.
    Ndjson,
}

/// Opens a file and finds its columns: the table's types for columns that `given` has, text for others; without a table
/// they are found in all of the file, up to 64 MiB of text.
///
/// Errors: `Invalid` naming file, line, and column or field.
pub fn open(
    found: &FoundFile,
    kind: Kind,
    compression: Compression,
    given: Option<&SchemaRef>,
) -> Result<Arc<dyn LoadFile>> {
    let input = found.open()?;
    let context =
        ErrorContext { shown: found.shown.clone(), advice: advice(given.is_some()), typed: given.is_some() };
    let begin = first_byte(&input, compression)?;
    let open_with = |delimiter| open_blocks(&input, compression, delimiter, &context.shown, begin);
    let mut blocks = open_with(None)?;
    let (mut head, mut names, mut delimiter) = (String::new(), Vec::new(), None);
    if kind == Kind::Csv {
        let found_delimiter = header::delimiter(&first_line(&mut open_with(Some(b','))?, &context)?);
        // Once more, for a name may hold a newline and the delimiter tells where its quotes are.
        blocks = open_with(Some(found_delimiter))?;
        head = first_line(&mut blocks, &context)?;
        names = header::names(&head, found_delimiter, &context.shown)?;
        delimiter = Some(found_delimiter);
    }
    let start = blocks.at();
    let given = given.map(AsRef::as_ref);
    let schema = match (kind, delimiter, given) {
        (Kind::Csv, Some(_), Some(given)) => csv::given_schema(&names, given),
        (Kind::Csv, Some(delimiter), None) => {
            let mut inference = csv::Inference::new(&names, delimiter);
            let whole = infer(&mut blocks, start, |block| inference.add(block, &context))?;
            inference.schema(whole)
        }
        _ => {
            let mut inference = json::Inference::default();
            let whole = infer(&mut blocks, start, |block| inference.add(block, given, &context))?;
            inference.schema(given, whole, &context)?
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
        context: Arc::new(context),
        starts: Mutex::new(vec![start]),
        pieces,
        unfinished,
    }))))
}

/// What an error says to do.
fn advice(is_typed: bool) -> &'static str {
    if is_typed {
        "change the value, or the type of the table's column"
    } else {
        "give the column the type VARCHAR (or JSON) by CREATE TABLE before the load, or ALTER TABLE where a part is loaded, \
         and load the file again"
    }
}

/// The first record of CSV.
fn first_line(blocks: &mut Blocks, context: &ErrorContext) -> Result<String> {
    let first = blocks.next(blocks.at().offset + 1)?;
    match first.as_ref().map(|block| trimmed(&block.text)) {
        None | Some("") => {
            Err(Error::invalid(format!("{}, line 1: expected the names of the columns", context.shown)))
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
