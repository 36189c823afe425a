//! Values apart from how arrays hold them, and the values that a type without parts has.

use half::f16;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

/// A value apart from how an array holds it. Numbers, decimals, dates and times are what their bits count.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
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

pub(super) fn float(value: f64) -> Value {
    Value::Float(if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() })
}

/// The values of a type without parts, and what they become in the engine.
#[derive(Debug, Clone)]
pub(super) enum Range {
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

impl Range {
    /// The values at the edges, an ordinary one first.
    pub(super) fn extremes(&self) -> Vec<Value> {
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

    pub(super) fn strategy(&self) -> BoxedStrategy<Value> {
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
