//! The text of a file, unpacked as it is read.
//! Runs on: threads that read; blocks.
//! Never: enters compressed text in the middle.

use std::io::Read;

use crate::error::Result;

use super::block::{At, Blocks};
use crate::load::input::{Input, InputReader};
use crate::load::sniff::Compression;

/// The text from a place on. Compressed text is always read from its beginning.
pub(super) fn open_blocks(
    input: &Input,
    compression: Compression,
    delimiter: Option<u8>,
    shown: &str,
    at: At,
) -> Result<Blocks> {
    Ok(Blocks::new(unpacked(input, compression, at.offset)?, shown, delimiter, at))
}

pub(super) fn unpacked(input: &Input, compression: Compression, offset: u64) -> Result<Box<dyn Read + Send>> {
    let packed = |start| InputReader::new(input.clone(), start);
    let unreadable = |error| crate::load::input::unreadable(input.shown(), error);
    let mut reader: Box<dyn Read + Send> = match compression {
        Compression::None => return Ok(Box::new(packed(offset))),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(std::io::BufReader::new(packed(0)))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(packed(0)).map_err(unreadable)?),
    };
    std::io::copy(&mut reader.by_ref().take(offset), &mut std::io::sink()).map_err(unreadable)?;
    Ok(reader)
}
