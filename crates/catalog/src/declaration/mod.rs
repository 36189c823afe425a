//! A table as its users declare it: the contract between producers and readers.
//! Runs on: any thread; pure values. Never: looks at the database; `evolution` compares the two.

mod folder;
mod literal;
mod problem;
mod read;
mod write;

pub use folder::read_folder;
pub(super) use literal::{from_expression, toml_value};
pub use problem::{Problem, Problems};
pub use read::{SchemaFile, read_declarations};

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

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
    /// The column called `name`, in any case.
    pub fn field(&self, name: &str) -> Option<&DeclaredField> {
        self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// Whether NULL is forbidden in the column called `name`: by its own word, or because it is part of the key.
    pub fn is_required(&self, name: &str) -> bool {
        self.primary_key.iter().any(|key| key.eq_ignore_ascii_case(name))
            || self.field(name).is_some_and(|field| !field.nullable)
    }

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
pub struct Declarations(RwLock<HashMap<(String, String), InForce>>);

/// A table's declaration, and those that were in force before it, oldest first.
#[derive(Debug, Default)]
struct InForce {
    current: Option<Arc<Declaration>>,
    earlier: Vec<Arc<Declaration>>,
}

impl Declarations {
    /// The declaration of a table of the server's own database.
    pub fn find(&self, name: &TableName) -> Option<Arc<Declaration>> {
        self.read().get(&key(name))?.current.clone()
    }

    /// The versions of a table's declaration that were in force before, oldest first.
    pub fn earlier(&self, name: &TableName) -> Vec<Arc<Declaration>> {
        self.read().get(&key(name)).map(|table| table.earlier.clone()).unwrap_or_default()
    }

    /// Puts `declarations` in force, beside those of other tables. `earlier` are all that were in force before.
    pub fn add(
        &self,
        declarations: impl IntoIterator<Item = Declaration>,
        earlier: impl IntoIterator<Item = Declaration>,
    ) {
        let mut by_name = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for table in by_name.values_mut() {
            table.earlier.clear();
        }
        for version in earlier {
            let name = key(&version.name);
            by_name.entry(name).or_default().earlier.push(Arc::new(version));
        }
        for declaration in declarations {
            let name = key(&declaration.name);
            by_name.entry(name).or_default().current = Some(Arc::new(declaration));
        }
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Declaration>> {
        let mut all: Vec<_> = self.read().values().filter_map(|table| table.current.clone()).collect();
        all.sort_by_key(|one| one.name.to_string());
        all
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<(String, String), InForce>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SQL compares names without case.
fn key(name: &TableName) -> (String, String) {
    (name.schema.as_deref().unwrap_or("main").to_lowercase(), name.table.to_lowercase())
}

#[cfg(test)]
mod tests;
