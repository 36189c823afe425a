//! A batch in its plain form -> the first value that the engine would take and fail on later, or store as another.
//! Runs on: the task that decodes a stream; columns of other types cost nothing.
//! Never: looks at bytes below a NULL, of the value itself or of the list or struct around it.

use std::collections::HashSet;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanBufferBuilder, GenericListArray, MapArray, OffsetSizeTrait, RecordBatch,
    UnionArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowNativeType, DataType, Field, FieldRef};
use arrow::row::{RowConverter, SortField};
use serde::de::IgnoredAny;

use super::extension::Extension;
use super::ranges::{self, Found};
use super::{blob, variant};
use crate::error::{Error, Result, shorten};

/// Refuses values outside of the range that DuckDB has for their type.
///
/// Errors: `Invalid` naming column, row of the batch, value and range.
pub(super) fn check(batch: &RecordBatch) -> Result<()> {
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if !is_checked(field) {
            continue;
        }
        if let Some((row, wrong)) = first(column, field, None)? {
            return Err(Error::invalid(format!(
                "column \"{}\" is {}: row {} of the batch holds {wrong}; correct it or send NULL",
                field.name(),
                field.data_type(),
                row + 1,
            )));
        }
    }
    Ok(())
}

/// Whether values of the field can be wrong.
fn is_checked(field: &Field) -> bool {
    match checked_extension(field) {
        Some(Extension::Json | Extension::TimeTz | Extension::Bit | Extension::Bignum) => return true,
        Some(Extension::Geometry | Extension::Variant) => return true,
        _ => {}
    }
    match field.data_type() {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            is_checked(item)
        }
        // Keys may be double; that they are there, the arrays see to.
        DataType::Map(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| is_checked(field)),
        DataType::Union(members, _) => members.iter().any(|(_, member)| is_checked(member)),
        other => ranges::has_range(other),
    }
}

/// What a field stands for, where its storage is that of what it stands for; others are refused with the schema.
fn checked_extension(field: &Field) -> Option<Extension> {
    Extension::of(field).ok().flatten().filter(|extension| extension.fits(field.data_type()))
}

/// The first wrong value among the live ones: its index, and what is wrong.
fn first(array: &ArrayRef, field: &Field, live: Option<&NullBuffer>) -> Result<Found> {
    if let Some(extension) = checked_extension(field)
        && let Some(wrong) = extension_rule(extension)
    {
        return Ok(first_bytes(array, live, wrong));
    }
    if checked_extension(field) == Some(Extension::Variant) {
        return first_variant(array, live);
    }
    match field.data_type() {
        DataType::List(item) => first_of_list(array.as_list::<i32>(), item, live),
        DataType::LargeList(item) => first_of_list(array.as_list::<i64>(), item, live),
        DataType::FixedSizeList(item, length) => {
            if !is_checked(item) {
                return Ok(None);
            }
            let list = array.as_fixed_size_list();
            let length = usize::try_from(*length).unwrap_or_default().max(1);
            let rows = NullBuffer::union(list.nulls(), live);
            let all = first(list.values(), item, None)?;
            let found = match (all, rows) {
                (Some(_), Some(rows)) => {
                    let lives = expanded(
                        list.values().len(),
                        rows.iter()
                            .enumerate()
                            .filter_map(|(row, is_live)| is_live.then_some((row * length, length))),
                    );
                    first(list.values(), item, Some(&lives))?
                }
                (all, _) => all,
            };
            Ok(found.map(|(index, wrong)| (index / length, wrong)))
        }
        DataType::Map(..) => first_of_map(array.as_map(), live),
        DataType::Struct(fields) => {
            let structs = array.as_struct();
            let live = NullBuffer::union(structs.nulls(), live);
            for (field, child) in fields.iter().zip(structs.columns()) {
                if is_checked(field)
                    && let Some(found) = first(child, field, live.as_ref())?
                {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        DataType::Union(..) => match array.as_any().downcast_ref::<UnionArray>() {
            Some(union) => first_of_union(union, live),
            None => Ok(None),
        },
        _ => Ok(ranges::out_of_range(array, live)),
    }
}

/// What is wrong with the bytes of a value.
type Rule = fn(&[u8]) -> Option<String>;

/// The rule for the bytes of an extension type that is stored as bytes.
fn extension_rule(extension: Extension) -> Option<Rule> {
    Some(match extension {
        Extension::Json => json,
        Extension::TimeTz => ranges::time_with_zone,
        Extension::Bit => blob::bit,
        Extension::Bignum => blob::bignum,
        Extension::Geometry => blob::geometry,
        _ => return None,
    })
}

fn json(bytes: &[u8]) -> Option<String> {
    let wrong = serde_json::from_slice::<IgnoredAny>(bytes).err()?;
    Some(format!("\"{}\", which is not valid JSON: {wrong}", shorten(&String::from_utf8_lossy(bytes), 60)))
}

fn first_bytes(array: &ArrayRef, live: Option<&NullBuffer>, wrong: Rule) -> Found {
    let nulls = NullBuffer::union(array.nulls(), live);
    let is_live = |index: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index));
    (0..array.len())
        .filter(|index| is_live(*index))
        .find_map(|index| wrong(bytes(array, index)).map(|wrong| (index, wrong)))
}

/// The bytes of one value of a string or binary array.
fn bytes(array: &ArrayRef, index: usize) -> &[u8] {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(index).as_bytes(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(index).as_bytes(),
        DataType::Utf8View => array.as_string_view().value(index).as_bytes(),
        DataType::Binary => array.as_binary::<i32>().value(index),
        DataType::LargeBinary => array.as_binary::<i64>().value(index),
        DataType::BinaryView => array.as_binary_view().value(index),
        DataType::FixedSizeBinary(_) => array.as_fixed_size_binary().value(index),
        _ => &[],
    }
}

fn first_variant(array: &ArrayRef, live: Option<&NullBuffer>) -> Result<Found> {
    let structs = array.as_struct();
    let (Some(metadata), Some(value)) = (structs.column_by_name("metadata"), structs.column_by_name("value"))
    else {
        return Err(Error::internal("a variant has lost its fields"));
    };
    let nulls = NullBuffer::union(structs.nulls(), live);
    let is_live = |index: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index));
    // A part that is missing is NULL for the engine.
    let rows = (0..array.len())
        .filter(|index| is_live(*index) && metadata.is_valid(*index) && value.is_valid(*index));
    let mut wrong = rows.filter_map(|index| {
        variant::variant(bytes(metadata, index), bytes(value, index)).map(|wrong| (index, wrong))
    });
    Ok(wrong.next())
}

fn first_of_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
    live: Option<&NullBuffer>,
) -> Result<Found> {
    if !is_checked(item) {
        return Ok(None);
    }
    let offsets: Vec<usize> = list.value_offsets().iter().map(|offset| offset.as_usize()).collect();
    first_within(list.values(), item, &offsets, list.nulls(), live)
}

/// The first wrong element of lists that lie between `offsets`: the row of its list.
fn first_within(
    values: &ArrayRef,
    item: &Field,
    offsets: &[usize],
    nulls: Option<&NullBuffer>,
    live: Option<&NullBuffer>,
) -> Result<Found> {
    let (Some(from), Some(to)) = (offsets.first(), offsets.last()) else { return Ok(None) };
    let values = values.slice(*from, to - from);
    let rows = NullBuffer::union(nulls, live);
    let all = first(&values, item, None)?;
    let found = match (all, rows) {
        // The element may belong to a list that is NULL.
        (Some(_), Some(rows)) => {
            let lives = offsets.windows(2).zip(&rows).filter(|(_, is_live)| *is_live);
            let lives = lives.map(|(pair, _)| (pair[0] - from, pair[1] - pair[0]));
            first(&values, item, Some(&expanded(values.len(), lives)))?
        }
        (all, _) => all,
    };
    // Row r ends at offset r + 1.
    Ok(found.map(|(index, wrong)| (offsets[1..].partition_point(|end| *end <= from + index), wrong)))
}

/// Marks the given runs of elements as live, in order.
fn expanded(length: usize, runs: impl Iterator<Item = (usize, usize)>) -> NullBuffer {
    let mut lives = BooleanBufferBuilder::new(length);
    for (from, count) in runs {
        lives.append_n(from.saturating_sub(lives.len()), false);
        lives.append_n(count, true);
    }
    lives.append_n(length.saturating_sub(lives.len()), false);
    NullBuffer::new(lives.finish())
}

fn first_of_map(map: &MapArray, live: Option<&NullBuffer>) -> Result<Found> {
    let DataType::Struct(pair) = map.entries().data_type() else { return Ok(None) };
    let offsets: Vec<usize> = map.offsets().iter().map(|offset| offset.as_usize()).collect();
    let rows = NullBuffer::union(map.nulls(), live);
    let is_live = |row: usize| rows.as_ref().is_none_or(|rows| rows.is_valid(row));
    if let Some(found) = first_double_key(map, &offsets, is_live)? {
        return Ok(Some(found));
    }
    for (field, column) in pair.iter().zip(map.entries().columns()) {
        if is_checked(field)
            && let Some(found) = first_within(column, field, &offsets, map.nulls(), live)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn first_double_key(map: &MapArray, offsets: &[usize], is_live: impl Fn(usize) -> bool) -> Result<Found> {
    let several = |pair: &[usize]| pair[1] - pair[0] > 1;
    let sorted = [SortField::new(map.key_type().clone())];
    // Keys of other types are compared by the engine alone, which refuses double ones without their row.
    if !offsets.windows(2).any(several) || !RowConverter::supports_fields(&sorted) {
        return Ok(None);
    }
    let (from, to) = (offsets[0], offsets[offsets.len() - 1]);
    let keys = map.keys().slice(from, to - from);
    let converter = RowConverter::new(sorted.to_vec())?;
    let keys = converter.convert_columns(&[keys])?;
    let mut seen = HashSet::new();
    for (row, pair) in offsets.windows(2).enumerate() {
        if several(pair) && is_live(row) {
            seen.clear();
            if (pair[0]..pair[1]).any(|index| !seen.insert(keys.row(index - from))) {
                return Ok(Some((
                    row,
                    "a map with one key twice, which DuckDB's MAP does not have".to_owned(),
                )));
            }
        }
    }
    Ok(None)
}

/// Only the member that a row has counts; the others may hold anything there.
fn first_of_union(union: &UnionArray, live: Option<&NullBuffer>) -> Result<Found> {
    let DataType::Union(members, _) = union.data_type() else { return Ok(None) };
    for (code, member) in members.iter() {
        if !is_checked(member) {
            continue;
        }
        let child = union.child(code);
        let Some(_) = first(child, member, None)? else { continue };
        let mut lives = BooleanBufferBuilder::new(child.len());
        let codes = union.type_ids().iter().enumerate();
        codes.for_each(|(row, found)| {
            lives.append(*found == code && live.is_none_or(|live| live.is_valid(row)));
        });
        if let Some(found) = first(child, member, Some(&NullBuffer::new(lives.finish())))? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
