//! DuckDB's own catalog -> schemas, tables and columns as plain rows.
//! Runs on: the thread of the session; blocks for a catalog query.
//! Never: reads table rows, or knows how a client wants the answer encoded.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use super::session::Session;
use super::tables::query;
use crate::catalog::{TableName, quote_text};
use crate::error::Result;

/// A schema and the database it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaInfo {
    /// Database.
    pub catalog: String,
    /// Schema.
    pub schema: String,
}

/// A table or view as metadata calls list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// Database; `temp` for the connection's temporary objects.
    pub catalog: String,
    /// Schema.
    pub schema: String,
    /// Table or view.
    pub table: String,
    /// `BASE TABLE`, `LOCAL TEMPORARY` or `VIEW`.
    pub table_type: String,
    /// What COMMENT ON said.
    pub comment: Option<String>,
}

impl TableEntry {
    /// The full name.
    pub fn name(&self) -> TableName {
        full_name(self.catalog.clone(), self.schema.clone(), self.table.clone())
    }
}

/// A column as metadata calls describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnEntry {
    /// Name, in the table's spelling.
    pub name: String,
    /// Type as DuckDB prints it.
    pub duckdb_type: String,
    /// Whether it may hold NULL; always true for the columns of views.
    pub nullable: bool,
    /// Expression that fills a missing value.
    pub default: Option<String>,
    /// Whether the value is computed from other columns and cannot be put.
    pub is_generated: bool,
    /// What COMMENT ON said.
    pub comment: Option<String>,
    /// Width of a DECIMAL, bits of another number; none for what is not a number.
    pub numeric_precision: Option<i32>,
    /// Digits after the point of a number.
    pub numeric_scale: Option<i32>,
    /// Whether the default draws from a sequence.
    pub auto_increment: bool,
}

/// The schemas a client can name a table in. Left out are the engine's own databases, the server's own schema,
/// and schemas inside another schema: `"catalog"."schema"."table"` does not reach those.
pub(super) const VISIBLE: &str = "\
    WITH visible AS ( \
        SELECT s.database_oid, s.oid AS schema_oid, s.database_name, s.schema_name \
        FROM duckdb_schemas() s JOIN duckdb_databases() d ON d.database_oid = s.database_oid \
        WHERE (NOT d.internal OR d.database_name = 'temp') AND s.parent_schema_oid IS NULL \
              AND s.schema_name NOT IN ('information_schema', 'pg_catalog', 'pintail_internal'))";

/// Every schema by catalog and name. `temp` is among them only while the connection has temporary objects.
pub fn schemas(session: &Session) -> Result<Vec<SchemaInfo>> {
    let sql = format!(
        "{VISIBLE} SELECT database_name, schema_name FROM visible \
         WHERE database_name <> 'temp' \
               OR EXISTS (FROM duckdb_tables() WHERE temporary AND NOT internal) \
               OR EXISTS (FROM duckdb_views() WHERE temporary AND NOT internal) \
         ORDER BY 1, 2"
    );
    rows(session, &sql, |row| SchemaInfo { catalog: row.text(0), schema: row.text(1) })
}

/// Every table and view by catalog, schema and name.
pub fn tables(session: &Session) -> Result<Vec<TableEntry>> {
    let sql = format!(
        "{VISIBLE} \
         SELECT database_name, schema_name, table_name, \
                CASE WHEN temporary THEN 'LOCAL TEMPORARY' ELSE 'BASE TABLE' END, comment \
         FROM duckdb_tables() SEMI JOIN visible USING (database_oid, schema_oid) WHERE NOT internal \
         UNION ALL \
         SELECT database_name, schema_name, view_name, 'VIEW', comment \
         FROM duckdb_views() SEMI JOIN visible USING (database_oid, schema_oid) WHERE NOT internal \
         ORDER BY 1, 2, 3"
    );
    rows(session, &sql, |row| TableEntry {
        catalog: row.text(0),
        schema: row.text(1),
        table: row.text(2),
        table_type: row.text(3),
        comment: row.text_or_none(4),
    })
}

/// The columns of the table or view `name`, in order; empty when there is none. The name is taken exactly
/// as stored; the server's own database and `main` stand in for absent parts.
pub fn columns(session: &Session, name: &TableName) -> Result<Vec<ColumnEntry>> {
    let catalog = name.catalog.as_deref().map_or_else(|| "current_database()".to_owned(), quote_text);
    let schema = quote_text(name.schema.as_deref().unwrap_or("main"));
    let table = quote_text(&name.table);
    let condition = format!("database_name = {catalog} AND schema_name = {schema} AND table_name = {table}");
    Ok(column_rows(session, &condition)?.into_iter().map(|(_, column)| column).collect())
}

/// The columns of every table and view. DuckDB lists the columns of all tables also to answer for one, so
/// asking table by table would cost the square.
pub fn columns_by_table(session: &Session) -> Result<HashMap<TableName, Vec<ColumnEntry>>> {
    let mut tables: HashMap<TableName, Vec<ColumnEntry>> = HashMap::new();
    for (name, column) in column_rows(session, "TRUE")? {
        tables.entry(name).or_default().push(column);
    }
    Ok(tables)
}

fn column_rows(session: &Session, condition: &str) -> Result<Vec<(TableName, ColumnEntry)>> {
    // A view that does not bind has one column without a name.
    let sql = format!(
        "{VISIBLE} \
         SELECT database_name, schema_name, table_name, column_name, data_type, is_nullable, \
                CASE WHEN is_generated THEN NULL ELSE column_default END, is_generated, comment, \
                numeric_precision, numeric_scale \
         FROM duckdb_columns() SEMI JOIN visible USING (database_oid, schema_oid) \
         WHERE NOT internal AND column_name IS NOT NULL AND {condition} \
         ORDER BY 1, 2, 3, column_index"
    );
    rows(session, &sql, |row| {
        let default = row.text_or_none(6);
        let column = ColumnEntry {
            name: row.text(3),
            duckdb_type: row.text(4),
            nullable: row.flag(5),
            auto_increment: default.as_deref().is_some_and(draws_from_sequence),
            default,
            is_generated: row.flag(7),
            comment: row.text_or_none(8),
            numeric_precision: row.int_or_none(9),
            numeric_scale: row.int_or_none(10),
        };
        (full_name(row.text(0), row.text(1), row.text(2)), column)
    })
}

fn draws_from_sequence(default: &str) -> bool {
    default.to_ascii_lowercase().contains("nextval(")
}

fn full_name(catalog: String, schema: String, table: String) -> TableName {
    TableName { catalog: Some(catalog), schema: Some(schema), table }
}

/// One row of a catalog query's answer.
pub(super) struct Row<'batch> {
    batch: &'batch RecordBatch,
    index: usize,
}

impl Row<'_> {
    pub(super) fn text(&self, column: usize) -> String {
        self.text_or_none(column).unwrap_or_default()
    }

    pub(super) fn text_or_none(&self, column: usize) -> Option<String> {
        let texts = self.batch.column(column).as_string::<i32>();
        texts.is_valid(self.index).then(|| texts.value(self.index).to_owned())
    }

    pub(super) fn int_or_none(&self, column: usize) -> Option<i32> {
        let numbers = self.batch.column(column).as_primitive::<Int32Type>();
        numbers.is_valid(self.index).then(|| numbers.value(self.index))
    }

    pub(super) fn long(&self, column: usize) -> i64 {
        self.batch.column(column).as_primitive::<Int64Type>().value(self.index)
    }

    fn flag(&self, column: usize) -> bool {
        let flags = self.batch.column(column).as_boolean();
        flags.is_valid(self.index) && flags.value(self.index)
    }
}

/// Runs a catalog query and reads its rows.
pub(super) fn rows<T>(session: &Session, sql: &str, read: impl Fn(Row<'_>) -> T) -> Result<Vec<T>> {
    let batches = query(session, sql)?;
    Ok(batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |index| Row { batch, index }))
        .map(read)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_sequences_are_read_as_sql_means_them() {
        assert_eq!(quote_text("it's"), "'it''s'");
        assert!(draws_from_sequence("NextVal('ids')"));
        assert!(!draws_from_sequence("'nextval'"));
    }
}
