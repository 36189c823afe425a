//! Every type that a declaration can name: declared from its text, put, and read back as the same values.
//! One server takes all cases; a case is a table of its own, so a failing one shrinks to the least that fails.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray,
    GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StringArray, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, Schema, TimeUnit, i256};
use common::{TestServer, rows, table};
use futures::stream;
use half::f16;
use pintail::catalog::{parse_type, quote_name, spellings};
use pintail::client::Client;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use serde_json::json;

/// A value apart from how an array holds it. Numbers, decimals, dates and times are what their bits count.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// Bits of the double, one NaN for all of them.
    Float(u64),
    Text(String),
    Bytes(Vec<u8>),
    /// Months, days, nanoseconds.
    Interval(i32, i32, i64),
    /// Of a list or a struct.
    Items(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

fn float(value: f64) -> Value {
    Value::Float(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() })
}

/// The values of a type without parts, and what they become in the engine.
#[derive(Debug, Clone)]
enum Range {
    Bool,
    /// Comes back `times / over` of what it was.
    Int {
        least: i128,
        most: i128,
        times: i128,
        over: i128,
    },
    Half,
    Single,
    Double,
    Text,
    Json,
    Bytes,
    Width(usize),
    /// Comes back as text: the engine shows its UUIDs so.
    Uuid,
    /// 16 bytes, the lowest first, that come back as a decimal.
    Huge,
    /// The values that are listed, and no others: not all bytes are one of the type.
    Listed(Vec<&'static [u8]>),
    Months,
    DaysMillis,
    MonthsDaysNanos,
    /// Comes back as an interval.
    Duration {
        nanos: i128,
    },
}

#[derive(Debug, Clone)]
enum Type {
    Plain { text: String, arrow: DataType, back: DataType, extension: Option<&'static str>, range: Range },
    Dictionary { index: (&'static str, DataType), values: Box<Type> },
    Runs { ends: (&'static str, DataType), values: Box<Type> },
    List { kind: &'static str, item: Box<Child> },
    Fixed { item: Box<Child>, length: usize },
    Struct { children: Vec<Child> },
    Map { key: Box<Type>, value: Box<Child>, is_sorted: bool },
}

#[derive(Debug, Clone)]
struct Child {
    name: String,
    what: Type,
    nullable: bool,
}

impl Child {
    fn text(&self) -> String {
        format!("{}: {}{}", self.name, self.what.text(), if self.nullable { "" } else { " not null" })
    }

    fn field(&self) -> FieldRef {
        Arc::new(self.what.field(&self.name, self.nullable))
    }
}

impl Type {
    /// As a declaration spells it.
    fn text(&self) -> String {
        match self {
            Type::Plain { text, .. } => text.clone(),
            Type::Dictionary { index, values } => {
                format!("dictionary<values={}, indices={}, ordered=0>", values.text(), index.0)
            }
            Type::Runs { ends, values } => {
                format!("run_end_encoded<run_ends: {}, values: {}>", ends.0, values.text())
            }
            Type::List { kind, item } => format!("{kind}<{}>", item.text()),
            Type::Fixed { item, length } => format!("fixed_size_list<{}>[{length}]", item.text()),
            Type::Struct { children } => {
                let children: Vec<String> = children.iter().map(Child::text).collect();
                format!("struct<{}>", children.join(", "))
            }
            Type::Map { key, value, is_sorted } => {
                let rule = if value.nullable { "" } else { " not null" };
                let mark = if *is_sorted { ", keys_sorted" } else { "" };
                format!("map<{}, {}{rule}{mark}>", key.text(), value.what.text())
            }
        }
    }

    /// As it is sent.
    fn arrow(&self) -> DataType {
        match self {
            Type::Plain { arrow, .. } => arrow.clone(),
            Type::Dictionary { index, values } => {
                DataType::Dictionary(Box::new(index.1.clone()), Box::new(values.arrow()))
            }
            Type::Runs { ends, values } => DataType::RunEndEncoded(
                Arc::new(Field::new("run_ends", ends.1.clone(), false)),
                Arc::new(Field::new("values", values.arrow(), true)),
            ),
            Type::List { kind, item } => match *kind {
                "list" => DataType::List(item.field()),
                "large_list" => DataType::LargeList(item.field()),
                "list_view" => DataType::ListView(item.field()),
                _ => DataType::LargeListView(item.field()),
            },
            Type::Fixed { item, length } => {
                DataType::FixedSizeList(item.field(), i32::try_from(*length).unwrap())
            }
            Type::Struct { children } => DataType::Struct(children.iter().map(Child::field).collect()),
            Type::Map { key, value, is_sorted } => {
                let entries = Fields::from(vec![Arc::new(key.field("key", false)), value.field()]);
                DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), *is_sorted)
            }
        }
    }

    fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow(), nullable);
        let Type::Plain { extension: Some(extension), .. } = self else { return field };
        let (name, metadata) = match extension.strip_prefix("DuckDB ") {
            Some(name) => {
                ("arrow.opaque", format!("{{\"type_name\":\"{name}\",\"vendor_name\":\"DuckDB\"}}"))
            }
            None if *extension == "geoarrow.wkb" => (*extension, "{}".to_owned()),
            None => (*extension, String::new()),
        };
        field.with_metadata(HashMap::from([
            ("ARROW:extension:name".to_owned(), name.to_owned()),
            ("ARROW:extension:metadata".to_owned(), metadata),
        ]))
    }

    /// As it comes back, names and rules of children aside.
    fn back(&self) -> String {
        match self {
            Type::Plain { back, .. } => shape(back),
            Type::Dictionary { values, .. } | Type::Runs { values, .. } => values.back(),
            Type::List { item, .. } => format!("list<{}>", item.what.back()),
            Type::Fixed { item, length } => format!("list<{}>[{length}]", item.what.back()),
            Type::Struct { children } => {
                let one = |child: &Child| format!("{}: {}", child.name, child.what.back());
                format!("struct<{}>", children.iter().map(one).collect::<Vec<_>>().join(", "))
            }
            Type::Map { key, value, .. } => format!("map<{}, {}>", key.back(), value.what.back()),
        }
    }

    /// What the engine is to make of a value, by README's rules.
    fn expected(&self, value: &Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Type::Plain { range: Range::Int { times, over, .. }, .. }, Value::Int(value)) => {
                Value::Int(value * times / over)
            }
            (Type::Plain { range: Range::Duration { nanos }, .. }, Value::Int(value)) => {
                Value::Interval(0, 0, i64::try_from(value * nanos).unwrap())
            }
            (Type::Plain { range: Range::Uuid, .. }, Value::Bytes(bytes)) => {
                let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                for place in [20, 16, 12, 8] {
                    text.insert(place, '-');
                }
                Value::Text(text)
            }
            (Type::Plain { range: Range::Huge, .. }, Value::Bytes(bytes)) => {
                Value::Int(i128::from_le_bytes(bytes.as_slice().try_into().unwrap()))
            }
            (Type::Dictionary { values, .. } | Type::Runs { values, .. }, value) => values.expected(value),
            (Type::List { item, .. } | Type::Fixed { item, .. }, Value::Items(items)) => {
                Value::Items(items.iter().map(|one| item.what.expected(one)).collect())
            }
            (Type::Struct { children }, Value::Items(items)) => Value::Items(
                children.iter().zip(items).map(|(child, one)| child.what.expected(one)).collect(),
            ),
            (Type::Map { key, value: child, .. }, Value::Map(entries)) => Value::Map(
                entries
                    .iter()
                    .map(|(name, value)| (key.expected(name), child.what.expected(value)))
                    .collect(),
            ),
            (_, value) => value.clone(),
        }
    }

    /// Any value of the type that is not NULL; what stands under a NULL in a fixed-size parent.
    fn filler(&self) -> Value {
        match self {
            Type::Plain { range, .. } => range.extremes().remove(0),
            Type::Dictionary { values, .. } | Type::Runs { values, .. } => values.filler(),
            Type::List { .. } => Value::Items(Vec::new()),
            Type::Fixed { item, length } => Value::Items(vec![item.what.filler(); *length]),
            Type::Struct { children } => {
                Value::Items(children.iter().map(|child| child.what.filler()).collect())
            }
            Type::Map { .. } => Value::Map(Vec::new()),
        }
    }
}

fn shape(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) => format!("list<{}>", shape(item.data_type())),
        DataType::FixedSizeList(item, length) => format!("list<{}>[{length}]", shape(item.data_type())),
        DataType::Struct(fields) => {
            let one = |field: &FieldRef| format!("{}: {}", field.name(), shape(field.data_type()));
            format!("struct<{}>", fields.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(two) => {
                format!("map<{}, {}>", shape(two[0].data_type()), shape(two[1].data_type()))
            }
            other => format!("map of {other}"),
        },
        other => other.to_string(),
    }
}

impl Range {
    /// The values at the edges, an ordinary one first.
    fn extremes(&self) -> Vec<Value> {
        match self {
            Range::Bool => vec![Value::Bool(false), Value::Bool(true)],
            Range::Int { least, most, over, .. } => {
                [0_i128.clamp(*least, *most), *least, *most, over.min(most).to_owned(), *least.max(&-over)]
                    .map(Value::Int)
                    .into()
            }
            Range::Half => {
                [0.0, f64::from(f16::MIN), f64::from(f16::MAX), f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
                    .map(float)
                    .into()
            }
            Range::Single => {
                let edges = [0.0, -0.0, f32::MIN, f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)];
                let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                edges.into_iter().chain(odd).map(|value| float(f64::from(value))).collect()
            }
            Range::Double => {
                let edges = [0.0, -0.0, f64::MIN, f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1)];
                let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
                edges.into_iter().chain(odd).map(float).collect()
            }
            Range::Text => ["", "x", "exactly12byt", "thirteen byte", "ü 世界 🚀", "a\0b", "'\"\\\n"]
                .map(|text| Value::Text(text.into()))
                .into(),
            Range::Json => ["null", "{}", "[1,2.5,\"ü\"]", "{\"a\": {\"b\": [null]}}"]
                .map(|text| Value::Text(text.into()))
                .into(),
            Range::Bytes => [&b""[..], b"\0", b"\xff\xfe", b"longer than twelve bytes"]
                .map(|bytes| Value::Bytes(bytes.into()))
                .into(),
            Range::Width(width) => [0, 0xff, 0x80, b'a'].map(|byte| Value::Bytes(vec![byte; *width])).into(),
            Range::Uuid => Range::Width(16).extremes(),
            Range::Huge => {
                // As many digits as leave as a decimal.
                let most = 10_i128.pow(38) - 1;
                [0, -most, most, -1].map(|value: i128| Value::Bytes(value.to_le_bytes().into())).into()
            }
            Range::Listed(values) => values.iter().map(|value| Value::Bytes((*value).into())).collect(),
            Range::Months => [0, i32::MIN, i32::MAX, -1].map(|n| Value::Interval(n, 0, 0)).into(),
            Range::DaysMillis => [(0, 0), (i32::MIN, i32::MAX), (i32::MAX, i32::MIN), (1, -1)]
                .map(|(days, millis)| Value::Interval(0, days, i64::from(millis) * 1_000_000))
                .into(),
            Range::MonthsDaysNanos => {
                let most = i64::MAX / 1_000 * 1_000;
                [(0, 0, 0), (i32::MIN, i32::MAX, -most), (i32::MAX, i32::MIN, most), (14, -3, 1_000)]
                    .map(|(months, days, nanos)| Value::Interval(months, days, nanos))
                    .into()
            }
            Range::Duration { nanos } => {
                let (least, most) = duration_range(*nanos);
                [0, least, most, least.signum() * 1_000, 1_000].map(Value::Int).into()
            }
        }
    }

    fn strategy(&self) -> BoxedStrategy<Value> {
        let any = match self {
            Range::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
            Range::Int { least, most, times, over } => {
                let (least, most, over) = (least / over, most / over, *over);
                let _ = times;
                (least..=most).prop_map(move |value| Value::Int(value * over)).boxed()
            }
            Range::Half => any::<u16>().prop_map(|bits| float(f64::from(f16::from_bits(bits)))).boxed(),
            Range::Single => any::<f32>().prop_map(|value| float(f64::from(value))).boxed(),
            Range::Double => any::<f64>().prop_map(float).boxed(),
            Range::Text => any::<String>().prop_map(Value::Text).boxed(),
            Range::Json => any::<(String, i64)>()
                .prop_map(|(text, number)| Value::Text(json!({ "k": [text, number] }).to_string()))
                .boxed(),
            Range::Bytes => prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bytes).boxed(),
            Range::Width(width) => prop::collection::vec(any::<u8>(), *width).prop_map(Value::Bytes).boxed(),
            Range::Uuid => prop::collection::vec(any::<u8>(), 16).prop_map(Value::Bytes).boxed(),
            Range::Huge => any::<i64>()
                .prop_map(|value| Value::Bytes((i128::from(value) * 1_000).to_le_bytes().into()))
                .boxed(),
            Range::Listed(_) => select(self.extremes()).boxed(),
            Range::Months => any::<i32>().prop_map(|n| Value::Interval(n, 0, 0)).boxed(),
            Range::DaysMillis => any::<(i32, i32)>()
                .prop_map(|(days, millis)| Value::Interval(0, days, i64::from(millis) * 1_000_000))
                .boxed(),
            Range::MonthsDaysNanos => any::<(i32, i32, i64)>()
                .prop_map(|(months, days, nanos)| Value::Interval(months, days, nanos / 1_000 * 1_000))
                .boxed(),
            Range::Duration { nanos } => {
                let (least, most) = duration_range(*nanos);
                let step = if *nanos == 1 { 1_000 } else { 1 };
                (least / step..=most / step).prop_map(move |value| Value::Int(value * step)).boxed()
            }
        };
        prop_oneof![2 => any, 1 => select(self.extremes())].boxed()
    }
}

/// The engine's INTERVAL counts microseconds, so single nanoseconds have no form in it; and its exporter counts
/// nanoseconds in 64 bits, so 292 years either way are the most.
fn duration_range(nanos: i128) -> (i128, i128) {
    let most = i128::from(i64::MAX) / nanos;
    let most = if nanos == 1 { most / 1_000 * 1_000 } else { most };
    (-most, most)
}

fn plain(text: &str, arrow: DataType, range: Range) -> Type {
    becomes(text, arrow.clone(), arrow, range)
}

fn becomes(text: &str, arrow: DataType, back: DataType, range: Range) -> Type {
    Type::Plain { text: text.into(), arrow, back, extension: None, range }
}

fn int(least: impl Into<i128>, most: impl Into<i128>) -> Range {
    Range::Int { least: least.into(), most: most.into(), times: 1, over: 1 }
}

fn times(least: i128, most: i128, times: i128) -> Range {
    Range::Int { least, most, times, over: 1 }
}

fn decimal(bits: u16, precision: u8, scale: u8) -> Type {
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

fn width(width: i32) -> Type {
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
fn zoned(unit: TimeUnit, zone: &str) -> Type {
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
fn scalars() -> Vec<Type> {
    use DataType as D;
    let day = 86_400;
    let micros = D::Time64(TimeUnit::Microsecond);
    let interval = D::Interval(IntervalUnit::MonthDayNano);
    let duration = |text: &str, unit: TimeUnit, nanos: i128| {
        becomes(text, D::Duration(unit), interval.clone(), Range::Duration { nanos })
    };
    // Both come back as text.
    let extension = |arrow: DataType, name: &'static str, range: Range| Type::Plain {
        text: String::new(),
        back: D::Utf8,
        arrow,
        extension: Some(name),
        range,
    };
    // Whole days, as Arrow asks, from 5877642-06-25 (BC) to 5881580-07-10; beyond them lie DuckDB's infinities.
    let days = 86_400_000;
    let date64 =
        Range::Int { least: -2_147_483_646 * days, most: 2_147_483_646 * days, times: 1, over: days };
    let date32 = int(-i32::MAX, i32::MAX);
    let point = |unit: TimeUnit| {
        let (least, most) = points(unit);
        plain("", D::Timestamp(unit, None), int(least, most))
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
    let mut all = Vec::new();
    for (texts, one) in [
        (&["bool", "boolean"][..], plain("", D::Boolean, Range::Bool)),
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
    ] {
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

/// Types with parameters, and encodings of plain ones.
fn with_parameters() -> impl Strategy<Value = Type> {
    let bits = select(vec![(32_u16, 9_u8), (64, 18), (128, 38), (256, 38)]);
    let zone = select(vec!["UTC", "Europe/Berlin", "+02:00", "America/St_Johns"]);
    let unit =
        select(vec![TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]);
    let index = select(vec![
        ("int8", DataType::Int8),
        ("int32", DataType::Int32),
        ("uint16", DataType::UInt16),
        ("int64", DataType::Int64),
    ]);
    let ends =
        select(vec![("int16", DataType::Int16), ("int32", DataType::Int32), ("int64", DataType::Int64)]);
    prop_oneof![
        (bits, any::<(Index, Index)>()).prop_map(|((bits, most), (precision, scale))| {
            let precision = 1 + precision.index(usize::from(most));
            let scale = scale.index(precision + 1);
            decimal(bits, u8::try_from(precision).unwrap(), u8::try_from(scale).unwrap())
        }),
        (unit, zone).prop_map(|(unit, zone)| zoned(unit, zone)),
        (1_i32..20).prop_map(width),
        (index, select(encodable()))
            .prop_map(|(index, values)| Type::Dictionary { index, values: Box::new(values) }),
        (ends, select(encodable())).prop_map(|(ends, values)| Type::Runs { ends, values: Box::new(values) }),
    ]
}

/// What dictionaries and runs may hold.
fn encodable() -> Vec<Type> {
    let mut all: Vec<Type> = scalars();
    all.retain(|one| matches!(one, Type::Plain { extension: None, .. }));
    all.extend([decimal(128, 20, 3), width(5), zoned(TimeUnit::Millisecond, "Europe/Berlin")]);
    all
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,5}",
        1 => select(vec!["select", "a b", "ü", "at", "1x"]).prop_map(str::to_owned)
    ]
}

/// Any type, lists in structs in maps down to three levels below the column.
fn types() -> impl Strategy<Value = Type> {
    let leaves = prop_oneof![3 => select(scalars()), 2 => with_parameters()];
    leaves.prop_recursive(3, 12, 3, |inner| {
        let child = (names(), inner.clone(), any::<bool>())
            .prop_map(|(name, what, nullable)| Child { name, what, nullable })
            .boxed();
        let item = child.clone().prop_map(|child| Box::new(Child { name: "item".into(), ..child }));
        let value = child.clone().prop_map(|child| Box::new(Child { name: "value".into(), ..child }));
        prop_oneof![
            (select(vec!["list", "large_list", "list_view", "large_list_view"]), item.clone())
                .prop_map(|(kind, item)| Type::List { kind, item }),
            (item, 1_usize..4).prop_map(|(item, length)| Type::Fixed { item, length }),
            prop::collection::vec(child, 1..4).prop_map(|mut children| {
                for (number, child) in children.iter_mut().enumerate() {
                    // SQL compares names without case.
                    write!(child.name, "{number}").unwrap();
                }
                Type::Struct { children }
            }),
            (inner, value.clone()).prop_map(|(key, value)| Type::Map {
                key: Box::new(key),
                value,
                is_sorted: false
            }),
            value.prop_map(|value| Type::Map {
                key: Box::new(plain("string", DataType::Utf8, Range::Text)),
                value,
                is_sorted: true
            }),
        ]
    })
}

fn values(what: &Type, nullable: bool) -> BoxedStrategy<Value> {
    let some = match what {
        Type::Plain { range, .. } => range.strategy(),
        Type::Dictionary { values: inner, .. } | Type::Runs { values: inner, .. } => values(inner, false),
        Type::List { item, .. } => {
            prop::collection::vec(values(&item.what, item.nullable), 0..4).prop_map(Value::Items).boxed()
        }
        Type::Fixed { item, length } => {
            prop::collection::vec(values(&item.what, item.nullable), *length).prop_map(Value::Items).boxed()
        }
        Type::Struct { children } => {
            let children: Vec<_> = children.iter().map(|child| values(&child.what, child.nullable)).collect();
            children.prop_map(Value::Items).boxed()
        }
        Type::Map { key, value, is_sorted } => {
            let entry = (values(key, false), values(&value.what, value.nullable));
            let (key, is_sorted) = (key.clone(), *is_sorted);
            prop::collection::vec(entry, 0..4)
                .prop_map(move |entries| Value::Map(distinct(&key, entries, is_sorted)))
                .boxed()
        }
    };
    if nullable { prop_oneof![4 => some, 1 => Just(Value::Null)].boxed() } else { some }
}

/// A map of the engine has each key once, and it takes -0.0 for 0.0 and a month for 30 days there.
fn distinct(key: &Type, entries: Vec<(Value, Value)>, is_sorted: bool) -> Vec<(Value, Value)> {
    fn known(value: &Value) -> String {
        match value {
            Value::Float(bits) => format!("{:?}", f64::from_bits(*bits) + 0.0),
            Value::Interval(months, days, nanos) => {
                let days = i128::from(*months) * 30 + i128::from(*days);
                format!("{}", days * 86_400_000_000_000 + i128::from(*nanos))
            }
            Value::Items(items) => items.iter().map(known).collect::<Vec<_>>().join(","),
            Value::Map(entries) => {
                let each = entries.iter().map(|(key, value)| format!("{}={}", known(key), known(value)));
                each.collect::<Vec<_>>().join(",")
            }
            other => format!("{other:?}"),
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<(Value, Value)> =
        entries.into_iter().filter(|(name, _)| seen.insert(known(&key.expected(name)))).collect();
    if is_sorted {
        kept.sort_by_key(|(name, _)| format!("{name:?}"));
    }
    kept
}

// Values -> arrays.

fn nulls(values: &[Value]) -> Option<NullBuffer> {
    let valid: Vec<bool> = values.iter().map(|value| *value != Value::Null).collect();
    Some(NullBuffer::from(valid))
}

fn array(what: &Type, values: &[Value]) -> ArrayRef {
    match what {
        Type::Plain { arrow, .. } => plain_array(arrow, values),
        Type::Dictionary { index, values: inner } => {
            // NULL is an index that is NULL or one of a NULL among the values, in turns.
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
            let data = plain_array(&index.1, &indices).to_data().into_builder();
            let child = array(inner, &distinct).to_data();
            make_array(data.data_type(what.arrow()).add_child_data(child).build().unwrap())
        }
        Type::Runs { ends, values: inner } => {
            let mut runs: Vec<(usize, Value)> = Vec::new();
            for (row, value) in values.iter().enumerate() {
                match runs.last_mut() {
                    Some((end, last)) if last == value => *end = row + 1,
                    _ => runs.push((row + 1, value.clone())),
                }
            }
            let (last, values): (Vec<Value>, Vec<Value>) = runs
                .into_iter()
                .map(|(end, value)| (Value::Int(i128::try_from(end).unwrap()), value))
                .unzip();
            let length = last.last().map_or(0, |end| match end {
                Value::Int(end) => usize::try_from(*end).unwrap(),
                _ => 0,
            });
            let ends =
                make_array(plain_array(&ends.1, &last).to_data().into_builder().nulls(None).build().unwrap());
            let data = ArrayData::builder(what.arrow()).len(length);
            let data = data.add_child_data(ends.to_data()).add_child_data(array(inner, &values).to_data());
            make_array(data.build().unwrap())
        }
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

fn lists<O: OffsetSizeTrait>(item: &Child, values: &[Value]) -> ArrayRef {
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
fn bits(data_type: &DataType, value: &Value, width: usize) -> Vec<u8> {
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

// Arrays -> values.

fn read(array: &dyn Array) -> Vec<Value> {
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

// The property.

/// A table, its rows, and how they are cut into batches: first row and length of each, modulo what there is.
#[derive(Debug, Clone)]
struct Case {
    columns: Vec<Child>,
    rows: Vec<Vec<Value>>,
    cuts: Vec<(usize, usize)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let column = (types(), any::<bool>());
    prop::collection::vec(column, 1..4).prop_flat_map(|columns| {
        let columns: Vec<Child> = columns
            .into_iter()
            .enumerate()
            .map(|(place, (what, nullable))| Child { name: format!("c{place}"), what, nullable })
            .collect();
        let row: Vec<_> = columns.iter().map(|column| values(&column.what, column.nullable)).collect();
        let rows = prop::collection::vec(row, 0..12);
        let cuts = prop::collection::vec((0_usize..16, 0_usize..16), 1..4);
        (rows, cuts).prop_map(move |(rows, cuts)| Case { columns: columns.clone(), rows, cuts })
    })
}

fn declaration(columns: &[Child]) -> String {
    let mut text = "mode = \"strict\"\n".to_owned();
    for column in columns {
        let (name, what) = (json!(column.name), json!(column.what.text()));
        writeln!(text, "[[field]]\nname = {name}\ntype = {what}\nnullable = {}", column.nullable).unwrap();
    }
    text
}

/// Declares, puts, reads and compares; says what differs.
async fn round_trip(client: &mut Client, name: &str, case: &Case) -> Result<(), String> {
    for column in &case.columns {
        let text = column.what.text();
        let parsed = parse_type(&text).map_err(|wrong| format!("{text} is not read: {wrong}"))?;
        if parsed.arrow != column.what.arrow() {
            return Err(format!("{text} is read as {}, not {}", parsed.arrow, column.what.arrow()));
        }
    }
    let file = json!({ "name": format!("{name}.toml"), "text": declaration(&case.columns) });
    let body = json!({ "files": [file] }).to_string();
    client.action_with("pintail.schema_apply", body).await.map_err(|error| format!("apply: {error}"))?;
    let column = |place: usize| -> Vec<Value> { case.rows.iter().map(|row| row[place].clone()).collect() };
    let arrays: Vec<ArrayRef> =
        case.columns.iter().enumerate().map(|(place, one)| array(&one.what, &column(place))).collect();
    let schema = Arc::new(Schema::new(case.columns.iter().map(Child::field).collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(case.rows.len()));
    let whole = RecordBatch::try_new_with_options(Arc::clone(&schema), arrays, &options).unwrap();
    let cut = |(from, length): &(usize, usize)| {
        let from = from % (case.rows.len() + 1);
        (from, length % (case.rows.len() - from + 1))
    };
    let cuts: Vec<(usize, usize)> = case.cuts.iter().map(cut).collect();
    let batches: Vec<pintail::error::Result<RecordBatch>> =
        cuts.iter().map(|(from, length)| Ok(whole.slice(*from, *length))).collect();
    let total: usize = cuts.iter().map(|(_, length)| length).sum();
    let answer = client.put(&table(name), schema, stream::iter(batches), &[]).await;
    let answer = answer.map_err(|error| format!("put: {error}"))?;
    if answer.rows != total as u64 {
        return Err(format!("{} rows acknowledged of {total}", answer.rows));
    }
    let found =
        rows(client, &format!("FROM {}", quote_name(name))).await.map_err(|error| format!("get: {error}"))?;
    for (place, one) in case.columns.iter().enumerate() {
        let text = one.what.text();
        if let Some(batch) = found.first() {
            let back = shape(batch.column(place).data_type());
            if back != one.what.back() {
                return Err(format!("{text} comes back as {back}, not {}", one.what.back()));
            }
        }
        let values = column(place);
        let expected: Vec<Value> = cuts
            .iter()
            .flat_map(|(from, length)| &values[*from..from + length])
            .map(|value| one.what.expected(value))
            .collect();
        let found: Vec<Value> = found.iter().flat_map(|batch| read(batch.column(place))).collect();
        if found != expected {
            return Err(format!("{text}: expected {expected:?}, found {found:?}"));
        }
    }
    rows(client, &format!("DROP TABLE {}", quote_name(name)))
        .await
        .map_err(|error| format!("drop: {error}"))?;
    Ok(())
}

/// Each type alone with its extremes and NULL: none is left to chance, and none that is offered is forgotten.
#[tokio::test]
async fn every_spelling_keeps_its_extremes() {
    let mut all = scalars();
    for bits in [32, 64, 128, 256] {
        let most = match bits {
            32 => 9,
            64 => 18,
            _ => 38,
        };
        all.extend(
            [(1, 0), (4, 4), (9, 2), (most, 0), (most, most), (most, 3)].map(|(p, s)| decimal(bits, p, s)),
        );
    }
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        all.extend(["UTC", "Europe/Berlin", "+02:00"].map(|zone| zoned(unit, zone)));
    }
    all.extend([1, 2, 16, 33].map(width));
    let encoded = encodable();
    all.extend(encoded.iter().map(|values| Type::Dictionary {
        index: ("int32", DataType::Int32),
        values: Box::new(values.clone()),
    }));
    all.extend(
        encoded
            .iter()
            .map(|values| Type::Runs { ends: ("int32", DataType::Int32), values: Box::new(values.clone()) }),
    );
    for kind in ["list", "large_list", "list_view", "large_list_view"] {
        for what in encoded.iter().chain(&scalars()) {
            let item = Box::new(Child { name: "item".into(), what: what.clone(), nullable: true });
            all.push(Type::List { kind, item });
        }
    }
    let (own, others) = spellings();
    let texts: Vec<String> = all.iter().map(Type::text).collect();
    // Those with parameters are listed here by hand.
    let is_scalar = |text: &&&str| {
        let is_extension =
            text.starts_with("extension") && !text.contains("variant") && !text.contains("crs=");
        is_extension || !(text.contains(['(', '<', ',']) || text.ends_with("[n]"))
    };
    for spelling in own.iter().chain(&others).filter(is_scalar) {
        assert!(texts.iter().any(|text| text == spelling), "{spelling} is offered and not tested");
    }
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut wrong = Vec::new();
    for (number, what) in all.into_iter().enumerate() {
        let edges = |what: &Type| match what {
            Type::Plain { range, .. } => range.extremes(),
            _ => Vec::new(),
        };
        let mut values = match &what {
            Type::Dictionary { values, .. } | Type::Runs { values, .. } => edges(values),
            Type::List { item, .. } => {
                let mut items = edges(&item.what);
                items.insert(1, Value::Null);
                vec![Value::Items(items.clone()), Value::Items(Vec::new()), Value::Items(items)]
            }
            plain => edges(plain),
        };
        values.insert(1, Value::Null);
        values.push(Value::Null);
        let rows: Vec<Vec<Value>> = values.into_iter().map(|value| vec![value]).collect();
        let columns = vec![Child { name: "x".into(), what, nullable: true }];
        let cuts = vec![(0, rows.len())];
        let case = Case { columns, rows, cuts };
        if let Err(difference) = round_trip(&mut client, &format!("t{number}"), &case).await {
            wrong.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{} types:\n{}", wrong.len(), wrong.join("\n"));
    server.stop().await;
}

/// Any table of any declared types, with any rows, cut into any batches, comes back as it was sent.
#[test]
fn any_declared_table_comes_back_as_it_was_sent() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(TestServer::start());
    let client = tokio::sync::Mutex::new(runtime.block_on(server.client()));
    let number = std::sync::atomic::AtomicUsize::new(0);
    let config = Config { cases: 200, max_shrink_iters: 400, failure_persistence: None, ..Config::default() };
    let done = TestRunner::new(config).run(&cases(), |case| {
        let name = format!("t{}", number.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        runtime.block_on(async {
            let mut client = client.lock().await;
            round_trip(&mut client, &name, &case).await.map_err(TestCaseError::fail)
        })
    });
    match done {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => {
            panic!("{why}\n{}\n{:?}\ncut {:?}", declaration(&case.columns), case.rows, case.cuts)
        }
        Err(other) => panic!("{other}"),
    }
    runtime.block_on(server.stop());
}
