//! A table as its users declare it: the contract between producers and readers.
//! Runs on: any thread; pure values. Never: looks at the database; `evolution` compares the two.

mod folder;
mod literal;
mod read;
mod write;

pub use folder::read_folder;
pub(super) use literal::{from_expression, toml_value};
pub use read::{Problem, Problems, SchemaFile, read_declarations};

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::datatypes::DataType;

use super::TableName;

/// How closely a stream must match the declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strictness {
    /// The same columns and types; no NULL where the declaration forbids it.
    #[default]
    Strict,
    /// Columns may be missing (filled with their default or NULL) and types may differ where no value changes.
    Lenient,
}

/// What becomes of a column that the declaration does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewColumns {
    /// The stream is refused.
    #[default]
    Reject,
    /// A nullable column is added to the table, in the stream's own transaction.
    Add,
}

/// A declared type in the three forms it is needed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredType {
    /// As pyarrow prints it: `timestamp[us, tz=UTC]`.
    pub text: String,
    /// The Arrow type. `uuid` is `FixedSizeBinary(16)`.
    pub arrow: DataType,
    /// The DuckDB type as the engine prints it: `TIMESTAMP WITH TIME ZONE`.
    pub duckdb: String,
}

/// One declared column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredField {
    /// Name.
    pub name: String,
    /// Type.
    pub data_type: DeclaredType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// SQL literal that fills a missing value.
    pub default: Option<String>,
    /// Whether the column has an index of its own.
    pub is_indexed: bool,
    /// Comment on the column.
    pub description: Option<String>,
}

/// One declared table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// `table` or `schema.table`; never a catalog.
    pub name: TableName,
    /// Comment on the table.
    pub description: Option<String>,
    /// How closely a stream must match.
    pub mode: Strictness,
    /// Key columns, in key order; empty for none.
    pub primary_key: Vec<String>,
    /// What becomes of unknown columns.
    pub on_new_column: NewColumns,
    /// Whether rows that break a rule go to `<table>__rejected` instead of failing their stream.
    pub dead_letters: bool,
    /// Columns, in table order.
    pub fields: Vec<DeclaredField>,
}

impl Declaration {
    /// The table in listings: without the schema `main`, which goes without saying.
    pub fn listed_name(&self) -> String {
        match self.name.schema.as_deref() {
            Some(schema) if !schema.eq_ignore_ascii_case("main") => format!("{schema}.{}", self.name.table),
            _ => self.name.table.clone(),
        }
    }
}

/// The declarations in force, by table.
#[derive(Debug, Default)]
pub struct Declarations(RwLock<HashMap<(String, String), Arc<Declaration>>>);

impl Declarations {
    /// The declaration of a table of the server's own database.
    pub fn find(&self, name: &TableName) -> Option<Arc<Declaration>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key(name)).cloned()
    }

    /// Puts `declarations` in force, instead of those before.
    pub fn replace(&self, declarations: impl IntoIterator<Item = Declaration>) {
        let by_name = declarations.into_iter().map(|one| (key(&one.name), Arc::new(one))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = by_name;
    }

    /// Puts `declarations` in force beside those before, which give way to one of the same name.
    pub fn add(&self, declarations: impl IntoIterator<Item = Declaration>) {
        let mut by_name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        by_name.extend(declarations.into_iter().map(|one| (key(&one.name), Arc::new(one))));
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Declaration>> {
        let mut all: Vec<_> =
            self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|one| one.name.to_string());
        all
    }
}

/// SQL compares names without case.
fn key(name: &TableName) -> (String, String) {
    (name.schema.as_deref().unwrap_or("main").to_lowercase(), name.table.to_lowercase())
}

#[cfg(test)]
mod tests;
