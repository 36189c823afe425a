//! Why a stream does not fit a table, in words.
//! Runs on: any thread; pure.
//! Never: leaves out table, column or rule.

use thiserror::Error as ThisError;

use crate::TableName;
use crate::error::Error;

/// Why a stream does not fit a table. Each variant names table, column and rule.
#[expect(missing_docs, reason = "tables and columns are called that")]
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ConformError {
    /// The stream has no columns.
    #[error("table {table}: the stream has no columns")]
    NoColumns { table: TableName },
    /// A column is offered twice.
    #[error("table {table}: column \"{column}\" is there twice in the stream")]
    Duplicate { table: TableName, column: String },
    /// The table has no such column.
    #[error("table {table} has no column \"{column}\"{hint}; its columns are {known}")]
    UnknownColumn {
        table: TableName,
        /// The offered column.
        column: String,
        /// The name that may have been meant, or nothing.
        hint: String,
        /// The table's columns.
        known: String,
    },
    /// The column is computed by the table.
    #[error("table {table}: column \"{column}\" is generated and cannot be put")]
    Generated { table: TableName, column: String },
    /// Types differ and the change is not lossless.
    #[error("table {table}: column \"{column}\" is {expected} and the stream offers {offered}; {rule}")]
    Type {
        table: TableName,
        column: String,
        /// The table's type.
        expected: String,
        /// The stream's type.
        offered: String,
        /// What is done, and what to do.
        rule: &'static str,
    },
    /// Columns that must be there are not.
    #[error("table {table}: the stream lacks {columns}; {rule}")]
    Missing {
        table: TableName,
        /// The columns.
        columns: String,
        /// Why they must be there, and what to do.
        rule: &'static str,
    },
}

impl From<Box<ConformError>> for Error {
    fn from(error: Box<ConformError>) -> Self {
        Error::invalid(error.to_string())
    }
}
