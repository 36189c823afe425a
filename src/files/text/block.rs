//! Bytes of a text file -> blocks of whole records.
//! Runs on: threads that read. Never: cuts a record; holds more than a block and one record.
//!
//! A record ends at a newline that is not within quotes. A record belongs to the block in whose marks it begins, so what
//! is appended to a file changes none but its last block.

use std::io::Read;

use crate::error::{Error, Result};
use memchr::{memchr, memchr_iter, memchr2};

/// Bytes between the marks.
pub(super) const BLOCK_BYTES: u64 = 8 << 20;
/// Bytes of a record. Larger ones are a quote that is never closed, or no text at all.
const RECORD_BYTES_MAX: usize = 64 << 20;
const STEP_BYTES: usize = 1 << 20;

/// A place between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    /// Of the text; of compressed files as it is uncompressed.
    pub(super) offset: u64,
    /// From 1.
    pub(super) line: u64,
}

/// Whole records, one after the other.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) at: At,
    pub(super) text: String,
    /// Where each record ends within `text`, its newline included.
    pub(super) ends: Vec<usize>,
}

/// Reads blocks.
pub(super) struct Blocks {
    source: Box<dyn Read + Send>,
    shown: String,
    /// Of CSV: newlines within quotes end no record.
    delimiter: Option<u8>,
    buffer: Vec<u8>,
    /// Of the first byte of `buffer`.
    at: At,
    ended: bool,
}

impl Blocks {
    pub(super) fn new(source: Box<dyn Read + Send>, shown: &str, delimiter: Option<u8>, at: At) -> Self {
        Self { source, shown: shown.to_owned(), delimiter, buffer: Vec::new(), at, ended: false }
    }

    /// Whether there is nothing more. May read on.
    pub(super) fn is_ended(&mut self) -> Result<bool> {
        if self.buffer.is_empty() && !self.ended {
            self.fill()?;
        }
        Ok(self.buffer.is_empty() && self.ended)
    }

    /// Where the next block begins.
    pub(super) fn at(&self) -> At {
        self.at
    }

    /// The records that begin before `mark`; what follows the last newline of the file is a record as well. `None` at
    /// the end of the file.
    ///
    /// Errors: `Invalid` naming file and line, for bytes that are not UTF-8, quotes that stay open and huge records.
    pub(super) fn next(&mut self, mark: u64) -> Result<Option<Block>> {
        let mut ends = Vec::new();
        let mut start = 0;
        let mut seen = Seen::default();
        while self.at.offset + (start as u64) < mark {
            match record_end(&self.buffer, start, self.delimiter, &mut seen) {
                Some(end) => {
                    ends.push(end);
                    start = end;
                    seen = Seen { at: end, quoted: false };
                }
                None if self.ended && start < self.buffer.len() => {
                    // A quote that is the file's last byte closes, for nothing doubles it.
                    if seen.quoted && seen.at == self.buffer.len() {
                        let text = "a quote that begins here is not closed before the end of the file, which may be cut short or still written to";
                        return Err(self.broken(start, text));
                    }
                    start = self.buffer.len();
                    ends.push(start);
                    seen = Seen { at: start, quoted: false };
                }
                None if self.ended => break,
                None if self.buffer.len() - start > RECORD_BYTES_MAX => {
                    let text = "the record that begins here is longer than 64 MiB; is a quote not closed?";
                    return Err(self.broken(start, text));
                }
                None => self.fill()?,
            }
        }
        if ends.is_empty() && self.ended && self.buffer.is_empty() {
            return Ok(None);
        }
        let rest = self.buffer.split_off(start);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let at = self.at;
        let lines = memchr_iter(b'\n', &bytes).count() as u64;
        self.at = At { offset: at.offset + bytes.len() as u64, line: at.line + lines };
        let text = String::from_utf8(bytes).map_err(|error| {
            let good = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let line = at.line + memchr_iter(b'\n', &bytes[..good]).count() as u64;
            let byte = bytes[good];
            Error::invalid(format!(
                "{}, line {line}: byte 0x{byte:02x} is not UTF-8; convert the file to UTF-8 and load it again",
                self.shown
            ))
        })?;
        Ok(Some(Block { at, text, ends }))
    }

    fn fill(&mut self) -> Result<()> {
        let before = self.buffer.len();
        let step = (&mut self.source).take(STEP_BYTES as u64).read_to_end(&mut self.buffer);
        step.map_err(|error| {
            // What was read of a compressed file that stops in its middle is no whole file.
            let line = self.at.line + memchr_iter(b'\n', &self.buffer).count() as u64;
            Error::invalid(format!("cannot read {} past line {line}: {error}", self.shown))
        })?;
        self.ended = self.buffer.len() == before;
        Ok(())
    }

    fn broken(&self, start: usize, text: &str) -> Error {
        let line = self.at.line + memchr_iter(b'\n', &self.buffer[..start]).count() as u64;
        Error::invalid(format!("{}, line {line}: {text}", self.shown))
    }
}

/// How far a record was looked at.
#[derive(Default)]
struct Seen {
    at: usize,
    quoted: bool,
}

/// The end of the record that begins at `start`, its newline included.
fn record_end(bytes: &[u8], start: usize, delimiter: Option<u8>, seen: &mut Seen) -> Option<usize> {
    let Some(delimiter) = delimiter else {
        let end = memchr(b'\n', &bytes[seen.at..]).map(|at| seen.at + at + 1);
        seen.at = end.unwrap_or(bytes.len());
        return end;
    };
    loop {
        if seen.quoted {
            let Some(at) = memchr(b'"', &bytes[seen.at..]) else {
                seen.at = bytes.len();
                return None;
            };
            let quote = seen.at + at;
            match bytes.get(quote + 1) {
                Some(b'"') => seen.at = quote + 2,
                Some(_) => *seen = Seen { at: quote + 1, quoted: false },
                None => {
                    // Whether it is doubled is known when there is more; at the end of the file it closes.
                    seen.at = quote;
                    return None;
                }
            }
            continue;
        }
        let Some(at) = memchr2(b'"', b'\n', &bytes[seen.at..]) else {
            seen.at = bytes.len();
            return None;
        };
        let at = seen.at + at;
        seen.at = at + 1;
        if bytes[at] == b'\n' {
            return Some(at + 1);
        }
        // Elsewhere a quote is a letter like others.
        seen.quoted = at == start || bytes[at - 1] == delimiter;
    }
}

impl Block {
    /// The records with their newlines, and where each begins.
    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| (start, &self.text[start..*end]))
    }

    /// The line of a place in the text.
    pub(super) fn line(&self, place: usize) -> u64 {
        self.at.line + memchr_iter(b'\n', &self.text.as_bytes()[..place]).count() as u64
    }

    /// Leaves the records before `count` out.
    pub(super) fn skip(&mut self, count: usize) {
        let Some(cut) = count.checked_sub(1).map(|last| self.ends[last]) else { return };
        self.at = At { offset: self.at.offset + cut as u64, line: self.line(cut) };
        self.text.drain(..cut);
        self.ends.drain(..count);
        for end in &mut self.ends {
            *end -= cut;
        }
    }

    /// Takes the last record away when no newline ends it.
    pub(super) fn split_unfinished(&mut self) -> Option<Block> {
        if self.text.is_empty() || self.text.ends_with('\n') {
            return None;
        }
        self.ends.pop();
        let cut = self.ends.last().copied().unwrap_or(0);
        let at = At { offset: self.at.offset + cut as u64, line: self.line(cut) };
        let text = self.text.split_off(cut);
        Some(Block { at, ends: vec![text.len()], text })
    }
}

/// A record without what ends its line.
pub(super) fn trimmed(record: &str) -> &str {
    let record = record.strip_suffix('\n').unwrap_or(record);
    record.strip_suffix('\r').unwrap_or(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, so that every state is met at the end of what is there.
    struct Drops(std::io::Cursor<Vec<u8>>);

    impl Read for Drops {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(1);
            self.0.read(&mut bytes[..count])
        }
    }

    fn blocks(text: &[u8], delimiter: Option<u8>, step: u64) -> Result<Vec<Vec<String>>> {
        let source = Box::new(Drops(std::io::Cursor::new(text.to_vec())));
        let mut blocks = Blocks::new(source, "t.csv", delimiter, At { offset: 0, line: 1 });
        let mut all = Vec::new();
        let mut mark = step;
        while let Some(block) = blocks.next(mark)? {
            all.push(block.records().map(|(_, record)| record.to_owned()).collect());
            mark += step;
        }
        Ok(all)
    }

    /// Newlines within quotes end no record; quotes in the middle of a field are letters; the last line needs no newline.
    #[test]
    fn records_end_outside_of_quotes() {
        let check = |text: &str, expected: &[&str]| {
            let found: Vec<String> = blocks(text.as_bytes(), Some(b','), 1 << 20).unwrap().concat();
            assert_eq!(found, expected, "{text:?}");
        };
        check("", &[]);
        check("a,b\r\n1,2", &["a,b\r\n", "1,2"]);
        check("a,\"x\ny\"\nb\n", &["a,\"x\ny\"\n", "b\n"]);
        check("\"a\"\"\n\"\"\"\n1\n", &["\"a\"\"\n\"\"\"\n", "1\n"]);
        check("5\" pipe\n6\" pipe\n", &["5\" pipe\n", "6\" pipe\n"]);
        check("a,\"\"\n\"\"\n\n\"x\"", &["a,\"\"\n", "\"\"\n", "\n", "\"x\""]);
        let error = blocks(b"a\n1,\"x\ny\n", Some(b','), 1 << 20).unwrap_err();
        assert!(error.message().contains("t.csv, line 2: a quote"), "{error}");
        let error = blocks(b"a\nb\n\xff\n", None, 1 << 20).unwrap_err();
        assert!(error.message().contains("t.csv, line 3: byte 0xff"), "{error}");
    }

    /// A block holds the records that begin between its marks, so a longer file has the same blocks but the last.
    #[test]
    fn blocks_stay_when_a_file_grows() {
        let mut text = String::new();
        let mut before: Vec<Vec<String>> = Vec::new();
        for row in 0..60 {
            text.push_str(&format!("{row},\"{}\"\n", "x\n".repeat(row % 7)));
            let now = blocks(text.as_bytes(), Some(b','), 16).unwrap();
            assert_eq!(now.concat().concat(), text);
            let kept = before.len().saturating_sub(1);
            assert_eq!(now[..kept], before[..kept]);
            before = now;
        }
    }
}
