//! An array -> the same one with its leaves in another form, however deep they lie.
//! Runs on: any thread; pure.
//! Never: copies what keeps its form; changes offsets or NULLs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray,
    UnionArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, UnionMode};

use crate::error::Result;

/// `array` in the form of `to`. Lists, structs, maps and sparse unions of one shape are gone through; everything
/// else that differs is `leaf`'s.
///
/// Errors: those of `leaf`; `Invalid` when the parts do not fit together.
pub fn rebuilt(
    array: &ArrayRef,
    to: &Field,
    leaf: &impl Fn(&ArrayRef, &Field) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    if array.data_type() == to.data_type() {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to.data_type()) {
        (DataType::Struct(old), DataType::Struct(fields)) if old.len() == fields.len() => {
            let structs = array.as_struct();
            let children = structs
                .columns()
                .iter()
                .zip(fields)
                .map(|(child, field)| rebuilt(child, field, leaf))
                .collect::<Result<_>>()?;
            let nulls = structs.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, structs.len())?))
        }
        (DataType::List(_), DataType::List(item)) => rebuilt_list(array.as_list::<i32>(), item, leaf),
        (DataType::LargeList(_), DataType::LargeList(item)) => {
            rebuilt_list(array.as_list::<i64>(), item, leaf)
        }
        (DataType::FixedSizeList(_, old), DataType::FixedSizeList(item, length)) if old == length => {
            let list = array.as_fixed_size_list();
            let values = rebuilt(list.values(), item, leaf)?;
            Ok(Arc::new(FixedSizeListArray::try_new(
                Arc::clone(item),
                *length,
                values,
                list.nulls().cloned(),
            )?))
        }
        (DataType::Map(_, _), DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let pairs: ArrayRef = Arc::new(map.entries().clone());
            let pairs = rebuilt(&pairs, entries, leaf)?.as_struct().clone();
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
        }
        (DataType::Union(old, UnionMode::Sparse), DataType::Union(members, UnionMode::Sparse))
            if old.iter().map(|(code, _)| code).eq(members.iter().map(|(code, _)| code)) =>
        {
            let Some(union) = array.as_any().downcast_ref::<UnionArray>() else { return leaf(array, to) };
            let children = members
                .iter()
                .map(|(code, member)| rebuilt(union.child(code), member, leaf))
                .collect::<Result<_>>()?;
            Ok(Arc::new(UnionArray::try_new(members.clone(), union.type_ids().clone(), None, children)?))
        }
        _ => leaf(array, to),
    }
}

fn rebuilt_list<O: OffsetSizeTrait>(
    list: &GenericListArray<O>,
    item: &FieldRef,
    leaf: &impl Fn(&ArrayRef, &Field) -> Result<ArrayRef>,
) -> Result<ArrayRef> {
    let values = rebuilt(list.values(), item, leaf)?;
    let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, values, nulls)?))
}

/// `field` with its parts changed by `change`, from the inside out; shapes stay.
pub fn with_fields(field: &Field, change: &impl Fn(Field) -> Field) -> Field {
    let child = |field: &FieldRef| Arc::new(with_fields(field, change));
    let data_type = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::List(item) => DataType::List(child(item)),
        DataType::LargeList(item) => DataType::LargeList(child(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(child(item), *length),
        DataType::Map(entries, sorted) => DataType::Map(child(entries), *sorted),
        DataType::Union(members, mode) => {
            DataType::Union(members.iter().map(|(code, member)| (code, child(member))).collect(), *mode)
        }
        other => other.clone(),
    };
    change(field.clone().with_data_type(data_type))
}
