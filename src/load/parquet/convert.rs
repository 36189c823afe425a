//! A column as the reader gives it -> the same values as they are sent.
//! Runs on: the thread that reads; pure. Never: lets a value through that is not what its type says.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::rebuild::rebuilt;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, ByteView, FixedSizeBinaryBuilder, IntervalMonthDayNanoArray,
    StringArray, StructArray,
};
use arrow::buffer::{Buffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, IntervalMonthDayNano, IntervalUnit, TimeUnit};
use parquet_variant_compute::{VariantArray, unshred_variant};

/// Microseconds of a day; DuckDB knows 24:00:00.
const DAY_MICROS: i64 = 86_400_000_000;
/// Bytes of a value that is in its view.
const INLINE: usize = 12;
/// Bytes that are copied at once.
const STEP: usize = 48;
/// How DuckDB writes an offset of 0 in a TIME WITH TIME ZONE.
const NO_OFFSET: i64 = 16 * 60 * 60 - 1;

/// Errors: `Invalid` for a value that cannot be what its type says; the text names no column.
pub(super) fn sent(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    rebuilt(array, to, &leaf)
}

/// The first row that cannot be sent, of an array of which one cannot.
pub(super) fn first_wrong(array: &ArrayRef, to: &Field) -> usize {
    let (mut good, mut bad) = (0, array.len());
    while good + 1 < bad {
        let middle = good.midpoint(bad);
        match sent(&array.slice(good, middle - good), to) {
            Ok(_) => good = middle,
            Err(_) => bad = middle,
        }
    }
    good
}

fn leaf(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    Ok(match (array.data_type(), to.data_type()) {
        (DataType::BinaryView, DataType::Utf8) => Arc::new(text(array)?),
        (DataType::BinaryView, DataType::Binary) => Arc::new(bytes(array)?),
        (DataType::FixedSizeBinary(12), DataType::Interval(IntervalUnit::MonthDayNano)) => {
            Arc::new(intervals(array)?)
        }
        (DataType::Time32(_) | DataType::Time64(_), DataType::FixedSizeBinary(8)) => times(array)?,
        (DataType::Int32, small) if small.is_integer() => cast(array, small)?,
        (DataType::Decimal256(..), DataType::Decimal128(..)) => cast(array, to.data_type())?,
        (DataType::Struct(_), DataType::Struct(_)) => variant(array, to)?,
        (from, to) => return Err(Error::internal(format!("{from} is not made into {to}"))),
    })
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    // A value that does not fit is an error, never a NULL.
    Ok(cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })?)
}

/// Source: Arrow columnar format, "Variable-size Binary View Layout": a view has 16 bytes, its length in the first 4; the
/// value is in the others, or in a buffer where it is longer than they.
fn bytes(array: &ArrayRef) -> Result<BinaryArray> {
    let views = array.as_binary_view();
    let size: usize = views.lengths().map(|length| length as usize).sum();
    if i32::try_from(size).is_err() {
        return Err(Error::unsupported(format!("one row has {size} bytes, and at most 2 GiB can be sent")));
    }
    // A value is written as a whole step, whose rest the next one overwrites: a copy of a fixed length is no call.
    let mut all = vec![0_u8; size + STEP];
    let mut offsets = Vec::with_capacity(views.len() + 1);
    let (mut end, nulls) = (0, views.nulls());
    offsets.push(0);
    for (index, view) in views.views().iter().enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(index)) {
            let parts = ByteView::from(*view);
            let length = parts.length as usize;
            if length <= INLINE {
                all[end..end + INLINE].copy_from_slice(&view.to_le_bytes()[4..]);
            } else {
                let value = &views.data_buffers()[parts.buffer_index as usize][parts.offset as usize..];
                match value.first_chunk::<STEP>() {
                    Some(step) if length <= STEP => all[end..end + STEP].copy_from_slice(step),
                    _ => all[end..end + length].copy_from_slice(&value[..length]),
                }
            }
            end += length;
        }
        // It is not above `size`.
        offsets.push(i32::try_from(end).unwrap_or(i32::MAX));
    }
    all.truncate(end);
    let offsets = OffsetBuffer::new(offsets.into());
    Ok(BinaryArray::try_new(offsets, Buffer::from_vec(all), nulls.cloned())?)
}

/// The reader is not asked to check texts: it does so for some encodings and some annotations alone.
fn text(array: &ArrayRef) -> Result<StringArray> {
    let (offsets, values, nulls) = bytes(array)?.into_parts();
    StringArray::try_new(offsets, values, nulls).map_err(|_| {
        let wrong = array.as_binary_view().iter().flatten().find(|value| std::str::from_utf8(value).is_err());
        let shown = String::from_utf8_lossy(wrong.unwrap_or_default()).chars().take(40).collect::<String>();
        Error::invalid(format!("a text is not UTF-8: {shown:?}; write the column as binary, or in UTF-8"))
    })
}

/// Three unsigned numbers: months, days and milliseconds.
fn intervals(array: &ArrayRef) -> Result<IntervalMonthDayNanoArray> {
    let one = |value: Option<&[u8]>| {
        let Some(value) = value else { return Ok(None) };
        let part = |at: usize| {
            let bytes = value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_le_bytes).ok_or_else(|| Error::invalid("an INTERVAL does not have 12 bytes"))
        };
        let (months, days, millis) = (part(0)?, part(4)?, part(8)?);
        let (Ok(whole_months), Ok(whole_days)) = (i32::try_from(months), i32::try_from(days)) else {
            return Err(Error::invalid(format!(
                "an INTERVAL of {months} months and {days} days is longer than DuckDB's"
            )));
        };
        Ok(Some(IntervalMonthDayNano::new(whole_months, whole_days, i64::from(millis) * 1_000_000)))
    };
    array.as_fixed_size_binary().iter().map(one).collect()
}

/// Times of day at UTC, in DuckDB's form.
fn times(array: &ArrayRef) -> Result<ArrayRef> {
    let (numbers, unit) = match array.data_type() {
        DataType::Time32(unit) => (cast(&cast(array, &DataType::Int32)?, &DataType::Int64)?, *unit),
        DataType::Time64(unit) => (cast(array, &DataType::Int64)?, *unit),
        other => return Err(Error::internal(format!("{other} is no time of day"))),
    };
    let mut packed = FixedSizeBinaryBuilder::with_capacity(numbers.len(), 8);
    for value in numbers.as_primitive::<Int64Type>() {
        let Some(value) = value else {
            packed.append_null();
            continue;
        };
        let micros = match unit {
            TimeUnit::Second => value.checked_mul(1_000_000),
            TimeUnit::Millisecond => value.checked_mul(1000),
            TimeUnit::Microsecond => Some(value),
            TimeUnit::Nanosecond => (value % 1000 == 0).then_some(value / 1000),
        };
        let micros = micros.filter(|micros| (0..=DAY_MICROS).contains(micros)).ok_or_else(|| {
            Error::invalid(format!(
                "a time of day at UTC is {value} {}, and DuckDB's TIME WITH TIME ZONE has whole microseconds up to 24:00",
                match unit {
                    TimeUnit::Second => "s",
                    TimeUnit::Millisecond => "ms",
                    TimeUnit::Microsecond => "us",
                    TimeUnit::Nanosecond => "ns",
                }
            ))
        })?;
        packed.append_value((micros << 24 | NO_OFFSET).to_le_bytes())?;
    }
    Ok(Arc::new(packed.finish()))
}

/// A VARIANT of which parts lie in columns of their own, put together.
fn variant(array: &ArrayRef, to: &Field) -> Result<ArrayRef> {
    let wrong = |error| Error::invalid(format!("a VARIANT cannot be put together: {error}"));
    let DataType::Struct(fields) = to.data_type() else { return Err(Error::internal("a variant is none")) };
    let shredded = VariantArray::try_new(array).map_err(wrong)?;
    let whole: StructArray = unshred_variant(&shredded).map_err(wrong)?.into();
    let part = |name: &str| {
        let part =
            whole.column_by_name(name).ok_or_else(|| Error::internal("a variant has lost its parts"))?;
        cast(part, &DataType::Binary)
    };
    let parts = fields.iter().map(|field| part(field.name())).collect::<Result<Vec<_>>>()?;
    let nulls = whole.nulls().cloned();
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, whole.len())?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryViewArray, FixedSizeBinaryArray, Int32Array, Time64NanosecondArray};

    use super::*;

    fn to(data_type: DataType) -> Field {
        Field::new("c", data_type, true)
    }

    #[test]
    fn texts_are_utf8() {
        let good: ArrayRef = Arc::new(BinaryViewArray::from_iter([Some("ä".as_bytes()), None, Some(b"")]));
        let made = sent(&good, &to(DataType::Utf8)).unwrap();
        assert_eq!(made.as_string::<i32>(), &StringArray::from(vec![Some("ä"), None, Some("")]));
        // Two halves of one letter are valid together, not alone.
        let bad: ArrayRef = Arc::new(BinaryViewArray::from_iter_values([b"a".as_slice(), b"\xc3", b"\xa4"]));
        let error = sent(&bad, &to(DataType::Utf8)).unwrap_err();
        assert!(error.message().starts_with("a text is not UTF-8"), "{error}");
        assert_eq!(first_wrong(&bad, &to(DataType::Utf8)), 1);
    }

    #[test]
    fn intervals_keep_their_months() {
        let mut bytes = [0; 12];
        (bytes[0], bytes[4], bytes[8]) = (14, 3, 7);
        let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
        let interval = to(DataType::Interval(IntervalUnit::MonthDayNano));
        let made = sent(&array, &interval).unwrap();
        let expected = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 7_000_000)]);
        assert_eq!(made.as_primitive(), &expected);
        bytes[3] = 0x80;
        let array: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap());
        assert!(sent(&array, &interval).unwrap_err().message().contains("2147483662 months"));
    }

    #[test]
    fn numbers_and_times_that_do_not_fit_are_told() {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![127, 128]));
        assert!(sent(&array, &to(DataType::Int8)).is_err());
        assert_eq!(first_wrong(&array, &to(DataType::Int8)), 1);
        let array: ArrayRef = Arc::new(Time64NanosecondArray::from(vec![1000, 1001]));
        let error = sent(&array, &to(DataType::FixedSizeBinary(8))).unwrap_err();
        assert!(error.message().contains("1001 ns"), "{error}");
        let one = sent(&array.slice(0, 1), &to(DataType::FixedSizeBinary(8))).unwrap();
        assert_eq!(one.as_fixed_size_binary().value(0), ((1_i64 << 24) | 57599).to_le_bytes());
    }
}
