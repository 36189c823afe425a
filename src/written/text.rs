//! One value of an array -> its text, as DuckDB casts it to VARCHAR; bytes as hexadecimal digits.
//! Runs on: anywhere; pure.
//! Never: writes anything but the value: a value without a text is an error.

use std::fmt::Write;

use arrow::array::timezone::Tz;
use arrow::array::{Array, AsArray};
use arrow::datatypes::*;

use super::cell::{Cell, Refused};
use super::extension::Meaning;
use super::time;

/// Writes the text of a value; false, and nothing, for NULL.
pub(super) fn write(out: &mut String, cell: &Cell<'_>) -> Result<bool, Refused> {
    if cell.is_null() {
        return Ok(false);
    }
    if let Some(json) = cell.variant() {
        out.push_str(&json?);
    } else if let Some(text) = cell.string() {
        out.push_str(text);
    } else if let Some(bytes) = cell.bytes() {
        match Meaning::of(cell.field) {
            Some(meaning) => out.push_str(&meaning.text(bytes).ok_or("its bytes are no value of its type")?),
            None => hex(out, bytes),
        }
    } else if let Some((elements, field)) = cell.elements() {
        out.push('[');
        for row in 0..elements.len() {
            separate(out, row);
            nested(out, &Cell::new(elements.as_ref(), field, row))?;
        }
        out.push(']');
    } else if let Some((_, member)) = cell.member() {
        return write(out, &member);
    } else {
        match cell.array.data_type() {
            DataType::Struct(fields) => {
                out.push('{');
                for (index, (column, field)) in
                    cell.array.as_struct().columns().iter().zip(fields).enumerate()
                {
                    separate(out, index);
                    quoted(out, field.name());
                    out.push_str(": ");
                    nested(out, &Cell::new(column.as_ref(), field, cell.row))?;
                }
                out.push('}');
            }
            DataType::Map(..) => {
                out.push('{');
                for (index, (key, value)) in entries(cell)?.cells().enumerate() {
                    separate(out, index);
                    nested(out, &key)?;
                    out.push('=');
                    nested(out, &value)?;
                }
                out.push('}');
            }
            _ => scalar(out, cell)?,
        }
    }
    Ok(true)
}

/// The entries of one map.
pub(super) struct Entries {
    entries: arrow::array::StructArray,
    fields: Fields,
}

impl Entries {
    /// Keys and values, in order.
    pub(super) fn cells(&self) -> impl Iterator<Item = (Cell<'_>, Cell<'_>)> {
        (0..self.entries.len()).map(|row| {
            let part =
                |index: usize| Cell::new(self.entries.column(index).as_ref(), &self.fields[index], row);
            (part(0), part(1))
        })
    }
}

pub(super) fn entries(cell: &Cell<'_>) -> Result<Entries, Refused> {
    let entries = cell.array.as_map().value(cell.row);
    match entries.fields().len() {
        2 => Ok(Entries { fields: entries.fields().clone(), entries }),
        other => Err(format!("its map has {other} parts in an entry, and not a key and a value")),
    }
}

fn separate(out: &mut String, index: usize) {
    if index > 0 {
        out.push_str(", ");
    }
}

/// A value inside another one, quoted where it could be taken for something else.
fn nested(out: &mut String, cell: &Cell<'_>) -> Result<(), Refused> {
    let begin = out.len();
    if !write(out, cell)? {
        out.push_str("NULL");
        return Ok(());
    }
    let is_nested = cell.array.data_type().is_nested();
    if !is_nested && needs_quotes(&out[begin..]) {
        let text = out.split_off(begin);
        quoted(out, &text);
    }
    Ok(())
}

fn needs_quotes(text: &str) -> bool {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_whitespace() || *byte == 0x0b);
    let bytes = text.as_bytes();
    bytes.is_empty()
        || is_space(bytes.first())
        || is_space(bytes.last())
        || text.eq_ignore_ascii_case("null")
        || bytes.iter().any(|byte| b"\"'(),:=[\\]{}".contains(byte))
}

fn quoted(out: &mut String, text: &str) {
    out.push('\'');
    for letter in text.chars() {
        if matches!(letter, '\'' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('\'');
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// A value without parts.
fn scalar(out: &mut String, cell: &Cell<'_>) -> Result<(), Refused> {
    let (array, row) = (cell.array, cell.row);
    macro_rules! value {
        ($of:ty) => {
            array.as_primitive::<$of>().value(row)
        };
    }
    // Writing into a String does not fail.
    macro_rules! put {
        ($value:expr) => {{
            let _ = write!(out, "{}", $value);
        }};
    }
    match array.data_type() {
        DataType::Boolean => put!(array.as_boolean().value(row)),
        DataType::Int8 => put!(value!(Int8Type)),
        DataType::Int16 => put!(value!(Int16Type)),
        DataType::Int32 => put!(value!(Int32Type)),
        DataType::Int64 => put!(value!(Int64Type)),
        DataType::UInt8 => put!(value!(UInt8Type)),
        DataType::UInt16 => put!(value!(UInt16Type)),
        DataType::UInt32 => put!(value!(UInt32Type)),
        DataType::UInt64 => put!(value!(UInt64Type)),
        DataType::Float16 => {
            float(out, value!(Float16Type).into(), || format!("{:e}", value!(Float16Type).to_f32()));
        }
        DataType::Float32 => float(out, value!(Float32Type).into(), || format!("{:e}", value!(Float32Type))),
        DataType::Float64 => float(out, value!(Float64Type), || format!("{:e}", value!(Float64Type))),
        DataType::Decimal32(_, scale) => decimal(out, &value!(Decimal32Type).to_string(), *scale),
        DataType::Decimal64(_, scale) => decimal(out, &value!(Decimal64Type).to_string(), *scale),
        DataType::Decimal128(_, scale) => decimal(out, &value!(Decimal128Type).to_string(), *scale),
        DataType::Decimal256(_, scale) => decimal(out, &value!(Decimal256Type).to_string(), *scale),
        DataType::Date32 => time::date(out, value!(Date32Type)),
        DataType::Date64 => time::timestamp(out, value!(Date64Type), TimeUnit::Millisecond, None),
        DataType::Time32(unit @ TimeUnit::Second) => time::time(out, value!(Time32SecondType).into(), *unit),
        DataType::Time32(unit) => time::time(out, value!(Time32MillisecondType).into(), *unit),
        DataType::Time64(unit @ TimeUnit::Nanosecond) => time::time(out, value!(Time64NanosecondType), *unit),
        DataType::Time64(unit) => time::time(out, value!(Time64MicrosecondType), *unit),
        DataType::Timestamp(unit, zone) => {
            let zone: Option<Tz> = match zone {
                None => None,
                Some(zone) => {
                    Some(zone.parse().map_err(|_| format!("its time zone \"{zone}\" is not known"))?)
                }
            };
            time::timestamp(out, ticks(array, row), *unit, zone.as_ref());
        }
        DataType::Duration(unit) => time::time(out, ticks(array, row), *unit),
        DataType::Interval(IntervalUnit::YearMonth) => {
            time::interval(out, value!(IntervalYearMonthType), 0, 0);
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = value!(IntervalDayTimeType);
            time::interval(out, 0, value.days, i64::from(value.milliseconds) * 1_000_000);
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = value!(IntervalMonthDayNanoType);
            time::interval(out, value.months, value.days, value.nanoseconds);
        }
        other => return Err(format!("a value of {other} has no text")),
    }
    Ok(())
}

/// The number below a timestamp or a duration of any unit.
fn ticks(array: &dyn Array, row: usize) -> i64 {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => array.as_primitive::<TimestampSecondType>().value(row),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            array.as_primitive::<TimestampMillisecondType>().value(row)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive::<TimestampMicrosecondType>().value(row)
        }
        DataType::Timestamp(..) => array.as_primitive::<TimestampNanosecondType>().value(row),
        DataType::Duration(TimeUnit::Second) => array.as_primitive::<DurationSecondType>().value(row),
        DataType::Duration(TimeUnit::Millisecond) => {
            array.as_primitive::<DurationMillisecondType>().value(row)
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            array.as_primitive::<DurationMicrosecondType>().value(row)
        }
        _ => array.as_primitive::<DurationNanosecondType>().value(row),
    }
}

/// The shortest digits that read back as the same number, given as `1.5e3`, laid out as DuckDB does: plainly up to
/// sixteen digits before and four zeros after the point.
fn float(out: &mut String, value: f64, shortest: impl Fn() -> String) {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "nan"
        } else if value < 0.0 {
            "-inf"
        } else {
            "inf"
        };
        return out.push_str(text);
    }
    let shortest = shortest();
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    out.push_str(sign);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let _ = if (-4..0).contains(&exponent) {
        write!(out, "0.{}{digits}", zeros(-exponent - 1))
    } else if (0..16).contains(&exponent) {
        let whole = exponent as usize + 1;
        match digits.split_at_checked(whole) {
            Some((whole, "")) => write!(out, "{whole}.0"),
            Some((whole, rest)) => write!(out, "{whole}.{rest}"),
            None => write!(out, "{digits}{}.0", zeros(exponent + 1 - digits.len() as i32)),
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs())
    };
}

/// A whole number with its point `scale` digits from the right.
fn decimal(out: &mut String, number: &str, scale: i8) {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    out.push_str(sign);
    let scale = match usize::try_from(scale) {
        Ok(0) => return out.push_str(digits),
        Ok(scale) => scale,
        Err(_) => {
            out.push_str(digits);
            return out.extend(std::iter::repeat_n('0', usize::from(scale.unsigned_abs())));
        }
    };
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let _ = write!(out, "{whole}.{fraction}");
}
