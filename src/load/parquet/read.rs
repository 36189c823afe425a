//! One row group -> batches of bounded size, exactly as many rows as the footer promises.
//! Runs on: the thread that reads; blocks. Never: lets a panic of the reader through, or an end before the end.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{Opened, convert};

/// Rows of a batch.
const ROWS: usize = 65_536;
/// Bytes that a batch should have at most.
const BYTES: usize = 4 << 20;
/// Bytes after which nothing more is joined to a batch: what was read at once is copied only where it is small.
const FULL_BYTES: usize = 1 << 20;
/// Rows that are read at once where their size is not known before: texts and binaries.
const UNKNOWN_ROWS: usize = 2048;
/// Bytes that such columns may have in a row group without being read with care.
const KNOWN_BYTES: u64 = 64 << 20;

/// The batches of one row group; after an error come no more.
pub(super) struct GroupBatches {
    file: Arc<Opened>,
    group: usize,
    rows: usize,
    /// Rows that have been read.
    read: usize,
    /// Rows that have been handed out.
    sent: usize,
    reader: Option<ParquetRecordBatchReader>,
    ready: VecDeque<RecordBatch>,
}

impl GroupBatches {
    pub(super) fn new(file: Arc<Opened>, group: usize) -> Result<Self> {
        let metadata = file.metadata.metadata().row_group(group);
        let rows = usize::try_from(metadata.num_rows()).unwrap_or_default();
        let reader = guarded(|| Ok(file.builder(group).with_batch_size(step(&file, group)).build()?));
        let mut batches = Self { file, group, rows, read: 0, sent: 0, reader: None, ready: VecDeque::new() };
        match reader {
            Ok(reader) => batches.reader = Some(reader),
            Err(what) => return Err(batches.blamed(&what)),
        }
        Ok(batches)
    }

    /// Reads on until a batch is full.
    fn fill(&mut self) -> Result<()> {
        let (mut parts, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while rows < ROWS && bytes < FULL_BYTES {
            let Some(reader) = &mut self.reader else { break };
            let next = guarded(|| reader.next().transpose()).map_err(|what| self.blamed(&what))?;
            let Some(batch) = next else {
                self.reader = None;
                self.end()?;
                break;
            };
            self.read += batch.num_rows();
            rows += batch.num_rows();
            bytes += batch.columns().iter().map(size).sum::<usize>();
            parts.push(batch);
            if self.read > self.rows {
                return Err(self.miscounted());
            }
        }
        let whole = match parts.len() {
            0 => return Ok(()),
            1 => parts.swap_remove(0),
            _ => concat_batches(&self.file.columns.read, &parts)?,
        };
        drop(parts);
        self.cut(whole);
        Ok(())
    }

    /// What the reader has read to the end is whole only when it is as many rows as there should be, of a file that is
    /// still the same.
    fn end(&self) -> Result<()> {
        self.file.input.check_unchanged()?;
        if self.read == self.rows { Ok(()) } else { Err(self.miscounted()) }
    }

    /// Cuts in halves until every part is small enough: one value in a dictionary may stand for thousands.
    fn cut(&mut self, batch: RecordBatch) {
        let (rows, bytes) = (batch.num_rows(), batch.columns().iter().map(size).sum::<usize>());
        if rows > 1 && (rows > ROWS || bytes > 2 * BYTES) {
            let half = rows / 2;
            self.cut(batch.slice(0, half));
            self.cut(batch.slice(half, rows - half));
        } else {
            self.ready.push_back(batch);
        }
    }

    fn converted(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let fields = self.file.columns.sent.fields();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.len());
        for (column, field) in batch.columns().iter().zip(fields) {
            columns.push(convert::sent(column, field).map_err(|error| {
                let row = self.sent + convert::first_wrong(column, field) + 1;
                let place = format!(
                    "row group {}, row {row}, column \"{}\": {}",
                    self.group + 1,
                    field.name(),
                    error.message()
                );
                self.file.wrong(error.kind(), place)
            })?);
        }
        self.sent += batch.num_rows();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.file.columns.sent), columns, &options)?)
    }

    /// An error of the reader, which names no column: the columns are read again, one at a time.
    fn blamed(&self, what: &str) -> Error {
        // Of a file that was written to nothing that follows is a wonder.
        if let Err(changed) = self.file.input.check_unchanged() {
            return changed;
        }
        let (column, what) = match self.culprit() {
            Some((column, _, Some(own))) => (format!(", column \"{column}\""), own),
            Some((column, _, None)) => (format!(", column \"{column}\""), what.to_owned()),
            None => (String::new(), what.to_owned()),
        };
        self.file.wrong(Kind::Invalid, format!("row group {}{column}: {what}", self.group + 1))
    }

    fn miscounted(&self) -> Error {
        if let Err(changed) = self.file.input.check_unchanged() {
            return changed;
        }
        let (column, found) = match self.culprit() {
            Some((column, rows, _)) => (format!(", column \"{column}\""), rows),
            None => (String::new(), self.read),
        };
        let place = format!(
            "row group {}{column}: expected {} rows, found {found}; the file is damaged or was not written to its end",
            self.group + 1,
            self.rows
        );
        self.file.wrong(Kind::Invalid, place)
    }

    /// The first column that cannot be read alone or has another number of rows: its name, rows, and the reader's words.
    fn culprit(&self) -> Option<(String, usize, Option<String>)> {
        let schema = self.file.metadata.parquet_schema();
        let names = self.file.columns.sent.fields().iter().map(|field| field.name());
        names.enumerate().find_map(|(index, name)| {
            let mut rows = 0;
            let read = guarded(|| {
                let mask = ProjectionMask::roots(schema, [index]);
                let step = step(&self.file, self.group);
                let builder = self.file.builder(self.group).with_projection(mask).with_batch_size(step);
                for batch in builder.build()? {
                    rows += batch?.num_rows();
                }
                Ok(())
            });
            let is_whole = read.is_ok() && rows == self.rows;
            (!is_whole).then(|| (name.clone(), rows, read.err()))
        })
    }
}

impl Iterator for GroupBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.reader.is_some() {
            if let Err(error) = self.fill() {
                self.reader = None;
                self.ready.clear();
                return Some(Err(error));
            }
        }
        let batch = self.ready.pop_front()?;
        let converted = self.converted(&batch);
        if converted.is_err() {
            self.reader = None;
            self.ready.clear();
        }
        Some(converted)
    }
}

impl Opened {
    fn builder(&self, group: usize) -> ParquetRecordBatchReaderBuilder<super::Input> {
        ParquetRecordBatchReaderBuilder::new_with_metadata(self.input.clone(), self.metadata.clone())
            .with_row_groups(vec![group])
    }
}

/// Runs the reader; its errors and panics in words.
fn guarded<T>(
    read: impl FnOnce() -> std::result::Result<T, arrow::error::ArrowError>,
) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it does not say why");
            Err(format!("the Parquet reader failed on it: {text}"))
        }
    }
}

/// How many rows to read at once, so that they stay small in memory as far as the footer tells.
fn step(file: &Opened, group: usize) -> usize {
    let metadata = file.metadata.metadata().row_group(group);
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let rows = number(metadata.num_rows()).max(1);
    let (mut bytes, mut unknown) = (0_u64, 0_u64);
    for chunk in metadata.columns() {
        let width = match chunk.column_type() {
            parquet::basic::Type::FIXED_LEN_BYTE_ARRAY => number(chunk.column_descr().type_length().into()),
            // A view, or the widest of numbers.
            _ => 16,
        };
        let size = number(chunk.uncompressed_size());
        // Runs and dictionaries grow when they are read.
        bytes = bytes.saturating_add(size.max(number(chunk.num_values()).saturating_mul(width)));
        if chunk.column_type() == parquet::basic::Type::BYTE_ARRAY {
            unknown = unknown.saturating_add(size);
        }
    }
    let most = if unknown > KNOWN_BYTES { UNKNOWN_ROWS } else { ROWS };
    let fitting = (BYTES as u64).saturating_mul(rows) / bytes.max(1);
    usize::try_from(fitting).unwrap_or(most).clamp(1, most)
}

/// Bytes that the rows of an array stand for, however they are shared.
fn size(array: &ArrayRef) -> usize {
    match array.data_type() {
        DataType::BinaryView => array.as_binary_view().lengths().map(|length| length as usize + 4).sum(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let length = usize::try_from(last - first).unwrap_or_default();
            let first = usize::try_from(first).unwrap_or_default();
            list.len() * 4 + size(&list.values().slice(first, length))
        }
        DataType::FixedSizeList(..) => size(array.as_fixed_size_list().values()),
        DataType::Map(..) => {
            let map = array.as_map();
            let offsets = map.value_offsets();
            let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
            let length = usize::try_from(last - first).unwrap_or_default();
            let first = usize::try_from(first).unwrap_or_default();
            let pairs = map.entries().slice(first, length);
            map.len() * 4 + pairs.columns().iter().map(size).sum::<usize>()
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(size).sum(),
        DataType::FixedSizeBinary(width) => array.len() * usize::try_from(*width).unwrap_or_default(),
        other => array.len() * other.primitive_width().unwrap_or(1),
    }
}
