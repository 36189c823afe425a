//! Arrays that came back as values.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, IntervalUnit};

use super::ranges::{Value, float};

pub(super) fn read(array: &dyn Array) -> Vec<Value> {
    let of_row = |row: usize, read: &dyn Fn(usize) -> Value| {
        if array.is_null(row) { Value::Null } else { read(row) }
    };
    let each = |one: &dyn Fn(usize) -> Value| (0..array.len()).map(|row| of_row(row, one)).collect();
    match array.data_type() {
        DataType::Boolean => each(&|row| Value::Bool(array.as_boolean().value(row))),
        DataType::Utf8 => each(&|row| Value::Text(array.as_string::<i32>().value(row).into())),
        DataType::Binary => each(&|row| Value::Bytes(array.as_binary::<i32>().value(row).into())),
        DataType::FixedSizeBinary(_) => {
            each(&|row| Value::Bytes(array.as_fixed_size_binary().value(row).into()))
        }
        DataType::List(_) => each(&|row| Value::Items(read(&array.as_list::<i32>().value(row)))),
        DataType::FixedSizeList(..) => {
            each(&|row| Value::Items(read(&array.as_fixed_size_list().value(row))))
        }
        DataType::Struct(_) => {
            let columns: Vec<Vec<Value>> = array.as_struct().columns().iter().map(|one| read(one)).collect();
            each(&|row| Value::Items(columns.iter().map(|column| column[row].clone()).collect()))
        }
        DataType::Map(..) => each(&|row| {
            let entries = array.as_map().value(row);
            Value::Map(read(entries.column(0)).into_iter().zip(read(entries.column(1))).collect())
        }),
        data_type => {
            let width = data_type.primitive_width().unwrap_or_else(|| panic!("{data_type} came back"));
            let data = array.to_data();
            let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
            each(&|row| from_bits(data_type, &bytes[row * width..(row + 1) * width]))
        }
    }
}

fn from_bits(data_type: &DataType, bytes: &[u8]) -> Value {
    match data_type {
        DataType::Float32 => float(f64::from(f32::from_le_bytes(bytes.try_into().unwrap()))),
        DataType::Float64 => float(f64::from_le_bytes(bytes.try_into().unwrap())),
        DataType::Interval(IntervalUnit::MonthDayNano) => Value::Interval(
            i32::from_le_bytes(bytes[..4].try_into().unwrap()),
            i32::from_le_bytes(bytes[4..8].try_into().unwrap()),
            i64::from_le_bytes(bytes[8..].try_into().unwrap()),
        ),
        _ => {
            let negative = !data_type.is_unsigned_integer() && bytes[bytes.len() - 1] >= 0x80;
            let mut wide = [if negative { 0xff } else { 0 }; 16];
            wide[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i128::from_le_bytes(wide))
        }
    }
}
