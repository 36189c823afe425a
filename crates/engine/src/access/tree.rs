//! The parse tree of a SELECT, as JSON -> the tables that it names, and the same with windows in their places.
//! Runs on: any thread; pure.
//! Never: decides whether a name may be read; the plan of what comes out is checked.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::facts::path_of;
use super::window::{DATABASE, SCHEMA, Window};

/// What a name in a FROM stands for.
pub(super) enum Place {
    /// What it says.
    Itself,
    Window(Window),
}

/// Where names of a parse tree are looked up, by what is asked for each.
pub(super) trait Names {
    /// What stands in the place of the table or view of this path.
    fn table(&mut self, path: &[String]) -> crate::error::Result<Place>;
    /// What stands in the place of a table function.
    fn function(&mut self, path: &[String]) -> crate::error::Result<Place>;
    /// An expression as the engine writes it, which is the name of its column.
    fn text_of(&mut self, expression: &Value) -> crate::error::Result<String>;
}

/// What was found besides names.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Windows that were put in.
    pub(super) windows: usize,
    /// SHOW or DESCRIBE; the queries that they describe.
    pub(super) shows: bool,
    pub(super) described: Vec<Value>,
}

/// Puts windows into a parse tree.
pub(super) fn put_windows(tree: &mut Value, names: &mut dyn Names) -> crate::error::Result<Found> {
    let mut walk = Walk { names, found: Found::default(), qualified: Vec::new() };
    walk.look(tree, &HashSet::new())?;
    let Walk { found, qualified, .. } = walk;
    if !qualified.is_empty() {
        shorten_columns(tree, &qualified);
    }
    Ok(found)
}

struct Walk<'a> {
    names: &'a mut dyn Names,
    found: Found,
    /// Paths whose tables have given way to windows: columns that are named by them are found by the last part alone.
    qualified: Vec<Vec<String>>,
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Walk<'_> {
    /// `ctes`: names that stand for a CTE here.
    fn look(&mut self, value: &mut Value, ctes: &HashSet<String>) -> crate::error::Result<()> {
        match value {
            Value::Array(values) => values.iter_mut().try_for_each(|value| self.look(value, ctes)),
            Value::Object(_) => match text(value, "type") {
                "BASE_TABLE" => self.table(value, ctes),
                "TABLE_FUNCTION" => self.function(value, ctes),
                "SHOW_REF" => {
                    self.found.shows = true;
                    if let Some(query) = value.get_mut("query").filter(|query| query.is_object()) {
                        self.look(query, ctes)?;
                        self.found.described.push(query.clone());
                    }
                    Ok(())
                }
                _ => self.fields(value, ctes),
            },
            _ => Ok(()),
        }
    }

    /// What a SELECT gives. A column without an alias is called as its expression is written, so one in which windows were put
    /// is given the name that it had.
    fn select_list(&mut self, list: &mut Value, ctes: &HashSet<String>) -> crate::error::Result<()> {
        let Some(list) = list.as_array_mut() else { return Ok(()) };
        for expression in list {
            if text(expression, "class") == "STAR" || !text(expression, "alias").is_empty() {
                self.look(expression, ctes)?;
                continue;
            }
            let (before, windows) = (expression.clone(), self.found.windows);
            self.look(expression, ctes)?;
            if self.found.windows > windows {
                expression["alias"] = self.names.text_of(&before)?.into();
            }
        }
        Ok(())
    }

    /// Looks into the fields of a node; a query node's own CTEs first, each of which knows those before it.
    fn fields(&mut self, value: &mut Value, ctes: &HashSet<String>) -> crate::error::Result<()> {
        let mut known = ctes.clone();
        let Some(fields) = value.as_object_mut() else { return Ok(()) };
        if let Some(map) =
            fields.get_mut("cte_map").and_then(|map| map.get_mut("map")).and_then(Value::as_array_mut)
        {
            for entry in map {
                let name = text(entry, "key").to_lowercase();
                self.look(&mut entry["value"], &known)?;
                known.insert(name);
            }
        }
        // The name of a recursive CTE is known inside of it, wherever the tree has it.
        let own = fields.get("cte_name").and_then(Value::as_str);
        known.extend(own.map(str::to_lowercase));
        for (key, field) in fields.iter_mut() {
            match key.as_str() {
                "cte_map" => {}
                "select_list" => self.select_list(field, &known)?,
                _ => self.look(field, &known)?,
            }
        }
        Ok(())
    }

    fn table(&mut self, value: &mut Value, ctes: &HashSet<String>) -> crate::error::Result<()> {
        let path = value.get("qualified_name").map(path_of).unwrap_or_default();
        if let [name] = path.as_slice()
            && ctes.contains(&name.to_lowercase())
        {
            return Ok(());
        }
        let place = self.names.table(&path)?;
        let Place::Window(window) = place else { return Ok(()) };
        let alias = path.last().cloned().unwrap_or_default();
        if path.len() > 1 {
            self.qualified.push(path.iter().map(|part| part.to_lowercase()).collect());
        }
        self.put(value, &window, &alias);
        Ok(())
    }

    fn function(&mut self, value: &mut Value, ctes: &HashSet<String>) -> crate::error::Result<()> {
        let path = value
            .get("function")
            .and_then(|function| function.get("qualified_name"))
            .map(path_of)
            .unwrap_or_default();
        match self.names.function(&path)? {
            Place::Window(window) => {
                let alias = path.last().cloned().unwrap_or_default();
                if let Some(fields) = value.as_object_mut() {
                    fields.retain(|key, _| {
                        matches!(key.as_str(), "alias" | "sample" | "query_location" | "column_name_alias")
                    });
                    fields.insert("type".into(), "BASE_TABLE".into());
                }
                self.put(value, &window, &alias);
                Ok(())
            }
            Place::Itself => self.fields(value, ctes),
        }
    }

    /// Lets a table's node name a window, under the name that the table had.
    fn put(&mut self, value: &mut Value, window: &Window, alias: &str) {
        self.found.windows += 1;
        let Some(fields) = value.as_object_mut() else { return };
        if fields.get("alias").and_then(Value::as_str).is_none_or(str::is_empty) {
            fields.insert("alias".into(), alias.into());
        }
        fields.insert("catalog_name".into(), DATABASE.into());
        fields.insert("schema_name".into(), SCHEMA.into());
        fields.insert("table_name".into(), window.name.as_str().into());
        fields.insert("qualified_name".into(), json!({ "path": [DATABASE, SCHEMA, window.name] }));
    }
}

/// `schema.table.column` -> `table.column`, for tables that have given way to windows.
fn shorten_columns(value: &mut Value, qualified: &[Vec<String>]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_columns(value, qualified)),
        Value::Object(fields) => {
            if let Some(names) = fields.get_mut("column_names").and_then(Value::as_array_mut) {
                let lower: Vec<String> =
                    names.iter().map(|name| name.as_str().unwrap_or_default().to_lowercase()).collect();
                let longest = qualified
                    .iter()
                    .filter(|path| lower.len() > path.len() && lower.starts_with(path))
                    .map(Vec::len)
                    .max();
                if let Some(parts) = longest {
                    names.drain(..parts - 1);
                }
            }
            fields.values_mut().for_each(|value| shorten_columns(value, qualified));
        }
        _ => {}
    }
}
