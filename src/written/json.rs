//! Rows of a batch -> JSON objects, one a line.
//! Runs on: anywhere; pure.
//! Never: leaves a field out or rounds a number: NULL is `null`, decimals keep their digits.

use std::collections::HashSet;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::*;

use super::cell::{Cell, Refused};
use super::extension::Meaning;
use super::text;

/// Names that a schema has twice: a reader would see only one of the two fields.
pub(super) fn repeated(schema: &Schema) -> Option<&str> {
    let mut seen = HashSet::new();
    schema.fields().iter().map(|field| field.name().as_str()).find(|name| !seen.insert(*name))
}

/// Writes a row. The error names the column.
pub(super) fn row(out: &mut String, batch: &RecordBatch, row: usize) -> Result<(), (String, Refused)> {
    out.push('{');
    for (index, (field, column)) in batch.schema_ref().fields().iter().zip(batch.columns()).enumerate() {
        separate(out, index);
        string(out, field.name());
        out.push(':');
        value(out, &Cell::new(column.as_ref(), field, row)).map_err(|why| (field.name().clone(), why))?;
    }
    out.push_str("}\n");
    Ok(())
}

fn value(out: &mut String, cell: &Cell<'_>) -> Result<(), Refused> {
    if cell.is_null() {
        out.push_str("null");
        return Ok(());
    }
    if let Some(json) = cell.variant() {
        out.push_str(&json?);
    } else if let Some(text) = cell.string() {
        string(out, text);
    } else if let Some((elements, field)) = cell.elements() {
        out.push('[');
        for row in 0..elements.len() {
            separate(out, row);
            value(out, &Cell::new(elements.as_ref(), field, row))?;
        }
        out.push(']');
    } else if let Some((tag, member)) = cell.member() {
        out.push('{');
        string(out, tag);
        out.push(':');
        value(out, &member)?;
        out.push('}');
    } else {
        match cell.array.data_type() {
            DataType::Struct(fields) => {
                out.push('{');
                for (index, (column, field)) in
                    cell.array.as_struct().columns().iter().zip(fields).enumerate()
                {
                    separate(out, index);
                    string(out, field.name());
                    out.push(':');
                    value(out, &Cell::new(column.as_ref(), field, cell.row))?;
                }
                out.push('}');
            }
            DataType::Map(..) => {
                out.push('{');
                let mut name = String::new();
                for (index, (key, of_key)) in text::entries(cell)?.cells().enumerate() {
                    separate(out, index);
                    name.clear();
                    text::write(&mut name, &key)?;
                    string(out, &name);
                    out.push(':');
                    value(out, &of_key)?;
                }
                out.push('}');
            }
            DataType::Float16 => {
                number(out, cell, cell.array.as_primitive::<Float16Type>().value(cell.row).is_finite())?;
            }
            DataType::Float32 => {
                number(out, cell, cell.array.as_primitive::<Float32Type>().value(cell.row).is_finite())?;
            }
            DataType::Float64 => {
                number(out, cell, cell.array.as_primitive::<Float64Type>().value(cell.row).is_finite())?;
            }
            data_type => {
                let is_bare = data_type.is_numeric() || *data_type == DataType::Boolean;
                number(out, cell, is_bare || Meaning::of(cell.field).is_some_and(Meaning::is_number))?;
            }
        }
    }
    Ok(())
}

/// A value that is written as it is, or as a string. JSON has no NaN and no infinity: those are strings.
fn number(out: &mut String, cell: &Cell<'_>, is_bare: bool) -> Result<(), Refused> {
    let mut text = String::new();
    text::write(&mut text, cell)?;
    match (is_bare, text.as_str()) {
        (true, text) => out.push_str(text),
        (false, "nan") => string(out, "NaN"),
        (false, "inf") => string(out, "Infinity"),
        (false, "-inf") => string(out, "-Infinity"),
        (false, text) => string(out, text),
    }
    Ok(())
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push(',');
    }
}

fn string(out: &mut String, text: &str) {
    // A text is always a JSON value.
    out.push_str(&serde_json::Value::from(text).to_string());
}
