//! What is written down of a commit <-> a row of the ledger's table; and a batch's number on the wire.
//! Runs on: any thread; pure values. Never: guesses what a row means that the server did not write.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use pintail_protocol::header::{IDEMPOTENCY_KEY, OnConflict, PRODUCER};

use crate::catalog::TableName;
use crate::engine::LedgerRow;
use crate::error::{Error, Kind, Result, shorten};
use crate::ingest::counts::Counts;

/// What was stored under a key.
#[derive(Debug, Clone)]
pub struct KeyEntry {
    /// The table, as the ledger spells it.
    pub(in crate::ingest) table: Arc<str>,
    pub(in crate::ingest) checksum: u64,
    /// The first answer.
    pub(in crate::ingest) counts: Counts,
    pub(in crate::ingest) on_conflict: OnConflict,
}

/// One producer's batches for one table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::ingest) struct Line {
    pub(in crate::ingest) producer: Arc<str>,
    pub(in crate::ingest) table: Arc<str>,
}

/// Something to be written down with the rows it belongs to.
#[derive(Debug, Clone)]
pub(in crate::ingest) enum Entry {
    Key {
        key: Arc<str>,
        entry: KeyEntry,
    },
    Batch {
        line: Line,
        epoch: u64,
        seq: u64,
        rows: u64,
        checksum: u64,
    },
    /// A newer epoch; or a line that was forgotten and is numbered from the beginning again.
    Epoch {
        line: Line,
        epoch: u64,
        anew: bool,
    },
}

impl KeyEntry {
    /// The table that the stream went into, by its name in the ledger.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Refuses a stream under a known key whose table or content differs.
    pub(in crate::ingest) fn check(&self, table: &TableName, checksum: u64) -> Result<()> {
        let table = table.in_ledger();
        if *self.table != *table {
            return Err(Error::new(
                Kind::Exists,
                format!("this {IDEMPOTENCY_KEY} was used for table {}, not {table}", self.table),
            ));
        }
        if self.checksum != checksum {
            return Err(Error::new(
                Kind::Exists,
                format!(
                    "this {IDEMPOTENCY_KEY} was used for a stream with other content; a retry must send the same rows, and \
                     new rows need a new key"
                ),
            ));
        }
        Ok(())
    }
}

/// The first answer to a stream with a key, rows apart.
#[derive(Serialize, Deserialize)]
struct Answer<'a> {
    inserted: u64,
    ignored: u64,
    replaced: u64,
    rejected: u64,
    #[serde(borrow)]
    on_conflict: Cow<'a, str>,
}

impl Entry {
    /// As a row of the table.
    pub(super) fn row(&self) -> Result<LedgerRow<'_>> {
        Ok(match self {
            Entry::Key { key, entry } => LedgerRow {
                table: Some(&entry.table),
                key: Some(key),
                rows: Some(number(entry.counts.rows)?),
                checksum: Some(entry.checksum),
                answer: Some(answer_text(entry)?.into()),
                ..LedgerRow::default()
            },
            Entry::Batch { line, epoch, seq, rows, checksum } => LedgerRow {
                table: Some(&line.table),
                producer: Some(&line.producer),
                epoch: Some(number(*epoch)?),
                seq: Some(number(*seq)?),
                rows: Some(number(*rows)?),
                checksum: Some(*checksum),
                ..LedgerRow::default()
            },
            Entry::Epoch { line, epoch, anew } => LedgerRow {
                table: Some(&line.table),
                producer: Some(&line.producer),
                epoch: Some(number(*epoch)?),
                rows: Some(0),
                checksum: Some(u64::from(*anew)),
                ..LedgerRow::default()
            },
        })
    }
}

/// As the table's BIGINT columns hold it.
fn number(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| {
        Error::invalid(format!("the ingest ledger holds epochs, numbers and rows below 2^63, found {number}"))
    })
}

fn answer_text(entry: &KeyEntry) -> Result<String> {
    let Counts { inserted, ignored, replaced, rejected, .. } = entry.counts;
    let on_conflict = entry.on_conflict.name().into();
    serde_json::to_string(&Answer { inserted, ignored, replaced, rejected, on_conflict })
        .map_err(|error| Error::internal(format!("an answer cannot be written down: {error}")))
}

/// Rows of the table -> entries. Most rows name the table that the row before them named.
#[derive(Default)]
pub(super) struct Reader {
    table: Arc<str>,
    /// Rows that the server did not write.
    pub(super) unreadable: u64,
}

impl Reader {
    pub(super) fn entry(&mut self, row: &LedgerRow<'_>) -> Option<Entry> {
        let entry = self.read(row);
        self.unreadable += u64::from(entry.is_none());
        entry
    }

    fn read(&mut self, row: &LedgerRow<'_>) -> Option<Entry> {
        let table = row.table?;
        if *self.table != *table {
            self.table = table.into();
        }
        let table = Arc::clone(&self.table);
        let (rows, checksum) = (u64::try_from(row.rows?).ok()?, row.checksum?);
        if let Some(key) = row.key {
            let Answer { inserted, ignored, replaced, rejected, on_conflict } =
                serde_json::from_str(row.answer.as_deref()?).ok()?;
            let counts = Counts { rows, inserted, ignored, replaced, rejected };
            let on_conflict = OnConflict::from_name(&on_conflict)?;
            return Some(Entry::Key {
                key: key.into(),
                entry: KeyEntry { table, checksum, counts, on_conflict },
            });
        }
        let producer = row.producer.filter(|producer| !producer.is_empty())?;
        let (line, epoch) = (Line { producer: producer.into(), table }, u64::try_from(row.epoch?).ok()?);
        Some(match row.seq.map(u64::try_from).transpose().ok()? {
            Some(seq) => Entry::Batch { line, epoch, seq, rows, checksum },
            None => Entry::Epoch { line, epoch, anew: checksum == 1 },
        })
    }
}

/// Reads `{"seq": n}` of a batch's `app_metadata`.
///
/// Errors: `Invalid` saying what was found.
pub fn sequence(app_metadata: &[u8]) -> Result<u64> {
    let wrong = |found: &str| {
        Error::invalid(format!(
            "with header {PRODUCER} every batch carries app_metadata {{\"seq\": n}}, n a whole number from 0; \
             found {found}"
        ))
    };
    if app_metadata.is_empty() {
        return Err(wrong("none"));
    }
    let text = || shorten(&String::from_utf8_lossy(app_metadata), 100);
    let value: serde_json::Value = serde_json::from_slice(app_metadata).map_err(|_| wrong(&text()))?;
    let seq = value.get("seq").and_then(serde_json::Value::as_u64).ok_or_else(|| wrong(&text()))?;
    // The table holds it as BIGINT.
    if i64::try_from(seq).is_err() { Err(wrong(&text())) } else { Ok(seq) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged;
    use proptest::prelude::*;

    /// What is written down is read back as it was, to the limits of the table's numbers and with any text.
    #[test]
    fn entries_become_rows_and_rows_entries() {
        let limit = i64::MAX as u64;
        let line = Line { producer: "p 'quoted' \"ü\"; --".into(), table: "main.t".into() };
        let counts = Counts { rows: limit, inserted: 1, ignored: 2, replaced: 3, rejected: u64::MAX };
        let entry = KeyEntry {
            table: "a.\"b\"".into(),
            checksum: u64::MAX,
            counts,
            on_conflict: OnConflict::Replace,
        };
        for entry in [
            Entry::Key { key: "k".repeat(256).into(), entry },
            Entry::Batch { line: line.clone(), epoch: limit, seq: limit, rows: limit, checksum: u64::MAX },
            Entry::Batch { line: line.clone(), epoch: 0, seq: 0, rows: 0, checksum: 0 },
            Entry::Epoch { line: line.clone(), epoch: limit, anew: false },
            Entry::Epoch { line, epoch: 0, anew: true },
        ] {
            let row = entry.row().unwrap();
            let mut reader = Reader::default();
            let read = reader.entry(&row).unwrap();
            assert_eq!(format!("{read:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn rows_that_make_no_sense_are_left_out_and_counted() {
        let whole = || LedgerRow {
            table: Some("main.t"),
            producer: Some("p"),
            epoch: Some(0),
            rows: Some(1),
            checksum: Some(1),
            ..LedgerRow::default()
        };
        let key = |answer: Option<&'static str>| LedgerRow {
            key: Some("k"),
            answer: answer.map(Cow::Borrowed),
            ..whole()
        };
        let mut reader = Reader::default();
        assert!(reader.entry(&whole()).is_some());
        for row in [
            LedgerRow { table: None, ..whole() },
            LedgerRow { producer: None, ..whole() },
            LedgerRow { producer: Some(""), ..whole() },
            LedgerRow { epoch: None, ..whole() },
            LedgerRow { rows: None, ..whole() },
            LedgerRow { epoch: Some(-1), ..whole() },
            LedgerRow { seq: Some(-1), ..whole() },
            key(None),
            key(Some("no json")),
            key(Some("{\"inserted\": -1}")),
            key(Some(
                "{\"inserted\":1,\"ignored\":0,\"replaced\":0,\"rejected\":0,\"on_conflict\":\"merge\"}",
            )),
        ] {
            assert!(reader.entry(&row).is_none(), "{row:?}");
        }
        assert_eq!(reader.unreadable, 11);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn numbers_of_batches_are_read_or_refused(bytes in damaged::damaged(damaged::lines("metadata.txt"))) {
            match sequence(&bytes) {
                Ok(seq) => prop_assert!(i64::try_from(seq).is_ok()),
                Err(error) => {
                    prop_assert_eq!(error.kind(), Kind::Invalid);
                    prop_assert!(error.message().len() < 600, "{error}");
                }
            }
        }
    }
}
