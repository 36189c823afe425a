//! DuckDB's own catalog -> schemas, tables and columns as plain rows.
//! Runs on: the thread of the connection; blocks for a catalog query.
//! Never: reads table rows, or knows how a client wants the answer encoded.

use std::collections::HashMap;

use super::rows::rows;
use crate::access::{Access, DATABASE as WINDOWS};
use crate::catalog::{TableName, quote_name, quote_text, split_name};
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::INTERNAL_SCHEMA;

/// The catalog of temporary objects.
const TEMPORARY: &str = "temp";

/// A schema and the database it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaInfo {
    /// Database.
    pub catalog: String,
    /// Schema; one inside another as SQL spells it, `outer.inner`.
    pub schema: String,
    /// Whether it is inside another one.
    pub is_nested: bool,
}

/// A table or view as metadata calls list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// Database; `temp` for the connection's temporary objects.
    pub catalog: String,
    /// Schema, as in [`SchemaInfo`].
    pub schema: String,
    /// Table or view.
    pub table: String,
    /// The full name, part by part: database, schema, perhaps schemas inside it, table.
    pub path: Vec<String>,
    /// `BASE TABLE`, `LOCAL TEMPORARY` or `VIEW`.
    pub table_type: String,
    /// What COMMENT ON said.
    pub comment: Option<String>,
    /// Rows as the engine estimates them; exact for tables without deletes. `None` for views.
    pub rows: Option<u64>,
    /// Columns; 0 for a view that does not bind.
    pub columns: u64,
}

impl TableEntry {
    /// The full name, as [`columns`] and [`columns_between`] know the table.
    pub fn name(&self) -> TableName {
        full_name(self.catalog.clone(), self.schema.clone(), self.table.clone())
    }

    /// The full name as SQL.
    pub fn to_sql(&self) -> String {
        self.path.iter().map(|part| quote_name(part)).collect::<Vec<_>>().join(".")
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

/// The schemas a client can name a table in. Left out are the engine's own databases and the server's own schema.
/// The engine's listings name a schema inside another one by its last part alone, so that several look the same:
/// here `schema_name` is its whole path as SQL spells it, and `schema_path` the same with every part quoted.
pub(crate) fn visible() -> String {
    format!(
        "\
    WITH RECURSIVE visible AS ( \
        SELECT s.database_oid, s.oid AS schema_oid, s.database_name, s.schema_name, \
               '\"' || replace(s.schema_name, '\"', '\"\"') || '\"' AS schema_path, false AS is_nested, \
               CASE WHEN regexp_full_match(s.schema_name, '[A-Za-z_][A-Za-z0-9_]*') THEN s.schema_name \
                    ELSE '\"' || replace(s.schema_name, '\"', '\"\"') || '\"' END AS spelled \
        FROM duckdb_schemas() s JOIN duckdb_databases() d ON d.database_oid = s.database_oid \
        WHERE (NOT d.internal OR d.database_name = 'temp') AND s.parent_schema_oid IS NULL \
              AND d.database_name <> '{WINDOWS}' \
              AND s.schema_name NOT IN ('information_schema', 'pg_catalog', '{INTERNAL_SCHEMA}') \
        UNION ALL \
        SELECT s.database_oid, s.oid, s.database_name, v.spelled || '.' || i.spelled, \
               v.schema_path || '.\"' || replace(s.schema_name, '\"', '\"\"') || '\"', true, \
               v.spelled || '.' || i.spelled \
        FROM duckdb_schemas() s \
             JOIN visible v ON v.database_oid = s.database_oid AND v.schema_oid = s.parent_schema_oid, \
             LATERAL (SELECT CASE WHEN regexp_full_match(s.schema_name, '[A-Za-z_][A-Za-z0-9_]*') THEN s.schema_name \
                    ELSE '\"' || replace(s.schema_name, '\"', '\"\"') || '\"' END AS spelled) i)"
    )
}

/// Every schema by catalog and name. `temp` is among them only while the connection has temporary objects.
pub fn schemas(connection: &Connection) -> Result<Vec<SchemaInfo>> {
    let visible = visible();
    let sql = format!(
        "{visible} SELECT database_name, schema_name, is_nested FROM visible \
         WHERE database_name <> 'temp' \
               OR EXISTS (FROM duckdb_tables() WHERE temporary AND NOT internal) \
               OR EXISTS (FROM duckdb_views() WHERE temporary AND NOT internal) \
         ORDER BY 1, 2"
    );
    let mut schemas = rows(connection, &sql, |row| SchemaInfo {
        catalog: row.text(0),
        schema: row.text(1),
        is_nested: row.flag(2),
    })?;
    if let Some(access) = connection.access() {
        schemas.retain(|one| one.catalog == TEMPORARY || access.sees_schema(&one.schema));
    }
    Ok(schemas)
}

/// Every table and view by catalog, schema and name.
pub fn tables(connection: &Connection) -> Result<Vec<TableEntry>> {
    let visible = visible();
    let sql = format!(
        "{visible} \
         SELECT v.database_name, v.schema_name, table_name, \
                CASE WHEN temporary THEN 'LOCAL TEMPORARY' ELSE 'BASE TABLE' END, comment, v.schema_path, \
                estimated_size::BIGINT, column_count::BIGINT \
         FROM duckdb_tables() JOIN visible v USING (database_oid, schema_oid) WHERE NOT internal \
         UNION ALL \
         SELECT v.database_name, v.schema_name, view_name, 'VIEW', comment, v.schema_path, NULL::BIGINT, column_count::BIGINT \
         FROM duckdb_views() JOIN visible v USING (database_oid, schema_oid) WHERE NOT internal \
         ORDER BY 1, 2, 3"
    );
    let mut tables = rows(connection, &sql, |row| {
        let (catalog, table) = (row.text(0), row.text(2));
        let mut path = vec![catalog.clone()];
        path.extend(split_name(&row.text(5)));
        path.push(table.clone());
        TableEntry {
            catalog,
            schema: row.text(1),
            table,
            path,
            table_type: row.text(3),
            comment: row.text_or_none(4),
            rows: row.long_or_none(6).map(|rows| rows.max(0) as u64),
            columns: row.long_or_none(7).map_or(0, |columns| columns.max(0) as u64),
        }
    })?;
    if let Some(access) = connection.access() {
        tables.retain(|one| one.catalog == TEMPORARY || access.sees(&one.schema, &one.table));
        for table in tables.iter_mut().filter(|one| access.is_in_part(&one.schema, &one.table)) {
            // How many rows there are says how many are left out.
            table.rows = None;
        }
    }
    Ok(tables)
}

/// The columns of the table or view `name`, in order; empty when there is none. The name is taken exactly
/// as stored; the server's own database and `main` stand in for absent parts.
pub fn columns(connection: &Connection, name: &TableName) -> Result<Vec<ColumnEntry>> {
    let catalog = name.catalog.as_deref().map_or_else(|| "current_database()".to_owned(), quote_text);
    let schema = quote_text(name.schema.as_deref().unwrap_or("main"));
    let table = quote_text(&name.table);
    let condition =
        format!("v.database_name = {catalog} AND v.schema_name = {schema} AND table_name = {table}");
    Ok(column_rows(connection, &condition)?.into_iter().map(|(_, column)| column).collect())
}

/// The columns of the tables and views from `first` to `last`, as [`tables`] orders them. DuckDB lists the columns of all
/// tables also to answer for one, so asking table by table would cost the square.
pub fn columns_between(
    connection: &Connection,
    first: &TableEntry,
    last: &TableEntry,
) -> Result<HashMap<TableName, Vec<ColumnEntry>>> {
    // The engine compares no tuples of texts in a range, so the order is spelled out.
    let beyond = |entry: &TableEntry, than: char| {
        let [catalog, schema, table] =
            [&entry.catalog, &entry.schema, &entry.table].map(|name| quote_text(name));
        format!(
            "(v.database_name {than} {catalog} OR (v.database_name = {catalog} AND (v.schema_name {than} {schema} \
             OR (v.schema_name = {schema} AND table_name {than}= {table}))))"
        )
    };
    let condition = format!("{} AND {}", beyond(first, '>'), beyond(last, '<'));
    let mut tables: HashMap<TableName, Vec<ColumnEntry>> = HashMap::new();
    for (name, column) in column_rows(connection, &condition)? {
        tables.entry(name).or_default().push(column);
    }
    Ok(tables)
}

fn column_rows(connection: &Connection, condition: &str) -> Result<Vec<(TableName, ColumnEntry)>> {
    // A view that does not bind has one column without a name.
    let visible = visible();
    let sql = format!(
        "{visible} \
         SELECT v.database_name, v.schema_name, table_name, column_name, data_type, is_nullable, \
                CASE WHEN is_generated THEN NULL ELSE column_default END, is_generated, comment, \
                numeric_precision, numeric_scale \
         FROM duckdb_columns() JOIN visible v USING (database_oid, schema_oid) \
         WHERE NOT internal AND column_name IS NOT NULL AND {condition} \
         ORDER BY 1, 2, 3, column_index"
    );
    let mut columns = rows(connection, &sql, |row| {
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
    })?;
    if let Some(access) = connection.access() {
        columns.retain(|(name, column)| shows(access, name, &column.name));
    }
    Ok(columns)
}

/// Whether a column is there for somebody.
pub(super) fn shows(access: &Access, table: &TableName, column: &str) -> bool {
    let schema = table.schema.as_deref().unwrap_or("main");
    table.catalog.as_deref() == Some(TEMPORARY)
        || (access.sees(schema, &table.table) && !access.hides(schema, &table.table, column))
}

fn draws_from_sequence(default: &str) -> bool {
    default.to_ascii_lowercase().contains("nextval(")
}

fn full_name(catalog: String, schema: String, table: String) -> TableName {
    TableName { catalog: Some(catalog), schema: Some(schema), table }
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
