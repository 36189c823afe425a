//! A type as its declaration spells it, as it is sent, and as it comes back.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::ranges::{Range, Value};

#[derive(Debug, Clone)]
pub(super) enum Type {
    Plain { text: String, arrow: DataType, back: DataType, extension: Option<&'static str>, range: Range },
    Dictionary { index: (&'static str, DataType), values: Box<Type> },
    Runs { ends: (&'static str, DataType), values: Box<Type> },
    List { kind: &'static str, item: Box<Child> },
    Fixed { item: Box<Child>, length: usize },
    Struct { children: Vec<Child> },
    Map { key: Box<Type>, value: Box<Child>, is_sorted: bool },
}

#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) what: Type,
    pub(super) nullable: bool,
}

impl Child {
    pub(super) fn text(&self) -> String {
        format!("{}: {}{}", self.name, self.what.text(), if self.nullable { "" } else { " not null" })
    }

    pub(super) fn field(&self) -> FieldRef {
        Arc::new(self.what.field(&self.name, self.nullable))
    }
}

impl Type {
    /// As a declaration spells it.
    pub(super) fn text(&self) -> String {
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
    pub(super) fn arrow(&self) -> DataType {
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

    pub(super) fn field(&self, name: &str, nullable: bool) -> Field {
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
    pub(super) fn back(&self) -> String {
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
    pub(super) fn expected(&self, value: &Value) -> Value {
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
    pub(super) fn filler(&self) -> Value {
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

pub(super) fn shape(data_type: &DataType) -> String {
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
