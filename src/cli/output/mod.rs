//! Result batches -> table, csv, json, arrow or parquet, to a file or standard output.
//! Runs on: the task of the command. Never: leaves a file that looks whole and is not; writes anything but the value in
//! the place of one.

mod target;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::ValueEnum;
use pintail::written::{self, Unwritten, Writer};

use super::Failure;
use target::{Named, Target};

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// Lines and columns for people; the first rows only
    Table,
    /// Comma-separated values with a header; NULL is nothing, an empty text is ""
    Csv,
    /// One JSON object a line; NULL is null
    Json,
    /// Arrow IPC stream
    Arrow,
    /// Parquet file, zstd-compressed; needs --output
    Parquet,
}

impl Form {
    /// The form of a file; a table for people is none.
    fn of_file(self) -> Option<written::Form> {
        Some(match self {
            Form::Table => return None,
            Form::Csv => written::Form::Csv,
            Form::Json => written::Form::Json,
            Form::Arrow => written::Form::Arrow,
            Form::Parquet => written::Form::Parquet,
        })
    }
}

/// Takes batches and writes them in one form.
enum Sink {
    Table {
        schema: SchemaRef,
        rows: Vec<RecordBatch>,
        rows_left: usize,
        rows_max: usize,
        more: bool,
        target: Target,
    },
    File(Writer<Target>),
}

/// A file that gets its name when it is complete.
pub(super) struct Output {
    sink: Sink,
    named: Named,
    // Rows shown before, for errors.
    rows: u64,
}

impl Output {
    /// Errors: `Unsupported` naming the column that the form has no place for; nothing has been created then.
    pub(super) fn create(
        form: Form,
        path: Option<&Path>,
        schema: &SchemaRef,
        rows_max: usize,
    ) -> Result<Self, Failure> {
        let of_file = form.of_file();
        if let Some(form) = of_file {
            written::check(form, schema)?;
        }
        let (target, named) = target::open(path)?;
        let sink = match of_file {
            None => Sink::Table {
                schema: textual(schema),
                rows: Vec::new(),
                rows_left: rows_max,
                rows_max,
                more: false,
                target,
            },
            Some(form) => Sink::File(Writer::new(form, schema, target)?),
        };
        Ok(Self { sink, named, rows: 0 })
    }

    /// Writes a batch; false when no more are wanted.
    ///
    /// Errors: naming row and column of a value that has no text.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        let written = self.write_on(batch);
        written.map_err(|failure| self.named.explain(failure))
    }

    fn write_on(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        match &mut self.sink {
            Sink::Table { schema, rows, rows_left, more, .. } => {
                if batch.num_rows() > *rows_left {
                    *more = true;
                }
                // No more than is shown becomes text.
                let batch = batch.slice(0, batch.num_rows().min(*rows_left));
                *rows_left -= batch.num_rows();
                rows.push(RecordBatch::try_new(Arc::clone(schema), written::texts(&batch, self.rows)?)?);
                self.rows += batch.num_rows() as u64;
                Ok(!*more)
            }
            Sink::File(writer) => Ok(writer.write(batch).map(|()| true)?),
        }
    }

    /// Completes the output and gives the file its name. A file that is dropped before that is removed.
    pub(super) fn finish(self) -> Result<(), Failure> {
        let Self { sink, named, .. } = self;
        complete(sink).map_err(|failure| named.explain(failure))?;
        named.keep()
    }
}

fn complete(sink: Sink) -> Result<(), Failure> {
    match sink {
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
        Sink::File(writer) => writer.finish()?,
    }
    Ok(())
}

impl From<Unwritten> for Failure {
    fn from(unwritten: Unwritten) -> Self {
        match unwritten {
            Unwritten::Target(error) => error.into(),
            Unwritten::Rows(error) => error.into(),
        }
    }
}

/// `schema` with a text in every column.
fn textual(schema: &Schema) -> SchemaRef {
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, false);
    Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>()))
}

/// Whether standard output is a terminal, where bytes would only make noise.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
