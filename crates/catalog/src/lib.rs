//! Which tables exist and what their columns are: pure values.
//! Runs on: any thread.
//! Never: threads, sockets, the engine.

mod conform;
mod datatype;
mod ddl;
mod declaration;
mod evolution;
mod nanos;
mod open;

pub use nanos::{depends_on_values, stored_types};
pub use open::{is_open, join_arrow, join_types};

pub use conform::{Cast, ConformError, Conformed, Contract, Offered, Placed, conform, conform_some};
pub use datatype::{TypeError, from_arrow, from_duckdb, parse as parse_type, spellings};
use datatype::{comes_back, is_exported_as};
pub use ddl::{
    IfThere, ROW, add_columns, check_new_table, create_rejected, create_table, declared_create,
    ignore_conflict, index_name, insert_head, last_of_key, rejected_name, replace_conflict, settle_columns,
};
pub use declaration::{
    Declaration, Declarations, DeclaredField, DeclaredType, NewColumns, Problem, Problems, SchemaFile,
    Strictness, read_declarations, read_folder,
};

pub use evolution::{
    Actual, ActualColumn, ActualIndex, Breaking, Plan, Refusal, Sign, Step, TablePlan, adopt, plan, render,
};

pub use pintail_protocol::names::{TableName, quote_name, quote_text, split_name};

use pintail_protocol::error;

/// A column of an existing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name, in the table's spelling.
    pub name: String,
    /// Type as DuckDB prints it.
    pub duckdb_type: String,
    /// Whether a missing value is filled with a default.
    pub has_default: bool,
    /// Whether the value is computed from other columns and cannot be put.
    pub is_generated: bool,
}

/// An existing table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Name as the client gave it.
    pub name: TableName,
    /// Columns in order.
    pub columns: Vec<Column>,
}
