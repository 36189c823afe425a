//! A declared table as a value: its columns, their types, its key and its rules.
//! Runs on: any thread; pure values.
//! Never: reads or writes a file.

use arrow::datatypes::DataType;

use crate::TableName;

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
