//! Values as the arrays that are sent.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray,
    GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait, StringArray, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalUnit, i256};
use half::f16;

use super::kinds::{Child, Type};
use super::ranges::Value;

fn nulls(values: &[Value]) -> Option<NullBuffer> {
    let valid: Vec<bool> = values.iter().map(|value| *value != Value::Null).collect();
    Some(NullBuffer::from(valid))
}

pub(super) fn array(what: &Type, values: &[Value]) -> ArrayRef {
    match what {
        Type::Plain { arrow, .. } => plain_array(arrow, values),
        Type::Dictionary { index, values: inner } => dictionary(what, &index.1, inner, values),
        Type::Runs { ends, values: inner } => runs(what, &ends.1, inner, values),
        Type::List { kind, item } => match *kind {
            "list" => lists::<i32>(item, values),
            "large_list" => lists::<i64>(item, values),
            "list_view" => list_views::<i32>(item, values),
            _ => list_views::<i64>(item, values),
        },
        Type::Fixed { item, length } => {
            let hole = if item.nullable { Value::Null } else { item.what.filler() };
            let items: Vec<Value> = values
                .iter()
                .flat_map(|value| match value {
                    Value::Items(items) => items.clone(),
                    _ => vec![hole.clone(); *length],
                })
                .collect();
            let length = i32::try_from(*length).unwrap();
            Arc::new(FixedSizeListArray::new(item.field(), length, array(&item.what, &items), nulls(values)))
        }
        Type::Struct { children } => {
            let column = |(place, child): (usize, &Child)| {
                let hole = if child.nullable { Value::Null } else { child.what.filler() };
                let items: Vec<Value> = values
                    .iter()
                    .map(|value| match value {
                        Value::Items(items) => items[place].clone(),
                        _ => hole.clone(),
                    })
                    .collect();
                array(&child.what, &items)
            };
            let columns = children.iter().enumerate().map(column).collect();
            Arc::new(StructArray::new(children.iter().map(Child::field).collect(), columns, nulls(values)))
        }
        Type::Map { key, value: child, is_sorted } => {
            let DataType::Map(field, _) = what.arrow() else { unreachable!("a map is a map") };
            let DataType::Struct(fields) = field.data_type() else { unreachable!("its entries are structs") };
            let entries: Vec<&(Value, Value)> = values.iter().flat_map(entries_of).collect();
            let names: Vec<Value> = entries.iter().map(|(name, _)| name.clone()).collect();
            let items: Vec<Value> = entries.iter().map(|(_, value)| value.clone()).collect();
            let columns = vec![array(key, &names), array(&child.what, &items)];
            let entries = StructArray::new(fields.clone(), columns, None);
            let offsets = OffsetBuffer::from_lengths(values.iter().map(|value| entries_of(value).len()));
            Arc::new(MapArray::new(Arc::clone(&field), offsets, entries, nulls(values), *is_sorted))
        }
    }
}

/// NULL is an index that is NULL or one of a NULL among the values, in turns.
fn dictionary(what: &Type, index: &DataType, inner: &Type, values: &[Value]) -> ArrayRef {
    let mut distinct: Vec<Value> = Vec::new();
    let indices: Vec<Value> = values
        .iter()
        .enumerate()
        .map(|(row, value)| {
            if *value == Value::Null && row % 2 == 0 {
                return Value::Null;
            }
            let place = distinct.iter().position(|known| known == value).unwrap_or_else(|| {
                distinct.push(value.clone());
                distinct.len() - 1
            });
            Value::Int(i128::try_from(place).unwrap())
        })
        .collect();
    let data = plain_array(index, &indices).to_data().into_builder();
    let child = array(inner, &distinct).to_data();
    make_array(data.data_type(what.arrow()).add_child_data(child).build().unwrap())
}

fn runs(what: &Type, ends: &DataType, inner: &Type, values: &[Value]) -> ArrayRef {
    let mut runs: Vec<(usize, Value)> = Vec::new();
    for (row, value) in values.iter().enumerate() {
        match runs.last_mut() {
            Some((end, last)) if last == value => *end = row + 1,
            _ => runs.push((row + 1, value.clone())),
        }
    }
    let (last, values): (Vec<Value>, Vec<Value>) =
        runs.into_iter().map(|(end, value)| (Value::Int(i128::try_from(end).unwrap()), value)).unzip();
    let length = last.last().map_or(0, |end| match end {
        Value::Int(end) => usize::try_from(*end).unwrap(),
        _ => 0,
    });
    let ends = make_array(plain_array(ends, &last).to_data().into_builder().nulls(None).build().unwrap());
    let data = ArrayData::builder(what.arrow()).len(length);
    let data = data.add_child_data(ends.to_data()).add_child_data(array(inner, &values).to_data());
    make_array(data.build().unwrap())
}

fn entries_of(value: &Value) -> &[(Value, Value)] {
    match value {
        Value::Map(entries) => entries,
        _ => &[],
    }
}

fn items_of(value: &Value) -> &[Value] {
    match value {
        Value::Items(items) => items,
        _ => &[],
    }
}

pub(super) fn lists<O: OffsetSizeTrait>(item: &Child, values: &[Value]) -> ArrayRef {
    let items: Vec<Value> = values.iter().flat_map(|value| items_of(value).to_vec()).collect();
    let offsets = OffsetBuffer::<O>::from_lengths(values.iter().map(|value| items_of(value).len()));
    Arc::new(GenericListArray::new(item.field(), offsets, array(&item.what, &items), nulls(values)))
}

/// The items lie in the order of the rows turned round, which a list view may do and a list not.
fn list_views<O: OffsetSizeTrait>(item: &Child, values: &[Value]) -> ArrayRef {
    let items: Vec<Value> = values.iter().rev().flat_map(|value| items_of(value).to_vec()).collect();
    let size = |value: &Value| items_of(value).len();
    let offset = |row: usize| O::usize_as(values[row + 1..].iter().map(size).sum());
    let offsets: ScalarBuffer<O> = (0..values.len()).map(offset).collect();
    let sizes: ScalarBuffer<O> = values.iter().map(|value| O::usize_as(size(value))).collect();
    let items = array(&item.what, &items);
    Arc::new(GenericListViewArray::new(item.field(), offsets, sizes, items, nulls(values)))
}

fn plain_array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    let text = |value: &Value| if let Value::Text(text) = value { Some(text.clone()) } else { None };
    let bytes = |value: &Value| if let Value::Bytes(bytes) = value { Some(bytes.clone()) } else { None };
    match data_type {
        DataType::Boolean => {
            let bool = |value: &Value| if let Value::Bool(value) = value { Some(*value) } else { None };
            Arc::new(BooleanArray::from_iter(values.iter().map(bool)))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            cast(&StringArray::from_iter(values.iter().map(text)), data_type).unwrap()
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            cast(&BinaryArray::from_iter(values.iter().map(bytes)), data_type).unwrap()
        }
        DataType::FixedSizeBinary(width) => Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size(values.iter().map(bytes), *width).unwrap(),
        ),
        _ => {
            let width = data_type.primitive_width().unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|value| bits(data_type, value, width)).collect();
            let data = ArrayData::builder(data_type.clone()).len(values.len()).nulls(nulls(values));
            let data = data.add_buffer(Buffer::from_vec(bytes)).align_buffers(true);
            make_array(data.build().unwrap())
        }
    }
}

/// A value as the `width` bytes an array of its type holds.
pub(super) fn bits(data_type: &DataType, value: &Value, width: usize) -> Vec<u8> {
    match (data_type, value) {
        (_, Value::Int(value)) => i256::from_i128(*value).to_le_bytes()[..width].to_vec(),
        (DataType::Float16, Value::Float(bits)) => {
            f16::from_f64(f64::from_bits(*bits)).to_le_bytes().to_vec()
        }
        (DataType::Float32, Value::Float(bits)) => (f64::from_bits(*bits) as f32).to_le_bytes().to_vec(),
        (_, Value::Float(bits)) => bits.to_le_bytes().to_vec(),
        (DataType::Interval(IntervalUnit::YearMonth), Value::Interval(months, ..)) => {
            months.to_le_bytes().to_vec()
        }
        (DataType::Interval(IntervalUnit::DayTime), Value::Interval(_, days, nanos)) => {
            let millis = i32::try_from(nanos / 1_000_000).unwrap();
            [days.to_le_bytes(), millis.to_le_bytes()].concat()
        }
        (_, Value::Interval(months, days, nanos)) => {
            [months.to_le_bytes().to_vec(), days.to_le_bytes().to_vec(), nanos.to_le_bytes().to_vec()]
                .concat()
        }
        _ => vec![0; width],
    }
}
