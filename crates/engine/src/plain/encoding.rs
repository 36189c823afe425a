//! Arrow encodings that the engine's importer takes slowly or not at all -> the plain forms they stand for.
//! Runs on: the task that decodes a stream; only for columns that need it. Pure.
//! Never: copies what is plain already; turns a value that does not fit into NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, DurationMicrosecondArray, ListArray,
    UInt32Array, UnionArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{
    DataType, Decimal256Type, DecimalType, DurationMillisecondType, DurationSecondType, Field, FieldRef,
    IntervalUnit, Metadata, TimeUnit, UnionFields, UnionMode, i256,
};
use pintail_protocol::expand::is_engines_decimal;

use super::extension::{Extension, METADATA, NAME};
use super::importable::ARRAY_LENGTH_MAX;
use crate::error::{Error, Result};
use crate::rebuild::rebuilt;

/// The plain form of a field, or the field itself.
pub(super) fn plain_field(field: &FieldRef) -> FieldRef {
    let mut plain = match plain_type(field.data_type()) {
        None => Arc::clone(field),
        Some(data_type) => Arc::new((**field).clone().with_data_type(data_type)),
    };
    // What a run-end encoded column holds is said by the field of its values.
    if let DataType::RunEndEncoded(_, values) = field.data_type()
        && !field.metadata().contains_key(NAME)
        && values.metadata().contains_key(NAME)
    {
        plain = Arc::new((*plain).clone().with_metadata(values.metadata().clone()));
    }
    // What cannot be read is refused with the schema.
    let Ok(extension) = Extension::of(&plain) else { return plain };
    let (data_type, metadata) = match extension {
        // The engine has booleans of its own.
        Some(Extension::Bool8) if *plain.data_type() == DataType::Int8 => {
            (DataType::Boolean, without(&plain))
        }
        Some(extension) => (plain.data_type().clone(), extension.metadata(&plain)),
        None => (plain.data_type().clone(), without(&plain)),
    };
    if data_type == *plain.data_type() && metadata == *plain.metadata() {
        return plain;
    }
    Arc::new((*plain).clone().with_data_type(data_type).with_metadata(metadata))
}

/// The engine is told nothing of what it does not know.
fn without(field: &Field) -> Metadata {
    let mut metadata = field.metadata().clone();
    metadata.remove(NAME);
    metadata.remove(METADATA);
    metadata
}

/// `None` when the type is plain.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let child = |field: &FieldRef| {
        let plain = plain_field(field);
        (!Arc::ptr_eq(&plain, field)).then_some(plain)
    };
    match data_type {
        // The importer decodes a dictionary anew for every 2,048 rows; once per batch is cheaper.
        DataType::Dictionary(_, values) => Some(plain_type(values).unwrap_or_else(|| (**values).clone())),
        DataType::RunEndEncoded(_, values) => {
            Some(plain_type(values.data_type()).unwrap_or_else(|| values.data_type().clone()))
        }
        decimal if is_engines_decimal(decimal) => None,
        // DuckDB's decimals have up to 38 digits and no negative scale.
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *precision <= 38 && *scale >= 0 =>
        {
            Some(DataType::Decimal128(*precision, *scale))
        }
        // Writers that know one width take the widest; most of their values fit.
        DataType::Decimal256(_, scale) if (0..=38).contains(scale) => Some(DataType::Decimal128(38, *scale)),
        DataType::Decimal128(precision, scale) if *scale < 0 => {
            let digits = precision.saturating_add(scale.unsigned_abs());
            (digits <= 38).then_some(DataType::Decimal128(digits, 0))
        }
        // DuckDB has no half floats; every one of them is a float.
        DataType::Float16 => Some(DataType::Float32),
        // The importer takes the pair of days and milliseconds for one number of milliseconds.
        DataType::Interval(IntervalUnit::DayTime) => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
        // The importer multiplies what lies below a NULL, too, and fails on it.
        DataType::Duration(TimeUnit::Second | TimeUnit::Millisecond) => {
            Some(DataType::Duration(TimeUnit::Microsecond))
        }
        DataType::List(field) => child(field).map(DataType::List),
        DataType::LargeList(field) => child(field).map(DataType::LargeList),
        // Views may lie over each other, and checks and checksums would count them twice.
        DataType::ListView(field) => Some(DataType::List(plain_field(field))),
        DataType::LargeListView(field) => Some(DataType::LargeList(plain_field(field))),
        // No ARRAY of DuckDB is as short or as long.
        DataType::FixedSizeList(field, size) if *size == 0 || *size > ARRAY_LENGTH_MAX => {
            Some(DataType::List(plain_field(field)))
        }
        DataType::FixedSizeList(field, size) => {
            child(field).map(|field| DataType::FixedSizeList(field, *size))
        }
        DataType::Map(field, sorted) => child(field).map(|field| DataType::Map(field, *sorted)),
        DataType::Struct(fields) => {
            let plain: Vec<FieldRef> = fields.iter().map(plain_field).collect();
            let same = plain.iter().zip(fields).all(|(plain, field)| Arc::ptr_eq(plain, field));
            (!same).then(|| DataType::Struct(plain.into()))
        }
        DataType::Union(members, mode) => plain_union(members, *mode),
        _ => None,
    }
}

/// DuckDB's unions are sparse, and their members are numbered from 0.
fn plain_union(members: &UnionFields, mode: UnionMode) -> Option<DataType> {
    let plain: Vec<(i8, FieldRef)> =
        (0..=i8::MAX).zip(members.iter().map(|(_, member)| plain_field(member))).collect();
    let same = mode == UnionMode::Sparse
        && plain
            .iter()
            .zip(members.iter())
            .all(|((code, plain), (old, member))| *code == old && Arc::ptr_eq(plain, member));
    if same {
        return None;
    }
    UnionFields::try_from_fields(plain.into_iter().map(|(_, member)| member))
        .ok()
        .map(|members| DataType::Union(members, UnionMode::Sparse))
}

/// `array` in the form of `to`, which is the plain form of what it is.
///
/// Errors: `Invalid` for an encoding that is inconsistent.
pub(super) fn plain_array(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    rebuilt(array, to, &plain_leaf)
}

fn plain_leaf(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    match (array.data_type(), to.data_type()) {
        (DataType::ListView(old), DataType::List(item)) => plain_array(
            &cast(array, &DataType::List(Arc::clone(old)))?,
            &Field::new_list("", Arc::clone(item), true),
        ),
        (DataType::LargeListView(old), DataType::LargeList(item)) => {
            let to = Field::new_large_list("", Arc::clone(item), true);
            plain_array(&cast(array, &DataType::LargeList(Arc::clone(old)))?, &to)
        }
        (DataType::FixedSizeList(_, size), DataType::List(item)) => {
            let list = array.as_fixed_size_list();
            let size = usize::try_from(*size).unwrap_or_default();
            let values = list.values().slice(list.value_offset_at(0), list.len() * size);
            let offsets = fixed_offsets(list.len(), size)?;
            let values = plain_array(&values, item)?;
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())?))
        }
        (DataType::Decimal256(..), DataType::Decimal128(precision, scale)) => {
            narrow_decimals(array, *precision, *scale)
        }
        (DataType::Union(..), DataType::Union(members, _)) => {
            let union = array.as_any().downcast_ref::<UnionArray>();
            sparse(union.ok_or_else(|| Error::internal("a union is none"))?, members)
        }
        (DataType::Duration(TimeUnit::Second), DataType::Duration(_)) => {
            Ok(duration::<DurationSecondType>(array, 1_000_000))
        }
        (DataType::Duration(TimeUnit::Millisecond), DataType::Duration(_)) => {
            Ok(duration::<DurationMillisecondType>(array, 1000))
        }
        (_, other) => cast(array, other),
    }
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    // A value that does not fit is an error, never a NULL.
    Ok(cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })?)
}

/// Where lists of one length begin and end.
fn fixed_offsets(rows: usize, size: usize) -> Result<OffsetBuffer<i32>> {
    if rows.checked_mul(size).is_none_or(|values| i32::try_from(values).is_err()) {
        return Err(Error::invalid(format!(
            "{rows} lists of {size} values are too many for one batch; send smaller batches"
        )));
    }
    Ok(OffsetBuffer::from_lengths(std::iter::repeat_n(size, rows)))
}

fn narrow_decimals(array: &ArrayRef, precision: u8, scale: i8) -> Result<ArrayRef> {
    let bound = i256::from_i128(10_i128.pow(precision.into()));
    let wide = array.as_primitive::<Decimal256Type>();
    let narrow = |value: i256| {
        value.to_i128().filter(|_| value < bound && value > -bound).ok_or_else(|| {
            Error::invalid(format!(
                "found {}, which has more than the {precision} digits of DuckDB's decimals",
                Decimal256Type::format_decimal(value, 76, scale)
            ))
        })
    };
    let narrow: Decimal128Array = wide.try_unary(narrow)?;
    Ok(Arc::new(narrow.with_precision_and_scale(precision, scale)?))
}

/// Microseconds; what does not fit ends at the last one, which `ranges` refuses.
fn duration<T: ArrowPrimitiveType<Native = i64>>(array: &ArrayRef, factor: i64) -> ArrayRef {
    let micros: DurationMicrosecondArray =
        array.as_primitive::<T>().unary(|value: i64| value.saturating_mul(factor));
    Arc::new(micros)
}

/// One array of full length for each member, and codes from 0.
fn sparse(union: &UnionArray, members: &UnionFields) -> Result<ArrayRef> {
    let DataType::Union(old, _) = union.data_type() else { return Err(Error::internal("a union is none")) };
    let mut places = [-1_i8; 256];
    let mut children = Vec::with_capacity(members.len());
    for ((code, _), (place, member)) in old.iter().zip(members.iter()) {
        places[usize::from(code.cast_unsigned())] = place;
        let child = match union.offsets() {
            None => Arc::clone(union.child(code)),
            Some(offsets) => {
                let places = union.type_ids().iter().zip(offsets);
                let rows: UInt32Array = places
                    .map(|(found, offset)| if *found == code { u32::try_from(*offset).ok() } else { None })
                    .collect();
                take(union.child(code), &rows, None)?
            }
        };
        children.push(plain_array(&child, member)?);
    }
    let codes = union.type_ids().iter().map(|code| places[usize::from(code.cast_unsigned())]).collect();
    Ok(Arc::new(UnionArray::try_new(members.clone(), codes, None, children)?))
}
