//! The bytes of a file that is loaded, wherever they are.
//! Runs on: threads that read; blocks. Never: writes; keeps a file open longer than its reader lives.

use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::file::reader::{ChunkReader, Length};

use super::found::{FoundFile, Place};

/// A file opened for reading at any place.
#[derive(Clone)]
pub struct Input {
    shown: Arc<str>,
    bytes: Source,
    len: u64,
    stamp: Stamp,
}

#[derive(Clone)]
enum Source {
    File(Arc<File>),
    #[cfg(feature = "object-store")]
    Object(Arc<super::store::object::ObjectBytes>),
}

impl Source {
    /// Some bytes from `offset` on; none at the end.
    fn read(&self, offset: u64, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Source::File(file) => file.read_at(bytes, offset),
            #[cfg(feature = "object-store")]
            Source::Object(object) => object.read(offset, bytes).map_err(std::io::Error::other),
        }
    }

    fn read_exact(&self, mut offset: u64, mut bytes: &mut [u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.read(offset, bytes) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What changes when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Of objects the version.
    inode: u64,
}

impl Stamp {
    /// That of a local file.
    pub fn of(data: &Metadata) -> Self {
        Self { len: data.len(), modified: data.modified().ok(), inode: data.ino() }
    }
}

impl FoundFile {
    /// Errors: `Invalid` naming the file, also for a pipe, device or socket.
    pub fn open(&self) -> Result<Input> {
        let file = match &self.place {
            Place::Path(path) => Arc::new(open(path).map_err(|error| unreadable(&self.shown, error))?),
            Place::Within(path, fence) => {
                let opened = open(path).and_then(|file| fence.check(&file, path).map(|()| file));
                Arc::new(opened.map_err(|error| unreadable(&self.shown, error))?)
            }
            Place::Copied(copied) => copied.0.clone(),
            #[cfg(feature = "object-store")]
            Place::Object(object) => {
                let (len, inode) = (object.size(), object.version());
                let bytes = Source::Object(Arc::new(super::store::object::ObjectBytes::new(object.clone())));
                let stamp = Stamp { len, modified: None, inode };
                return Ok(Input { shown: self.shown.as_str().into(), bytes, len, stamp });
            }
        };
        let stamp = stamp(&file, &self.shown)?;
        let bytes = Source::File(file);
        Ok(Input { shown: self.shown.as_str().into(), bytes, len: stamp.len, stamp })
    }
}

impl Input {
    /// Bytes of the file when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// `Invalid` naming the file.
    pub fn unreadable(&self, error: impl std::fmt::Display) -> Error {
        unreadable(&self.shown, error)
    }

    /// What it was when it was opened.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Fills `bytes` from `offset` on.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        self.bytes.read_exact(offset, bytes).map_err(|error| unread(&self.shown, error))
    }

    /// Errors: `Conflict` when the file is no longer what it was when it was opened.
    pub fn check_unchanged(&self) -> Result<()> {
        match &self.bytes {
            Source::File(file) if stamp(file, &self.shown)? != self.stamp => Err(self.changed()),
            Source::File(_) => Ok(()),
            // Every range was asked for of the object as it was.
            #[cfg(feature = "object-store")]
            Source::Object(_) => Ok(()),
        }
    }

    /// `Conflict`: the file is no longer what it was.
    pub fn changed(&self) -> Error {
        Error::new(
            crate::error::Kind::Conflict,
            format!("{} was written to while it was read; load it again when it is finished", self.shown),
        )
    }

    /// What people call it.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

fn stamp(file: &File, shown: &str) -> Result<Stamp> {
    let data = file.metadata().map_err(|error| unreadable(shown, error))?;
    if !data.is_file() {
        return Err(unreadable(shown, "expected a file, found a folder, pipe, device or socket"));
    }
    Ok(Stamp::of(&data))
}

/// Opens a file, and never a pipe without a writer, which would wait for one.
fn open(path: &Path) -> std::io::Result<File> {
    if path.metadata()?.is_file() {
        return File::open(path);
    }
    Err(std::io::Error::other("expected a file, found a folder, pipe, device or socket"))
}

impl Length for Input {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for Input {
    type T = InputReader;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(InputReader { input: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let outside = start.checked_add(length as u64).is_none_or(|end| end > self.len);
        if outside {
            return Err(parquet::errors::ParquetError::EOF(format!(
                "expected {length} bytes at {start}, the file ends at {}",
                self.len
            )));
        }
        let mut bytes = vec![0; length];
        self.bytes.read_exact(start, &mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads an [`Input`] from one place on.
pub struct InputReader {
    input: Input,
    at: u64,
}

impl InputReader {
    /// From `at` on.
    pub fn new(input: Input, at: u64) -> Self {
        Self { input, at }
    }
}

impl std::io::Read for InputReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.bytes.read(self.at, bytes)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl std::io::Seek for InputReader {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            std::io::SeekFrom::Start(at) => Some(at),
            std::io::SeekFrom::End(by) => self.input.len.checked_add_signed(by),
            std::io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

/// Errors of object stores name the object themselves and have their own kinds.
fn unread(shown: &str, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => unreadable(shown, error),
    }
}

/// `Invalid` naming the file.
pub fn unreadable(shown: &str, error: impl std::fmt::Display) -> Error {
    Error::invalid(format!("cannot read {shown}: {error}"))
}

/// Batches as they are read; an error is the last item.
pub type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// A file that says what is in it. Holds no open file and no more than the plan of a load needs of each of thousands of
/// files.
pub trait LoadFile: Send + Sync {
    /// The columns as they will be sent, partitions apart.
    fn schema(&self) -> &SchemaRef;
    /// What is told apart and stored once each, in the order of the file; a file without rows has no pieces.
    fn pieces(&self) -> &[Piece];
    /// Whether the last piece is a record that may not be finished: a line without its end.
    fn has_open_end(&self) -> bool {
        false
    }
    /// Opens the file for reading its pieces.
    ///
    /// Errors: `Conflict` when it is no longer what it was.
    fn reader(&self) -> Result<Box<dyn PieceReader>>;
    /// The same, where pieces with these checksums are stored: text leaves out the records of a piece that are among them.
    fn reader_of_rest(&self, stored: HashSet<u64>) -> Result<Box<dyn PieceReader>> {
        let _ = stored;
        self.reader()
    }
}

/// A row group of Parquet, some record batches of Arrow, a block of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Rows, where the file says so before it is read.
    pub rows: Option<u64>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Bytes that are in memory at once while it is read, about.
    pub held: u64,
}

/// Reads the pieces of one file. Pieces are asked for in ascending order; some may be left out.
pub trait PieceReader: Send {
    /// Checksum of the piece's content, the columns' names and types included.
    fn checksum(&mut self, piece: usize) -> Result<u64>;
    /// Checksums of what is stored of the piece that [`PieceReader::checksum`] was asked for last, and is left out of it.
    fn left_out(&self) -> &[u64] {
        &[]
    }
    /// The piece's batches, whose schema is [`LoadFile::schema`]. Where the file says how many rows there are, fewer or
    /// more are an error. Every error names file, and row group and column where there are such.
    fn read(&mut self, piece: usize) -> Result<Batches>;
}
