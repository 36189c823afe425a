//! Every type with its extremes.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, Float16Array, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalMonthDayNanoArray, LargeStringArray, ListArray, MapBuilder, RunArray, StringArray,
    StringBuilder, StringViewArray, StructArray, Time32MillisecondArray, Time32SecondArray,
    Time64MicrosecondArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, IntervalMonthDayNano, TimeUnit};
use half::f16;

/// A column with a value to start from and what comes back for it, where DuckDB has no such type.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) sent: ArrayRef,
    pub(super) back: DataType,
}

pub(super) fn case(name: &'static str, sent: ArrayRef) -> Case {
    let back = sent.data_type().clone();
    Case { name, sent, back }
}

fn becomes(name: &'static str, sent: ArrayRef, back: DataType) -> Case {
    Case { name, sent, back }
}

/// Extremes, ordinary values and nulls of every type, five of each.
pub(super) fn cases() -> Vec<Case> {
    [numbers(), texts(), times(), moments(), nested()].into_iter().flatten().collect()
}

fn numbers() -> Vec<Case> {
    let halves = Float16Array::from(vec![
        Some(f16::from_f32(1.5)),
        None,
        Some(f16::MAX),
        Some(f16::MIN),
        Some(f16::ZERO),
    ]);
    vec![
        case("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false), Some(true), None]))),
        case("i8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX), Some(0), Some(1)]))),
        case("i16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX), Some(0), Some(1)]))),
        case("i32", Arc::new(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX), Some(0), Some(1)]))),
        case("i64", Arc::new(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX), Some(0), Some(1)]))),
        case("u8", Arc::new(UInt8Array::from(vec![Some(u8::MIN), None, Some(u8::MAX), Some(0), Some(1)]))),
        case("u16", Arc::new(UInt16Array::from(vec![Some(0), None, Some(u16::MAX), Some(0), Some(1)]))),
        case("u32", Arc::new(UInt32Array::from(vec![Some(0), None, Some(u32::MAX), Some(0), Some(1)]))),
        case("u64", Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX), Some(0), Some(1)]))),
        becomes("f16", Arc::new(halves), DataType::Float32),
        case(
            "f32",
            Arc::new(Float32Array::from(vec![
                Some(f32::MIN),
                None,
                Some(f32::NAN),
                Some(-0.0),
                Some(f32::INFINITY),
            ])),
        ),
        case(
            "f64",
            Arc::new(Float64Array::from(vec![
                Some(f64::MIN),
                None,
                Some(f64::NAN),
                Some(-0.0),
                Some(f64::INFINITY),
            ])),
        ),
        case(
            "dec4",
            Arc::new(
                Decimal128Array::from(vec![Some(9999), None, Some(-9999), Some(0), Some(1)])
                    .with_precision_and_scale(4, 2)
                    .unwrap(),
            ),
        ),
        case(
            "dec38",
            Arc::new(
                Decimal128Array::from(vec![
                    Some(10_i128.pow(38) - 1),
                    None,
                    Some(1 - 10_i128.pow(38)),
                    Some(0),
                    Some(1),
                ])
                .with_precision_and_scale(38, 10)
                .unwrap(),
            ),
        ),
    ]
}

/// Texts and bytes, in each layout and encoding.
fn texts() -> Vec<Case> {
    let words: DictionaryArray<Int32Type> =
        vec![Some("a"), None, Some("b"), Some("a"), Some("")].into_iter().collect();
    let runs =
        RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 5]), &StringArray::from(vec!["x", "y"]))
            .unwrap();
    let binary: ArrayRef =
        Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b""), Some(b"abc"), Some(b"d")]));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
        [Some(b"ab"), None, Some(b"\0\0"), Some(b"\xff\xff"), Some(b"zz")].into_iter(),
        2,
    )
    .unwrap();
    let texts =
        vec![Some("x"), None, Some(""), Some("ü 世界 🚀"), Some("a text that is longer than twelve bytes")];
    vec![
        case("utf8", Arc::new(StringArray::from(texts.clone()))),
        becomes("large_utf8", Arc::new(LargeStringArray::from(texts.clone())), DataType::Utf8),
        becomes("utf8_view", Arc::new(StringViewArray::from(texts)), DataType::Utf8),
        becomes("dictionary", Arc::new(words), DataType::Utf8),
        becomes("run_end", Arc::new(runs), DataType::Utf8),
        becomes("large_binary", cast(&binary, &DataType::LargeBinary).unwrap(), DataType::Binary),
        becomes("binary_view", cast(&binary, &DataType::BinaryView).unwrap(), DataType::Binary),
        case("binary", binary),
        becomes("fixed_binary", Arc::new(fixed), DataType::Binary),
    ]
}

/// Days and times of day.
fn times() -> Vec<Case> {
    let micros = DataType::Time64(TimeUnit::Microsecond);
    vec![
        case(
            "date32",
            Arc::new(Date32Array::from(vec![Some(-719_162), None, Some(2_932_896), Some(0), Some(1)])),
        ),
        becomes(
            "date64",
            Arc::new(Date64Array::from(vec![Some(0), None, Some(86_400_000), Some(-86_400_000), Some(0)])),
            DataType::Date32,
        ),
        becomes(
            "time_s",
            Arc::new(Time32SecondArray::from(vec![Some(0), None, Some(86_399), Some(1), Some(2)])),
            micros.clone(),
        ),
        becomes(
            "time_ms",
            Arc::new(Time32MillisecondArray::from(vec![Some(0), None, Some(86_399_999), Some(1), Some(2)])),
            micros,
        ),
        case(
            "time_us",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999_999),
                Some(1),
                Some(2),
            ])),
        ),
        case(
            "time_ns",
            Arc::new(Time64NanosecondArray::from(vec![
                Some(0),
                None,
                Some(86_399_999_999_999),
                Some(1),
                Some(2),
            ])),
        ),
    ]
}

/// Points in time, and intervals.
fn moments() -> Vec<Case> {
    vec![
        case(
            "ts_s",
            Arc::new(TimestampSecondArray::from(vec![
                Some(-62_135_596_800),
                None,
                Some(253_402_300_799),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_ms",
            Arc::new(TimestampMillisecondArray::from(vec![
                Some(-62_135_596_800_000),
                None,
                Some(253_402_300_799_999),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_us",
            Arc::new(TimestampMicrosecondArray::from(vec![
                Some(-62_135_596_800_000_000),
                None,
                Some(253_402_300_799_999_999),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_ns",
            Arc::new(TimestampNanosecondArray::from(vec![
                Some(i64::MAX - 1),
                None,
                Some(-9_223_286_400_000_000_000),
                Some(0),
                Some(1),
            ])),
        ),
        case(
            "ts_utc",
            Arc::new(
                TimestampMicrosecondArray::from(vec![
                    Some(-62_135_596_800_000_000),
                    None,
                    Some(253_402_300_799_999_999),
                    Some(0),
                    Some(1),
                ])
                .with_timezone_opt(Some("UTC".to_owned())),
            ),
        ),
        case(
            "interval",
            Arc::new(IntervalMonthDayNanoArray::from(vec![
                Some(IntervalMonthDayNano::new(14, -3, 1_000)),
                None,
                Some(IntervalMonthDayNano::new(0, 0, 0)),
                Some(IntervalMonthDayNano::new(-1, 0, -5_000)),
                Some(IntervalMonthDayNano::new(0, 400, 86_400_000_000_000)),
            ])),
        ),
    ]
}

fn nested() -> Vec<Case> {
    let mut maps = MapBuilder::new(None, StringBuilder::new(), arrow::array::Int32Builder::new());
    for (key, value) in [("k", Some(1)), ("", None), ("ü", Some(3)), ("z", Some(4)), ("q", Some(5))] {
        maps.keys().append_value(key);
        maps.values().append_option(value);
        maps.append(true).unwrap();
    }
    let structs = StructArray::from(vec![
        (
            Arc::new(Field::new("a", DataType::Int32, true)),
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)])) as ArrayRef,
        ),
        (
            Arc::new(Field::new("b", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![Some("x"), Some(""), None, Some("ü"), Some("y")])) as ArrayRef,
        ),
    ]);
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
        Some(vec![Some(i64::MAX)]),
        Some(vec![None]),
    ]);
    vec![
        case("list", Arc::new(lists)),
        case("struct", Arc::new(structs)),
        case("map", Arc::new(maps.finish())),
    ]
}
