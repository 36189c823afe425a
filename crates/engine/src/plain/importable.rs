//! A schema -> whether the engine's importer reads it as what it says.
//! Runs on: the thread that places a stream or binds rows; once per schema.
//! Never: looks at values.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, Fields, Schema, UnionMode};
use pintail_protocol::expand::is_engines_decimal;

use super::extension::Extension;
use crate::error::{Error, Result};

/// Longest ARRAY of the engine.
pub(super) const ARRAY_LENGTH_MAX: i32 = 100_000;
/// Most members of a UNION of the engine.
const UNION_MEMBERS_MAX: usize = 256;

/// Refuses types that the engine's importer mistakes for others or fails on, in their plain form.
///
/// Errors: `Unsupported` naming column and type where DuckDB has no such type; `Invalid` naming column, extension
/// and storage where a field says of itself what its storage cannot be.
pub(crate) fn check_importable(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        check_field(field).map_err(|wrong| wrong.for_column(field.name()))?;
    }
    Ok(())
}

enum Wrong {
    NoForm(DataType),
    Shape(String),
    Extension(String),
}

impl Wrong {
    fn for_column(self, column: &str) -> Error {
        match self {
            Self::NoForm(found) => Error::unsupported(format!(
                "column \"{column}\" is {found}, which has no form in DuckDB; cast it before sending"
            )),
            Self::Shape(what) => {
                Error::unsupported(format!("column \"{column}\": {what}; cast it before sending"))
            }
            Self::Extension(what) => Error::invalid(format!(
                "column \"{column}\": {what}; send the storage that belongs to it, or the column without \
                 ARROW:extension:name"
            )),
        }
    }
}

fn check_field(field: &Field) -> std::result::Result<(), Wrong> {
    let data_type = field.data_type();
    if let Some(extension) = Extension::of(field).map_err(Wrong::Extension)?
        && !extension.fits(data_type)
    {
        return Err(Wrong::Extension(format!(
            "extension type {} is stored as {}, found {data_type}",
            extension.shown(),
            extension.storage()
        )));
    }
    match data_type {
        decimal if is_engines_decimal(decimal) => Ok(()),
        DataType::Decimal256(..) | DataType::Decimal32(..) | DataType::Decimal64(..) => {
            Err(Wrong::NoForm(data_type.clone()))
        }
        DataType::Decimal128(_, scale) if *scale < 0 => Err(Wrong::NoForm(data_type.clone())),
        DataType::Union(members, mode) => {
            if *mode == UnionMode::Dense || members.is_empty() || members.len() > UNION_MEMBERS_MAX {
                return Err(Wrong::NoForm(data_type.clone()));
            }
            check_names("union", members.iter().map(|(_, member)| member.name()))?;
            members.iter().try_for_each(|(_, member)| check_field(member))
        }
        DataType::FixedSizeList(item, length) => {
            if !(1..=ARRAY_LENGTH_MAX).contains(length) {
                return Err(Wrong::Shape(format!(
                    "a fixed size list of {length} is no ARRAY of DuckDB, which holds from 1 to {ARRAY_LENGTH_MAX}"
                )));
            }
            check_field(item)
        }
        DataType::List(item) | DataType::LargeList(item) => check_field(item),
        DataType::ListView(item) | DataType::LargeListView(item) => check_field(item),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => pair.iter().try_for_each(|field| check_field(field)),
            other => Err(Wrong::NoForm(other.clone())),
        },
        DataType::Struct(fields) => check_struct(fields),
        _ => Ok(()),
    }
}

fn check_struct(fields: &Fields) -> std::result::Result<(), Wrong> {
    check_names("struct", fields.iter().map(|field| field.name()))?;
    fields.iter().try_for_each(|field| check_field(field))
}

/// SQL compares names without case; two of one name could not be told apart.
fn check_names<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> std::result::Result<(), Wrong> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name.to_lowercase()) {
            return Err(Wrong::Shape(format!(
                "the {what} has two fields \"{name}\" for DuckDB, which ignores case"
            )));
        }
    }
    Ok(())
}
