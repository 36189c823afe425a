//! Any type, and any values of it.

use std::fmt::Write as _;

use arrow::datatypes::{DataType, TimeUnit};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::kinds::{Child, Type};
use super::ranges::{Range, Value};
use super::spellings::{decimal, plain, scalars, width, zoned};

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
pub(super) fn encodable() -> Vec<Type> {
    let mut all: Vec<Type> = scalars();
    all.retain(|one| matches!(one, Type::Plain { extension: None, .. }));
    all.extend([decimal(128, 20, 3), width(5), zoned(TimeUnit::Millisecond, "Europe/Berlin")]);
    all
}

pub(super) fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z]{1,5}",
        1 => select(vec!["select", "a b", "ü", "at", "1x"]).prop_map(str::to_owned)
    ]
}

/// Any type, lists in structs in maps down to three levels below the column.
pub(super) fn types() -> impl Strategy<Value = Type> {
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

pub(super) fn values(what: &Type, nullable: bool) -> BoxedStrategy<Value> {
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
pub(super) fn distinct(key: &Type, entries: Vec<(Value, Value)>, is_sorted: bool) -> Vec<(Value, Value)> {
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
