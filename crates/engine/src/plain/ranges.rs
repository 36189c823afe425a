//! Numbers that stand for dates, times and decimals -> the range that DuckDB has for them.
//! Runs on: the task that decodes a stream; one pass over the values of such columns. Pure.
//! Never: looks at a value below a NULL, which may be anything.
//!
//! The engine's importer takes over these numbers as they are. Outside of the range they fail in some later
//! statement: sorting, casting or a checkpoint of the table.

use std::ops::RangeInclusive;

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationNanosecondType, IntervalMonthDayNanoType, IntervalUnit, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

/// Microseconds of a day; DuckDB knows 24:00:00.
const DAY_MICROS: i64 = 86_400_000_000;
/// Milliseconds of a day.
const DAY_MILLIS: i64 = 86_400_000;

/// 5877642-06-25 (BC) to 5881580-07-10, in days; beyond them lie the infinities, at ±`i32::MAX`.
const DATES: RangeInclusive<i64> = -2_147_483_646..=2_147_483_646;
/// 290309-12-22 (BC) to 294247-01-10 04:00:54.775806, in microseconds.
const MICROS: RangeInclusive<i64> = -9_223_372_022_400_000_000..=i64::MAX - 1;
/// The same in milliseconds and seconds.
const MILLIS: RangeInclusive<i64> = -9_223_372_022_400_000..=9_223_372_036_854_775;
const SECONDS: RangeInclusive<i64> = -9_223_372_022_400..=9_223_372_036_854;
/// 1677-09-21 00:12:43.145224194 to 2262-04-11 23:47:16.854775806, in nanoseconds.
const NANOS: RangeInclusive<i64> = -i64::MAX + 1..=i64::MAX - 1;

/// What DuckDB calls infinity, in the unit of a type.
const INFINITIES: [i64; 2] = [i64::MAX, -i64::MAX];

/// The first live value out of its range: index, and what is wrong with it.
pub(super) type Found = Option<(usize, String)>;

/// Whether values of the type can lie outside of a range.
pub(super) fn has_range(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Date64 | DataType::Time32(_) | DataType::Time64(_) => true,
        DataType::Timestamp(..) => true,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => true,
        DataType::Duration(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        DataType::Interval(IntervalUnit::MonthDayNano) => true,
        _ => false,
    }
}

/// Looks for a value of `array` that is out of range, among those that are live.
pub(super) fn out_of_range(array: &dyn Array, live: Option<&NullBuffer>) -> Found {
    let one = |range: &RangeInclusive<i64>, infinite: bool| Range { range: range.clone(), infinite };
    let data_type = array.data_type();
    match data_type {
        DataType::Date32 => {
            let range = Range { range: -i64::from(i32::MAX)..=i64::from(i32::MAX), infinite: false };
            first::<Date32Type>(array, live, &range, |value| date_text(value.into()))
        }
        DataType::Date64 => first_by::<Date64Type>(array, live, |value| {
            let fits = value % DAY_MILLIS == 0 && DATES.contains(&(value / DAY_MILLIS));
            (!fits).then(|| format!("{value} ms, which is not a whole day within DuckDB's range"))
        }),
        DataType::Time32(TimeUnit::Second) => {
            first::<Time32SecondType>(array, live, &one(&(0..=DAY_MICROS / 1_000_000), false), |value| {
                time(value.into(), DAY_MICROS / 1_000_000, "s")
            })
        }
        DataType::Time32(_) => {
            first::<Time32MillisecondType>(array, live, &one(&(0..=DAY_MILLIS), false), |value| {
                time(value.into(), DAY_MILLIS, "ms")
            })
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            first::<Time64MicrosecondType>(array, live, &one(&(0..=DAY_MICROS), false), |value| {
                time(value, DAY_MICROS, "us")
            })
        }
        DataType::Time64(_) => {
            first::<Time64NanosecondType>(array, live, &one(&(0..=DAY_MICROS * 1000), false), |value| {
                time(value, DAY_MICROS * 1000, "ns")
            })
        }
        // A time with a zone becomes microseconds, in which there is no infinity of another unit.
        DataType::Timestamp(TimeUnit::Second, zone) => {
            first::<TimestampSecondType>(array, live, &one(&SECONDS, zone.is_none()), |value| {
                timestamp(value, &SECONDS, "s")
            })
        }
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            first::<TimestampMillisecondType>(array, live, &one(&MILLIS, zone.is_none()), |value| {
                timestamp(value, &MILLIS, "ms")
            })
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            first::<TimestampMicrosecondType>(array, live, &one(&MICROS, true), |value| {
                timestamp(value, &MICROS, "us")
            })
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            first::<TimestampNanosecondType>(array, live, &one(&NANOS, true), |value| {
                timestamp(value, &NANOS, "ns")
            })
        }
        // Seconds and milliseconds that do not fit have been brought to the ends (`encoding::duration`).
        DataType::Duration(TimeUnit::Microsecond) => first::<DurationMicrosecondType>(
            array,
            live,
            &one(&(i64::MIN + 1..=i64::MAX - 1), false),
            |value| format!("a duration at or beyond {value} us, where DuckDB's INTERVAL ends"),
        ),
        DataType::Duration(_) => first_by::<DurationNanosecondType>(array, live, cut),
        DataType::Interval(_) => {
            first_by::<IntervalMonthDayNanoType>(array, live, |value| cut(value.nanoseconds))
        }
        DataType::Decimal32(precision, _) => {
            let limit = 10_i32.pow(u32::from(*precision).min(9));
            first::<Decimal32Type>(array, live, &digits(limit.into()), |value| too_many(value, *precision))
        }
        DataType::Decimal64(precision, _) => {
            let limit = 10_i64.pow(u32::from(*precision).min(18));
            first::<Decimal64Type>(array, live, &digits(limit), |value| too_many(value, *precision))
        }
        DataType::Decimal128(precision, _) => decimal(array, live, *precision),
        _ => None,
    }
}

/// INTERVAL counts microseconds.
fn cut(nanos: i64) -> Option<String> {
    (nanos % 1000 != 0).then(|| format!("{nanos} ns, which DuckDB would cut to microseconds"))
}

struct Range {
    range: RangeInclusive<i64>,
    infinite: bool,
}

/// One pass over the buffer finds out whether there is anything to look at.
fn first<T>(
    array: &dyn Array,
    live: Option<&NullBuffer>,
    range: &Range,
    wrong: impl Fn(T::Native) -> String,
) -> Found
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    let (low, high) = (*range.range.start(), *range.range.end());
    let values = array.as_primitive::<T>().values();
    let strays = values.iter().fold(false, |strays, value| {
        let value: i64 = (*value).into();
        strays | (value < low) | (value > high)
    });
    if !strays {
        return None;
    }
    first_by::<T>(array, live, |value| {
        let number: i64 = value.into();
        let fits = (low..=high).contains(&number) || (range.infinite && INFINITIES.contains(&number));
        (!fits).then(|| wrong(value))
    })
}

fn first_by<T: ArrowPrimitiveType>(
    array: &dyn Array,
    live: Option<&NullBuffer>,
    wrong: impl Fn(T::Native) -> Option<String>,
) -> Found {
    let array = array.as_primitive::<T>();
    let nulls = NullBuffer::union(array.nulls(), live);
    let is_live = |index: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(index));
    let mut values = array.values().iter().enumerate();
    values.find_map(|(index, value)| wrong(*value).filter(|_| is_live(index)).map(|wrong| (index, wrong)))
}

fn decimal(array: &dyn Array, live: Option<&NullBuffer>, precision: u8) -> Found {
    let limit = 10_i128.pow(u32::from(precision.min(38)));
    let strays = match i64::try_from(limit) {
        // Two halves of a word each: the upper one repeats the sign of the lower one.
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
        Ok(limit) => array.as_primitive::<Decimal128Type>().values().iter().fold(false, |strays, value| {
            let (low, high) = (*value as i64, (*value >> 64) as i64);
            strays | (high != low >> 63) | (low >= limit) | (low <= -limit)
        }),
        Err(_) => {
            let values = array.as_primitive::<Decimal128Type>().values();
            values.iter().fold(false, |strays, value| strays | (*value >= limit) | (*value <= -limit))
        }
    };
    if !strays {
        return None;
    }
    first_by::<Decimal128Type>(array, live, |value| {
        (value <= -limit || value >= limit).then(|| too_many(value, precision))
    })
}

/// The numbers below `limit`, a power of ten.
fn digits(limit: i64) -> Range {
    Range { range: 1 - limit..=limit - 1, infinite: false }
}

fn too_many(value: impl std::fmt::Display, precision: u8) -> String {
    format!("the digits {value}, more than the {precision} of its precision")
}

fn time(value: i64, day: i64, unit: &str) -> String {
    format!("{value} {unit}, which is no time of day: DuckDB's go from 0 to {day} {unit}")
}

fn timestamp(value: i64, range: &RangeInclusive<i64>, unit: &str) -> String {
    format!(
        "{value} {unit}, which is no time that DuckDB has: they go from {} to {} {unit}",
        range.start(),
        range.end()
    )
}

/// What is wrong with a day, counted from 1970.
pub(super) fn date(days: i128) -> Option<String> {
    let fits = i64::try_from(days)
        .is_ok_and(|days| DATES.contains(&days) || days.unsigned_abs() == u64::from(i32::MAX.unsigned_abs()));
    (!fits).then(|| date_text(days))
}

fn date_text(days: i128) -> String {
    format!(
        "{days} days, which is no date that DuckDB has: they go from {} to {} days",
        DATES.start(),
        DATES.end()
    )
}

fn outside(value: i128, range: &RangeInclusive<i64>, infinite: bool) -> Option<String> {
    let fits = i64::try_from(value)
        .is_ok_and(|value| range.contains(&value) || (infinite && INFINITIES.contains(&value)));
    (!fits).then(|| format!("which lies outside of {} to {}", range.start(), range.end()))
}

/// What is wrong with a point in time, in microseconds from 1970.
pub(super) fn micros(value: i128) -> Option<String> {
    outside(value, &MICROS, true)
}

/// The same in nanoseconds.
pub(super) fn nanos(value: i128) -> Option<String> {
    outside(value, &NANOS, true)
}

/// What is wrong with a time of day in microseconds.
pub(super) fn time_micros(value: i128) -> Option<String> {
    outside(value, &(0..=DAY_MICROS), false).map(|rule| format!("a time of day {rule}"))
}

/// What is wrong with a time of day and its offset, as DuckDB packs them: the time in 40 bits, then the offset.
///
/// Source: DuckDB's `dtime_tz_t`; the offset is counted down from 15:59:59.
pub(super) fn time_with_zone(bytes: &[u8]) -> Option<String> {
    const OFFSET_MAX: u64 = 16 * 60 * 60 - 1;
    let packed = u64::from_le_bytes(bytes.try_into().ok()?);
    let (micros, offset) = (packed >> 24, packed & 0xff_ffff);
    let fits = micros <= DAY_MICROS.unsigned_abs() && offset <= 2 * OFFSET_MAX;
    (!fits).then(|| {
        format!("a time of {micros} us with an offset of {offset}, where DuckDB's TIME WITH TIME ZONE ends at 24:00")
    })
}
