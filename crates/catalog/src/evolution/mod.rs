//! A declaration against the table as it is: what has to be done, and what is refused.
//! Runs on: any thread; pure values; `engine::introspect` and `engine::declared` read tables and run plans.
//! Never: plans a loss of data unasked; leaves the order of the engine's statements to chance.
//!
//! The engine alters no table that has an index (columns of a key and columns before them count as well), and a
//! DROP INDEX of the same transaction does not help where types change. So a plan either alters the table, with
//! its indexes out of the way where that is enough, or rebuilds it: create anew, copy, drop, rename, index.

mod adopt;
mod change;
mod planner;
mod rebuild;
mod report;

pub use adopt::adopt;
pub use report::{TablePlan, render};

use serde::{Deserialize, Serialize};

use super::ddl::{comments, create_index, declared_table, needs_index};
use super::declaration::toml_value;
use super::{Declaration, DeclaredField, TableName, quote_name};
use planner::Planner;

/// A column of an existing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActualColumn {
    /// Name, in the table's spelling.
    pub name: String,
    /// Type as DuckDB prints it.
    pub duckdb_type: String,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// Expression that fills a missing value.
    pub default: Option<String>,
    /// What COMMENT ON said.
    pub comment: Option<String>,
    /// Whether the value is computed from other columns.
    pub is_generated: bool,
}

/// An index of an existing table, other than that of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActualIndex {
    /// Name.
    pub name: String,
    /// What is indexed, as SQL: columns or expressions.
    pub expressions: Vec<String>,
    /// Whether values may be there once only.
    pub is_unique: bool,
}

/// An existing table or view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actual {
    /// Name, in the database's spelling.
    pub name: TableName,
    /// Whether it is a view, which takes no rows.
    pub is_view: bool,
    /// What COMMENT ON said.
    pub comment: Option<String>,
    /// Columns in order.
    pub columns: Vec<ActualColumn>,
    /// Columns of the primary key, in key order.
    pub primary_key: Vec<String>,
    /// Indexes.
    pub indexes: Vec<ActualIndex>,
    /// Constraints that no declaration says: UNIQUE, CHECK and FOREIGN KEY, as SQL.
    pub constraints: Vec<String>,
    /// Tables whose foreign keys refer to this one.
    pub referenced_by: Vec<String>,
    /// Columns that the last recorded version declared: they are no producer's, also where new columns are allowed.
    pub declared_before: Vec<String>,
    /// Rows.
    pub rows: u64,
}

impl Actual {
    fn column(&self, name: &str) -> Option<&ActualColumn> {
        self.columns.iter().find(|column| same_name(&column.name, name))
    }

    /// The indexes on exactly this one column.
    fn indexes_on<'a>(&'a self, column: &'a str) -> impl Iterator<Item = &'a ActualIndex> {
        self.indexes.iter().filter(move |index| index.column().is_some_and(|found| same_name(&found, column)))
    }

    fn is_key(&self, column: &str) -> bool {
        self.primary_key.iter().any(|key| same_name(key, column))
    }
}

impl ActualIndex {
    /// The column, when the index is on one column and nothing else.
    fn column(&self) -> Option<String> {
        let [only] = self.expressions.as_slice() else { return None };
        super::datatype::unquote(only).filter(|(_, rest)| rest.is_empty()).map(|(name, _)| name)
    }
}

/// What a step does, as the sign in front of it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// `+`
    Add,
    /// `~`
    Change,
    /// `-`
    Remove,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What kind of step it is.
    pub sign: Sign,
    /// What happens, for people.
    pub text: String,
    /// What is lost, where something is.
    pub lost: Option<String>,
    /// The statements; none where another step has them.
    pub sql: Vec<String>,
}

/// A change that is not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The change.
    pub text: String,
    /// Why it is refused.
    pub reason: String,
    /// What to do instead.
    pub advice: String,
}

/// How to bring a table to its declaration. Nothing to do, and nothing refused: the two agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What is not done.
    pub refusals: Vec<Refusal>,
}

impl Plan {
    /// Whether table and declaration agree.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.refusals.is_empty()
    }

    /// Whether the table is made anew and its rows are copied.
    pub fn rebuilds(&self) -> bool {
        self.statements().any(|sql| sql.starts_with("DROP TABLE "))
    }

    /// All statements, in order.
    pub fn statements(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| step.sql.iter().map(String::as_str))
    }
}

/// SQL compares names without case.
fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

/// `many(3, "row")` is "3 rows".
fn many(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What becomes of changes that lose data or break producers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breaking {
    /// They are refused.
    Refused,
    /// They are made, and their steps say what is lost.
    Allowed,
}

impl Breaking {
    /// What the option `allow_breaking` of a command or request means.
    pub fn when(allow_breaking: bool) -> Self {
        if allow_breaking { Self::Allowed } else { Self::Refused }
    }
}

/// Plans how `actual` becomes what is declared.
pub fn plan(declared: &Declaration, actual: Option<&Actual>, breaking: Breaking) -> Plan {
    let Some(actual) = actual else { return creation(declared) };
    Planner::new(declared, actual, breaking).plan()
}

fn creation(declared: &Declaration) -> Plan {
    let table = &declared.name;
    let mut sql = Vec::new();
    if let Some(schema) = table.schema.as_deref().filter(|schema| !same_name(schema, "main")) {
        sql.push(format!("CREATE SCHEMA IF NOT EXISTS {}", quote_name(schema)));
    }
    sql.push(declared_table(declared, table, &[]));
    sql.extend(comments(declared, table));
    let key = match declared.primary_key.as_slice() {
        [] => String::new(),
        columns => format!(" and the key ({})", columns.join(", ")),
    };
    let text = format!("table {table} with {}{key}", many(declared.fields.len() as u64, "column"));
    let add = |text, sql| Step { sign: Sign::Add, text, lost: None, sql };
    let mut steps = vec![add(text, sql)];
    steps.extend(declared.fields.iter().map(|field| add(column_text(field), Vec::new())));
    for field in declared.fields.iter().filter(|field| needs_index(declared, field)) {
        steps.push(add(format!("index on {}", field.name), vec![create_index(table, &field.name)]));
    }
    Plan { steps, refusals: Vec::new() }
}

/// A default as the declaration says it.
fn shown(literal: &str, field: &DeclaredField) -> String {
    toml_value(literal, &field.data_type).unwrap_or_else(|| literal.to_owned())
}

fn column_text(field: &DeclaredField) -> String {
    let rule = if field.nullable { "" } else { " not null" };
    let default = field
        .default
        .as_deref()
        .map_or(String::new(), |literal| format!(" default {}", shown(literal, field)));
    format!("column {} {}{rule}{default}", field.name, field.data_type.text)
}

#[cfg(test)]
mod tests;
