//! Records of CSV -> types of columns, and batches.
//! Runs on: threads that read. Never: fills a short record up or drops fields of a long one.
//!
//! Not by arrow's own reader: it takes `""` and nothing for the same and rounds decimals.

use std::sync::Arc;

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};

use super::block::{Block, trimmed};
use super::column::{Column, readable, spoken};
use super::header::{Field, fields_of};
use super::shortened::{BATCH_ROWS, CUT, ErrorContext, is_open, shortened};
use super::value::{Class, classify};

/// The classes met in one column.
#[derive(Default, Clone)]
struct Met {
    boolean: bool,
    integer: bool,
    /// Integers that a double does not hold.
    long: bool,
    double: bool,
    not_a_number: bool,
    date: bool,
    timestamp: bool,
    nanos: bool,
    instant: bool,
    text: bool,
}

impl Met {
    fn add(&mut self, class: Class) {
        match class {
            Class::Boolean => self.boolean = true,
            Class::Integer { exact } => {
                self.integer = true;
                self.long |= !exact;
            }
            Class::Double => self.double = true,
            Class::NotANumber => self.not_a_number = true,
            Class::Date => self.date = true,
            Class::Timestamp { nanos } => {
                self.timestamp = true;
                self.nanos |= nanos;
            }
            Class::Instant => self.instant = true,
            Class::Text => self.text = true,
        }
    }

    /// The one type that holds all of it as it stands; text where there is none. `Null` when nothing was met.
    fn data_type(&self) -> DataType {
        let numbers = self.integer || self.double || self.not_a_number;
        let kinds = [self.boolean, numbers, self.date, self.timestamp, self.instant];
        match kinds.iter().filter(|met| **met).count() {
            _ if self.text => DataType::Utf8,
            0 => DataType::Null,
            1 if self.boolean => DataType::Boolean,
            1 if self.date => DataType::Date32,
            1 if self.instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            1 if self.timestamp && self.nanos => DataType::Timestamp(TimeUnit::Nanosecond, None),
            1 if self.timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            1 if self.double && !self.long => DataType::Float64,
            1 if self.integer && !self.double && !self.not_a_number => DataType::Int64,
            _ => DataType::Utf8,
        }
    }
}

/// Finds the types of columns.
pub(super) struct Inference {
    names: Vec<String>,
    delimiter: u8,
    met: Vec<Met>,
}

impl Inference {
    pub(super) fn new(names: &[String], delimiter: u8) -> Self {
        Self { names: names.to_vec(), delimiter, met: vec![Met::default(); names.len()] }
    }

    /// Errors: `Invalid` naming file and line of a record with too few or too many fields.
    pub(super) fn add(&mut self, block: &Block, context: &ErrorContext) -> Result<()> {
        let mut fields = Vec::new();
        for (place, record) in block.records() {
            if !split(block, place, record, self.delimiter, &self.names, context, &mut fields)? {
                continue;
            }
            for (met, field) in self.met.iter_mut().zip(&fields) {
                match field.value() {
                    Some(_) if met.text => {}
                    Some(text) => met.add(classify(text)),
                    None => {}
                }
            }
        }
        Ok(())
    }

    /// `whole`: all of the file was seen.
    pub(super) fn schema(&self, whole: bool) -> Schema {
        let field = |(name, met): (&String, &Met)| match met.data_type() {
            // What comes later may be anything.
            DataType::Null if !whole => ArrowField::new(name, DataType::Utf8, true),
            data_type => ArrowField::new(name, data_type, true),
        };
        Schema::new(self.names.iter().zip(&self.met).map(field).collect::<Vec<_>>())
    }
}

/// The types of the table's columns for those of the file, by name; text for others.
pub(super) fn given_schema(names: &[String], given: &Schema) -> Schema {
    let field = |name: &String| {
        let same = |field: &&Arc<ArrowField>| field.name().to_lowercase() == name.to_lowercase();
        match given.fields().iter().find(same) {
            Some(known) => {
                let read = readable(known.data_type());
                let kept = read == *known.data_type();
                let metadata = if kept { known.metadata().clone() } else { Default::default() };
                ArrowField::new(name, read, true).with_metadata(metadata)
            }
            None => ArrowField::new(name, DataType::Utf8, true),
        }
    };
    Schema::new(names.iter().map(field).collect::<Vec<_>>())
}

/// The fields of a record; false for an empty line, which is none where there are several columns.
fn split<'a>(
    block: &Block,
    place: usize,
    record: &'a str,
    delimiter: u8,
    names: &[String],
    context: &ErrorContext,
    fields: &mut Vec<Field<'a>>,
) -> Result<bool> {
    let is_open = is_open(record);
    let record = trimmed(record);
    if record.is_empty() && names.len() > 1 {
        return Ok(false);
    }
    let refuse =
        |text: &str| Error::invalid(format!("{}, line {}: {text}", context.shown, block.line(place)));
    fields_of(record, delimiter, fields).map_err(refuse)?;
    if fields.len() != names.len() {
        let why = match fields.len() < names.len() && is_open {
            true => CUT,
            false => "a field that holds the delimiter needs quotes",
        };
        return Err(refuse(&format!(
            "expected {} fields as in the first line, found {}; {why}",
            names.len(),
            fields.len()
        )));
    }
    Ok(true)
}

/// Reads the records of one block.
pub(super) struct CsvBatches {
    block: Block,
    /// Records that were read.
    next: usize,
    schema: SchemaRef,
    names: Vec<String>,
    delimiter: u8,
    context: Arc<ErrorContext>,
}

impl CsvBatches {
    pub(super) fn new(block: Block, schema: SchemaRef, delimiter: u8, context: Arc<ErrorContext>) -> Self {
        let names = schema.fields().iter().map(|field| field.name().clone()).collect();
        Self { block, next: 0, schema, names, delimiter, context }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut columns: Vec<Column> =
            self.schema.fields().iter().map(|field| Column::new(field.data_type())).collect();
        let mut rows = 0;
        let mut fields = Vec::new();
        while rows < BATCH_ROWS && self.next < self.block.ends.len() {
            let place = self.next.checked_sub(1).map_or(0, |last| self.block.ends[last]);
            let record = &self.block.text[place..self.block.ends[self.next]];
            self.next += 1;
            if !split(&self.block, place, record, self.delimiter, &self.names, &self.context, &mut fields)? {
                continue;
            }
            rows += 1;
            for (index, (column, field)) in columns.iter_mut().zip(&fields).enumerate() {
                match field.value() {
                    None => column.push_null(),
                    Some(text) if column.push(text) => {}
                    Some(text) => {
                        let context = &self.context;
                        let cut = if is_open(record) { format!("{CUT}; or ") } else { String::new() };
                        return Err(Error::invalid(format!(
                            "{}, line {}, column \"{}\": expected {}, found \"{}\"; {cut}{}",
                            context.shown,
                            self.block.line(place),
                            self.names[index],
                            spoken(self.schema.field(index).data_type()),
                            shortened(text),
                            context.advice
                        )));
                    }
                }
            }
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = columns.iter_mut().map(Column::finish).collect();
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), arrays)?))
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batch();
        if batch.is_err() {
            self.next = self.block.ends.len();
        }
        batch.transpose()
    }
}
