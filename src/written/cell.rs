//! One value of a result: the array, field and row that hold it.
//! Runs on: the thread that writes.
//! Never: copies values.

use arrow::array::types::{ArrowDictionaryKeyType, RunEndIndexType};
use arrow::array::{AnyDictionaryArray, Array, ArrayRef, AsArray, RunArray, UnionArray};
use arrow::datatypes::*;

use super::extension::{Meaning, variant};

/// Why a value has no text.
pub(super) type Refused = String;

/// The array, field and row that hold a value, past dictionaries and runs.
pub(super) struct Cell<'a> {
    pub(super) array: &'a dyn Array,
    pub(super) field: &'a Field,
    pub(super) row: usize,
}

impl<'a> Cell<'a> {
    pub(super) fn new(array: &'a dyn Array, field: &'a Field, row: usize) -> Self {
        Self { array, field, row }.resolved()
    }

    pub(super) fn resolved(self) -> Self {
        let Self { array, field, row } = self;
        match array.data_type() {
            DataType::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                match key(dictionary, row) {
                    Some(key) => Self { array: dictionary.values().as_ref(), field, row: key }.resolved(),
                    None => Self { array, field, row },
                }
            }
            DataType::RunEndEncoded(ends, _) => {
                let (values, row) = match ends.data_type() {
                    DataType::Int16 => run::<Int16Type>(array, row),
                    DataType::Int32 => run::<Int32Type>(array, row),
                    _ => run::<Int64Type>(array, row),
                };
                Self { array: values, field, row }.resolved()
            }
            _ => Self { array, field, row },
        }
    }

    pub(super) fn is_null(&self) -> bool {
        match self.array.data_type() {
            DataType::Null => true,
            // Its members hold the NULLs.
            DataType::Union(..) => self.member().is_none_or(|(_, member)| member.is_null()),
            _ => self.array.is_null(self.row),
        }
    }

    /// The member that a union's value is, and its name.
    pub(super) fn member(&self) -> Option<(&'a str, Cell<'a>)> {
        let (DataType::Union(fields, _), Some(union)) =
            (self.array.data_type(), self.array.as_any().downcast_ref::<UnionArray>())
        else {
            return None;
        };
        let code = union.type_id(self.row);
        let (_, field) = fields.iter().find(|(other, _)| *other == code)?;
        Some((field.name(), Cell::new(union.child(code).as_ref(), field, union.value_offset(self.row))))
    }

    /// The values of a list of any kind.
    pub(super) fn elements(&self) -> Option<(ArrayRef, &'a Field)> {
        let array = self.array;
        Some(match array.data_type() {
            DataType::List(field) => (array.as_list::<i32>().value(self.row), field.as_ref()),
            DataType::LargeList(field) => (array.as_list::<i64>().value(self.row), field.as_ref()),
            DataType::ListView(field) => (array.as_list_view::<i32>().value(self.row), field.as_ref()),
            DataType::LargeListView(field) => (array.as_list_view::<i64>().value(self.row), field.as_ref()),
            DataType::FixedSizeList(field, _) => (array.as_fixed_size_list().value(self.row), field.as_ref()),
            _ => return None,
        })
    }

    /// The value as bytes, if it is such.
    pub(super) fn bytes(&self) -> Option<&'a [u8]> {
        let (array, row) = (self.array, self.row);
        Some(match array.data_type() {
            DataType::Binary => array.as_binary::<i32>().value(row),
            DataType::LargeBinary => array.as_binary::<i64>().value(row),
            DataType::BinaryView => array.as_binary_view().value(row),
            DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row),
            _ => return None,
        })
    }

    /// The value as a text of its own, if it is such.
    pub(super) fn string(&self) -> Option<&'a str> {
        let (array, row) = (self.array, self.row);
        Some(match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row),
            DataType::Utf8View => array.as_string_view().value(row),
            _ => return None,
        })
    }

    /// The value of a VARIANT as JSON, if the field is one.
    pub(super) fn variant(&self) -> Option<Result<String, Refused>> {
        if Meaning::of(self.field) != Some(Meaning::Variant) {
            return None;
        }
        let parts = self.array.as_struct_opt()?;
        let (DataType::Struct(fields), row) = (self.array.data_type(), self.row) else { return None };
        let part = |name: &str| {
            let (index, field) = fields.find(name)?;
            Cell::new(parts.column(index).as_ref(), field, row).bytes()
        };
        let (Some(metadata), Some(value)) = (part("metadata"), part("value")) else {
            return Some(Err("its VARIANT is in parts that are not read".to_owned()));
        };
        Some(variant(metadata, value))
    }
}

fn key(dictionary: &dyn AnyDictionaryArray, row: usize) -> Option<usize> {
    fn at<K: ArrowDictionaryKeyType>(keys: &dyn Array, row: usize) -> Option<usize> {
        let keys = keys.as_primitive::<K>();
        keys.is_valid(row).then(|| keys.value(row).as_usize())
    }
    let keys = dictionary.keys();
    match keys.data_type() {
        DataType::Int8 => at::<Int8Type>(keys, row),
        DataType::Int16 => at::<Int16Type>(keys, row),
        DataType::Int32 => at::<Int32Type>(keys, row),
        DataType::Int64 => at::<Int64Type>(keys, row),
        DataType::UInt8 => at::<UInt8Type>(keys, row),
        DataType::UInt16 => at::<UInt16Type>(keys, row),
        DataType::UInt32 => at::<UInt32Type>(keys, row),
        _ => at::<UInt64Type>(keys, row),
    }
}

fn run<R: RunEndIndexType>(array: &dyn Array, row: usize) -> (&dyn Array, usize) {
    match array.as_any().downcast_ref::<RunArray<R>>() {
        Some(runs) => (runs.values().as_ref(), runs.get_physical_index(row)),
        None => (array, row),
    }
}
