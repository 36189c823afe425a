//! `app_metadata` of a put's messages -> the pieces of files whose rows the stream holds.
//! Runs on: the task of the call; pure values.
//! Never: takes a file that was read in part for a whole one: rows declared and rows received must be the same number.

use arrow::array::{Int64Array, StringBuilder, UInt64Array};
use pintail_protocol::header::SOURCES;
use pintail_protocol::source::{Source, SourcesMessage};

use crate::engine::LoadPieces;
use crate::error::{Error, Result, shorten};

/// Bytes that the pieces of one stream may take.
const BYTES_MAX: usize = 64 << 20;
/// Bytes of a piece besides its file's name.
const PIECE_BYTES: usize = 32;
/// Longest name of a file, in bytes.
const FILE_BYTES_MAX: usize = 4096;

/// The pieces that a stream has declared so far.
#[derive(Debug, Default)]
pub(in crate::ingest) struct Declared {
    files: StringBuilder,
    pieces: Vec<u64>,
    rows: Vec<i64>,
    known: Vec<i64>,
    of_file: Vec<Option<i64>>,
    total: u64,
    bytes: usize,
}

impl Declared {
    /// Adds what a message declares; one without `app_metadata` declares nothing.
    ///
    /// Errors: `Invalid` saying what was found, `Exhausted` when the stream declares more than can be held.
    pub(in crate::ingest) fn add(&mut self, app_metadata: &[u8]) -> Result<()> {
        if app_metadata.is_empty() {
            return Ok(());
        }
        let wrong = |what: &dyn std::fmt::Display| {
            let found = shorten(&String::from_utf8_lossy(app_metadata), 200);
            // It quotes what was found as well.
            let what = shorten(&what.to_string(), 400);
            Error::invalid(format!(
                "with header {SOURCES} the app_metadata of a batch is {{\"sources\": [{{\"file\": \"name\", \
                 \"piece\": \"16 hex digits\", \"rows\": n}}]}}; found {found} ({what})"
            ))
        };
        let message: SourcesMessage<'_> =
            serde_json::from_slice(app_metadata).map_err(|error| wrong(&error))?;
        message.sources.into_iter().try_for_each(|source| self.push(source, &wrong))
    }

    fn push(&mut self, source: Source<'_>, wrong: &dyn Fn(&dyn std::fmt::Display) -> Error) -> Result<()> {
        let Source { file, piece, rows, stored, of_file } = source;
        if file.is_empty() || file.len() > FILE_BYTES_MAX || file.contains('\0') {
            let text = format!(
                "\"file\" is to have 1 to {FILE_BYTES_MAX} bytes and no NUL, and has {} bytes",
                file.len()
            );
            return Err(wrong(&text));
        }
        let is_hex = piece.len() == 16 && piece.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = u64::from_str_radix(&piece, 16).ok().filter(|_| is_hex).ok_or_else(|| {
            let found = shorten(&piece, 40);
            wrong(&format!("\"piece\" of file \"{}\" is \"{found}\"", shorten(&file, 200)))
        })?;
        // The table holds them as BIGINT.
        let numbers = (i64::try_from(rows).ok(), i64::try_from(stored).ok(), self.total.checked_add(rows));
        let (Some(count), Some(known), Some(total)) = numbers else {
            return Err(wrong(&format!("\"rows\" or \"stored\" of file \"{}\"", shorten(&file, 200))));
        };
        self.bytes += file.len() + PIECE_BYTES;
        if self.bytes > BYTES_MAX {
            return Err(Error::exhausted(
                &format!("{} MiB", BYTES_MAX >> 20),
                format!(
                    "the stream declares more than {} pieces of files, too many to keep for one stream; put the files in \
                     several streams",
                    self.pieces.len(),
                ),
            ));
        }
        self.files.append_value(&file);
        self.pieces.push(number);
        self.rows.push(count);
        self.known.push(known);
        self.of_file.push(of_file.map(|count| i64::try_from(count).unwrap_or(i64::MAX)));
        self.total = total;
        Ok(())
    }

    /// Whether there is a piece.
    pub(in crate::ingest) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The pieces of a stream that has ended.
    ///
    /// Errors: `Invalid` unless they have as many rows as the stream had.
    pub(in crate::ingest) fn finish(mut self, received: u64) -> Result<LoadPieces> {
        if self.total != received {
            let count = self.pieces.len();
            return Err(Error::invalid(format!(
                "the {count} pieces of files that the stream declared have {} rows, and {received} rows arrived; a piece \
                 is declared once all of its rows are sent, and nothing else may be; nothing was stored",
                self.total
            )));
        }
        Ok(LoadPieces {
            files: self.files.finish(),
            pieces: UInt64Array::from(self.pieces),
            rows: Int64Array::from(self.rows),
            known: Int64Array::from(self.known),
            of_file: Int64Array::from(self.of_file),
        })
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;
    use serde_json::json;

    use super::*;
    use crate::damaged;
    use crate::error::Kind;
    use proptest::prelude::*;

    fn add(declared: &mut Declared, metadata: &serde_json::Value) -> Result<()> {
        declared.add(metadata.to_string().as_bytes())
    }

    #[test]
    fn pieces_are_gathered_over_messages() {
        let mut declared = Declared::default();
        declared.add(b"").unwrap();
        add(&mut declared, &json!({ "sources": [] })).unwrap();
        assert!(declared.is_empty());
        let long = "ü".repeat(FILE_BYTES_MAX / 2);
        add(
            &mut declared,
            &json!({ "sources": [
                { "file": "a \"quoted\"\\\n.csv", "piece": "00000000000000ff", "rows": 3 },
                { "rows": 0, "piece": "FFFFFFFFFFFFFFFF", "file": long, "stored": 2, "of_file": 5 },
            ] }),
        )
        .unwrap();
        add(&mut declared, &json!({ "sources": [{ "file": "b", "piece": "0000000000000000", "rows": 4 }] }))
            .unwrap();
        let found = declared.finish(7).unwrap();
        let files: Vec<_> = found.files.iter().flatten().collect();
        assert_eq!(files, ["a \"quoted\"\\\n.csv", long.as_str(), "b"]);
        assert_eq!(found.pieces.values(), &[255, u64::MAX, 0]);
        assert_eq!(found.rows.values(), &[3, 0, 4]);
        assert_eq!(found.known.values(), &[0, 2, 0]);
        assert_eq!(found.of_file.iter().collect::<Vec<_>>(), [None, Some(5), None]);
    }

    #[test]
    fn nothing_declared_and_nothing_received_is_right() {
        assert_eq!(Declared::default().finish(0).unwrap().files.len(), 0);
    }

    #[test]
    fn rows_must_be_as_many_as_declared() {
        let mut declared = Declared::default();
        add(&mut declared, &json!({ "sources": [{ "file": "b", "piece": "0000000000000000", "rows": 4 }] }))
            .unwrap();
        let refused = declared.finish(3).unwrap_err();
        assert_eq!(refused.kind(), Kind::Invalid);
        for part in ["4 rows", "3 rows", "nothing was stored"] {
            assert!(refused.message().contains(part), "{refused}");
        }
        assert!(Declared::default().finish(1).is_err());
    }

    #[test]
    fn what_is_no_declaration_is_named() {
        let one = |file: &str, piece: &str, rows: &str| {
            format!("{{\"sources\": [{{\"file\": \"{file}\", \"piece\": \"{piece}\", \"rows\": {rows}}}]}}")
        };
        let piece = "00000000000000ff";
        for (metadata, part) in [
            ("\u{1}\u{2}".to_owned(), "expected value"),
            ("[]".to_owned(), "[]"),
            ("{\"seq\": 7}".to_owned(), "seq"),
            ("{}".to_owned(), "sources"),
            ("{\"sources\": 3}".to_owned(), "{\"sources\": 3}"),
            ("{\"sources\": []} x".to_owned(), "trailing"),
            ("{\"sources\": [{\"file\": \"a\", \"rows\": 1}]}".to_owned(), "piece"),
            ("{\"sources\": [{\"file\": \"a\", \"piece\": 7, \"rows\": 1}]}".to_owned(), "integer"),
            (one("", piece, "1"), "has 0 bytes"),
            (one(&"x".repeat(FILE_BYTES_MAX + 1), piece, "1"), "has 4097 bytes"),
            (one("a\\u0000b", piece, "1"), "NUL"),
            (one("a", "ff", "1"), "\"ff\""),
            (one("a", "+0000000000000ff", "1"), "+0000000000000ff"),
            (one("a", "0x000000000000ff", "1"), "0x000000000000ff"),
            (one("a", "00000000000000ff0", "1"), "00000000000000ff0"),
            (one("a", piece, "-1"), "-1"),
            (one("a", piece, "1.5"), "1.5"),
            (one("a", piece, "9223372036854775808"), "\"rows\""),
        ] {
            let refused = Declared::default().add(metadata.as_bytes()).unwrap_err();
            assert_eq!(refused.kind(), Kind::Invalid, "{metadata}");
            assert!(refused.message().contains(part), "{refused}");
            assert!(refused.message().contains("pintail-sources"), "{refused}");
            assert!(refused.message().len() < 1000, "{refused}");
        }
    }

    #[test]
    fn what_a_stream_declares_is_bounded() {
        let mut declared = Declared::default();
        let file = "x".repeat(FILE_BYTES_MAX);
        let sources: Vec<_> = (0..1000)
            .map(|piece| json!({ "file": file, "piece": format!("{piece:016x}"), "rows": 0 }))
            .collect();
        let message = json!({ "sources": sources }).to_string();
        let refused = (0..17).find_map(|_| declared.add(message.as_bytes()).err()).unwrap();
        assert_eq!(refused.kind(), Kind::Exhausted, "{refused}");
        assert!(refused.message().contains("64 MiB"), "{refused}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn declared_pieces_are_taken_or_refused(bytes in damaged::damaged(damaged::lines("metadata.txt"))) {
            if let Err(error) = Declared::default().add(&bytes) {
                prop_assert_eq!(error.kind(), Kind::Invalid);
                prop_assert!(error.message().len() < 1000, "{error}");
            }
        }
    }
}
