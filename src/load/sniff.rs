//! The first and last bytes of a file -> what it is. Its name decides only what its content leaves open.
//! Runs on: threads that read; blocks. Never: reads more than the ends of a file, or believes an ending against the content.

mod text;

use std::path::Path;

use crate::error::Result;
use arrow::ipc::{MessageHeader, root_as_message};

use super::input::Input;

/// What is read of the beginning of every file.
const HEAD_BYTES: usize = 4 << 10;
const TAIL_BYTES: usize = 8;
/// The longest schema message of a stream that is looked at.
const SCHEMA_BYTES_MAX: u64 = 64 << 20;

/// The kinds of files that are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Parquet,
    /// Arrow IPC file, also called Feather V2.
    ArrowFile,
    ArrowStream,
    /// Text with a delimiter, which the reader finds out.
    Csv {
        compression: Compression,
    },
    Ndjson {
        compression: Compression,
    },
}

impl Format {
    /// Whether it is cut into records.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Format::Csv { .. } | Format::Ndjson { .. })
    }
}

/// How the text of a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Why a file is not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) cause: Cause,
    /// Completes a sentence that begins with the file's name.
    pub(super) why: String,
}

/// Whether rows are missing when a file is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Not a table: notes, an image, a database, nothing at all.
    NotData,
    /// A table that `load` does not read.
    Refused,
    /// A table that is cut short, damaged, still being written, or may not be read.
    Broken,
    /// Listed, and no longer there when it was opened.
    Gone,
}

impl Refusal {
    pub(super) fn new(cause: Cause, why: impl Into<String>) -> Self {
        Self { cause, why: why.into() }
    }

    fn refused(what: &str, advice: &str) -> Self {
        Self::new(Cause::Refused, format!("is {what}; {advice}"))
    }

    fn broken(why: impl Into<String>) -> Self {
        Self::new(Cause::Broken, why)
    }
}

/// What is known of a file before it is read.
pub(super) struct Naming<'a> {
    /// The path, for its endings; standard input has none.
    pub(super) path: Option<&'a Path>,
    /// Whether a person named it, and not just a folder above it.
    pub(super) named: bool,
}

/// Errors: `Invalid` when the file cannot be read. What it is not is the inner `Err`.
pub(super) fn sniff(input: &Input, naming: &Naming<'_>) -> Result<Result<Format, Refusal>> {
    let len = input.len();
    if len == 0 {
        return Ok(Err(Refusal::new(Cause::NotData, "is empty")));
    }
    let mut head = vec![0; HEAD_BYTES.min(usize::try_from(len).unwrap_or(HEAD_BYTES))];
    input.read_at(0, &mut head)?;
    let mut tail = [0; TAIL_BYTES];
    let at_end = head.len().min(TAIL_BYTES);
    input.read_at(len - at_end as u64, &mut tail[TAIL_BYTES - at_end..])?;
    let ends = Ends { head: &head, tail, len };
    if let Some(answer) = ends.table().or_else(|| ends.foreign()) {
        return Ok(answer);
    }
    if let Some(found) = arrow_stream(input, &head)? {
        return Ok(found);
    }
    text::sniff_text(input, &head, naming)
}

/// Both ends of a file.
struct Ends<'a> {
    head: &'a [u8],
    /// The last bytes; zeros stand before those of a shorter file.
    tail: [u8; TAIL_BYTES],
    len: u64,
}

impl Ends<'_> {
    fn begins(&self, magic: &[u8]) -> bool {
        self.head.starts_with(magic)
    }

    fn ends(&self, magic: &[u8]) -> bool {
        self.tail.ends_with(magic)
    }

    /// Formats that say at both ends what they are.
    fn table(&self) -> Option<Result<Format, Refusal>> {
        // Letters alone may be the first column of a text file.
        let binary = !text::is_text(self.head);
        if self.begins(b"PAR1") && self.ends(b"PAR1") && self.len >= 12 {
            return Some(Ok(Format::Parquet));
        }
        if (self.begins(b"PAR1") && binary) || (self.begins(b"PAR1") && self.len < 12) {
            return Some(Err(Refusal::broken(
                "begins as a Parquet file and does not end as one: it is cut short, or still being written",
            )));
        }
        if self.ends(b"PAR1") && binary {
            return Some(Err(Refusal::broken(
                "ends as a Parquet file and does not begin as one: its bytes are damaged",
            )));
        }
        if self.ends(b"PARE") && (binary || self.begins(b"PARE")) {
            return Some(Err(Refusal::refused(
                "a Parquet file with an encrypted footer",
                "write it again without encryption",
            )));
        }
        if self.begins(b"ARROW1") && self.ends(b"ARROW1") && self.len > 12 {
            return Some(Ok(Format::ArrowFile));
        }
        if self.begins(b"ARROW1") && binary {
            return Some(Err(Refusal::broken(
                "begins as an Arrow IPC file and does not end as one: it is cut short, or still being written",
            )));
        }
        if self.begins(b"FEA1") && (binary || self.ends(b"FEA1")) {
            return Some(Err(Refusal::refused(
                "a Feather file of version 1",
                "read it with pyarrow.feather.read_table and write it again with pyarrow.feather.write_feather",
            )));
        }
        None
    }

    /// Formats of others, by the marks they are known by.
    fn foreign(&self) -> Option<Result<Format, Refusal>> {
        const PARQUET: &str = "export it to Parquet";
        let at =
            |offset: usize, magic: &[u8]| self.head.get(offset..).is_some_and(|head| head.starts_with(magic));
        let refused = |what: &str, advice: &str| Some(Err(Refusal::refused(what, advice)));
        let not_data = |what: &str, advice: &str| {
            Some(Err(Refusal::new(Cause::NotData, format!("is {what}; {advice}"))))
        };
        if self.begins(b"ORC") && self.tail[4..7] == *b"ORC" {
            return refused(
                "an ORC file",
                "write it again as Parquet, for example with pyarrow.orc and pyarrow.parquet",
            );
        }
        if self.begins(b"Obj\x01") {
            return refused("an Avro file", "write it again as Parquet");
        }
        if self.ends(b"LANC") && !text::is_text(self.head) {
            return refused(
                "a file of a Lance dataset",
                "read the dataset with lance and write it as Parquet",
            );
        }
        if at(8, b"DUCK") && !text::is_text(self.head) {
            return not_data("a DuckDB database", "export its tables with COPY … TO 'file.parquet'");
        }
        if self.begins(b"SQLite format 3\0") {
            return not_data("a SQLite database", "export its tables, for example with DuckDB's sqlite_scan");
        }
        if self.begins(b"\x89HDF\r\n\x1a\n") {
            return not_data("an HDF5 file", PARQUET);
        }
        if self.begins(b"PK\x03\x04") || self.begins(b"PK\x05\x06") {
            let holds = |name: &[u8]| self.head.windows(name.len()).any(|window| window == name);
            return match holds(b"[Content_Types].xml") || holds(b"xl/") {
                true => not_data("an Excel workbook", "save its sheets as CSV"),
                false => not_data("a zip archive", "unpack it and load what is in it"),
            };
        }
        if self.begins(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") {
            return not_data("an old Excel or Office document", "save its sheets as CSV");
        }
        if at(257, b"ustar") {
            return not_data("a tar archive", "unpack it and load what is in it");
        }
        let packed: &[(&[u8], &str)] = &[
            (b"\x04\x22\x4d\x18", "lz4"),
            (b"\x02\x21\x4c\x18", "lz4"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\xff\x06\0\0sNaPpY", "snappy"),
        ];
        let bzip2 = self.begins(b"BZh") && (at(4, b"1AY&SY") || at(4, b"\x17\x72\x45\x38\x50\x90"));
        let name = packed.iter().find(|(magic, _)| self.begins(magic)).map(|(_, name)| *name);
        if let Some(name) = bzip2.then_some("bzip2").or(name) {
            let advice = "unpack it, or pack it with gzip or zstd, which load reads around CSV and NDJSON";
            return refused(&format!("packed with {name}"), advice);
        }
        None
    }
}

/// A stream begins with its schema message, behind a marker since Arrow 0.15 and without one before.
fn arrow_stream(input: &Input, head: &[u8]) -> Result<Option<Result<Format, Refusal>>> {
    const MARKER: [u8; 4] = [0xff; 4];
    let marked = head.starts_with(&MARKER);
    let start = if marked { 4 } else { 0 };
    let Some(len) =
        head.get(start..start + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_le_bytes)
    else {
        return Ok(None);
    };
    let (start, len) = (start as u64 + 4, u64::try_from(len).unwrap_or(0));
    // A table of a flat buffer takes at least its offsets.
    if !(16..=SCHEMA_BYTES_MAX).contains(&len) {
        return Ok(None);
    }
    if start + len > input.len() {
        let broken =
            "begins as an Arrow stream and ends within its schema: it is cut short, or still being written";
        return Ok(marked.then(|| Err(Refusal::broken(broken))));
    }
    let mut message = vec![0; len as usize];
    input.read_at(start, &mut message)?;
    Ok(match root_as_message(&message) {
        Ok(message) if message.header_type() == MessageHeader::Schema => Some(Ok(Format::ArrowStream)),
        Ok(_) if marked => Some(Err(Refusal::broken(
            "begins as an Arrow stream whose first message is not its schema: its beginning is lost",
        ))),
        Err(_) if marked => Some(Err(Refusal::broken("begins as an Arrow stream whose schema is damaged"))),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
