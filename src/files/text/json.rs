//! Records of NDJSON -> types of columns, and batches.
//! Runs on: threads that read. Never: drops a key, or makes a value fit.
//!
//! Not by arrow's own reader: it cuts `1.5` down to `1` for an integer column.

use pintail_protocol::extension;
use std::borrow::Cow;
use std::sync::Arc;

use crate::error::{Error, Result};
use arrow::array::builder::{BooleanBufferBuilder, NullBufferBuilder};
use arrow::array::{ArrayRef, ListArray, RecordBatch, StructArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use serde_json::value::RawValue;

use super::block::Block;
use super::column::{Column, readable, spoken};
use super::shape::{Json, Misfit, Shape, fields_of, learn_keys, object};
use super::shortened::{BATCH_ROWS, CUT, ErrorContext, is_open, shortened};

/// Objects and arrays in one another; the server takes no type that is deeper.
const LEVELS_MAX: usize = 50;

/// Finds the columns.
#[derive(Default)]
pub(super) struct Inference {
    fields: Vec<(String, Shape)>,
}

impl Inference {
    /// Errors: `Invalid` naming file, line and field.
    pub(super) fn add(
        &mut self,
        block: &Block,
        given: Option<&Schema>,
        context: &ErrorContext,
    ) -> Result<()> {
        // Keys that the table has no column for are text, whatever they hold.
        let known = |_: &str| given.is_some();
        for (place, record) in block.records() {
            if record.trim().is_empty() {
                continue;
            }
            let line = || block.line(place);
            let entries = entries_of(record).map_err(|text| context.broken(line(), &text))?;
            learn_keys(&mut self.fields, &entries, known)
                .map_err(|misfit| context.misfit(Some(line()), misfit))?;
        }
        Ok(())
    }

    /// `whole`: all of the file was seen.
    pub(super) fn schema(
        self,
        given: Option<&Schema>,
        whole: bool,
        context: &ErrorContext,
    ) -> Result<Schema> {
        let Some(given) = given else {
            let fields = fields_of(&self.fields, whole).map_err(|misfit| context.misfit(None, misfit))?;
            return Ok(Schema::new(fields));
        };
        let of_table = |name: &str| {
            let lower = name.to_lowercase();
            given.fields().iter().find(|field| field.name().to_lowercase() == lower)
        };
        let mut fields: Vec<FieldRef> = Vec::new();
        for (name, _) in &self.fields {
            fields.push(of_table(name).map_or_else(
                || Arc::new(Field::new(name, DataType::Utf8, true)),
                |known| Arc::new(readable_field(known).with_name(name)),
            ));
        }
        if !whole {
            let lacks = |field: &&FieldRef| {
                let lower = field.name().to_lowercase();
                !self.fields.iter().any(|(name, _)| name.to_lowercase() == lower)
            };
            // Keys that come later; a file that was seen whole and lacks a column leaves it to its default.
            fields.extend(given.fields().iter().filter(lacks).map(|field| Arc::new(readable_field(field))));
        }
        Ok(Schema::new(fields))
    }
}

/// A table's field as this room reads it: nested types as they are, others as [`readable`] says.
pub(super) fn readable_field(field: &Field) -> Field {
    let read = match field.data_type() {
        DataType::List(item) => DataType::List(Arc::new(readable_field(item))),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| Arc::new(readable_field(field))).collect())
        }
        scalar => readable(scalar),
    };
    let kept = read == *field.data_type();
    let metadata = if kept { field.metadata().clone() } else { Default::default() };
    Field::new(field.name(), read, true).with_metadata(metadata)
}

/// Whether objects and arrays are nested deeper than any type: reading them would take the thread's stack.
fn is_deep(record: &str) -> bool {
    let (mut level, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in record.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b'{' | b'[' if !is_text => level += 1,
            b'}' | b']' if !is_text => level = level.saturating_sub(1),
            _ => {}
        }
        if level > LEVELS_MAX {
            return true;
        }
    }
    false
}

/// The keys and values of a record; else what is wrong with it.
fn entries_of(line: &str) -> std::result::Result<Vec<(Cow<'_, str>, &RawValue)>, String> {
    let record = line.trim();
    if is_deep(record) {
        return Err(format!("nests more than {LEVELS_MAX} levels"));
    }
    object(record).map_err(|error| match record.as_bytes().first() {
        Some(b'[') => {
            "expected an object, found a list; write one object to a line (jq -c '.[]' does)".to_owned()
        }
        Some(b'{') if error.is_eof() && is_open(line) => format!("is not valid JSON: {error}; {CUT}"),
        Some(b'{') => format!("is not valid JSON: {error}; an object stands on one line, by itself"),
        _ => format!("expected an object, found {}", shortened(record)),
    })
}

/// Arrays under construction for one place.
enum Node {
    Scalar { column: Column, data_type: DataType, json: bool },
    List { item: Box<Node>, field: FieldRef, ends: Vec<i32>, valid: NullBufferBuilder },
    Struct { fields: Fields, nodes: Vec<Node>, valid: BooleanBufferBuilder },
}

impl Node {
    fn new(field: &Field) -> Self {
        match field.data_type() {
            DataType::List(item) => Node::List {
                item: Box::new(Node::new(item)),
                field: Arc::clone(item),
                ends: vec![0],
                valid: NullBufferBuilder::new(0),
            },
            DataType::Struct(fields) => Node::of_fields(fields),
            scalar => Node::Scalar {
                column: Column::new(scalar),
                data_type: scalar.clone(),
                json: field.metadata().get(extension::NAME).is_some_and(|name| name == "arrow.json"),
            },
        }
    }

    fn of_fields(fields: &Fields) -> Self {
        let nodes = fields.iter().map(|field| Node::new(field)).collect();
        Node::Struct { fields: fields.clone(), nodes, valid: BooleanBufferBuilder::new(0) }
    }

    fn push_null(&mut self) {
        match self {
            Node::Scalar { column, .. } => column.push_null(),
            Node::List { item: _, ends, valid, .. } => {
                ends.push(ends.last().copied().unwrap_or(0));
                valid.append_null();
            }
            Node::Struct { nodes, valid, .. } => {
                nodes.iter_mut().for_each(Node::push_null);
                valid.append(false);
            }
        }
    }

    /// `typed`: the types are the table's, so numbers may stand in texts and anything in a column of text.
    fn push(&mut self, raw: &RawValue, typed: bool) -> std::result::Result<(), Misfit> {
        let json = Json::of(raw)?;
        if matches!(json, Json::Null) {
            self.push_null();
            return Ok(());
        }
        match (self, json) {
            (Node::Scalar { column, data_type, json: as_json }, json) => {
                let fits = match &json {
                    _ if *as_json => column.push(raw.get()),
                    Json::String(text) => (typed || column.is_text()) && column.push(text),
                    Json::Boolean => (typed || *data_type == DataType::Boolean) && column.push(raw.get()),
                    Json::Number if typed => column.push(raw.get()),
                    Json::Number => {
                        let lossless = match &*data_type {
                            DataType::Float64 => super::value::keeps_digits(raw.get()),
                            other => !matches!(other, DataType::Boolean | DataType::Utf8),
                        };
                        lossless && column.push(raw.get())
                    }
                    Json::List(_) | Json::Object(_) => typed && column.is_text() && column.push(raw.get()),
                    Json::Null => false,
                };
                let found = shortened(raw.get());
                if fits {
                    Ok(())
                } else {
                    Err(Misfit::new(format!("expected {}, found {found}", spoken(data_type))))
                }
            }
            (Node::List { item, ends, valid, .. }, Json::List(items)) => {
                let before = ends.last().copied().unwrap_or(0);
                for (index, raw) in items.iter().enumerate() {
                    item.push(raw, typed).map_err(|misfit| misfit.below(&index.to_string()))?;
                }
                let end = i32::try_from(items.len()).ok().and_then(|count| before.checked_add(count));
                ends.push(end.ok_or_else(|| Misfit::new("holds too many values"))?);
                valid.append_non_null();
                Ok(())
            }
            (Node::Struct { fields, nodes, valid }, Json::Object(entries)) => {
                push_entries(fields, nodes, &entries, typed)?;
                valid.append(true);
                Ok(())
            }
            (node, json) => {
                let expected = if matches!(node, Node::List { .. }) { "a list" } else { "an object" };
                let found = format!("{} {}", json.kind(), shortened(raw.get()));
                Err(Misfit::new(format!("expected {expected}, found {found}")))
            }
        }
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Node::Scalar { column, .. } => column.finish(),
            Node::List { item, field, ends, valid } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, item.finish()?, valid.finish())?)
            }
            Node::Struct { fields, nodes, valid } => {
                let arrays = nodes.iter_mut().map(Node::finish).collect::<Result<Vec<_>>>()?;
                let valid = valid.finish();
                let rows = valid.len();
                Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, Some(valid.into()), rows)?)
            }
        })
    }
}

fn push_entries(
    fields: &Fields,
    nodes: &mut [Node],
    entries: &[(Cow<'_, str>, &RawValue)],
    typed: bool,
) -> std::result::Result<(), Misfit> {
    let mut given = vec![false; nodes.len()];
    for (index, (key, raw)) in entries.iter().enumerate() {
        let at = match fields.get(index) {
            Some(field) if field.name() == key => Some(index),
            _ => fields.iter().position(|field| field.name() == key).or_else(|| {
                let lower = key.to_lowercase();
                fields.iter().position(|field| field.name().to_lowercase() == lower)
            }),
        };
        let at = at.ok_or_else(|| {
            Misfit::new("is a key that no column was made for; its first line is past the beginning that columns are found in (64 MiB of a file, 8 MiB of a request), or it is nested")
                .below(key)
        })?;
        if std::mem::replace(&mut given[at], true) {
            return Err(Misfit::new("stands twice in one object").below(key));
        }
        nodes[at].push(raw, typed).map_err(|misfit| misfit.below(key))?;
    }
    for (node, _) in nodes.iter_mut().zip(given).filter(|(_, given)| !given) {
        node.push_null();
    }
    Ok(())
}

/// Reads the records of one block.
pub(super) struct JsonBatches {
    block: Block,
    /// Records that were read.
    next: usize,
    schema: SchemaRef,
    context: Arc<ErrorContext>,
}

impl JsonBatches {
    pub(super) fn new(block: Block, schema: SchemaRef, context: Arc<ErrorContext>) -> Self {
        Self { block, next: 0, schema, context }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let fields = self.schema.fields();
        let mut nodes: Vec<Node> = fields.iter().map(|field| Node::new(field)).collect();
        let mut rows = 0;
        while rows < BATCH_ROWS && self.next < self.block.ends.len() {
            let place = self.next.checked_sub(1).map_or(0, |last| self.block.ends[last]);
            let record = &self.block.text[place..self.block.ends[self.next]];
            self.next += 1;
            if record.trim().is_empty() {
                continue;
            }
            rows += 1;
            let line = || self.block.line(place);
            let entries = entries_of(record).map_err(|text| self.context.broken(line(), &text))?;
            push_entries(fields, &mut nodes, &entries, self.context.typed)
                .map_err(|misfit| self.context.misfit(Some(line()), misfit))?;
        }
        if rows == 0 {
            return Ok(None);
        }
        let arrays = nodes.iter_mut().map(Node::finish).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Some(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?))
    }
}

impl Iterator for JsonBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batch();
        if batch.is_err() {
            self.next = self.block.ends.len();
        }
        batch.transpose()
    }
}

impl ErrorContext {
    /// No type of a column makes it better.
    fn broken(&self, line: u64, text: &str) -> Error {
        Error::invalid(format!("{}, line {line}: {text}", self.shown))
    }

    fn misfit(&self, line: Option<u64>, misfit: Misfit) -> Error {
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        let path = match misfit.path.is_empty() {
            true => String::new(),
            false => format!(", field \"{}\"", misfit.path.join(".")),
        };
        Error::invalid(format!("{}{line}{path}: {}; {}", self.shown, misfit.text, self.advice))
    }
}
