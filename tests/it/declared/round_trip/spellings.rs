//! Every type without parts, in every spelling.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

use super::kinds::Type;
use super::ranges::Range;

pub(super) fn plain(text: &str, arrow: DataType, range: Range) -> Type {
    becomes(text, arrow.clone(), arrow, range)
}

fn becomes(text: &str, arrow: DataType, back: DataType, range: Range) -> Type {
    Type::Plain { text: text.into(), arrow, back, extension: None, range }
}

fn int(least: impl Into<i128>, most: impl Into<i128>) -> Range {
    Range::Int { least: least.into(), most: most.into(), times: 1, over: 1 }
}

pub(super) fn times(least: i128, most: i128, times: i128) -> Range {
    Range::Int { least, most, times, over: 1 }
}

pub(super) fn decimal(bits: u16, precision: u8, scale: u8) -> Type {
    let most = 10_i128.pow(u32::from(precision)) - 1;
    let scale = i8::try_from(scale).unwrap();
    let arrow = match bits {
        32 => DataType::Decimal32(precision, scale),
        64 => DataType::Decimal64(precision, scale),
        128 => DataType::Decimal128(precision, scale),
        _ => DataType::Decimal256(precision, scale),
    };
    let text = format!("decimal{bits}({precision}, {scale})");
    becomes(&text, arrow, DataType::Decimal128(precision, scale), int(-most, most))
}

pub(super) fn width(width: i32) -> Type {
    let range = Range::Width(usize::try_from(width).unwrap());
    let arrow = DataType::FixedSizeBinary(width);
    becomes(&format!("fixed_size_binary[{width}]"), arrow, DataType::Binary, range)
}

/// The first and the last point in time of the engine, infinity aside: 290309-12-22 (BC) and 294247-01-10, and of
/// nanoseconds 1677-09-21 and 2262-04-11.
fn points(unit: TimeUnit) -> (i128, i128) {
    let (least, most) = (-9_223_372_022_400_000_000_i128, i128::from(i64::MAX) - 1);
    match unit {
        TimeUnit::Second => (least / 1_000_000, most / 1_000_000),
        TimeUnit::Millisecond => (least / 1_000, most / 1_000),
        TimeUnit::Microsecond => (least, most),
        TimeUnit::Nanosecond => (-most, most),
    }
}

/// Seconds and milliseconds with a zone are kept as microseconds.
pub(super) fn zoned(unit: TimeUnit, zone: &str) -> Type {
    let (least, most) = points(unit);
    let (short, back, factor) = match unit {
        TimeUnit::Second => ("s", TimeUnit::Microsecond, 1_000_000),
        TimeUnit::Millisecond => ("ms", TimeUnit::Microsecond, 1_000),
        TimeUnit::Microsecond => ("us", TimeUnit::Microsecond, 1),
        TimeUnit::Nanosecond => ("ns", TimeUnit::Nanosecond, 1),
    };
    becomes(
        &format!("timestamp[{short}, tz={zone}]"),
        DataType::Timestamp(unit, Some(zone.into())),
        DataType::Timestamp(back, Some("UTC".into())),
        times(least, most, factor),
    )
}

/// Every type without parts, in every spelling.
pub(super) fn scalars() -> Vec<Type> {
    let mut all = Vec::new();
    for (texts, one) in
        [numbers_and_texts(), days_and_times(), intervals(), extensions()].into_iter().flatten()
    {
        for spelling in texts {
            let mut one = one.clone();
            if let Type::Plain { text, .. } = &mut one {
                (*spelling).clone_into(text);
            }
            all.push(one);
        }
    }
    all
}

/// The spellings of a type, and the type with its text left open.
type Spelled = (&'static [&'static str], Type);

fn numbers_and_texts() -> Vec<Spelled> {
    use DataType as D;
    vec![
        (&["bool", "boolean"], plain("", D::Boolean, Range::Bool)),
        (&["int8"], plain("", D::Int8, int(i8::MIN, i8::MAX))),
        (&["int16"], plain("", D::Int16, int(i16::MIN, i16::MAX))),
        (&["int32"], plain("", D::Int32, int(i32::MIN, i32::MAX))),
        (&["int64"], plain("", D::Int64, int(i64::MIN, i64::MAX))),
        (&["uint8"], plain("", D::UInt8, int(0, u8::MAX))),
        (&["uint16"], plain("", D::UInt16, int(0, u16::MAX))),
        (&["uint32"], plain("", D::UInt32, int(0, u32::MAX))),
        (&["uint64"], plain("", D::UInt64, int(0, u64::MAX))),
        (&["halffloat", "float16"], becomes("", D::Float16, D::Float32, Range::Half)),
        (&["float", "float32"], plain("", D::Float32, Range::Single)),
        (&["double", "float64"], plain("", D::Float64, Range::Double)),
        (&["string", "utf8"], plain("", D::Utf8, Range::Text)),
        (&["large_string", "large_utf8"], becomes("", D::LargeUtf8, D::Utf8, Range::Text)),
        (&["string_view", "utf8_view"], becomes("", D::Utf8View, D::Utf8, Range::Text)),
        (&["binary"], plain("", D::Binary, Range::Bytes)),
        (&["large_binary"], becomes("", D::LargeBinary, D::Binary, Range::Bytes)),
        (&["binary_view"], becomes("", D::BinaryView, D::Binary, Range::Bytes)),
    ]
}

/// Days, times of day and points in time without a zone.
fn days_and_times() -> Vec<Spelled> {
    use DataType as D;
    let day = 86_400;
    let micros = D::Time64(TimeUnit::Microsecond);
    // Whole days, as Arrow asks, from 5877642-06-25 (BC) to 5881580-07-10; beyond them lie DuckDB's infinities.
    let days = 86_400_000;
    let date64 =
        Range::Int { least: -2_147_483_646 * days, most: 2_147_483_646 * days, times: 1, over: days };
    let date32 = int(-i32::MAX, i32::MAX);
    let point = |unit: TimeUnit| {
        let (least, most) = points(unit);
        plain("", D::Timestamp(unit, None), int(least, most))
    };
    vec![
        (&["date32[day]", "date32"], plain("", D::Date32, date32)),
        (&["date64[ms]", "date64"], becomes("", D::Date64, D::Date32, date64)),
        (
            &["time32[s]"],
            becomes("", D::Time32(TimeUnit::Second), micros.clone(), times(0, day - 1, 1_000_000)),
        ),
        (
            &["time32[ms]"],
            becomes("", D::Time32(TimeUnit::Millisecond), micros.clone(), times(0, day * 1_000 - 1, 1_000)),
        ),
        (&["time64[us]"], plain("", micros, int(0, day * 1_000_000 - 1))),
        (&["time64[ns]"], plain("", D::Time64(TimeUnit::Nanosecond), int(0, day * 1_000_000_000 - 1))),
        (&["timestamp[s]"], point(TimeUnit::Second)),
        (&["timestamp[ms]"], point(TimeUnit::Millisecond)),
        (&["timestamp[us]"], point(TimeUnit::Microsecond)),
        (&["timestamp[ns]"], point(TimeUnit::Nanosecond)),
    ]
}

fn intervals() -> Vec<Spelled> {
    use DataType as D;
    let interval = D::Interval(IntervalUnit::MonthDayNano);
    let duration = |text: &str, unit: TimeUnit, nanos: i128| {
        becomes(text, D::Duration(unit), interval.clone(), Range::Duration { nanos })
    };
    vec![
        (&["month_day_nano_interval", "interval"], plain("", interval.clone(), Range::MonthsDaysNanos)),
        (
            &["month_interval"],
            becomes("", D::Interval(IntervalUnit::YearMonth), interval.clone(), Range::Months),
        ),
        (
            &["day_time_interval"],
            becomes("", D::Interval(IntervalUnit::DayTime), interval.clone(), Range::DaysMillis),
        ),
        (&["duration[s]"], duration("", TimeUnit::Second, 1_000_000_000)),
        (&["duration[ms]"], duration("", TimeUnit::Millisecond, 1_000_000)),
        (&["duration[us]"], duration("", TimeUnit::Microsecond, 1_000)),
        (&["duration[ns]"], duration("", TimeUnit::Nanosecond, 1)),
    ]
}

fn extensions() -> Vec<Spelled> {
    use DataType as D;
    // Both come back as text.
    let extension = |arrow: DataType, name: &'static str, range: Range| Type::Plain {
        text: String::new(),
        back: D::Utf8,
        arrow,
        extension: Some(name),
        range,
    };
    let opaque = |arrow: DataType, name: &'static str, back: DataType, range: Range| Type::Plain {
        text: String::new(),
        back,
        arrow,
        extension: Some(name),
        range,
    };
    // 0, all bits set, and 24:00 at +15:59:59, as the engine packs it.
    let times_with_zone: Vec<&[u8]> =
        vec![&[0; 8], &[0xfe, 0xc1, 1, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0x60, 0xd7, 0x1d, 0x14]];
    let point_2d: &[u8] = &[1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40];
    vec![
        (&["extension<arrow.uuid>", "uuid"], extension(D::FixedSizeBinary(16), "arrow.uuid", Range::Uuid)),
        (&["extension<arrow.json>", "json"], extension(D::Utf8, "arrow.json", Range::Json)),
        (
            &[
                "extension<arrow.opaque[storage_type=fixed_size_binary[16], type_name=hugeint, vendor_name=DuckDB]>",
                "hugeint",
            ],
            opaque(D::FixedSizeBinary(16), "DuckDB hugeint", D::Decimal128(38, 0), Range::Huge),
        ),
        (
            &[
                "extension<arrow.opaque[storage_type=fixed_size_binary[16], type_name=uhugeint, vendor_name=DuckDB]>",
                "uhugeint",
            ],
            opaque(D::FixedSizeBinary(16), "DuckDB uhugeint", D::FixedSizeBinary(16), Range::Width(16)),
        ),
        (
            &[
                "extension<arrow.opaque[storage_type=fixed_size_binary[8], type_name=time_tz, vendor_name=DuckDB]>",
                "time_tz",
            ],
            opaque(
                D::FixedSizeBinary(8),
                "DuckDB time_tz",
                D::FixedSizeBinary(8),
                Range::Listed(times_with_zone),
            ),
        ),
        (
            &["extension<arrow.opaque[storage_type=binary, type_name=bit, vendor_name=DuckDB]>", "bit"],
            opaque(
                D::Binary,
                "DuckDB bit",
                D::Binary,
                Range::Listed(vec![&[3, 0xf5], &[7, 0xff], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]]),
            ),
        ),
        (
            &["extension<arrow.opaque[storage_type=binary, type_name=bignum, vendor_name=DuckDB]>", "bignum"],
            opaque(
                D::Binary,
                "DuckDB bignum",
                D::Binary,
                Range::Listed(vec![&[0x80, 0, 1, 0], &[0x7f, 0xff, 0xfe, 0xfe], &[0x80, 0, 2, 1, 0]]),
            ),
        ),
        (
            &["extension<geoarrow.wkb>", "geometry"],
            opaque(
                D::Binary,
                "geoarrow.wkb",
                D::Binary,
                Range::Listed(vec![point_2d, &[1, 7, 0, 0, 0, 0, 0, 0, 0]]),
            ),
        ),
    ]
}
