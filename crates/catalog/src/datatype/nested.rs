//! Types with other types in them: lists, structs, maps, unions, tuples.
//! Runs on: any thread; pure.
//! Never: makes a type whose parts SQL could not tell apart.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, UnionFields, UnionMode};

use super::super::declaration::DeclaredType;
use super::keywords;

/// `name` as it stands in the text of a type.
fn quoted(name: &str) -> String {
    let bare = !name.is_empty() && name.trim() == name && !name.contains(SPECIAL);
    if bare { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What a name is quoted for.
pub(super) const SPECIAL: [char; 9] = [':', ',', '<', '>', '[', ']', '(', ')', '"'];

/// Longest DuckDB ARRAY.
const ARRAY_LENGTH_MAX: i32 = 100_000;

/// A child of a nested type.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) data_type: DeclaredType,
    pub(super) nullable: bool,
}

impl Child {
    pub(super) fn item(data_type: DeclaredType) -> Self {
        Self { name: "item".into(), data_type, nullable: true }
    }

    fn field(&self) -> FieldRef {
        Arc::new(self.data_type.field(&self.name, self.nullable))
    }

    fn rule(&self) -> &'static str {
        if self.nullable { "" } else { " not null" }
    }

    fn text(&self) -> String {
        format!("{}: {}{}", quoted(&self.name), self.data_type.text, self.rule())
    }
}

/// `kind` is `list`, `large_list`, `list_view` or `large_list_view`.
pub(super) fn list(kind: &str, item: &Child) -> DeclaredType {
    let arrow = match kind {
        "large_list" => DataType::LargeList(item.field()),
        "list_view" => DataType::ListView(item.field()),
        "large_list_view" => DataType::LargeListView(item.field()),
        _ => DataType::List(item.field()),
    };
    DeclaredType::new(format!("{kind}<{}>", item.text()), arrow, format!("{}[]", item.data_type.duckdb))
}

pub(super) fn fixed_size_list(item: &Child, length: i32) -> Result<DeclaredType, String> {
    if !(1..=ARRAY_LENGTH_MAX).contains(&length) {
        return Err(format!(
            "fixed_size_list takes a length from 1 to {ARRAY_LENGTH_MAX}, which is DuckDB's limit, found {length}"
        ));
    }
    Ok(DeclaredType::new(
        format!("fixed_size_list<{}>[{length}]", item.text()),
        DataType::FixedSizeList(item.field(), length),
        format!("{}[{length}]", item.data_type.duckdb),
    ))
}

pub(super) fn structure(children: &[Child]) -> Result<DeclaredType, String> {
    if children.is_empty() {
        return Err("a struct needs at least one field".to_owned());
    }
    let mut seen = HashSet::new();
    for child in children {
        if child.name.is_empty() {
            return Err("a field of the struct has no name".to_owned());
        }
        // SQL compares names without case.
        if !seen.insert(child.name.to_lowercase()) {
            return Err(format!("the struct has two fields \"{}\"", child.name));
        }
    }
    let texts: Vec<String> = children.iter().map(Child::text).collect();
    let duckdb: Vec<String> = children
        .iter()
        .map(|child| format!("{} {}", keywords::printed(&child.name), child.data_type.duckdb))
        .collect();
    let fields: Fields = children.iter().map(Child::field).collect();
    Ok(DeclaredType::new(
        format!("struct<{}>", texts.join(", ")),
        DataType::Struct(fields),
        format!("STRUCT({})", duckdb.join(", ")),
    ))
}

pub(super) fn map(
    key: DeclaredType,
    value: DeclaredType,
    value_nullable: bool,
    sorted: bool,
) -> DeclaredType {
    let duckdb = format!("MAP({}, {})", key.duckdb, value.duckdb);
    let key = Child { name: "key".into(), data_type: key, nullable: false };
    let value = Child { name: "value".into(), data_type: value, nullable: value_nullable };
    let entries = DataType::Struct(Fields::from(vec![key.field(), value.field()]));
    let mark = if sorted { ", keys_sorted" } else { "" };
    DeclaredType::new(
        format!("map<{}, {}{}{mark}>", key.data_type.text, value.data_type.text, value.rule()),
        DataType::Map(Arc::new(Field::new("entries", entries, false)), sorted),
        duckdb,
    )
}

/// Members share the numbers of their Arrow codes with nobody: DuckDB counts from 0.
pub(super) fn union(kind: &str, members: Vec<(i8, Child)>) -> Result<DeclaredType, String> {
    if members.is_empty() {
        return Err("a union needs at least one member".to_owned());
    }
    let mut seen = HashSet::new();
    if let Some((_, twice)) = members.iter().find(|(_, member)| !seen.insert(member.name.to_lowercase())) {
        return Err(format!("the union has two members \"{}\"", twice.name));
    }
    let mode = if kind == "dense_union" { UnionMode::Dense } else { UnionMode::Sparse };
    let texts: Vec<String> =
        members.iter().map(|(code, member)| format!("{}={code}", member.text())).collect();
    let duckdb: Vec<String> = members
        .iter()
        .map(|(_, member)| format!("{} {}", keywords::printed(&member.name), member.data_type.duckdb))
        .collect();
    let (codes, fields): (Vec<i8>, Vec<FieldRef>) =
        members.iter().map(|(code, member)| (*code, member.field())).unzip();
    let fields = UnionFields::try_new(codes, fields).map_err(|error| error.to_string())?;
    Ok(DeclaredType::new(
        format!("{kind}<{}>", texts.join(", ")),
        DataType::Union(fields, mode),
        format!("UNION({})", duckdb.join(", ")),
    ))
}

/// DuckDB's struct without names.
pub(super) fn tuple(items: Vec<DeclaredType>) -> Result<DeclaredType, String> {
    if items.is_empty() {
        return Err("a tuple needs at least one element".to_owned());
    }
    let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
    let duckdb: Vec<&str> = items.iter().map(|item| item.duckdb.as_str()).collect();
    let fields: Fields = items
        .iter()
        .enumerate()
        .map(|(index, item)| item.field(&format!("element{}", index + 1), true))
        .collect();
    Ok(DeclaredType::new(
        format!("tuple<{}>", texts.join(", ")),
        DataType::Struct(fields),
        format!("TUPLE({})", duckdb.join(", ")),
    ))
}
