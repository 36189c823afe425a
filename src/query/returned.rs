//! Rows that a change gives back -> kept until the change is committed, then streamed.
//! Runs on: the reader's thread.
//! Never: lets a client that reads slowly hold a transaction, its locks or a checkpoint; takes more memory than a queue.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Seek};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::error::{Error, Result};
use crate::size::batch_bytes;

/// How much may be kept, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// In memory; what comes after that waits in a file.
    pub(super) memory: usize,
    /// In the file.
    pub(super) file: u64,
    /// Altogether, where the caller keeps the rows itself.
    pub(super) all: Option<u64>,
}

/// Rows kept, in order.
pub(super) struct Returned {
    limits: Limits,
    held: Vec<RecordBatch>,
    bytes: u64,
    spilled: Option<StreamWriter<BufWriter<File>>>,
    spilled_bytes: u64,
}

impl Returned {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, held: Vec::new(), bytes: 0, spilled: None, spilled_bytes: 0 }
    }

    /// Keeps a batch. `directory` is where the file goes, if there has to be one.
    ///
    /// Errors: `Exhausted` when there are more rows than may wait; the change is to be rolled back then.
    pub(super) fn take(&mut self, directory: &Path, batch: RecordBatch) -> Result<()> {
        let bytes = batch_bytes(&batch) as u64;
        self.bytes += bytes;
        if self.limits.all.is_some_and(|limit| self.bytes > limit) {
            return Err(Error::exhausted(
                "64 MiB",
                "the statement returns too many rows to keep until they are fetched, and was rolled back; \
                 send it as the ticket of a DoGet, which streams, or leave RETURNING out",
            ));
        }
        if self.spilled.is_none() && self.bytes <= self.limits.memory as u64 {
            self.held.push(batch);
            return Ok(());
        }
        self.spilled_bytes += bytes;
        if self.spilled_bytes > self.limits.file {
            return Err(Error::exhausted(
                "database.max_temp_size",
                "the statement returns more rows than may wait on disk until they are read, and was rolled back; leave \
                 RETURNING out, or change fewer rows at a time",
            ));
        }
        let file = match &mut self.spilled {
            Some(file) => file,
            none => none.insert(spill_file(directory, &batch.schema())?),
        };
        file.write(&batch).map_err(|error| no_file(&error))
    }

    /// Hands all rows on, in order.
    pub(super) fn give(self, mut push: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        for batch in self.held {
            push(batch)?;
        }
        let Some(writer) = self.spilled else { return Ok(()) };
        let mut file = writer
            .into_inner()
            .map_err(|error| no_file(&error))?
            .into_inner()
            .map_err(|error| no_file(error.error()))?;
        file.rewind().map_err(|error| no_file(&error))?;
        for batch in StreamReader::try_new(BufReader::new(file), None).map_err(|error| no_file(&error))? {
            push(batch.map_err(|error| no_file(&error))?)?;
        }
        Ok(())
    }
}

/// A file that nobody finds by name: it goes with its last handle, whatever becomes of the process.
fn spill_file(directory: &Path, schema: &SchemaRef) -> Result<StreamWriter<BufWriter<File>>> {
    let make = || {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(format!("returning-{:032x}", rand::random::<u128>()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    let file = make().map_err(|error: std::io::Error| no_file(&error))?;
    StreamWriter::try_new(BufWriter::new(file), schema).map_err(|error| no_file(&error))
}

fn no_file(error: &dyn std::fmt::Display) -> Error {
    tracing::error!(%error, "the rows of a change cannot be kept in database.temp_directory");
    Error::exhausted(
        "database.temp_directory",
        "the rows that the statement returns cannot be kept on disk until they are read",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;

    fn batch(from: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, false)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(from..from + 100))]).unwrap()
    }

    fn kept(limits: Limits, directory: &Path) -> Result<Vec<i64>> {
        let mut returned = Returned::new(limits);
        for index in 0..50 {
            returned.take(directory, batch(index * 100))?;
        }
        let mut found = Vec::new();
        returned.give(|batch| {
            found.extend(batch.column(0).as_primitive::<Int64Type>().values());
            Ok(())
        })?;
        Ok(found)
    }

    /// In memory, on disk or in both, rows come back in their order; no file is left behind, and limits are named.
    #[test]
    fn rows_wait_in_memory_and_then_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let spill = directory.path().join("made/on/demand");
        let limits = |memory, file, all| Limits { memory, file, all };
        for memory in [0, 5 * 800, 1 << 20] {
            let found = kept(limits(memory, 1 << 20, None), &spill).unwrap();
            assert_eq!(found, (0..5000).collect::<Vec<i64>>(), "{memory} bytes in memory");
        }
        assert_eq!(std::fs::read_dir(&spill).unwrap().count(), 0);
        let refused = kept(limits(800, 8000, None), &spill).unwrap_err().to_string();
        assert!(refused.contains("database.max_temp_size"), "{refused}");
        let refused = kept(limits(0, 1 << 20, Some(8000)), &spill).unwrap_err().to_string();
        assert!(refused.contains("64 MiB"), "{refused}");
    }
}
