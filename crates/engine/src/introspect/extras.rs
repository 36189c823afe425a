//! What a table has besides its columns and rows: keys, rules, defaults, indexes, triggers.
//! Runs on: the thread of the connection; blocks for a catalog query.
//! Never: changes anything, reads table rows.

use super::rows::rows;
use crate::catalog::{TableName, quote_text};
use crate::connection::Connection;
use crate::error::Result;

/// Everything that a table made anew from its columns would lack, each in a few words; empty for a plain table.
pub fn table_extras(connection: &Connection, table: &TableName) -> Result<Vec<String>> {
    let catalog = table.catalog.as_deref().unwrap_or(connection.database().catalog());
    let here = format!(
        "database_name = {} AND lower(schema_name) = lower({}) AND lower(table_name) = lower({})",
        quote_text(catalog),
        quote_text(table.schema.as_deref().unwrap_or("main")),
        quote_text(&table.table)
    );
    let sql = format!(
        "SELECT constraint_text FROM duckdb_constraints() WHERE {here} AND constraint_type <> 'NOT NULL' \
         UNION ALL SELECT 'index ' || index_name FROM duckdb_indexes() WHERE {here} \
         UNION ALL SELECT 'trigger ' || trigger_name FROM duckdb_triggers() WHERE {here} \
         UNION ALL SELECT 'the default of column ' || column_name FROM duckdb_columns() \
                   WHERE {here} AND column_default IS NOT NULL ORDER BY ALL"
    );
    rows(connection, &sql, |row| row.text(0))
}
