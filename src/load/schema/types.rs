//! Two columns of one name -> the narrowest type that holds the values of both.
//! Runs on: any thread; pure.
//! Never: picks a type that would store a value as another one; where a type holds most values and not all (integers
//! as DOUBLE, times in a finer unit), each value is looked at when it is cast.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Metadata, TimeUnit};
use pintail_protocol::extension;

/// What a field says of its type; other metadata says where it came from, and differs from file to file.
const TYPE_KEYS: [&str; 3] = [extension::NAME, extension::METADATA, extension::STANDS_FOR];

/// Most digits of a decimal that DuckDB has, and that Arrow has.
const DIGITS_MAX: i16 = 38;
const WIDE_DIGITS_MAX: i16 = 76;

/// A column as it is offered: what a writer calls required holds no NULL in one file, and may in the next.
pub(super) fn offered(field: &Field) -> Field {
    let kept = |field: &Field| -> Metadata {
        let pairs = field.metadata().iter().filter(|(key, _)| TYPE_KEYS.contains(&key.as_str()));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let child = |field: &FieldRef| Arc::new(offered(field));
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(child(item)),
        DataType::LargeList(item) => DataType::LargeList(child(item)),
        DataType::ListView(item) => DataType::ListView(child(item)),
        DataType::LargeListView(item) => DataType::LargeListView(child(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(child(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(child).collect()),
        DataType::Map(entries, sorted) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => map(offered(&pair[0]), offered(&pair[1]), *sorted),
            _ => field.data_type().clone(),
        },
        other => other.clone(),
    };
    Field::new(field.name(), data_type, true).with_metadata(kept(field))
}

/// The field for the values of both, which are [`offered`]; `None` where no type holds them.
pub(super) fn join(one: &Field, other: &Field) -> Option<Field> {
    let (own, others) = (one.data_type(), other.data_type());
    if own.is_null() && one.metadata().is_empty() {
        return Some(other.clone().with_name(one.name()));
    }
    if others.is_null() && other.metadata().is_empty() {
        return Some(one.clone());
    }
    // What stands for something else has no values of its storage's type.
    (one.metadata() == other.metadata())
        .then(|| join_types(own, others).map(|joined| one.clone().with_data_type(joined)))?
}

fn join_types(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    if one == other {
        return Some(one.clone());
    }
    if let Some(values) = encoded(one) {
        return join_types(values, other);
    }
    if let Some(values) = encoded(other) {
        return join_types(one, values);
    }
    Some(match (one, other) {
        (T::Null, known) | (known, T::Null) => known.clone(),
        (T::Struct(fields), T::Struct(others)) => T::Struct(join_fields(fields, others)?),
        (T::Map(entries, sorted), T::Map(others, same)) => match (entries.data_type(), others.data_type()) {
            (T::Struct(pair), T::Struct(others)) if pair.len() == 2 && others.len() == 2 => {
                map(join(&pair[0], &others[0])?, join(&pair[1], &others[1])?, *sorted && *same)
            }
            _ => return None,
        },
        (T::Timestamp(unit, zone), T::Timestamp(other_unit, other_zone)) => {
            let zone = match (zone, other_zone) {
                (Some(zone), Some(other)) if zone != other => Some("UTC".into()),
                (zone, other) if zone == other => zone.clone(),
                // A wall clock is no point in time.
                _ => return None,
            };
            T::Timestamp(finer(*unit, *other_unit), zone)
        }
        (T::Date32, T::Date64) | (T::Date64, T::Date32) => T::Date64,
        (T::Date32 | T::Date64, T::Timestamp(unit, None))
        | (T::Timestamp(unit, None), T::Date32 | T::Date64) => T::Timestamp(*unit, None),
        (T::Time32(unit) | T::Time64(unit), T::Time32(other) | T::Time64(other)) => {
            match finer(*unit, *other) {
                unit @ (TimeUnit::Second | TimeUnit::Millisecond) => T::Time32(unit),
                unit => T::Time64(unit),
            }
        }
        (T::Duration(unit), T::Duration(other)) => T::Duration(finer(*unit, *other)),
        (T::Interval(_), T::Interval(_)) => T::Interval(IntervalUnit::MonthDayNano),
        _ => {
            if let Some((one, other)) = text_rank(one).zip(text_rank(other)) {
                return Some([T::Utf8, T::Utf8View, T::LargeUtf8][one.max(other)].clone());
            }
            if let Some((one, other)) = binary_rank(one).zip(binary_rank(other)) {
                return Some([T::Binary, T::BinaryView, T::LargeBinary][one.max(other)].clone());
            }
            if let Some((one, other)) = item_of(one).zip(item_of(other)) {
                return join_lists(one, other);
            }
            return join_numbers(one, other);
        }
    })
}

/// The values of an encoded type.
fn encoded(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::Dictionary(_, values) => Some(values),
        DataType::RunEndEncoded(_, values) => Some(values.data_type()),
        _ => None,
    }
}

fn map(key: Field, value: Field, sorted: bool) -> DataType {
    let pair = vec![key.with_nullable(false), value];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair.into()), false)), sorted)
}

/// The fields of both by name, without case, in the order of the first and then of the other.
fn join_fields(fields: &Fields, others: &Fields) -> Option<Fields> {
    let find = |among: &Fields, name: &str| {
        among.iter().find(|field| field.name().to_lowercase() == name.to_lowercase()).cloned()
    };
    let joined = fields.iter().map(|field| match find(others, field.name()) {
        Some(other) => join(field, &other).map(Arc::new),
        None => Some(Arc::clone(field)),
    });
    let new = others.iter().filter(|other| find(fields, other.name()).is_none());
    joined.chain(new.map(|field| Some(Arc::clone(field)))).collect()
}

/// The element of a list, and how long and how wide it is: a fixed length, and whether its offsets are of 64 bits.
fn item_of(data_type: &DataType) -> Option<(&FieldRef, Option<i32>, bool)> {
    match data_type {
        DataType::List(item) | DataType::ListView(item) => Some((item, None, false)),
        DataType::LargeList(item) | DataType::LargeListView(item) => Some((item, None, true)),
        DataType::FixedSizeList(item, length) => Some((item, Some(*length), false)),
        _ => None,
    }
}

fn join_lists(
    (item, length, is_wide): (&FieldRef, Option<i32>, bool),
    (other, other_length, other_wide): (&FieldRef, Option<i32>, bool),
) -> Option<DataType> {
    let item = Arc::new(join(item, other)?);
    Some(match length {
        Some(length) if other_length == Some(length) => DataType::FixedSizeList(item, length),
        _ if is_wide || other_wide => DataType::LargeList(item),
        _ => DataType::List(item),
    })
}

fn text_rank(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Utf8 => Some(0),
        DataType::Utf8View => Some(1),
        DataType::LargeUtf8 => Some(2),
        _ => None,
    }
}

fn binary_rank(data_type: &DataType) -> Option<usize> {
    match data_type {
        DataType::Binary | DataType::FixedSizeBinary(_) => Some(0),
        DataType::BinaryView => Some(1),
        DataType::LargeBinary => Some(2),
        _ => None,
    }
}

fn finer(one: TimeUnit, other: TimeUnit) -> TimeUnit {
    let rank = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 2,
        TimeUnit::Nanosecond => 3,
    };
    if rank(&one) >= rank(&other) { one } else { other }
}

enum Number {
    /// Whether it has a sign, and its bits.
    Integer(bool, u8),
    Float(u8),
    /// Digits before and behind the point, and whether the type is the widest.
    Decimal(i16, i16, bool),
}

fn number(data_type: &DataType) -> Option<Number> {
    use DataType as T;
    Some(match data_type {
        T::Int8 => Number::Integer(true, 8),
        T::Int16 => Number::Integer(true, 16),
        T::Int32 => Number::Integer(true, 32),
        T::Int64 => Number::Integer(true, 64),
        T::UInt8 => Number::Integer(false, 8),
        T::UInt16 => Number::Integer(false, 16),
        T::UInt32 => Number::Integer(false, 32),
        T::UInt64 => Number::Integer(false, 64),
        T::Float16 => Number::Float(16),
        T::Float32 => Number::Float(32),
        T::Float64 => Number::Float(64),
        T::Decimal32(digits, scale)
        | T::Decimal64(digits, scale)
        | T::Decimal128(digits, scale)
        | T::Decimal256(digits, scale) => {
            let (digits, scale) = (i16::from(*digits), i16::from(*scale));
            Number::Decimal(digits - scale, scale.max(0), matches!(data_type, T::Decimal256(..)))
        }
        _ => return None,
    })
}

fn join_numbers(one: &DataType, other: &DataType) -> Option<DataType> {
    use Number as N;
    Some(match (number(one)?, number(other)?) {
        (N::Integer(signed, bits), N::Integer(other_signed, other_bits)) if signed == other_signed => {
            if bits >= other_bits { one.clone() } else { other.clone() }
        }
        (N::Integer(true, signed), N::Integer(false, unsigned))
        | (N::Integer(false, unsigned), N::Integer(true, signed)) => {
            match signed.max(unsigned.saturating_mul(2)) {
                16 => DataType::Int16,
                32 => DataType::Int32,
                64 => DataType::Int64,
                // The 20 digits of the largest unsigned number.
                _ => DataType::Decimal128(20, 0),
            }
        }
        (N::Integer(_, bits), N::Float(width)) | (N::Float(width), N::Integer(_, bits)) => {
            if bits <= 16 && width <= 32 { DataType::Float32 } else { DataType::Float64 }
        }
        (N::Float(width), N::Float(other_width)) => {
            if width >= other_width {
                one.clone()
            } else {
                other.clone()
            }
        }
        (N::Integer(signed, bits), N::Decimal(whole, scale, wide))
        | (N::Decimal(whole, scale, wide), N::Integer(signed, bits)) => {
            let digits = match bits {
                8 => 3,
                16 => 5,
                32 => 10,
                _ => 20 - i16::from(signed),
            };
            return decimal(whole.max(digits), scale, wide);
        }
        (N::Decimal(whole, scale, wide), N::Decimal(other_whole, other_scale, other_wide)) => {
            return decimal(whole.max(other_whole), scale.max(other_scale), wide || other_wide);
        }
        (N::Decimal(_, 0, _), N::Float(_)) | (N::Float(_), N::Decimal(_, 0, _)) => DataType::Float64,
        // No tenth is a binary fraction, so most decimals would become others.
        _ => return None,
    })
}

fn decimal(whole: i16, scale: i16, is_wide: bool) -> Option<DataType> {
    let most = if is_wide { WIDE_DIGITS_MAX } else { DIGITS_MAX };
    let digits = u8::try_from(whole.max(0) + scale).ok().filter(|digits| i16::from(*digits) <= most)?;
    let scale = i8::try_from(scale).ok()?;
    Some(if is_wide {
        DataType::Decimal256(digits.max(1), scale)
    } else {
        DataType::Decimal128(digits.max(1), scale)
    })
}
