//! A Parquet file -> its columns, row groups, their checksums and batches, by the specification.
//! Runs on: threads that read; blocks. Never: holds an open file or a footer for a file that is not being read.
//!
//! `footer` checks what the file says of itself, `leaves` what its columns are, `columns` gives their Arrow forms,
//! `read` reads one row group, and `convert` makes what is read into what is sent.

mod columns;
mod convert;
mod footer;
mod geo;
mod leaves;
mod read;
mod thrift;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::RowGroupMetaData;
use xxhash_rust::xxh3::Xxh3;

use super::found::FoundFile;
use super::input::{Batches, Input, LoadFile, Piece, PieceReader, Stamp};
use columns::Columns;
use footer::Footer;
use geo::Geo;
use leaves::Leaves;
use read::GroupBatches;

/// Values after which writers see to it that a page is not larger than [`PAGE_BYTES`].
const PAGE_VALUES: u64 = 1024;
const PAGE_BYTES: u64 = 1 << 20;
/// Bytes taken into a checksum at a time.
const STEP_BYTES: u64 = 1 << 20;

/// Reads what the file says about itself.
///
/// Errors: naming the file, and the column where it is one: `Invalid` for what is no whole Parquet file or says what
/// cannot be, `Unsupported` for what has no form in DuckDB or cannot be read.
pub(super) fn open(found: &FoundFile) -> Result<Arc<dyn LoadFile>> {
    let opened = Opened::open(found)?;
    let metadata = opened.metadata.metadata();
    let (mut pieces, mut groups) = (Vec::new(), Vec::new());
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(group.num_rows()).unwrap_or_default();
        if rows > 0 {
            let lengths = group.columns().iter().filter_map(footer::range).map(|(_, length)| length);
            pieces.push(Piece { rows: Some(rows), bytes: lengths.sum(), held: held_bytes(group) });
            groups.push(index);
        }
    }
    Ok(Arc::new(ParquetFile {
        found: found.clone(),
        stamp: opened.input.stamp(),
        schema: Arc::clone(&opened.columns.sent),
        pieces,
        groups,
    }))
}

/// What the reader holds of a row group: a page of each column, as it is stored and as it is unpacked.
///
/// A footer says nothing of pages. Writers look at their size once for some values, 1,024 in most, so that large cells make
/// large pages.
fn held_bytes(group: &RowGroupMetaData) -> u64 {
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let pages = group.columns().iter().map(|column| {
        let all = number(column.uncompressed_size());
        let some = (all / number(column.num_values()).max(1)).saturating_mul(PAGE_VALUES).max(PAGE_BYTES);
        all.min(some).saturating_mul(2)
    });
    pages.fold(0, u64::saturating_add)
}

struct ParquetFile {
    found: FoundFile,
    stamp: Stamp,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    /// The row group of each piece; those without rows are none.
    groups: Vec<usize>,
}

impl LoadFile for ParquetFile {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    fn reader(&self) -> Result<Box<dyn PieceReader>> {
        let opened = Opened::open(&self.found);
        // Of a file that was written to, errors say nothing.
        let stamp = match &opened {
            Ok(opened) => opened.input.stamp(),
            Err(_) => self.found.open()?.stamp(),
        };
        if stamp != self.stamp {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "{} was written to since it was looked at; load it again when it is finished",
                    self.found.shown
                ),
            ));
        }
        Ok(Box::new(ParquetReader { file: Arc::new(opened?), groups: self.groups.clone() }))
    }
}

/// A file with its footer, while it is read.
struct Opened {
    shown: String,
    input: Input,
    metadata: ArrowReaderMetadata,
    columns: Columns,
}

impl Opened {
    fn open(found: &FoundFile) -> Result<Self> {
        let input = found.open()?;
        let read = catch_unwind(AssertUnwindSafe(|| Self::parts(&input)));
        let (metadata, columns) = read
            .unwrap_or_else(|_| Err(Error::invalid("the Parquet reader failed on its footer")))
            .map_err(|error| wrong(&found.shown, error.kind(), error.message()))?;
        Ok(Self { shown: found.shown.clone(), input, metadata, columns })
    }

    fn parts(input: &Input) -> Result<(ArrowReaderMetadata, Columns)> {
        let footer = Footer::read(input)?;
        // GeoParquet's columns are known by the pairs that come with the metadata, which is read by the leaves' schema.
        let own = footer.metadata(&footer.schema)?;
        let pairs = own.file_metadata().key_value_metadata();
        let leaves = Leaves::of(&footer.schema, &Geo::of(pairs))?;
        let columns = Columns::of(&leaves, pairs)?;
        let metadata = Arc::new(footer.metadata(&leaves.schema)?);
        let options = ArrowReaderOptions::new().with_schema(Arc::clone(&columns.read));
        let metadata = ArrowReaderMetadata::try_new(metadata, options)
            .map_err(|error| Error::unsupported(format!("its columns cannot be read: {error}")))?;
        Ok((metadata, columns))
    }

    fn wrong(&self, kind: Kind, what: impl std::fmt::Display) -> Error {
        wrong(&self.shown, kind, what)
    }
}

fn wrong(shown: &str, kind: Kind, what: impl std::fmt::Display) -> Error {
    Error::new(kind, format!("cannot read {shown}: {what}"))
}

struct ParquetReader {
    file: Arc<Opened>,
    groups: Vec<usize>,
}

impl ParquetReader {
    fn group(&self, piece: usize) -> Result<usize> {
        self.groups
            .get(piece)
            .copied()
            .ok_or_else(|| Error::internal("a row group that the file does not have"))
    }
}

impl PieceReader for ParquetReader {
    fn checksum(&mut self, piece: usize) -> Result<u64> {
        let group = self.file.metadata.metadata().row_group(self.group(piece)?);
        let mut checksum = names_and_types(&self.file.columns.sent);
        checksum.update(&group.num_rows().to_le_bytes());
        let mut step = Vec::new();
        for (first, length) in group.columns().iter().filter_map(footer::range) {
            let end = first + length;
            let mut at = first;
            while at < end {
                step.resize(usize::try_from((end - at).min(STEP_BYTES)).unwrap_or_default(), 0);
                self.file.input.read_at(at, &mut step)?;
                checksum.update(&step);
                at += step.len() as u64;
            }
        }
        self.file.input.check_unchanged()?;
        Ok(checksum.digest())
    }

    fn read(&mut self, piece: usize) -> Result<Batches> {
        Ok(Box::new(GroupBatches::new(Arc::clone(&self.file), self.group(piece)?)?))
    }
}

fn names_and_types(schema: &Schema) -> Xxh3 {
    let mut checksum = Xxh3::new();
    for field in schema.fields() {
        // How wide a decimal is sent is no matter of the file, and must not make it another one.
        let data_type = field.data_type().to_string();
        let data_type = data_type.replace("Decimal32(", "Decimal128(").replace("Decimal64(", "Decimal128(");
        checksum.update(format!("{}\0{data_type}\0", field.name()).as_bytes());
    }
    checksum
}

#[cfg(test)]
mod tests;
