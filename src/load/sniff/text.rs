//! The beginning of a text file, packed or not -> CSV, NDJSON, or why it is neither.
//! Runs on: threads that read; blocks. Never: unpacks more than the first 64 KiB.

use std::io::Read;

use crate::error::Result;
use serde::de::IgnoredAny;

use super::super::input::{Input, InputReader};
use super::{Cause, Compression, Format, Naming, Refusal};

/// What is read of lines, unpacked.
const LINES_BYTES: usize = 64 << 10;

/// What the name of a file promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Csv,
    /// One object a line.
    JsonLines,
    /// Anything of JSON.
    Json,
    /// Parquet or Arrow.
    Table,
    Other,
}

/// The first bytes of a text.
struct Beginning<'a> {
    bytes: &'a [u8],
    /// Whether nothing follows them.
    whole: bool,
    ending: Ending,
    named: bool,
}

/// What lines are.
#[derive(Clone, Copy)]
enum Lines {
    Csv,
    Ndjson,
}

/// Errors: `Invalid` when the file cannot be read. What it is not is the inner `Err`.
pub(super) fn sniff_text(input: &Input, head: &[u8], naming: &Naming<'_>) -> Result<Result<Format, Refusal>> {
    let compression = compression(head);
    let mut bytes = Vec::new();
    let mut damaged = None;
    let mut unpacked: Box<dyn Read> = match compression {
        Compression::None => Box::new(InputReader::new(input.clone(), 0)),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(InputReader::new(input.clone(), 0))),
        Compression::Zstd => match zstd::Decoder::new(InputReader::new(input.clone(), 0)) {
            Ok(decoder) => Box::new(decoder),
            Err(error) => return Ok(Err(packing_damaged(compression, &error))),
        },
    };
    let enough = match compression {
        // Only a line of JSON is looked at as a whole.
        Compression::None if !matches!(first_letter(head), Some(b'{' | b'[')) => head.len(),
        _ => LINES_BYTES,
    };
    if let Err(error) = unpacked.by_ref().take(enough as u64).read_to_end(&mut bytes) {
        damaged = Some(error);
    }
    if let (Some(error), Compression::Gzip | Compression::Zstd) = (&damaged, compression) {
        return Ok(Err(packing_damaged(compression, error)));
    }
    if let Some(error) = damaged {
        return Err(input.unreadable(error));
    }
    if compression != Compression::None {
        if let Some(what) = packed_table(&bytes) {
            let why = format!("is {what} packed with {}; unpack it", compression.name());
            return Ok(Err(Refusal::new(Cause::Refused, why)));
        }
        if bytes.is_empty() {
            return Ok(Err(Refusal::new(Cause::NotData, "is packed and holds nothing")));
        }
    }
    let beginning = Beginning {
        whole: bytes.len() < enough
            || (compression == Compression::None && bytes.len() as u64 == input.len()),
        bytes: bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes),
        ending: Ending::of(naming),
        named: naming.named,
    };
    Ok(beginning.lines().map(|lines| match lines {
        Lines::Csv => Format::Csv { compression },
        Lines::Ndjson => Format::Ndjson { compression },
    }))
}

/// Whether bytes can be the beginning of a text in UTF-8. Separators of old formats are text.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|byte| is_binary(*byte)) && utf8(bytes).is_ok()
}

fn is_binary(byte: u8) -> bool {
    byte == 0x7f || (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 1 | 2 | 0x1c..=0x1f))
}

/// The text of bytes that may end within a letter; the place of the first byte that belongs to none.
fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) if error.error_len().is_some() => Err(error.valid_up_to()),
        Err(error) => Ok(str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()),
    }
}

fn first_letter(bytes: &[u8]) -> Option<u8> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()).copied()
}

fn compression(head: &[u8]) -> Compression {
    // A zstd file may begin with frames that hold no data.
    let skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == *b"\x2a\x4d\x18";
    match head {
        [0x1f, 0x8b, 8, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        _ if skippable => Compression::Zstd,
        _ => Compression::None,
    }
}

fn packing_damaged(compression: Compression, error: &std::io::Error) -> Refusal {
    let why = format!("is packed with {} and cannot be unpacked: {error}", compression.name());
    Refusal::new(Cause::Broken, why)
}

fn packed_table(bytes: &[u8]) -> Option<&'static str> {
    let at = |offset: usize, magic: &[u8]| bytes.get(offset..).is_some_and(|bytes| bytes.starts_with(magic));
    match bytes {
        [b'P', b'A', b'R', b'1', ..] if !is_text(bytes) => Some("a Parquet file"),
        [b'A', b'R', b'R', b'O', b'W', b'1', 0, ..] => Some("an Arrow file"),
        [0xff, 0xff, 0xff, 0xff, ..] => Some("an Arrow stream"),
        [b'O', b'b', b'j', 1, ..] => Some("an Avro file"),
        _ if at(257, b"ustar") => Some("a tar archive"),
        _ => None,
    }
}

impl Compression {
    fn name(self) -> &'static str {
        match self {
            Compression::None => "nothing",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
        }
    }
}

impl Ending {
    fn of(naming: &Naming<'_>) -> Self {
        let name = naming.path.and_then(|path| path.file_name()).unwrap_or_default();
        let name = name.to_string_lossy().to_lowercase();
        let packed = [".gz", ".gzip", ".zst", ".zstd"];
        let name = packed.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("csv" | "tsv" | "tab" | "psv") => Ending::Csv,
            Some("ndjson" | "jsonl" | "ldjson" | "jsonlines") => Ending::JsonLines,
            Some("json") => Ending::Json,
            Some("parquet" | "parq" | "pq" | "arrow" | "arrows" | "ipc" | "feather") => Ending::Table,
            _ => Ending::Other,
        }
    }
}

impl Beginning<'_> {
    fn lines(&self) -> Result<Lines, Refusal> {
        let not_data = |why: &str| Err(Refusal::new(Cause::NotData, why));
        // Where the name promises a table, what is no table is a damaged one.
        let promised = self.ending != Ending::Other;
        let unknown =
            |why: String| Err(Refusal::new(if promised { Cause::Broken } else { Cause::NotData }, why));
        if let Some(name) = self.wide_letters() {
            let why = format!("is text in {name}; convert it, for example with iconv -f {name} -t UTF-8");
            return Err(Refusal::new(Cause::Refused, why));
        }
        if self.bytes.iter().any(|byte| is_binary(*byte)) {
            return unknown(
                "is in no format that load reads: its bytes are neither Parquet, Arrow nor text".into(),
            );
        }
        let text = match utf8(self.bytes) {
            Ok(text) => text,
            Err(at) => {
                let why = format!(
                    "is not text in UTF-8 (byte 0x{:02x} at {at}); if it is ISO-8859-1, convert it with \
                     iconv -f ISO-8859-1 -t UTF-8",
                    self.bytes[at]
                );
                return unknown(why);
            }
        };
        let text = text.trim_start();
        if text.is_empty() {
            return not_data("holds nothing but blanks");
        }
        if text.starts_with("version https://git-lfs.github.com/spec/") {
            return unknown(
                "is a pointer of Git LFS and not the file itself; fetch it with git lfs pull".into(),
            );
        }
        let start: String = text.chars().take(16).collect::<String>().to_lowercase();
        if ["<!doctype html", "<html", "<?xml"].iter().any(|tag| start.starts_with(tag)) {
            return unknown("is a page of HTML or XML".into());
        }
        if self.ending == Ending::Table {
            return unknown("is named like Parquet or Arrow and holds text; if that is right, name it .csv or .ndjson, else write it again".into());
        }
        let lines = self.json(text)?;
        if self.ending == Ending::Other && !self.named {
            return not_data(
                "is text without an ending of data (.csv, .tsv, .ndjson, .jsonl); name the file itself to load it",
            );
        }
        Ok(lines)
    }

    /// Lines of objects are NDJSON whatever they are called; other JSON has no rows to take one after the other.
    fn json(&self, text: &str) -> Result<Lines, Refusal> {
        let promised = self.ending == Ending::JsonLines;
        let refused =
            |why: &str| Err(Refusal::new(if promised { Cause::Broken } else { Cause::NotData }, why));
        let (line, whole) = match text.split_once('\n') {
            Some((line, _)) => (line, true),
            None => (text, self.whole),
        };
        if text.starts_with('{') && is_json(line, whole) {
            return Ok(Lines::Ndjson);
        }
        if self.ending == Ending::Csv {
            return Ok(Lines::Csv);
        }
        if text.starts_with('{') && is_json(text, self.whole) {
            return refused("is JSON over several lines; load reads one object a line, which jq -c . writes");
        }
        if text.starts_with('[') && is_json(text, self.whole) {
            return refused("is a JSON array; load reads one object a line, which jq -c '.[]' writes");
        }
        if matches!(self.ending, Ending::Json | Ending::JsonLines) {
            return refused("is named like JSON, and its first line is no JSON object");
        }
        Ok(Lines::Csv)
    }

    /// The name of an encoding with letters of two or four bytes.
    fn wide_letters(&self) -> Option<&'static str> {
        match self.bytes {
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
            _ => {}
        }
        let pairs = self.bytes[..self.bytes.len().min(64)].chunks_exact(2);
        let ascii = |byte: u8| byte.is_ascii() && !is_binary(byte);
        if pairs.len() < 2 {
            return None;
        }
        match () {
            () if pairs.clone().all(|pair| ascii(pair[0]) && pair[1] == 0) => Some("UTF-16LE"),
            () if pairs.clone().all(|pair| pair[0] == 0 && ascii(pair[1])) => Some("UTF-16BE"),
            () => None,
        }
    }
}

/// Whether a text is one value of JSON, or the beginning of one when it is not the whole.
fn is_json(text: &str, whole: bool) -> bool {
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(_) => true,
        Err(error) => error.is_eof() && !whole,
    }
}
