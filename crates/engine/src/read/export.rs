//! Column types of a result -> the Arrow schema it leaves with, and arrays of the engine -> that form.
//! Runs on: the thread that prepares, and the thread of a cursor.
//! Never: gives a value away in a form that stands for another one.
//!
//! The engine has two forms for some types. Its default one is what plain clients read: UUID as text, HUGEINT as a
//! decimal. It has no room for all values of UHUGEINT and TIME WITH TIME ZONE, and none for what BIT is. Its
//! lossless form (`arrow_lossless_conversion`) has Arrow's extension types for all of them, for BOOLEAN too.
//! Results leave here in the default form where that says it all, with [`STANDS_FOR`] on the field, and in the
//! lossless one where not. BIT is bytes in both; what they are is said in the default form, too. `flight::form` makes of it what the client has asked for.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, FixedSizeBinaryArray, RecordBatch, RecordBatchOptions,
    StringBuilder, UnionArray, make_array,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef,
};
use duckdb::logical_type::{LogicalType, LogicalTypeID};

use super::evident::{certain, is_evident};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::plain::{BIT, Extension, STANDS_FOR};
use crate::rebuild::{rebuilt, with_fields};

/// The form of HUGEINT that plain clients read; values of 39 digits do not fit it.
const HUGEINT: DataType = DataType::Decimal128(38, 0);

/// The engine's two forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Default,
    Lossless,
}

impl Form {
    /// Lets what `connection` describes and runs from now on have this form.
    pub(crate) fn set(self, connection: &Connection) -> duckdb::Result<()> {
        connection.set_lossless(self == Self::Lossless)
    }
}

/// The Arrow form of `columns`; a type that a parameter has yet to decide becomes `Null`.
///
/// Errors: `Unsupported` naming column and type where Arrow has no form.
pub(crate) fn arrow_schema(connection: &Connection, columns: Vec<(String, LogicalType)>) -> Result<Schema> {
    let note = |error| connection.database().note(error);
    if let Some(schema) = certain(&columns).map_err(note)? {
        return Ok(schema);
    }
    let mut known = Vec::new();
    let mut open = Vec::new();
    let mut marks = Vec::new();
    let mut is_plain = true;
    for (index, (name, logical_type)) in columns.into_iter().enumerate() {
        match logical_type.id().map_err(note)? {
            LogicalTypeID::Unknown | LogicalTypeID::Invalid | LogicalTypeID::Any => {
                open.push((index, Arc::new(Field::new(name, DataType::Null, true))));
            }
            id => {
                is_plain &= !hides_something(id);
                marks.push(match id {
                    LogicalTypeID::Uuid => Some("arrow.uuid"),
                    LogicalTypeID::HugeInt => Some("hugeint"),
                    LogicalTypeID::Bit => Some(BIT),
                    LogicalTypeID::Varchar if logical_type.name().map_err(note)? == "JSON" => {
                        Some("arrow.json")
                    }
                    _ => None,
                });
                known.push((name, logical_type));
            }
        }
    }
    if known.is_empty() {
        return Ok(Schema::new(open.into_iter().map(|(_, field)| field).collect::<Vec<_>>()));
    }
    let schema =
        announced_by_engine(connection, known, if is_plain { Form::Default } else { Form::Lossless })?;
    let marked = |(field, mark): (&FieldRef, Option<&str>)| match mark {
        Some(mark) if is_plain => Arc::new((**field).clone().with_metadata([(STANDS_FOR, mark)])),
        _ => Arc::clone(field),
    };
    let mut fields: Vec<FieldRef> = schema.fields().iter().zip(marks).map(marked).collect();
    for (index, field) in open {
        fields.insert(index, field);
    }
    Ok(Schema::new_with_metadata(fields, schema.metadata))
}

/// Whether the default form of a type does not say all, or may not say all of its parts.
fn hides_something(id: LogicalTypeID) -> bool {
    use LogicalTypeID as T;
    matches!(id, T::UHugeInt | T::TimeTz | T::List | T::Array | T::Struct | T::Map | T::Union | T::Tuple)
}

fn announced_by_engine(
    connection: &Connection,
    columns: Vec<(String, LogicalType)>,
    form: Form,
) -> Result<Schema> {
    let ask = |columns: Vec<(String, LogicalType)>| {
        form.set(connection)?;
        connection.describe_columns(columns)
    };
    match ask(columns.clone()).map_err(|error| connection.database().note(error)) {
        Ok(schema) => Ok(announced(&schema)),
        Err(error) if error.kind() == Kind::Unsupported => {
            // The engine does not say which column it means.
            for (name, logical_type) in columns {
                let alone = vec![(name.clone(), logical_type.clone())];
                if ask(alone).is_err() {
                    let text = logical_type.to_text().map_err(|error| connection.database().note(error))?;
                    return Err(Error::unsupported(format!(
                        "column \"{name}\" is {text}, which has no form in Arrow; cast it to VARCHAR"
                    )));
                }
            }
            Err(error)
        }
        Err(error) => Err(error),
    }
}

/// Whether a result with the announced `schema` has to be taken in the lossless form: what it holds has no other one,
/// or is not known yet.
pub(crate) fn needs_lossless(schema: &Schema) -> bool {
    schema.fields().is_empty()
        || any_field(schema, &|field| {
            *field.data_type() == DataType::Null
                || matches!(Extension::of(field), Ok(Some(Extension::TimeTz)))
        })
}

/// Whether any field of the schema, however deep, is one that `is_wanted`.
fn any_field(schema: &Schema, is_wanted: &impl Fn(&Field) -> bool) -> bool {
    let found = std::cell::Cell::new(false);
    for field in schema.fields() {
        with_fields(field, &|field| {
            found.set(found.get() || is_wanted(&field));
            field
        });
    }
    found.get()
}

fn with_each_field(schema: &Schema, change: &impl Fn(Field) -> Field) -> Schema {
    let fields: Vec<Field> = schema.fields().iter().map(|field| with_fields(field, change)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// What a result is announced with: the default form of the engine's lossless `schema`, where there is one.
fn announced(schema: &Schema) -> Schema {
    with_each_field(schema, &|field| {
        let (data_type, stands_for) = match Extension::of(&field) {
            Ok(Some(Extension::Uuid)) => (DataType::Utf8, "arrow.uuid"),
            Ok(Some(Extension::Json)) => (field.data_type().clone(), "arrow.json"),
            Ok(Some(Extension::HugeInt)) => (HUGEINT, "hugeint"),
            Ok(Some(Extension::Bit)) => (DataType::Binary, BIT),
            Ok(Some(Extension::Bool8)) => (DataType::Boolean, "arrow.bool8"),
            _ if *field.data_type() == DataType::Boolean => (DataType::Boolean, "arrow.bool8"),
            _ => return field,
        };
        let metadata = [(STANDS_FOR, stands_for)];
        Field::new(field.name(), data_type, field.is_nullable()).with_metadata(metadata)
    })
}

/// The engine's default form of an announced schema.
fn in_default_form(schema: &Schema) -> Schema {
    with_each_field(schema, &|field| {
        let data_type = match Extension::of(&field) {
            Ok(Some(Extension::UHugeInt)) => HUGEINT,
            _ if field.metadata().contains_key(STANDS_FOR) => field.data_type().clone(),
            _ => return field,
        };
        Field::new(field.name(), data_type, field.is_nullable())
    })
}

fn same_types(one: &Schema, other: &Schema) -> bool {
    one.fields()
        .iter()
        .map(|field| field.data_type())
        .eq(other.fields().iter().map(|field| field.data_type()))
}

/// How the arrays of a running result become what was announced.
pub(crate) struct Exported {
    raw: SchemaRef,
    schema: SchemaRef,
    has_intervals: bool,
}

impl Exported {
    /// A result of the engine with schema `raw`, taken in `form`, that was announced with `schema`.
    ///
    /// Errors: `Aborted` when it has other types than those, and they may not be what they seem.
    pub(crate) fn new(raw: Schema, form: Form, schema: &SchemaRef) -> Result<Self> {
        let schema = if form == Form::Lossless {
            // What was announced, unless it could not be known.
            let found = announced(&raw);
            if same_types(&found, schema) { Arc::clone(schema) } else { Arc::new(found) }
        } else if same_types(&raw, &in_default_form(schema)) {
            Arc::clone(schema)
        } else if any_field(&raw, &|field| {
            matches!(field.data_type(), DataType::Decimal128(38, 0) | DataType::Time64(_) | DataType::Binary)
        }) {
            return Err(Error::new(
                Kind::Aborted,
                "the columns of the result have changed since the statement was prepared; prepare it again",
            ));
        } else {
            Arc::new(announced(&raw))
        };
        let has_intervals = any_field(&raw, &|field| is_interval(field.data_type()));
        Ok(Self { raw: Arc::new(raw), schema, has_intervals })
    }

    /// A result whose columns say by themselves what they are: what the engine gives in its lossless form and what leaves
    /// here are the same. `None` where they are not.
    pub(crate) fn evident(raw: Schema) -> Option<Self> {
        let schema = is_evident(&raw).then(|| Arc::new(raw))?;
        Some(Self { raw: Arc::clone(&schema), schema, has_intervals: false })
    }

    /// Schema of the engine's arrays.
    pub(crate) fn raw(&self) -> &SchemaRef {
        &self.raw
    }

    /// Schema of the batches.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The batch of an array, whose first row has the number `first_row` in the result.
    ///
    /// Errors: `Unsupported` naming column and row of a value without an Arrow form.
    pub(crate) fn batch(&self, batch: RecordBatch, first_row: u64) -> Result<RecordBatch> {
        if self.has_intervals {
            check_intervals(&batch, first_row)?;
        }
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| rebuilt(column, field, &as_announced))
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

/// A column without children in the form that it was announced with.
fn as_announced(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    match (array.data_type(), to.data_type()) {
        (DataType::Decimal128(..), DataType::FixedSizeBinary(16)) => {
            let bytes = array.as_primitive::<Decimal128Type>().values().inner().clone();
            Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes, array.nulls().cloned())?))
        }
        (DataType::FixedSizeBinary(16), DataType::Decimal128(..)) => {
            let bytes = array.as_fixed_size_binary();
            let data = ArrayData::builder(to.data_type().clone())
                .len(bytes.len())
                .add_buffer(
                    bytes.to_data().buffers()[0].slice_with_length(bytes.offset() * 16, bytes.len() * 16),
                )
                .nulls(bytes.nulls().cloned())
                .align_buffers(true)
                .build()?;
            Ok(make_array(data))
        }
        (DataType::FixedSizeBinary(16), DataType::Utf8) => {
            let bytes = array.as_fixed_size_binary();
            let mut texts = StringBuilder::with_capacity(bytes.len(), bytes.len() * 36);
            for value in bytes {
                texts.append_option(value.map(uuid_text));
            }
            Ok(Arc::new(texts.finish()))
        }
        (DataType::Int8, DataType::Boolean) => Ok(cast(array, &DataType::Boolean)?),
        (from, to) => Err(Error::internal(format!("a result of {from} was announced as {to}"))),
    }
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano))
}

/// Refuses intervals of more than 292 years in microseconds: DuckDB multiplies them to nanoseconds without looking,
/// and what comes out is not a whole number of microseconds any more.
fn check_intervals(batch: &RecordBatch, first_row: u64) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if let Some(index) = first_wrapped(column) {
            let row = match is_interval(field.data_type()) {
                true => format!("row {} of the result", first_row + index as u64),
                false => "a value".to_owned(),
            };
            return Err(Error::unsupported(format!(
                "column \"{}\": {row} has an INTERVAL of more than 292 years in microseconds, which has no form in \
                 Arrow; cast it to VARCHAR",
                field.name()
            )));
        }
    }
    Ok(())
}

fn first_wrapped(array: &ArrayRef) -> Option<usize> {
    match array.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
            intervals.iter().position(|value| value.is_some_and(|value| value.nanoseconds % 1000 != 0))
        }
        DataType::List(_) => first_wrapped(array.as_list::<i32>().values()),
        DataType::FixedSizeList(..) => first_wrapped(array.as_fixed_size_list().values()),
        DataType::Map(..) => array.as_map().entries().columns().iter().find_map(first_wrapped),
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(first_wrapped),
        DataType::Union(members, _) => {
            let union = array.as_any().downcast_ref::<UnionArray>()?;
            members.iter().find_map(|(code, _)| first_wrapped(union.child(code)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_read_as_the_engine_writes_them() {
        let bytes: Vec<u8> = (0..16).map(|byte| byte * 17).collect();
        assert_eq!(uuid_text(&bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
