//! Result batches -> table, csv, json, arrow or parquet, to a file or standard output.
//! Runs on: the task of the command. Never: leaves a file that looks whole and is not.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::LineDelimitedWriter;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pintail::error::Error;

use super::Failure;

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Lines and columns for people; the first rows only
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Json,
    /// Arrow IPC stream
    Arrow,
    /// Parquet file, zstd-compressed; needs --output
    Parquet,
}

type Target = BufWriter<Box<dyn Write + Send>>;

/// Takes batches and writes them in one form.
pub(super) enum Sink {
    Table {
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        rows_left: usize,
        rows_max: usize,
        more: bool,
        target: Target,
    },
    Csv(Box<arrow::csv::Writer<Target>>),
    Json(LineDelimitedWriter<Target>),
    Arrow(Box<StreamWriter<Target>>),
    Parquet(Box<ArrowWriter<Target>>),
}

/// A file that gets its name when it is complete.
pub(super) struct Output {
    sink: Sink,
    rename: Option<(PathBuf, PathBuf)>,
    closed: Arc<AtomicBool>,
}

/// Standard output that notes when its reader is gone: some writers hand that on as a text.
struct Noting {
    closed: Arc<AtomicBool>,
}

impl Write for Noting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::stdout().write(bytes).inspect_err(|error| {
            if error.kind() == std::io::ErrorKind::BrokenPipe {
                self.closed.store(true, Ordering::Relaxed);
            }
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stdout().flush()
    }
}

impl Output {
    pub(super) fn create(
        form: Form,
        path: Option<&Path>,
        schema: &SchemaRef,
        rows_max: usize,
    ) -> Result<Self, Failure> {
        let closed = Arc::new(AtomicBool::new(false));
        let (writer, rename): (Box<dyn Write + Send>, _) = match path {
            None => (Box::new(Noting { closed: Arc::clone(&closed) }), None),
            Some(path) => {
                let mut name = path.as_os_str().to_owned();
                name.push(".part");
                let part = PathBuf::from(name);
                let file = File::create(&part)
                    .map_err(|error| Error::invalid(format!("cannot create {}: {error}", part.display())))?;
                (Box::new(file), Some((part, path.to_owned())))
            }
        };
        let target = BufWriter::with_capacity(1 << 20, writer);
        let sink = match form {
            Form::Table => Sink::Table {
                schema: Arc::clone(schema),
                rows: Vec::new(),
                rows_left: rows_max,
                rows_max,
                more: false,
                target,
            },
            Form::Csv => Sink::Csv(Box::new(WriterBuilder::new().with_header(true).build(target))),
            Form::Json => Sink::Json(LineDelimitedWriter::new(target)),
            Form::Arrow => Sink::Arrow(Box::new(StreamWriter::try_new(target, schema)?)),
            Form::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(122_880))
                    .build();
                let writer = ArrowWriter::try_new(target, Arc::clone(schema), Some(properties));
                Sink::Parquet(Box::new(
                    writer.map_err(|error| Error::invalid(format!("no Parquet form: {error}")))?,
                ))
            }
        };
        Ok(Self { sink, rename, closed })
    }

    /// Writes a batch; false when no more are wanted.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        self.write_on(batch).map_err(|failure| match self.closed.load(Ordering::Relaxed) {
            true => Failure::Closed,
            false => failure,
        })
    }

    fn write_on(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        match &mut self.sink {
            Sink::Table { rows, rows_left, more, .. } => {
                if batch.num_rows() > *rows_left {
                    *more = true;
                }
                rows.push(batch.slice(0, batch.num_rows().min(*rows_left)));
                *rows_left -= batch.num_rows().min(*rows_left);
                return Ok(!*more);
            }
            Sink::Csv(writer) => writer.write(batch)?,
            Sink::Json(writer) => writer.write(batch)?,
            Sink::Arrow(writer) => writer.write(batch)?,
            Sink::Parquet(writer) => writer.write(batch).map_err(parquet_failure)?,
        }
        Ok(true)
    }

    /// Completes the output and gives the file its name.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.sink {
            Sink::Table { schema, rows, more, rows_max, mut target, .. } => {
                writeln!(target, "{}", pretty_format_batches_with_schema(schema, &rows)?)?;
                if more {
                    writeln!(
                        target,
                        "first {rows_max} rows; --rows N shows more, --format csv, json, arrow or parquet all of them"
                    )?;
                }
                target.flush()?;
            }
            Sink::Csv(writer) => writer.into_inner().flush()?,
            Sink::Json(mut writer) => {
                writer.finish()?;
                writer.into_inner().flush()?;
            }
            Sink::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
            Sink::Parquet(writer) => writer.into_inner().map_err(parquet_failure)?.flush()?,
        }
        if let Some((part, path)) = self.rename {
            std::fs::rename(&part, &path)
                .map_err(|error| Error::internal(format!("cannot rename {} : {error}", part.display())))?;
        }
        Ok(())
    }

    /// Removes what was written of a result that did not arrive whole.
    pub(super) fn discard(self) {
        if let Some((part, _)) = self.rename {
            // The error that led here is the one to report.
            let _ = std::fs::remove_file(part);
        }
    }
}

fn parquet_failure(error: parquet::errors::ParquetError) -> Failure {
    Failure::Work(Error::internal(format!("cannot write Parquet: {error}")))
}

/// Whether standard output is a terminal, where bytes would only make noise.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
