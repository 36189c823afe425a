//! Types that no value has decided yet: NULL alone, or inside a list, a struct or a map.
//! Runs on: any thread; costs nothing per batch.
//! Never: decides a type without a value of it.
//!
//! A column of NULLs, of empty lists, or of structs with a field of NULLs says nothing about its type. The engine has
//! a type for it, `"NULL"`, which holds NULL and nothing else. A table keeps such a column open until a stream brings
//! the type, and a column that has its type takes what is open.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

/// How the engine writes the type of NULL.
pub(super) const NULL: &str = "\"NULL\"";

/// A DuckDB type as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape<'a> {
    Null,
    /// Anything that is not looked into.
    Plain(&'a str),
    /// The element, and `[]` or `[3]`.
    List(Box<Shape<'a>>, &'a str),
    /// Names as they are written.
    Struct(Vec<(&'a str, Shape<'a>)>),
    Map(Box<Shape<'a>>, Box<Shape<'a>>),
}

/// Whether a DuckDB type, as text, has a part that is open.
pub fn is_open(duckdb_type: &str) -> bool {
    duckdb_type.contains(NULL)
}

/// The type that holds the values of both: where one is open, the other decides. `None` when they differ.
pub fn join_types(one: &str, other: &str) -> Option<String> {
    if one == other {
        return Some(one.to_owned());
    }
    if !one.contains(NULL) && !other.contains(NULL) {
        return None;
    }
    join(read(one), read(other)).map(|joined| write(&joined))
}

fn join<'a>(one: Shape<'a>, other: Shape<'a>) -> Option<Shape<'a>> {
    use Shape as S;
    Some(match (one, other) {
        (S::Null, decided) | (decided, S::Null) => decided,
        (S::List(one, length), S::List(other, other_length)) if length == other_length => {
            S::List(Box::new(join(*one, *other)?), length)
        }
        (S::Map(key, value), S::Map(other_key, other_value)) => {
            S::Map(Box::new(join(*key, *other_key)?), Box::new(join(*value, *other_value)?))
        }
        (S::Struct(fields), S::Struct(others)) if fields.len() == others.len() => {
            let both = fields.into_iter().zip(others).map(|((name, one), (other_name, other))| {
                // The engine tells fields apart without case, and puts them in order by name.
                name.eq_ignore_ascii_case(other_name)
                    .then(|| join(one, other).map(|joined| (name, joined)))?
            });
            S::Struct(both.collect::<Option<Vec<_>>>()?)
        }
        (one, other) if one == other => one,
        _ => return None,
    })
}

fn read(text: &str) -> Shape<'_> {
    let text = text.trim();
    if text == NULL {
        return Shape::Null;
    }
    if text.ends_with(']')
        && let Some(at) = text.rfind('[')
    {
        return Shape::List(Box::new(read(&text[..at])), &text[at..]);
    }
    let inside = |head: &str| text.strip_prefix(head).and_then(|rest| rest.strip_suffix(')'));
    if let Some(fields) = inside("STRUCT(") {
        let named = parts(fields).into_iter().map(|field| {
            let (name, rest) = field.split_at(name_length(field));
            (name, read(rest))
        });
        return Shape::Struct(named.collect());
    }
    if let Some(types) = inside("MAP(")
        && let [key, value] = parts(types).as_slice()
    {
        return Shape::Map(Box::new(read(key)), Box::new(read(value)));
    }
    Shape::Plain(text)
}

fn write(shape: &Shape<'_>) -> String {
    match shape {
        Shape::Null => NULL.to_owned(),
        Shape::Plain(text) => (*text).to_owned(),
        Shape::List(element, length) => format!("{}{length}", write(element)),
        Shape::Map(key, value) => format!("MAP({}, {})", write(key), write(value)),
        Shape::Struct(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, shape)| format!("{name} {}", write(shape))).collect();
            format!("STRUCT({})", fields.join(", "))
        }
    }
}

/// The parts of a list, cut at its commas.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut from, mut level) = (0, 0_usize);
    let mut quote: Option<char> = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            // A quote that is doubled closes and opens again.
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '(' | '[') => level += 1,
            (None, ')' | ']') => level = level.saturating_sub(1),
            (None, ',') if level == 0 => {
                parts.push(text[from..at].trim());
                from = at + 1;
            }
            (None, _) => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

/// Bytes of the name that a field begins with, quotes included.
fn name_length(field: &str) -> usize {
    if !field.starts_with('"') {
        return field.find(' ').unwrap_or(field.len());
    }
    let mut letters = field.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == '"' && letters.next_if(|(_, next)| *next == '"').is_none() {
            return at + 1;
        }
    }
    field.len()
}

/// The same for types of Arrow, for those who read several files before they send one.
pub fn join_arrow(one: &DataType, other: &DataType) -> Option<DataType> {
    use DataType as T;
    let fields = |one: &FieldRef, other: &FieldRef| -> Option<FieldRef> {
        let joined = join_arrow(one.data_type(), other.data_type())?;
        let nullable = one.is_nullable() || other.is_nullable();
        // The field that brings the type brings its extension along.
        let decides = if *one.data_type() == joined { one } else { other };
        let field = Field::new(one.name(), joined, nullable).with_metadata(decides.metadata().clone());
        Some(Arc::new(field))
    };
    Some(match (one, other) {
        (T::Null, decided) | (decided, T::Null) => decided.clone(),
        (T::List(one), T::List(other)) => T::List(fields(one, other)?),
        (T::LargeList(one), T::LargeList(other)) => T::LargeList(fields(one, other)?),
        (T::FixedSizeList(one, length), T::FixedSizeList(other, same)) if length == same => {
            T::FixedSizeList(fields(one, other)?, *length)
        }
        (T::Map(one, sorted), T::Map(other, same)) if sorted == same => T::Map(fields(one, other)?, *sorted),
        (T::Struct(ones), T::Struct(others)) if ones.len() == others.len() => {
            let both = ones
                .iter()
                .zip(others)
                .map(|(one, other)| if one.name() == other.name() { fields(one, other) } else { None });
            T::Struct(both.collect::<Option<Vec<FieldRef>>>()?.into())
        }
        (one, other) if one == other => one.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_takes_the_type_of_the_other() {
        for (one, other, joined) in [
            (NULL, "VARCHAR[]", Some("VARCHAR[]")),
            ("\"NULL\"[]", "DATE[]", Some("DATE[]")),
            ("\"NULL\"[]", NULL, Some("\"NULL\"[]")),
            ("\"NULL\"[2]", "INTEGER[2]", Some("INTEGER[2]")),
            ("\"NULL\"[2]", "INTEGER[]", None),
            ("\"NULL\"[]", "BIGINT", None),
            (
                "STRUCT(a BIGINT, b \"NULL\", \"NULL\" \"NULL\"[])",
                "STRUCT(a \"NULL\", b DECIMAL(9,2), \"NULL\" VARCHAR[])",
                Some("STRUCT(a BIGINT, b DECIMAL(9,2), \"NULL\" VARCHAR[])"),
            ),
            (
                "STRUCT(\"x\"\"(, y\" \"NULL\")",
                "STRUCT(\"x\"\"(, y\" DATE)",
                Some("STRUCT(\"x\"\"(, y\" DATE)"),
            ),
            ("STRUCT(a \"NULL\")", "STRUCT(b DATE)", None),
            ("STRUCT(a \"NULL\")", "STRUCT(a DATE, b DATE)", None),
            ("STRUCT(a \"NULL\", b BIGINT)", "STRUCT(a DATE, b INTEGER)", None),
            (
                "MAP(VARCHAR, \"NULL\")[]",
                "MAP(VARCHAR, ENUM('a,b', 'c)'))[]",
                Some("MAP(VARCHAR, ENUM('a,b', 'c)'))[]"),
            ),
            ("BIGINT", "INTEGER", None),
            ("BIGINT", "BIGINT", Some("BIGINT")),
        ] {
            assert_eq!(join_types(one, other).as_deref(), joined, "{one} and {other}");
            assert_eq!(join_types(other, one).as_deref(), joined, "{other} and {one}");
        }
    }

    #[test]
    fn types_of_arrow_join_in_the_same_way() {
        let list = |inner: DataType| DataType::List(Arc::new(Field::new("item", inner, true)));
        let fields = |inner: DataType| {
            DataType::Struct(
                vec![Field::new("a", DataType::Int64, false), Field::new("b", inner, true)].into(),
            )
        };
        for (one, other, joined) in [
            (DataType::Null, list(DataType::Utf8), Some(list(DataType::Utf8))),
            (list(DataType::Null), list(DataType::Utf8), Some(list(DataType::Utf8))),
            (fields(DataType::Null), fields(list(DataType::Date32)), Some(fields(list(DataType::Date32)))),
            (list(DataType::Int32), list(DataType::Int64), None),
            (list(DataType::Null), DataType::Utf8, None),
        ] {
            assert_eq!(join_arrow(&one, &other), joined);
            assert_eq!(join_arrow(&other, &one), joined);
        }
    }
}
