//! Texts -> an Arrow array of a known type.
//! Runs on: threads that read. Never: rounds, cuts or replaces a value; what does not fit is refused.

use std::sync::Arc;

use arrow::array::builder::{BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow::array::{ArrayRef, ArrowPrimitiveType, NullArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::value;

/// The type that texts are read as where `wanted` is asked for: itself when it is one of those below, else text, which
/// the table's own rules convert or refuse.
pub(super) fn readable(wanted: &DataType) -> DataType {
    match wanted {
        DataType::Null
        | DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Date32
        | DataType::Time64(TimeUnit::Microsecond)
        | DataType::Timestamp(..) => wanted.clone(),
        _ => DataType::Utf8,
    }
}

/// An array under construction.
pub(super) enum Column {
    Null(usize),
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Int8(PrimitiveBuilder<Int8Type>),
    Int16(PrimitiveBuilder<Int16Type>),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    UInt8(PrimitiveBuilder<UInt8Type>),
    UInt16(PrimitiveBuilder<UInt16Type>),
    UInt32(PrimitiveBuilder<UInt32Type>),
    UInt64(PrimitiveBuilder<UInt64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Decimal(PrimitiveBuilder<Decimal128Type>, u8, i8),
    Date(PrimitiveBuilder<Date32Type>),
    Time(PrimitiveBuilder<Time64MicrosecondType>),
    Seconds(PrimitiveBuilder<TimestampSecondType>, bool),
    Millis(PrimitiveBuilder<TimestampMillisecondType>, bool),
    Micros(PrimitiveBuilder<TimestampMicrosecondType>, bool),
    Nanos(PrimitiveBuilder<TimestampNanosecondType>, bool),
}

fn typed<T: ArrowPrimitiveType>(data_type: &DataType) -> PrimitiveBuilder<T> {
    PrimitiveBuilder::new().with_data_type(data_type.clone())
}

impl Column {
    /// `data_type` is one that [`readable`] gives.
    pub(super) fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Null => Column::Null(0),
            DataType::Boolean => Column::Boolean(BooleanBuilder::new()),
            DataType::Int8 => Column::Int8(typed(data_type)),
            DataType::Int16 => Column::Int16(typed(data_type)),
            DataType::Int32 => Column::Int32(typed(data_type)),
            DataType::Int64 => Column::Int64(typed(data_type)),
            DataType::UInt8 => Column::UInt8(typed(data_type)),
            DataType::UInt16 => Column::UInt16(typed(data_type)),
            DataType::UInt32 => Column::UInt32(typed(data_type)),
            DataType::UInt64 => Column::UInt64(typed(data_type)),
            DataType::Float32 => Column::Float32(typed(data_type)),
            DataType::Float64 => Column::Float64(typed(data_type)),
            DataType::Decimal128(precision, scale) => Column::Decimal(typed(data_type), *precision, *scale),
            DataType::Date32 => Column::Date(typed(data_type)),
            DataType::Time64(_) => Column::Time(typed(data_type)),
            DataType::Timestamp(TimeUnit::Second, zone) => Column::Seconds(typed(data_type), zone.is_some()),
            DataType::Timestamp(TimeUnit::Millisecond, zone) => {
                Column::Millis(typed(data_type), zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Column::Micros(typed(data_type), zone.is_some())
            }
            DataType::Timestamp(TimeUnit::Nanosecond, zone) => {
                Column::Nanos(typed(data_type), zone.is_some())
            }
            _ => Column::Text(StringBuilder::new()),
        }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self, Column::Text(_))
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Column::Null(count) => *count += 1,
            Column::Text(builder) => builder.append_null(),
            Column::Boolean(builder) => builder.append_null(),
            Column::Int8(builder) => builder.append_null(),
            Column::Int16(builder) => builder.append_null(),
            Column::Int32(builder) => builder.append_null(),
            Column::Int64(builder) => builder.append_null(),
            Column::UInt8(builder) => builder.append_null(),
            Column::UInt16(builder) => builder.append_null(),
            Column::UInt32(builder) => builder.append_null(),
            Column::UInt64(builder) => builder.append_null(),
            Column::Float32(builder) => builder.append_null(),
            Column::Float64(builder) => builder.append_null(),
            Column::Decimal(builder, ..) => builder.append_null(),
            Column::Date(builder) => builder.append_null(),
            Column::Time(builder) => builder.append_null(),
            Column::Seconds(builder, _) => builder.append_null(),
            Column::Millis(builder, _) => builder.append_null(),
            Column::Micros(builder, _) => builder.append_null(),
            Column::Nanos(builder, _) => builder.append_null(),
        }
    }

    /// False when the text is no value of the type; nothing is appended then.
    pub(super) fn push(&mut self, text: &str) -> bool {
        // Only text keeps the blanks around it.
        let bare = text.trim_matches(' ');
        let pushed = match self {
            Column::Null(_) => None,
            Column::Text(builder) => {
                builder.append_value(text);
                Some(())
            }
            Column::Boolean(builder) => value::boolean(bare).map(|value| builder.append_value(value)),
            Column::Int8(builder) => integer(builder, bare),
            Column::Int16(builder) => integer(builder, bare),
            Column::Int32(builder) => integer(builder, bare),
            Column::Int64(builder) => integer(builder, bare),
            Column::UInt8(builder) => integer(builder, bare),
            Column::UInt16(builder) => integer(builder, bare),
            Column::UInt32(builder) => integer(builder, bare),
            Column::UInt64(builder) => integer(builder, bare),
            Column::Float32(builder) => value::double(bare).and_then(|wide| {
                // By its own digits: by way of a double it would be rounded twice.
                let narrow: f32 = bare.parse().ok()?;
                (narrow.is_infinite() == wide.is_infinite()).then(|| builder.append_value(narrow))
            }),
            Column::Float64(builder) => value::double(bare).map(|value| builder.append_value(value)),
            Column::Decimal(builder, precision, scale) => {
                value::decimal(bare, *precision, *scale).map(|value| builder.append_value(value))
            }
            Column::Date(builder) => value::date(bare).map(|value| builder.append_value(value)),
            Column::Time(builder) => value::clock_time(bare).and_then(|(seconds, nanos)| {
                let whole = nanos % 1_000 == 0;
                whole.then(|| builder.append_value(seconds * 1_000_000 + i64::from(nanos / 1_000)))
            }),
            Column::Seconds(builder, zoned) => moment(builder, *zoned, bare, 1),
            Column::Millis(builder, zoned) => moment(builder, *zoned, bare, 1_000),
            Column::Micros(builder, zoned) => moment(builder, *zoned, bare, 1_000_000),
            Column::Nanos(builder, zoned) => moment(builder, *zoned, bare, 1_000_000_000),
        };
        pushed.is_some()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        match self {
            Column::Null(count) => Arc::new(NullArray::new(std::mem::take(count))),
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Boolean(builder) => Arc::new(builder.finish()),
            Column::Int8(builder) => Arc::new(builder.finish()),
            Column::Int16(builder) => Arc::new(builder.finish()),
            Column::Int32(builder) => Arc::new(builder.finish()),
            Column::Int64(builder) => Arc::new(builder.finish()),
            Column::UInt8(builder) => Arc::new(builder.finish()),
            Column::UInt16(builder) => Arc::new(builder.finish()),
            Column::UInt32(builder) => Arc::new(builder.finish()),
            Column::UInt64(builder) => Arc::new(builder.finish()),
            Column::Float32(builder) => Arc::new(builder.finish()),
            Column::Float64(builder) => Arc::new(builder.finish()),
            Column::Decimal(builder, ..) => Arc::new(builder.finish()),
            Column::Date(builder) => Arc::new(builder.finish()),
            Column::Time(builder) => Arc::new(builder.finish()),
            Column::Seconds(builder, _) => Arc::new(builder.finish()),
            Column::Millis(builder, _) => Arc::new(builder.finish()),
            Column::Micros(builder, _) => Arc::new(builder.finish()),
            Column::Nanos(builder, _) => Arc::new(builder.finish()),
        }
    }
}

fn integer<T>(builder: &mut PrimitiveBuilder<T>, text: &str) -> Option<()>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let value = T::Native::try_from(value::integer(text)?).ok()?;
    builder.append_value(value);
    Some(())
}

/// A zone stands in the text exactly when the type has one: neither is made up, neither is dropped.
fn moment<T>(builder: &mut PrimitiveBuilder<T>, zoned: bool, text: &str, per_second: i64) -> Option<()>
where
    T: ArrowPrimitiveType<Native = i64>,
{
    let moment = value::parse_moment(text)?;
    let step = 1_000_000_000 / per_second;
    let whole = i64::from(moment.nanos) % step == 0;
    if moment.zoned != zoned || !whole {
        return None;
    }
    let value = moment.seconds.checked_mul(per_second)?.checked_add(i64::from(moment.nanos) / step)?;
    builder.append_value(value);
    Some(())
}

/// What a type is called in errors, in the table's words.
pub(super) fn spoken(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "a column without values".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::UInt8 => "UTINYINT".to_owned(),
        DataType::UInt16 => "USMALLINT".to_owned(),
        DataType::UInt32 => "UINTEGER".to_owned(),
        DataType::UInt64 => "UBIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision},{scale})"),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP WITH TIME ZONE (with Z or an offset)".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP (without a zone)".to_owned(),
        DataType::Utf8 => "VARCHAR".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::List(_) => "LIST".to_owned(),
        other => other.to_string(),
    }
}
