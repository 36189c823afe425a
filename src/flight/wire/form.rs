//! A result as the engine gives it -> the Arrow types that the client has asked for.
//! Runs on: the task of the call, for each batch; costs nothing where the form is the engine's own.
//! Never: lets a value leave in a form that does not hold it.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch, RecordBatchOptions,
    UnionArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Metadata, Schema, SchemaRef};

use crate::engine::{BIT, STANDS_FOR};
use crate::error::{Error, Result};
use crate::rebuild::{rebuilt, with_fields};

const NAME: &str = "ARROW:extension:name";
const MORE: &str = "ARROW:extension:metadata";

/// Values of HUGEINT below this have a form as decimals of 38 digits.
const DECIMAL_LIMIT: i128 = 10_i128.pow(38);

/// How types leave that Arrow has extension types for: `pintail-extension-types`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::flight) enum Form {
    /// As what every client reads: UUID and JSON as text, HUGEINT as a decimal, BIT as bytes, BOOLEAN as bits.
    #[default]
    Plain,
    /// As arrow.uuid, arrow.json, arrow.bool8, and arrow.opaque for HUGEINT and BIT.
    Extensions,
}

impl Form {
    /// `schema` in this form.
    pub(in crate::flight) fn schema(self, schema: &Schema) -> Schema {
        let field = |field: Field| self.field(field);
        let fields: Vec<Field> = schema.fields().iter().map(|one| with_fields(one, &field)).collect();
        Schema::new_with_metadata(fields, schema.metadata().clone())
    }

    fn field(self, field: Field) -> Field {
        let mut metadata = field.metadata().clone();
        let Some(stands_for) = metadata.remove(STANDS_FOR) else { return field };
        match self {
            // Nothing else tells these bytes from others when they come back.
            Self::Plain if stands_for == BIT => return field,
            Self::Plain => return field.with_metadata(metadata),
            Self::Extensions => {}
        }
        let extension =
            |name: &str, more: &str| -> Metadata { metadata.clone().with(NAME, name).with(MORE, more) };
        match stands_for.as_str() {
            "arrow.uuid" => {
                field.with_data_type(DataType::FixedSizeBinary(16)).with_metadata(extension("arrow.uuid", ""))
            }
            "arrow.bool8" => field.with_data_type(DataType::Int8).with_metadata(extension("arrow.bool8", "")),
            "hugeint" => {
                let more = "{\"type_name\":\"hugeint\",\"vendor_name\":\"DuckDB\"}";
                field
                    .with_data_type(DataType::FixedSizeBinary(16))
                    .with_metadata(extension("arrow.opaque", more))
            }
            BIT => {
                let more = "{\"type_name\":\"bit\",\"vendor_name\":\"DuckDB\"}";
                field.with_metadata(extension("arrow.opaque", more))
            }
            name => field.with_metadata(extension(name, "")),
        }
    }
}

/// Brings the batches of one result into a form.
pub(in crate::flight) struct Shaping {
    form: Form,
    schema: SchemaRef,
    // Columns with HUGEINT in them.
    huge: Vec<usize>,
    is_same: bool,
    rows: u64,
}

impl Shaping {
    /// Batches of `schema`, as the engine gives them, are to leave in `form`.
    pub(in crate::flight) fn new(schema: &SchemaRef, form: Form) -> Self {
        let target = form.schema(schema);
        let huge = schema.fields().iter().enumerate();
        let huge = huge.filter(|(_, field)| has_hugeint(field)).map(|(index, _)| index).collect();
        let is_same = target == **schema;
        let schema = if is_same { Arc::clone(schema) } else { Arc::new(target) };
        Self { form, schema, huge, is_same, rows: 0 }
    }

    pub(in crate::flight) fn form(&self) -> Form {
        self.form
    }

    /// What the batches become.
    pub(in crate::flight) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next batch in its form.
    ///
    /// Errors: `Unsupported` naming column, row and value of a HUGEINT of 39 digits in the plain form.
    pub(in crate::flight) fn batch(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let first_row = self.rows + 1;
        self.rows += batch.num_rows() as u64;
        if self.is_same {
            return Ok(batch.clone());
        }
        if self.form == Form::Plain {
            for index in &self.huge {
                check_digits(batch.column(*index), self.schema.field(*index), first_row)?;
            }
        }
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(column, field)| rebuilt(column, field, &leaf))
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

fn has_hugeint(field: &Field) -> bool {
    let found = std::cell::Cell::new(false);
    with_fields(field, &|field| {
        found.set(found.get() || field.metadata().get(STANDS_FOR).is_some_and(|name| name == "hugeint"));
        field
    });
    found.get()
}

fn check_digits(array: &ArrayRef, field: &Field, first_row: u64) -> Result<()> {
    let Some((index, value)) = first_too_long(array) else { return Ok(()) };
    let row = match field.data_type() {
        DataType::Decimal128(..) => format!("row {} of the result", first_row + index as u64),
        _ => "a value".to_owned(),
    };
    Err(Error::unsupported(format!(
        "column \"{}\": {row} is the HUGEINT {value}, which has more digits than a decimal of 38; ask with \
         pintail-extension-types: on, or cast it to VARCHAR",
        field.name()
    )))
}

fn first_too_long(array: &ArrayRef) -> Option<(usize, i128)> {
    match array.data_type() {
        DataType::Decimal128(38, 0) => {
            let values = array.as_primitive::<Decimal128Type>();
            let strays = |value: i128| value >= DECIMAL_LIMIT || value <= -DECIMAL_LIMIT;
            if !values.values().iter().fold(false, |any, value| any | strays(*value)) {
                return None;
            }
            let mut live =
                values.iter().enumerate().filter_map(|(index, value)| value.map(|value| (index, value)));
            live.find(|(_, value)| strays(*value))
        }
        DataType::List(_) => first_too_long(array.as_list::<i32>().values()),
        DataType::FixedSizeList(..) => first_too_long(array.as_fixed_size_list().values()),
        DataType::Map(..) => array.as_map().entries().columns().iter().find_map(first_too_long),
        DataType::Struct(_) => array.as_struct().columns().iter().find_map(first_too_long),
        DataType::Union(members, _) => {
            let union = array.as_any().downcast_ref::<UnionArray>()?;
            members.iter().find_map(|(code, _)| first_too_long(union.child(code)))
        }
        _ => None,
    }
}

fn leaf(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    match (array.data_type(), to.data_type()) {
        (DataType::Utf8, DataType::FixedSizeBinary(16)) => {
            let texts = array.as_string::<i32>();
            let mut bytes = FixedSizeBinaryBuilder::with_capacity(texts.len(), 16);
            for text in texts {
                match text {
                    None => bytes.append_null(),
                    Some(text) => bytes.append_value(uuid_bytes(text)?.to_be_bytes())?,
                }
            }
            Ok(Arc::new(bytes.finish()))
        }
        (DataType::Decimal128(..), DataType::FixedSizeBinary(16)) => {
            let bytes = array.as_primitive::<Decimal128Type>().values().inner().clone();
            Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes, array.nulls().cloned())?))
        }
        (DataType::Boolean, DataType::Int8) => Ok(cast(array, &DataType::Int8)?),
        (from, to) => Err(Error::internal(format!("a result of {from} cannot leave as {to}"))),
    }
}

fn uuid_bytes(text: &str) -> Result<u128> {
    let digits: String = text.chars().filter(|letter| *letter != '-').collect();
    match (digits.len(), u128::from_str_radix(&digits, 16)) {
        (32, Ok(bytes)) => Ok(bytes),
        _ => Err(Error::internal(format!("the engine gave \"{text}\" for a UUID"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{BooleanArray, Decimal128Array, ListArray, StringArray};
    use arrow::buffer::OffsetBuffer;

    fn standing_for(name: &str, data_type: DataType) -> Field {
        Field::new("c", data_type, true).with_metadata([(STANDS_FOR, name)])
    }

    fn one(field: Field, column: ArrayRef) -> RecordBatch {
        RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap()
    }

    fn in_form(batch: &RecordBatch, form: Form) -> Result<RecordBatch> {
        Shaping::new(batch.schema_ref(), form).batch(batch)
    }

    #[test]
    fn uuids_json_and_booleans_leave_as_extension_types_when_asked() {
        let uuid: ArrayRef =
            Arc::new(StringArray::from(vec![Some("00112233-4455-6677-8899-aabbccddeeff"), None]));
        let item = Arc::new(standing_for("arrow.uuid", DataType::Utf8));
        let list =
            ListArray::new(Arc::clone(&item), OffsetBuffer::from_lengths([0, 2]), Arc::clone(&uuid), None);
        let batch = one(Field::new("l", DataType::List(item), true), Arc::new(list));
        let plain = in_form(&batch, Form::Plain).unwrap();
        assert_eq!(plain.column(0).as_list::<i32>().values(), &uuid);
        let extension = in_form(&batch, Form::Extensions).unwrap();
        let DataType::List(item) = extension.schema().field(0).data_type().clone() else { panic!() };
        assert_eq!(item.metadata()[NAME], "arrow.uuid");
        assert!(!item.metadata().contains_key(STANDS_FOR));
        let bytes = extension.column(0).as_list::<i32>().values().as_fixed_size_binary().clone();
        assert_eq!(bytes.value(0)[..3], [0, 0x11, 0x22]);
        assert!(bytes.is_null(1));
        let flags = one(
            standing_for("arrow.bool8", DataType::Boolean),
            Arc::new(BooleanArray::from(vec![true, false])),
        );
        assert_eq!(in_form(&flags, Form::Extensions).unwrap().schema().field(0).data_type(), &DataType::Int8);
        let json = one(standing_for("arrow.json", DataType::Utf8), Arc::new(StringArray::from(vec!["{}"])));
        assert_eq!(
            in_form(&json, Form::Extensions).unwrap().schema().field(0).metadata()[NAME],
            "arrow.json"
        );
        assert!(in_form(&json, Form::Plain).unwrap().schema().field(0).metadata().is_empty());
    }

    /// A decimal of 39 digits is none; as an extension type it is 16 bytes like all others.
    #[test]
    fn a_hugeint_of_39_digits_does_not_leave_as_a_decimal() {
        let of = |values: Vec<Option<i128>>| {
            let array = Decimal128Array::from(values).with_data_type(DataType::Decimal128(38, 0));
            one(standing_for("hugeint", DataType::Decimal128(38, 0)), Arc::new(array))
        };
        in_form(&of(vec![Some(DECIMAL_LIMIT - 1), Some(1 - DECIMAL_LIMIT), None]), Form::Plain).unwrap();
        let long = of(vec![None, Some(i128::MAX)]);
        let refused = in_form(&long, Form::Plain).unwrap_err().to_string();
        assert!(
            refused.contains("row 2 of the result") && refused.contains(&i128::MAX.to_string()),
            "{refused}"
        );
        let extension = in_form(&long, Form::Extensions).unwrap();
        assert_eq!(extension.column(0).as_fixed_size_binary().value(1), i128::MAX.to_le_bytes());
    }
}
