//! Rows of a result -> CSV, JSON lines, an Arrow IPC stream or a Parquet file, batch by batch.
//! Runs on: anywhere; whoever gives the target decides what it waits for.
//! Never: writes anything but the value in the place of one; holds more than one batch, or one row group of Parquet.

mod cell;
mod extension;
mod json;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, IntervalUnit, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::error::Error;
use cell::Cell;

/// Rows of a Parquet row group at most, and their bytes: wide rows would fill the memory before they are that many.
const GROUP_ROWS: usize = 122_880;
const GROUP_BYTES: usize = 32 << 20;

/// What rows are written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values with a header; NULL is nothing, an empty text is "".
    Csv,
    /// One JSON object a line; NULL is null.
    Json,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet file, compressed by zstd.
    Parquet,
}

/// Why rows are not written.
#[derive(Debug)]
pub enum Unwritten {
    /// The target does not take them.
    Target(io::Error),
    /// They have no place in the form.
    Rows(Error),
}

impl From<Error> for Unwritten {
    fn from(error: Error) -> Self {
        Unwritten::Rows(error)
    }
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Unwritten::Target(error)
    }
}

impl From<ArrowError> for Unwritten {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Unwritten::Target(error),
            other => Unwritten::Rows(other.into()),
        }
    }
}

impl From<ParquetError> for Unwritten {
    fn from(error: ParquetError) -> Self {
        let broken = |what: String| Unwritten::Rows(Error::internal(format!("cannot write Parquet: {what}")));
        match error {
            ParquetError::External(error) => match error.downcast::<io::Error>() {
                Ok(error) => Unwritten::Target(*error),
                Err(error) => broken(error.to_string()),
            },
            other => broken(other.to_string()),
        }
    }
}

/// Writes batches of one result in one form.
pub struct Writer<W: Write + Send> {
    sink: Sink<W>,
    // Rows written, for errors.
    rows: u64,
}

enum Sink<W: Write + Send> {
    Csv(W),
    Json(W),
    Arrow(Box<StreamWriter<W>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Writer<W> {
    /// Writes what comes before the first row. To be [`check`]ed before.
    pub fn new(form: Form, schema: &SchemaRef, mut target: W) -> Result<Self, Unwritten> {
        let sink = match form {
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
        Ok(Self { sink, rows: 0 })
    }

    /// Writes a batch.
    ///
    /// Errors: naming row and column of a value that has no text.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Unwritten> {
        let first = self.rows;
        self.rows += batch.num_rows() as u64;
        match &mut self.sink {
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
            Sink::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Writes what comes after the last row.
    pub fn finish(self) -> Result<(), Unwritten> {
        match self.sink {
            Sink::Csv(mut target) | Sink::Json(mut target) => target.flush()?,
            Sink::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
            Sink::Parquet(writer) => writer.into_inner()?.flush()?,
        }
        Ok(())
    }
}

/// The texts of a batch, column by column, for people; `first` rows came before. NULL reads as such.
///
/// Errors: naming row and column of a value that has no text.
pub fn texts(batch: &RecordBatch, first: u64) -> Result<Vec<ArrayRef>, Error> {
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
    Ok(columns)
}

/// The row is counted from 1, as people do.
fn refused(column: &str, row: u64, why: &str) -> Error {
    Error::unsupported(format!("column \"{column}\", row {}: {why}; cast it to VARCHAR", row + 1))
}

/// Whether `form` has a place for every column of `schema`.
///
/// Errors: `Unsupported` naming the column.
pub fn check(form: Form, schema: &Schema) -> Result<(), Error> {
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
                    "column \"{}\" has {what}, which the Parquet writer does not write; cast it to VARCHAR, or take Arrow \
                     (--format arrow, or Accept: application/vnd.apache.arrow.stream)",
                    field.name()
                ))),
            }
        }
        Form::Csv | Form::Arrow => Ok(()),
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

fn csv(target: &mut impl Write, batch: &RecordBatch, first: u64) -> Result<(), Unwritten> {
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
