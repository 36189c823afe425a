//! Result batches -> table, csv, json, arrow or parquet, to a file or standard output.
//! Runs on: the task of the command. Never: leaves a file that looks whole and is not; writes anything but the value in
//! the place of one.

mod cell;
mod extension;
mod json;
mod target;
mod text;
mod time;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::util::pretty::pretty_format_batches_with_schema;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use pintail::error::Error;

use super::Failure;
use cell::Cell;
use target::{Named, Target};

/// Rows of a Parquet row group at most, and their bytes: wide rows would fill the memory before they are that many.
const GROUP_ROWS: usize = 122_880;
const GROUP_BYTES: usize = 32 << 20;

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
    Csv(Target),
    Json(Target),
    Arrow(Box<StreamWriter<Target>>),
    Parquet(Box<ArrowWriter<Target>>),
}

/// A file that gets its name when it is complete.
pub(super) struct Output {
    sink: Sink,
    named: Named,
    // Rows written, for errors.
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
        check(form, schema)?;
        let (mut target, named) = target::open(path)?;
        let sink = match form {
            Form::Table => Sink::Table {
                schema: textual(schema),
                rows: Vec::new(),
                rows_left: rows_max,
                rows_max,
                more: false,
                target,
            },
            Form::Csv => {
                let names = schema.fields().iter().map(|field| Some(field.name().as_str()));
                let mut line = String::new();
                csv_line(&mut line, names);
                target.write_all(line.as_bytes())?;
                Sink::Csv(target)
            }
            Form::Json => Sink::Json(target),
            Form::Arrow => Sink::Arrow(Box::new(StreamWriter::try_new(target, schema)?)),
            Form::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(GROUP_ROWS))
                    .set_max_row_group_bytes(Some(GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(target, Arc::clone(schema), Some(properties));
                Sink::Parquet(Box::new(
                    writer.map_err(|error| Error::unsupported(format!("no Parquet form: {error}")))?,
                ))
            }
        };
        Ok(Self { sink, named, rows: 0 })
    }

    /// Writes a batch; false when no more are wanted.
    ///
    /// Errors: naming row and column of a value that has no text.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        let written = self.write_on(batch);
        self.rows += batch.num_rows() as u64;
        written.map_err(|failure| self.named.explain(failure))
    }

    fn write_on(&mut self, batch: &RecordBatch) -> Result<bool, Failure> {
        let first = self.rows;
        match &mut self.sink {
            Sink::Table { schema, rows, rows_left, more, .. } => {
                if batch.num_rows() > *rows_left {
                    *more = true;
                }
                let batch = batch.slice(0, batch.num_rows().min(*rows_left));
                *rows_left -= batch.num_rows();
                rows.push(shown(&batch, schema, first)?);
                return Ok(!*more);
            }
            Sink::Csv(target) => csv(target, batch, first)?,
            Sink::Json(target) => {
                let mut line = String::new();
                for row in 0..batch.num_rows() {
                    line.clear();
                    json::row(&mut line, batch, row)
                        .map_err(|(column, why)| refused(&column, first + row as u64, &why))?;
                    target.write_all(line.as_bytes())?;
                }
            }
            Sink::Arrow(writer) => writer.write(batch)?,
            Sink::Parquet(writer) => writer.write(batch).map_err(parquet_failure)?,
        }
        Ok(true)
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
        Sink::Csv(mut target) | Sink::Json(mut target) => target.flush()?,
        Sink::Arrow(mut writer) => {
            writer.finish()?;
            writer.into_inner()?.flush()?;
        }
        Sink::Parquet(writer) => writer.into_inner().map_err(parquet_failure)?.flush()?,
    }
    Ok(())
}

fn parquet_failure(error: parquet::errors::ParquetError) -> Failure {
    match error {
        parquet::errors::ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => (*error).into(),
            Err(error) => Failure::Work(Error::internal(format!("cannot write Parquet: {error}"))),
        },
        other => Failure::Work(Error::internal(format!("cannot write Parquet: {other}"))),
    }
}

/// The row is counted from 1, as people do.
fn refused(column: &str, row: u64, why: &str) -> Error {
    Error::unsupported(format!("column \"{column}\", row {}: {why}; cast it to VARCHAR", row + 1))
}

/// Whether `form` has a place for every column of `schema`.
fn check(form: Form, schema: &Schema) -> Result<(), Error> {
    match form {
        Form::Json => match json::repeated(schema) {
            None => Ok(()),
            Some(name) => Err(Error::unsupported(format!(
                "the result has two columns \"{name}\", and a JSON object has one field of a name; give one of them another \
                 with AS"
            ))),
        },
        Form::Parquet => {
            let column =
                schema.fields().iter().find_map(|field| Some((field, no_parquet(field.data_type())?)));
            match column {
                None => Ok(()),
                Some((field, what)) => Err(Error::unsupported(format!(
                    "column \"{}\" has {what}, which the Parquet writer does not write; cast it to VARCHAR, or use --format \
                     arrow",
                    field.name()
                ))),
            }
        }
        Form::Table | Form::Csv | Form::Arrow => Ok(()),
    }
}

/// What in a type the Parquet writer has no form for. It panics at a union, and refuses the others only when rows come.
fn no_parquet(data_type: &DataType) -> Option<&'static str> {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => Some("an INTERVAL"),
        DataType::Union(..) => Some("a UNION"),
        DataType::Struct(fields) if fields.is_empty() => Some("a STRUCT without fields"),
        DataType::Struct(fields) => fields.iter().find_map(|field| no_parquet(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => no_parquet(field.data_type()),
        DataType::Dictionary(_, values) => no_parquet(values),
        DataType::RunEndEncoded(_, values) => no_parquet(values.data_type()),
        _ => None,
    }
}

/// `schema` with a text in every column.
fn textual(schema: &Schema) -> SchemaRef {
    let text = |field: &Arc<Field>| Field::new(field.name(), DataType::Utf8, false);
    Arc::new(Schema::new(schema.fields().iter().map(text).collect::<Vec<_>>()))
}

/// The texts of a batch, for people: they hold no more than is shown.
fn shown(batch: &RecordBatch, schema: &SchemaRef, first: u64) -> Result<RecordBatch, Failure> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let mut texts = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut text = String::new();
            let is_valid = text::write(&mut text, &Cell::new(column.as_ref(), field, row))
                .map_err(|why| refused(field.name(), first + row as u64, &why))?;
            texts.push(if is_valid { text } else { "NULL".to_owned() });
        }
        columns.push(Arc::new(StringArray::from(texts)));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn csv(target: &mut Target, batch: &RecordBatch, first: u64) -> Result<(), Failure> {
    let fields = batch.schema_ref().fields();
    let mut texts = vec![String::new(); fields.len()];
    let mut are_valid = vec![false; fields.len()];
    let mut line = String::new();
    for row in 0..batch.num_rows() {
        for (index, field) in fields.iter().enumerate() {
            texts[index].clear();
            are_valid[index] =
                text::write(&mut texts[index], &Cell::new(batch.column(index).as_ref(), field, row))
                    .map_err(|why| refused(field.name(), first + row as u64, &why))?;
        }
        line.clear();
        csv_line(
            &mut line,
            texts.iter().zip(&are_valid).map(|(text, is_valid)| is_valid.then_some(text.as_str())),
        );
        target.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// RFC 4180, with quotes where they are needed; an empty text has them, so that it is not a NULL.
fn csv_line<'a>(line: &mut String, fields: impl Iterator<Item = Option<&'a str>>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            line.push(',');
        }
        let Some(text) = field else { continue };
        if !text.is_empty() && !text.contains([',', '"', '\n', '\r']) {
            line.push_str(text);
            continue;
        }
        line.push('"');
        line.push_str(&text.replace('"', "\"\""));
        line.push('"');
    }
    line.push('\n');
}

/// Whether standard output is a terminal, where bytes would only make noise.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests;
