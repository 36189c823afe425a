//! Values of NDJSON -> types, by looking at them.
//! Runs on: threads that read. Never: joins unlike values into text; says where they are instead.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{integer, keeps_digits};

/// Keys of one object that become columns or fields; more of them are data.
const KEYS_MAX: usize = 2_000;

/// A value that does not fit, and where within its record.
#[derive(Debug)]
pub(super) struct Misfit {
    /// From the outermost key on.
    pub(super) path: Vec<String>,
    pub(super) text: String,
}

impl Misfit {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { path: Vec::new(), text: text.into() }
    }

    pub(super) fn below(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }
}

/// A value as it stands in the text.
pub(super) enum Json<'a> {
    Null,
    Boolean,
    Number,
    String(Cow<'a, str>),
    List(Vec<&'a RawValue>),
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
}

impl<'a> Json<'a> {
    pub(super) fn of(raw: &'a RawValue) -> Result<Self, Misfit> {
        let text = raw.get();
        let broken = |error: serde_json::Error| Misfit::new(format!("is not valid JSON: {error}"));
        Ok(match text.as_bytes().first() {
            Some(b'n') => Json::Null,
            Some(b't' | b'f') => Json::Boolean,
            Some(b'"') => Json::String(serde_json::from_str::<Text<'_>>(text).map_err(broken)?.0),
            Some(b'[') => Json::List(serde_json::from_str::<List<'_>>(text).map_err(broken)?.0),
            Some(b'{') => Json::Object(object(text).map_err(broken)?),
            _ => Json::Number,
        })
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Boolean => "a boolean",
            Json::Number => "a number",
            Json::String(_) => "a text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

/// The keys and values of an object, in their order.
pub(super) fn object(text: &str) -> Result<Vec<(Cow<'_, str>, &RawValue)>, serde_json::Error> {
    serde_json::from_str::<Object<'_>>(text).map(|object| object.0)
}

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct List<'a>(Vec<&'a RawValue>);

struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

struct ListVisitor;

struct ObjectVisitor;

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(ListVisitor)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(ObjectVisitor)
    }
}

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<&'de RawValue>()? {
            list.push(item);
        }
        Ok(List(list))
    }
}

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Text<'de>, &'de RawValue>()? {
            object.push((key.0, value));
        }
        Ok(Object(object))
    }
}

/// What values of one place have in common.
#[derive(Debug, Default)]
pub(super) enum Shape {
    /// Nothing but null so far.
    #[default]
    Open,
    Boolean,
    Number(Numbers),
    Text,
    List(Box<Shape>),
    Struct(Vec<(String, Shape)>),
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Numbers {
    double: bool,
    /// Integers that a double does not hold.
    long: bool,
    /// Integers beyond 64 bits, within 38 digits.
    big: bool,
}

impl Numbers {
    fn add(&mut self, text: &str) -> Result<(), Misfit> {
        let value = integer(text).filter(|_| text != "-0");
        match value {
            Some(value) => {
                self.long |= !keeps_digits(text);
                self.big |= i64::try_from(value).is_err();
                if value.unsigned_abs() >= 10_u128.pow(38) {
                    return Err(Misfit::new(format!("{text} has more than 38 digits")));
                }
            }
            None if keeps_digits(text) => self.double = true,
            None => return Err(Misfit::new(format!("{text} has more digits than a DOUBLE holds"))),
        }
        if self.double && (self.long || self.big) {
            return Err(Misfit::new(format!(
                "{text} stands beside numbers of another kind, and no type holds the digits of both"
            )));
        }
        Ok(())
    }

    fn data_type(self) -> DataType {
        match self {
            Numbers { double: true, .. } => DataType::Float64,
            Numbers { big: true, .. } => DataType::Decimal128(38, 0),
            _ => DataType::Int64,
        }
    }
}

impl Shape {
    pub(super) fn learn(&mut self, raw: &RawValue) -> Result<(), Misfit> {
        let json = Json::of(raw)?;
        if matches!(json, Json::Null) {
            return Ok(());
        }
        if matches!(self, Shape::Open) {
            *self = match json {
                Json::Boolean => Shape::Boolean,
                Json::Number => Shape::Number(Numbers::default()),
                Json::String(_) => Shape::Text,
                Json::List(_) => Shape::List(Box::default()),
                Json::Object(_) => Shape::Struct(Vec::new()),
                Json::Null => Shape::Open,
            };
        }
        match (self, json) {
            (Shape::Boolean, Json::Boolean) | (Shape::Text, Json::String(_)) => Ok(()),
            (Shape::Number(numbers), Json::Number) => numbers.add(raw.get()),
            (Shape::List(item), Json::List(items)) => {
                items.into_iter().enumerate().try_for_each(|(index, raw)| {
                    item.learn(raw).map_err(|misfit| misfit.below(&index.to_string()))
                })
            }
            (Shape::Struct(fields), Json::Object(entries)) => learn_keys(fields, &entries, |_| false),
            (shape, json) => {
                Err(Misfit::new(format!("is {}, and was {} in an earlier line", json.kind(), shape.kind())))
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Shape::Open => "null",
            Shape::Boolean => "a boolean",
            Shape::Number(_) => "a number",
            Shape::Text => "a text",
            Shape::List(_) => "a list",
            Shape::Struct(_) => "an object",
        }
    }

    /// `whole`: all of the file was seen.
    pub(super) fn data_type(&self, whole: bool) -> Result<DataType, Misfit> {
        Ok(match self {
            // What comes later may be anything.
            Shape::Open if whole => DataType::Null,
            Shape::Open => DataType::Utf8,
            Shape::Boolean => DataType::Boolean,
            Shape::Number(numbers) => numbers.data_type(),
            Shape::Text => DataType::Utf8,
            Shape::List(item) => {
                let item = item.data_type(whole).map_err(|misfit| misfit.below("[]"))?;
                DataType::List(Arc::new(Field::new_list_field(item, true)))
            }
            Shape::Struct(fields) if fields.is_empty() => {
                return Err(Misfit::new("is an object without keys, for which there is no type"));
            }
            Shape::Struct(fields) => DataType::Struct(fields_of(fields, whole)?),
        })
    }
}

pub(super) fn fields_of(fields: &[(String, Shape)], whole: bool) -> Result<Fields, Misfit> {
    let field = |(name, shape): &(String, Shape)| {
        let data_type = shape.data_type(whole).map_err(|misfit| misfit.below(name))?;
        Ok(Field::new(name, data_type, true))
    };
    fields.iter().map(field).collect::<Result<Vec<_>, Misfit>>().map(Fields::from)
}

/// Learns the values of an object's keys, apart from those that are `known`, which get no shape.
pub(super) fn learn_keys(
    fields: &mut Vec<(String, Shape)>,
    entries: &[(Cow<'_, str>, &RawValue)],
    known: impl Fn(&str) -> bool,
) -> Result<(), Misfit> {
    for (index, (key, raw)) in entries.iter().enumerate() {
        let at = match fields.get(index) {
            Some((name, _)) if name == key => index,
            _ => match fields.iter().position(|(name, _)| name == key) {
                Some(at) => at,
                None => {
                    let lower = key.to_lowercase();
                    if let Some((name, _)) = fields.iter().find(|(name, _)| name.to_lowercase() == lower) {
                        let text =
                            format!("differs from key \"{name}\" only by case, and both would be one column");
                        return Err(Misfit::new(text).below(key));
                    }
                    if fields.len() == KEYS_MAX {
                        return Err(Misfit::new(format!(
                            "the object has more than {KEYS_MAX} different keys"
                        )));
                    }
                    fields.push((key.clone().into_owned(), Shape::Open));
                    fields.len() - 1
                }
            },
        };
        if entries[..index].iter().any(|(earlier, _)| earlier == key) {
            return Err(Misfit::new("stands twice in one object").below(key));
        }
        if !known(key) {
            fields[at].1.learn(raw).map_err(|misfit| misfit.below(key))?;
        }
    }
    Ok(())
}
