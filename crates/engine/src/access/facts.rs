//! The engine's bound plan, as JSON -> what the statement reads, calls, changes and defines.
//! Runs on: any thread; pure.
//! Never: takes an operator that it does not know for harmless.

use std::collections::BTreeSet;

use serde_json::Value;

use super::window::DATABASE;

/// A table or view of the plan: database, schema (its parts joined by dots) and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Relation {
    pub(super) catalog: String,
    pub(super) schema: String,
    pub(super) table: String,
}

impl Relation {
    fn from_path(path: &[String]) -> Option<Self> {
        let [catalog, schemas @ .., table] = path else { return None };
        (!schemas.is_empty()).then(|| Self {
            catalog: catalog.clone(),
            schema: schemas.join("."),
            table: table.clone(),
        })
    }

    /// Whether it is of the session's own.
    pub(super) fn is_temporary(&self) -> bool {
        self.catalog == "temp"
    }
}

/// Rows that are changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) table: Relation,
    /// Rows are added, and nothing else.
    pub(super) only_adds: bool,
    /// The rows come back.
    pub(super) returns: bool,
}

/// Something that is made, changed or dropped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// A table, view or index on a table of this name. `reshapes`: what is there already is changed.
    Object { name: Relation, reshapes: bool },
    /// What takes the right to the whole schema: renaming, dropping an index, the schema itself.
    InSchema(String),
    /// A drop of what is not there. The path as it was written.
    Nothing(Vec<String>),
    /// What is for admins alone.
    Other(String),
}

/// A DROP … CASCADE: of a table or view, or of a schema with what is in it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cascade {
    pub(super) schema: String,
    pub(super) table: Option<String>,
}

/// What a statement does.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Tables whose rows are read, outside of windows.
    pub(super) reads: BTreeSet<Relation>,
    pub(super) windows: BTreeSet<String>,
    pub(super) table_functions: BTreeSet<String>,
    pub(super) functions: BTreeSet<String>,
    /// Texts that table functions are given, each with its function: one may name a table.
    pub(super) texts: BTreeSet<(String, String)>,
    /// Values of an ENUM type are in the plan.
    pub(super) has_enum: bool,
    /// Drops of what depends on something as well.
    pub(super) cascades: Vec<Cascade>,
    pub(super) changes: Vec<Change>,
    pub(super) defines: Vec<Definition>,
    /// Tables that foreign keys refer to: whoever has such a key learns which keys are there.
    pub(super) refers: BTreeSet<Relation>,
    /// The queries of views that are made, as parse trees.
    pub(super) views: Vec<Value>,
    /// Rows that the plan holds itself: a list of values, or what DESCRIBE found out while it was bound.
    pub(super) holds_rows: bool,
    /// An operator that is not known.
    pub(super) unknown: Option<String>,
}

/// Operators that do nothing but compute.
const PLAIN: [&str; 27] = [
    "PROJECTION",
    "FILTER",
    "AGGREGATE_AND_GROUP_BY",
    "WINDOW",
    "UNNEST",
    "LIMIT",
    "ORDER_BY",
    "TOP_N",
    "DISTINCT",
    "SAMPLE",
    "PIVOT",
    "DELIM_GET",
    "EXPRESSION_GET",
    "DUMMY_SCAN",
    "EMPTY_RESULT",
    "CTE_REF",
    "COMPARISON_JOIN",
    "DELIM_JOIN",
    "ANY_JOIN",
    "CROSS_PRODUCT",
    "POSITIONAL_JOIN",
    "ASOF_JOIN",
    "DEPENDENT_JOIN",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "RECURSIVE_CTE",
];

pub(super) fn path_of(value: &Value) -> Vec<String> {
    let parts = value.get("path").and_then(Value::as_array).into_iter().flatten();
    parts.map(|part| part.as_str().unwrap_or_default().to_owned()).collect()
}

/// Whether a parse tree has a query in it.
fn has_subquery(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.iter().any(has_subquery),
        Value::Object(fields) => text(value, "class") == "SUBQUERY" || fields.values().any(has_subquery),
        _ => false,
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Facts {
    /// What a plan does.
    pub(super) fn of(plan: &Value) -> Self {
        let mut facts = Self::default();
        facts.look(plan);
        facts
    }

    fn look(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.look(value)),
            Value::Object(fields) => {
                let kind = text(value, "type");
                self.has_enum |= kind == "ENUM_TYPE_INFO";
                if let Some(operator) = kind.strip_prefix("LOGICAL_")
                    && self.operator(operator, value)
                {
                    return;
                }
                if text(value, "expression_class") == "BOUND_SUBQUERY" {
                    self.unknown = Some("a subquery that was not planned".to_owned());
                }
                if fields.contains_key("expression_class")
                    && let Some(name) = fields.get("qname").map(path_of).and_then(|mut path| path.pop())
                {
                    self.functions.insert(name.to_lowercase());
                }
                fields.values().for_each(|value| self.look(value));
            }
            _ => {}
        }
    }

    /// Takes note of an operator. True when what is below it needs no look.
    fn operator(&mut self, operator: &str, node: &Value) -> bool {
        let info = node.get("info").unwrap_or(&Value::Null);
        let named = info.get("qualified_name").map(path_of).unwrap_or_default();
        match operator {
            "MATERIALIZED_CTE" => {}
            "GET" => self.get(node),
            "CHUNK_GET" => self.holds_rows = true,
            "SECURE_VIEW" => {
                let source = node.get("source_name").map(path_of).unwrap_or_default();
                if let [database, _, name] = source.as_slice()
                    && database == DATABASE
                {
                    self.windows.insert(name.clone());
                    return true;
                }
            }
            "INSERT" | "UPDATE" | "DELETE" | "MERGE_INTO" => {
                let table = node.get("table_info").and_then(|info| info.get("qualified_name")).map(path_of);
                let only_adds = operator == "INSERT" && matches!(text(node, "action_type"), "" | "THROW");
                let returns = node.get("return_chunk").and_then(Value::as_bool).unwrap_or(false);
                match table.as_deref().and_then(Relation::from_path) {
                    Some(table) => self.changes.push(Change { table, only_adds, returns }),
                    None => self.unknown = Some(operator.to_owned()),
                }
            }
            "CREATE_TABLE" | "CREATE_VIEW" => {
                self.foreign_keys(info);
                self.views.extend(info.get("query").cloned().filter(|_| operator == "CREATE_VIEW"));
                self.object(Relation::from_path(&named), false, operator);
            }
            "CREATE_INDEX" => {
                let table = Relation::from_path(&named)
                    .map(|index| Relation { table: text(info, "table").to_owned(), ..index });
                self.object(table, true, operator);
            }
            "CREATE_SCHEMA" => self.schema(&named, operator),
            "ALTER" => {
                let kind = text(info, "type");
                let what = [text(info, "alter_table_type"), text(info, "alter_view_type")].concat();
                let is_known =
                    matches!(kind, "ALTER_TABLE" | "ALTER_VIEW" | "SET_COMMENT" | "SET_COLUMN_COMMENT");
                let relation = Relation::from_path(&named);
                match relation {
                    // Nothing that is read while a table is altered is in the plan.
                    Some(name) if is_known && what != "FOREIGN_KEY_CONSTRAINT" && !has_subquery(info) => {
                        if matches!(what.as_str(), "RENAME_TABLE" | "RENAME_VIEW") {
                            self.defines.push(Definition::InSchema(name.schema.clone()));
                        }
                        self.object(Some(name), true, operator);
                    }
                    _ => self.defines.push(Definition::Other("this ALTER".to_owned())),
                }
            }
            "DROP" => self.drop(info, &named),
            other if PLAIN.contains(&other) => {}
            other if other.starts_with("CREATE_") => {
                let what = other.trim_start_matches("CREATE_").to_lowercase();
                self.defines.push(Definition::Other(format!("CREATE {}", what.to_uppercase())));
            }
            other => self.unknown = Some(other.to_lowercase()),
        }
        false
    }

    fn get(&mut self, node: &Value) {
        let function = node.get("qname").map(path_of).unwrap_or_default();
        let table = node
            .get("function_data")
            .and_then(|data| data.get("qualified_name"))
            .and_then(|name| Relation::from_path(&path_of(name)));
        match (function.as_slice(), table) {
            ([scan], Some(table)) if scan == "seq_scan" => {
                self.reads.insert(table);
            }
            ([.., name], _) if name != "seq_scan" => {
                let name = name.to_lowercase();
                for given in ["parameters", "named_parameters", "function_data"] {
                    self.texts_of(&name, node.get(given).unwrap_or(&Value::Null));
                }
                self.table_functions.insert(name);
            }
            _ => self.unknown = Some("a scan of an unknown kind".to_owned()),
        }
    }

    fn texts_of(&mut self, function: &str, given: &Value) {
        match given {
            Value::String(text) => {
                self.texts.insert((function.to_owned(), text.clone()));
            }
            Value::Array(values) => values.iter().for_each(|value| self.texts_of(function, value)),
            Value::Object(fields) => fields.values().for_each(|value| self.texts_of(function, value)),
            _ => {}
        }
    }

    fn object(&mut self, name: Option<Relation>, reshapes: bool, operator: &str) {
        match name {
            Some(name) => self.defines.push(Definition::Object { name, reshapes }),
            None => self.unknown = Some(operator.to_lowercase()),
        }
    }

    fn schema(&mut self, path: &[String], operator: &str) {
        // The last part is empty: a schema is the path of what is in it.
        let schema: Vec<&str> =
            path.iter().skip(1).map(String::as_str).filter(|part| !part.is_empty()).collect();
        match schema.as_slice() {
            [] => self.unknown = Some(operator.to_lowercase()),
            parts => self.defines.push(Definition::InSchema(parts.join("."))),
        }
    }

    fn drop(&mut self, info: &Value, named: &[String]) {
        let cascades = info.get("cascade").and_then(Value::as_bool).unwrap_or(false);
        match (text(info, "type"), Relation::from_path(named)) {
            ("SCHEMA_ENTRY", _) => {
                self.schema(named, "drop");
                if let Some(Definition::InSchema(schema)) = self.defines.last().filter(|_| cascades) {
                    self.cascades.push(Cascade { schema: schema.clone(), table: None });
                }
            }
            ("TABLE_ENTRY" | "VIEW_ENTRY", Some(name)) => {
                if cascades && !name.is_temporary() {
                    let Relation { schema, table, .. } = name.clone();
                    self.cascades.push(Cascade { schema, table: Some(table) });
                }
                self.object(Some(name), false, "drop");
            }
            ("INDEX_ENTRY", Some(index)) if index.is_temporary() => self.object(Some(index), false, "drop"),
            ("INDEX_ENTRY", Some(index)) => self.defines.push(Definition::InSchema(index.schema)),
            ("TABLE_ENTRY" | "VIEW_ENTRY" | "INDEX_ENTRY", None) => {
                self.defines.push(Definition::Nothing(named.to_vec()));
            }
            _ => self.defines.push(Definition::Other("this DROP".to_owned())),
        }
    }

    fn foreign_keys(&mut self, info: &Value) {
        let catalog = info.get("qualified_name").map(path_of).and_then(|path| path.into_iter().next());
        for constraint in info.get("constraints").and_then(Value::as_array).into_iter().flatten() {
            if text(constraint, "type") == "FOREIGN_KEY" {
                self.refers.insert(Relation {
                    catalog: catalog.clone().unwrap_or_default(),
                    schema: text(constraint, "schema").to_owned(),
                    table: text(constraint, "table").to_owned(),
                });
            }
        }
    }
}
