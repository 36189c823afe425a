//! The text of a file in `schemas/` -> a declaration, or everything that is wrong with it.
//! Runs on: any thread; pure.
//! Never: stops at the first problem; takes a key it does not know.

use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::literal::literal;
use super::problem::{Problem, Problems};
use super::{Declaration, DeclaredField, NewColumns, Strictness};
use crate::datatype::{closest, parse};
use crate::error::shorten;
use crate::{TableName, index_name};

const TABLE_KEYS: [&str; 7] =
    ["name", "description", "mode", "primary_key", "on_new_column", "dead_letters", "field"];
const FIELD_KEYS: [&str; 6] = ["name", "type", "nullable", "default", "is_indexed", "description"];
const MODES: [(&str, Strictness); 2] = [("strict", Strictness::Strict), ("lenient", Strictness::Lenient)];
const NEW_COLUMNS: [(&str, NewColumns); 2] = [("reject", NewColumns::Reject), ("add", NewColumns::Add)];
/// Longest name of a column, as of a table, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Schemas that hold no tables of users.
const RESERVED_SCHEMAS: [&str; 4] = ["pintail_internal", "temp", "information_schema", "pg_catalog"];

/// A file of a folder of declarations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaFile {
    /// Name, for texts; its stem names the table unless the file does.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Reads every file; all of them are right, or everything that is wrong comes back.
pub fn read_declarations(files: &[SchemaFile]) -> Result<Vec<Declaration>, Problems> {
    let mut problems = Vec::new();
    let mut declarations: Vec<(&SchemaFile, Declaration)> = Vec::new();
    for file in files {
        let mut reader = Reader { file, problems: Vec::new() };
        let declaration = reader.file();
        problems.append(&mut reader.problems);
        declarations.extend(declaration.map(|declaration| (file, declaration)));
    }
    check_together(&declarations, &mut problems);
    if problems.is_empty() {
        return Ok(declarations.into_iter().map(|(_, declaration)| declaration).collect());
    }
    let order: HashMap<&str, usize> =
        files.iter().enumerate().map(|(index, file)| (file.name.as_str(), index)).collect();
    problems.sort_by_key(|problem| (order.get(problem.file.as_str()).copied(), problem.line));
    Err(Problems(problems))
}

/// What no file can be wrong about alone: two tables of one name, two indexes of one name.
fn check_together(declarations: &[(&SchemaFile, Declaration)], problems: &mut Vec<Problem>) {
    let mut tables: HashMap<(String, String), &str> = HashMap::new();
    let mut indexes: HashMap<(String, String), String> = HashMap::new();
    for (file, declaration) in declarations {
        let mut report = |what: String| {
            problems.push(Problem { file: file.name.clone(), line: 1, key: "name".into(), what });
        };
        let (schema, table) = super::in_force::key(&declaration.name);
        if let Some(other) = tables.insert((schema.clone(), table), &file.name) {
            report(format!(
                "table {} is declared twice, here and in {other}; keep one of them",
                declaration.name
            ));
            continue;
        }
        for field in declaration.fields.iter().filter(|field| field.is_indexed) {
            let index = index_name(&declaration.name.table, &field.name).to_lowercase();
            let owner = format!("{}.{}", declaration.name, field.name);
            if let Some(other) = indexes.insert((schema.clone(), index.clone()), owner) {
                report(format!(
                    "the index of column \"{}\" would be called {index} like that of {other}; rename one of them",
                    field.name
                ));
            }
        }
    }
    for (file, declaration) in declarations.iter().filter(|(_, declaration)| declaration.dead_letters) {
        let mut rejected = declaration.name.clone();
        rejected.table.push_str("__rejected");
        if let Some(other) = tables.get(&super::in_force::key(&rejected)) {
            let what =
                format!("table {rejected}, which takes the dead letters, is declared in {other}; rename it");
            problems.push(Problem { file: file.name.clone(), line: 1, key: "dead_letters".into(), what });
        }
    }
}

struct Reader<'a> {
    file: &'a SchemaFile,
    problems: Vec<Problem>,
}

/// A field that is right so far, and where its parts stand.
struct ReadField {
    field: DeclaredField,
    at: usize,
    nullable_given: Option<(bool, usize)>,
}

type Keys<'t> = HashMap<&'t str, &'t Spanned<DeValue<'t>>>;

impl Reader<'_> {
    fn problem(&mut self, at: usize, key: impl Into<String>, what: impl Into<String>) {
        let end = at.min(self.file.text.len());
        let line = 1 + self.file.text.as_bytes()[..end].iter().filter(|byte| **byte == b'\n').count();
        self.problems.push(Problem {
            file: self.file.name.clone(),
            line,
            key: key.into(),
            what: what.into(),
        });
    }

    fn file(&mut self) -> Option<Declaration> {
        let (table, errors) = DeTable::parse_recoverable(&self.file.text);
        for error in errors {
            let at = error.span().map_or(0, |span: Range<usize>| span.start);
            self.problem(at, "", format!("not TOML: {}", error.message().replace('\n', ", ")));
        }
        // Keys that are missing because their line does not parse would only be noise.
        if !self.problems.is_empty() {
            return None;
        }
        let keys = self.keys(table.get_ref(), &TABLE_KEYS, "");
        let name = self.name(&keys);
        let description = self.text(&keys, "description", "");
        let mode = self.choice(&keys, "mode", &MODES);
        let on_new_column = self.choice(&keys, "on_new_column", &NEW_COLUMNS);
        let dead_letters = self.flag(&keys, "dead_letters", "").is_some_and(|(flag, _)| flag);
        let mut fields = self.fields(&keys);
        let primary_key = self.primary_key(&keys, &mut fields);
        if !self.problems.is_empty() {
            return None;
        }
        Some(Declaration {
            name: name?,
            description,
            mode,
            primary_key,
            on_new_column,
            dead_letters,
            fields: fields.into_iter().map(|read| read.field).collect(),
        })
    }

    /// The table's keys by name; those it should not have are reported.
    fn keys<'t>(&mut self, table: &'t DeTable<'t>, known: &[&str], place: &str) -> Keys<'t> {
        let mut keys = HashMap::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                keys.insert(name, value);
                continue;
            }
            let hint = closest(name, known.iter().copied())
                .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            let what =
                format!("unknown key \"{}\"{hint} (known here: {})", shorten(name, 60), known.join(", "));
            self.problem(key.span().start, place, what);
        }
        keys
    }

    fn text(&mut self, keys: &Keys<'_>, key: &str, place: &str) -> Option<String> {
        let value = keys.get(key)?;
        match value.get_ref().as_str() {
            Some(text) if text.contains('\0') => {
                self.problem(value.span().start, format!("{place}{key}"), "the text holds a NUL");
                None
            }
            Some(text) => Some(text.to_owned()),
            None => {
                let what = format!("expected a text in quotes, found a TOML {}", value.get_ref().type_str());
                self.problem(value.span().start, format!("{place}{key}"), what);
                None
            }
        }
    }

    fn flag(&mut self, keys: &Keys<'_>, key: &str, place: &str) -> Option<(bool, usize)> {
        let value = keys.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let what = format!("expected true or false, found a TOML {}", value.get_ref().type_str());
            self.problem(value.span().start, format!("{place}{key}"), what);
        }
        flag.map(|flag| (flag, value.span().start))
    }

    fn choice<T: Copy + Default>(&mut self, keys: &Keys<'_>, key: &str, known: &[(&str, T)]) -> T {
        let Some(text) = self.text(keys, key, "") else { return T::default() };
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return *value;
        }
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let hint = closest(&text.to_lowercase(), names.iter().copied())
            .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        let what = format!("expected {}, found \"{}\"{hint}", names.join(" or "), shorten(&text, 60));
        self.problem(keys[key].span().start, key, what);
        T::default()
    }

    fn name(&mut self, keys: &Keys<'_>) -> Option<TableName> {
        let (text, at) = match keys.get("name") {
            Some(value) => (self.text(keys, "name", "")?, value.span().start),
            None => {
                let file = self.file.name.rsplit(['/', '\\']).next().unwrap_or_default();
                (file.strip_suffix(".toml").unwrap_or(file).to_owned(), 0)
            }
        };
        if !keys.contains_key("name") && text.contains('.') {
            let what = format!(
                "the file's name \"{text}\" has a point in it; say name = \"schema.table\" or rename the file"
            );
            self.problem(0, "name", what);
            return None;
        }
        let name = match TableName::from_text(&text) {
            Ok(name) => name,
            Err(error) => {
                self.problem(at, "name", error.message());
                return None;
            }
        };
        if name.catalog.is_some() {
            let what = format!(
                "expected \"table\" or \"schema.table\", found \"{text}\"; a declaration names no database"
            );
            self.problem(at, "name", what);
            return None;
        }
        let schema = name.schema.as_deref().unwrap_or("main").to_lowercase();
        if RESERVED_SCHEMAS.contains(&schema.as_str()) {
            self.problem(at, "name", format!("schema {schema} is the server's own; choose another"));
            return None;
        }
        Some(name)
    }

    fn fields(&mut self, keys: &Keys<'_>) -> Vec<ReadField> {
        let Some(list) = keys.get("field") else {
            self.problem(0, "field", "the table has no columns; add a [[field]] with name and type for each");
            return Vec::new();
        };
        let Some(list) =
            list.get_ref().as_array().filter(|list| list.iter().all(|one| one.get_ref().is_table()))
        else {
            let what = "expected [[field]] with double brackets, once for each column";
            self.problem(list.span().start, "field", what);
            return Vec::new();
        };
        if list.is_empty() {
            self.problem(0, "field", "the table has no columns; add a [[field]] with name and type for each");
        }
        let mut fields: Vec<ReadField> = Vec::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for (index, one) in list.iter().enumerate() {
            let Some(table) = one.get_ref().as_table() else { continue };
            let Some(read) = self.field(table, index + 1, one.span().start) else { continue };
            if let Some(other) = names.insert(read.field.name.to_lowercase(), read.field.name.clone()) {
                let what = if other == read.field.name {
                    "the column is declared twice".to_owned()
                } else {
                    format!(
                        "the column is declared twice, also as \"{other}\"; names must differ by more than case"
                    )
                };
                self.problem(read.at, format!("field \"{}\"", read.field.name), what);
            }
            fields.push(read);
        }
        fields
    }

    /// A column; with a problem in it, what of it can still be checked against the rest.
    fn field(&mut self, table: &DeTable<'_>, number: usize, start: usize) -> Option<ReadField> {
        let name = table.get("name").and_then(|name| name.get_ref().as_str()).unwrap_or_default().to_owned();
        let place = if name.is_empty() { format!("field {number}") } else { format!("field \"{name}\"") };
        let keys = self.keys(table, &FIELD_KEYS, &place);
        let place = format!("{place}.");
        let at = keys.get("name").map_or(start, |name| name.span().start);
        let before = self.problems.len();
        self.text(&keys, "name", &place);
        let well_named = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if self.problems.len() == before && !well_named {
            let what = format!("expected a column name of 1 to {NAME_BYTES_MAX} bytes");
            self.problem(at, format!("{place}name"), what);
        }
        let description = self.text(&keys, "description", &place);
        let nullable_given = self.flag(&keys, "nullable", &place);
        let is_indexed = self.flag(&keys, "is_indexed", &place);
        let data_type = match keys.get("type") {
            None => {
                self.problem(
                    at,
                    format!("{place}type"),
                    "the column has no type; say for example type = \"int64\"",
                );
                None
            }
            Some(value) => self.text(&keys, "type", &place).and_then(|text| {
                parse(&text)
                    .map_err(|error| {
                        self.problem(value.span().start, format!("{place}type"), error.to_string());
                    })
                    .ok()
            }),
        }?;
        if let Some((true, at)) = is_indexed
            && !data_type.is_indexable()
        {
            let what = format!("a column of type {} cannot have an index; remove is_indexed", data_type.text);
            self.problem(at, format!("{place}is_indexed"), what);
        }
        let default = keys.get("default").and_then(|value| {
            literal(value.get_ref(), &data_type)
                .map_err(|what| self.problem(value.span().start, format!("{place}default"), what))
                .ok()
        });
        if !well_named {
            return None;
        }
        let field = DeclaredField {
            name,
            data_type,
            nullable: nullable_given.is_none_or(|(nullable, _)| nullable),
            default,
            is_indexed: is_indexed.is_some_and(|(is_indexed, _)| is_indexed),
            description,
        };
        Some(ReadField { field, at, nullable_given })
    }

    /// The key's columns in the spelling of their fields, which become NOT NULL.
    fn primary_key(&mut self, keys: &Keys<'_>, fields: &mut [ReadField]) -> Vec<String> {
        let Some(value) = keys.get("primary_key") else { return Vec::new() };
        let start = value.span().start;
        let Some(list) = value.get_ref().as_array() else {
            self.problem(start, "primary_key", "expected a list of columns such as [\"id\"]");
            return Vec::new();
        };
        // A field whose own problem kept it out is not missing.
        let mentioned: Vec<String> = keys
            .get("field")
            .and_then(|fields| fields.get_ref().as_array())
            .into_iter()
            .flat_map(|fields| fields.iter())
            .filter_map(|field| field.get_ref().as_table()?.get("name")?.get_ref().as_str())
            .map(str::to_lowercase)
            .collect();
        let mut key: Vec<String> = Vec::new();
        for one in list {
            let at = one.span().start;
            let Some(name) = one.get_ref().as_str() else {
                self.problem(at, "primary_key", "expected a column's name in quotes");
                continue;
            };
            let Some(read) = fields.iter_mut().find(|read| read.field.name.eq_ignore_ascii_case(name)) else {
                if !mentioned.contains(&name.to_lowercase()) {
                    let near = closest(name, fields.iter().map(|read| read.field.name.as_str()))
                        .map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
                    self.problem(at, "primary_key", format!("there is no field \"{name}\"{near}"));
                }
                continue;
            };
            if key.contains(&read.field.name) {
                self.problem(at, "primary_key", format!("column \"{name}\" is in the key twice"));
                continue;
            }
            if !read.field.data_type.is_indexable() {
                let data_type = &read.field.data_type.text;
                self.problem(at, "primary_key", format!("a column of type {data_type} cannot be in a key"));
            }
            if let Some((true, at)) = read.nullable_given {
                let what = "a column of the primary key holds no NULL; remove nullable = true";
                self.problem(at, format!("field \"{}\".nullable", read.field.name), what);
            }
            read.field.nullable = false;
            key.push(read.field.name.clone());
        }
        key
    }
}
