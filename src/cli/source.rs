//! A Parquet or Arrow file -> parts, each with a checksum, and each part's batches.
//! Runs on: opening on the task; reading on a thread of its own.
//! Never: holds more than a few batches, or cuts a row group.
//!
//! A part is what one put stream takes: whole row groups of Parquet, whole batches of Arrow, up to a million rows.
//! The checksum tells a part from another one before any of it is sent: of Parquet it covers the bytes in the file,
//! of Arrow the values, and of both the names and types of the columns.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReaderBuilder, StreamReader};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use pintail::catalog::join_arrow;
use pintail::error::{Error, Result};
use pintail::ingest::StreamChecksum;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::Xxh3;

/// Rows that a part is filled up to; a single row group or batch may be larger. A commit costs a few milliseconds, a
/// million rows take about a second, and what is read again after a failure is at most this much.
const PART_ROWS: u64 = 1_000_000;
/// Rows per batch read from Parquet.
const BATCH_ROWS: usize = 65_536;
/// Batches read ahead of the network.
const READ_AHEAD: usize = 4;
/// Bytes taken into a checksum at a time.
const STEP_BYTES: usize = 1 << 20;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A file ready to be read.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// What is sent: the file's columns, with the types of other files where its own are open.
    pub(super) sent: SchemaRef,
    // The file's own.
    schema: SchemaRef,
    /// Rows, where the file says so.
    pub(super) rows: Option<u64>,
    content: Content,
}

enum Content {
    // With the row groups of each part.
    Parquet(File, ArrowReaderMetadata, Vec<Vec<usize>>),
    Arrow,
}

/// A part under way: its batches come as they are read.
pub(super) struct Part {
    /// From 1.
    pub(super) number: usize,
    /// Parts of the file.
    pub(super) of: usize,
    pub(super) checksum: u64,
    /// Rows, where the file says so.
    pub(super) rows: usize,
    /// Dropped before its end, it makes the reader go on with the next part.
    pub(super) batches: mpsc::Receiver<Result<RecordBatch>>,
}

impl Source {
    /// Reads what the file says about itself.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // Reading a pipe would wait for ever, and a file is read twice.
        if !path.metadata().map_err(|error| unreadable(path, error))?.is_file() {
            return Err(unreadable(path, "expected a file, found a pipe, device or socket"));
        }
        let (schema, rows, content) = match ending(path) {
            Some("parquet") => open_parquet(path)?,
            Some("arrow" | "feather" | "arrows") => (open_arrow(path)?.0, None, Content::Arrow),
            _ => return Err(unreadable(path, "expected a name ending in .parquet, .arrow or .arrows")),
        };
        Ok(Self { path: path.to_owned(), sent: Arc::clone(&schema), schema, rows, content })
    }

    /// Gives columns without a type, which hold nothing but NULLs or empty lists, the type that they have in another
    /// file, whichever of them comes first.
    pub(super) fn agree(files: &mut [Self]) {
        let mut known: HashMap<String, DataType> = HashMap::new();
        for field in files.iter().flat_map(|file| file.schema.fields()) {
            let name = field.name().to_lowercase();
            let joined = match known.get(&name) {
                None => field.data_type().clone(),
                // Where types differ in another way, the server says what it makes of it.
                Some(other) => join_arrow(other, field.data_type()).unwrap_or_else(|| other.clone()),
            };
            known.insert(name, joined);
        }
        for file in files {
            let fields = file.schema.fields().iter().map(|field| {
                let own = field.data_type();
                let joined = known.get(&field.name().to_lowercase()).and_then(|other| join_arrow(own, other));
                match joined {
                    Some(joined) if joined != *own && (own.is_null() || can_cast_types(own, &joined)) => {
                        Arc::new(field.as_ref().clone().with_data_type(joined).with_nullable(true))
                    }
                    _ => Arc::clone(field),
                }
            });
            let fields: Vec<_> = fields.collect();
            file.sent = Arc::new(Schema::new_with_metadata(fields, file.schema.metadata().clone()));
        }
    }

    /// Reads the parts in their order; ends early when nobody takes them. An error is the last item. Blocks.
    pub(super) fn read(self, parts: &mpsc::Sender<Result<Part>>) {
        if let Err(error) = self.send(parts) {
            // Whoever took the parts is gone, and needs no reason.
            let _ = parts.blocking_send(Err(error));
        }
    }

    fn send(self, parts: &mpsc::Sender<Result<Part>>) -> Result<()> {
        match self.content {
            Content::Parquet(mut file, metadata, groups) => {
                let of = groups.len();
                for (index, groups) in groups.into_iter().enumerate() {
                    let failed = |error: &dyn std::fmt::Display| unreadable(&self.path, error);
                    let checksum = parquet_checksum(&mut file, &metadata, &groups, &self.schema)
                        .map_err(|error| failed(&error))?;
                    let counts = groups.iter().map(|group| metadata.metadata().row_group(*group).num_rows());
                    let rows = usize::try_from(counts.sum::<i64>()).unwrap_or_default();
                    let file = file.try_clone().map_err(|error| failed(&error))?;
                    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                        .with_row_groups(groups)
                        .with_batch_size(BATCH_ROWS)
                        .build()
                        .map_err(|error| failed(&error))?;
                    let place = Place { number: index + 1, of, checksum, rows };
                    if !fill(parts, place, &mut as_sent(checked(reader), &self.sent)) {
                        return Ok(());
                    }
                }
            }
            Content::Arrow => {
                let plan = arrow_parts(&self.path, &self.schema)?;
                let of = plan.len();
                let mut batches = as_sent(open_arrow(&self.path)?.1, &self.sent);
                for (index, (count, checksum)) in plan.into_iter().enumerate() {
                    let place = Place { number: index + 1, of, checksum, rows: 0 };
                    let mut own = batches.by_ref().take(count);
                    if !fill(parts, place, &mut own) {
                        return Ok(());
                    }
                    // Of a part that nobody wanted the rest is yet to be passed over.
                    own.try_for_each(|batch| batch.map(drop))?;
                }
            }
        }
        Ok(())
    }
}

/// The batches with the types of `schema`, where their own are open.
fn as_sent(batches: Batches, schema: &SchemaRef) -> Batches {
    let schema = Arc::clone(schema);
    Box::new(batches.map(move |batch| {
        let batch = batch?;
        if batch.schema_ref().fields() == schema.fields() {
            return Ok(batch);
        }
        let typed =
            batch.columns().iter().zip(schema.fields()).map(|(column, field)| match column.data_type() {
                own if own == field.data_type() => Ok(Arc::clone(column)),
                DataType::Null => Ok(new_null_array(field.data_type(), column.len())),
                _ => cast(column, field.data_type()),
            });
        let columns = typed.collect::<Result<Vec<_>, ArrowError>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &rows)?)
    }))
}

struct Place {
    number: usize,
    of: usize,
    checksum: u64,
    rows: usize,
}

/// Hands over one part; false when nobody takes parts any more, or it cannot be read to its end.
fn fill(
    parts: &mpsc::Sender<Result<Part>>,
    place: Place,
    from: &mut dyn Iterator<Item = Result<RecordBatch>>,
) -> bool {
    let (sender, batches) = mpsc::channel(READ_AHEAD);
    let Place { number, of, checksum, rows } = place;
    if parts.blocking_send(Ok(Part { number, of, checksum, rows, batches })).is_err() {
        return false;
    }
    for batch in from {
        let failed = batch.is_err();
        if sender.blocking_send(batch).is_err() {
            return !parts.is_closed();
        }
        if failed {
            return false;
        }
    }
    true
}

fn open_parquet(path: &Path) -> Result<(SchemaRef, Option<u64>, Content)> {
    let failed = |error: &dyn std::fmt::Display| unreadable(path, error);
    let file = File::open(path).map_err(|error| failed(&error))?;
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|error| failed(&error))?;
    let schema = Arc::new(Schema::new(metadata.schema().fields().clone()));
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
    let groups = metadata.metadata().row_groups().iter();
    let counts = groups.map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    let mut next = 0;
    let parts = cut(counts)
        .into_iter()
        .map(|count| {
            let first = next;
            next += count;
            (first..next).collect()
        })
        .collect();
    Ok((schema, rows, Content::Parquet(file, metadata, parts)))
}

fn open_arrow(path: &Path) -> Result<(SchemaRef, Batches)> {
    let failed = |error: &dyn std::fmt::Display| unreadable(path, error);
    let mut file = BufReader::new(File::open(path).map_err(|error| failed(&error))?);
    // By its first bytes: both forms go by both endings, and `query --format arrow` writes streams.
    let is_file = file.fill_buf().map_err(|error| failed(&error))?.starts_with(b"ARROW1");
    if !is_file {
        let reader = StreamReader::try_new(file, None).map_err(|error| failed(&error))?;
        return Ok((reader.schema(), checked(reader)));
    }
    let reader = FileReaderBuilder::new().build(file).map_err(|error| failed(&error))?;
    Ok((reader.schema(), checked(reader)))
}

/// How many pieces, one after the other, go into each part; there is always one part, so that an empty file makes
/// its table as well.
fn cut(rows: impl Iterator<Item = u64>) -> Vec<usize> {
    let mut parts = vec![0];
    let mut filled = 0_u64;
    for rows in rows {
        let last = parts.len() - 1;
        if parts[last] > 0 && filled.saturating_add(rows) > PART_ROWS {
            parts.push(1);
            filled = rows;
        } else {
            parts[last] += 1;
            filled = filled.saturating_add(rows);
        }
    }
    parts
}

/// The batches in each part, and its checksum. Reads the file once.
fn arrow_parts(path: &Path, schema: &Schema) -> Result<Vec<(usize, u64)>> {
    let mut parts: Vec<(usize, StreamChecksum)> = vec![(0, StreamChecksum::default())];
    let mut filled = 0_u64;
    for batch in open_arrow(path)?.1 {
        let batch = batch?;
        let rows = batch.num_rows() as u64;
        let last = parts.len() - 1;
        if parts[last].0 > 0 && filled + rows > PART_ROWS {
            parts.push((0, StreamChecksum::default()));
            filled = 0;
        }
        filled += rows;
        if let Some((count, checksum)) = parts.last_mut() {
            *count += 1;
            checksum.add(&batch)?;
        }
    }
    let whole = |(count, values): (usize, StreamChecksum)| {
        let mut checksum = columns_checksum(schema);
        checksum.update(&values.value().to_le_bytes());
        (count, checksum.digest())
    };
    Ok(parts.into_iter().map(whole).collect())
}

/// A checksum with the columns' names and types in it.
fn columns_checksum(schema: &Schema) -> Xxh3 {
    let mut checksum = Xxh3::new();
    for field in schema.fields() {
        checksum.update(format!("{}\0{}\0", field.name(), field.data_type()).as_bytes());
    }
    checksum
}

/// The checksum of row groups as they lie in the file.
fn parquet_checksum(
    file: &mut File,
    metadata: &ArrowReaderMetadata,
    groups: &[usize],
    schema: &Schema,
) -> std::io::Result<u64> {
    let mut checksum = columns_checksum(schema);
    let mut step = vec![0; STEP_BYTES];
    for group in groups {
        let group = metadata.metadata().row_group(*group);
        checksum.update(&group.num_rows().to_le_bytes());
        for column in group.columns() {
            let first = column.dictionary_page_offset().unwrap_or(i64::MAX).min(column.data_page_offset());
            let outside = |_| std::io::Error::other("its footer names bytes that cannot be there");
            let first = u64::try_from(first).map_err(outside)?;
            let mut left = u64::try_from(column.compressed_size()).map_err(outside)?;
            file.seek(SeekFrom::Start(first))?;
            while left > 0 {
                let wanted = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
                file.read_exact(&mut step[..wanted])?;
                checksum.update(&step[..wanted]);
                left -= wanted as u64;
            }
        }
    }
    Ok(checksum.digest())
}

pub(super) fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

pub(super) fn unreadable(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("cannot read {}: {error}", path.display()))
}

fn checked(batches: impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + 'static) -> Batches {
    Box::new(batches.map(|batch| batch.map_err(Error::from)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row groups are joined up to a million rows, never cut, and an empty file is one part.
    #[test]
    fn parts_are_whole_row_groups() {
        let check = |rows: &[u64], parts: &[usize]| assert_eq!(cut(rows.iter().copied()), parts, "{rows:?}");
        check(&[], &[0]);
        check(&[0], &[1]);
        check(&[1_000_000], &[1]);
        check(&[1_000_001, 1], &[1, 1]);
        check(&[600_000, 400_000, 1, 3_000_000, 5], &[2, 1, 1, 1]);
        check(&[u64::MAX, u64::MAX], &[1, 1]);
    }
}
