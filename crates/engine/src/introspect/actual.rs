//! A table as it is, with all that a declaration may say of it.
//! Never: decides what may change (`catalog::plan` does).

use super::constraints::primary_keys;
use super::metadata::columns;
use super::rows::rows;
use crate::catalog::{Actual, ActualColumn, ActualIndex, TableName, quote_text};
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::LOCK_COLUMN;

/// The table or view `name` as it is, or nothing when there is none. Names are matched without case.
pub fn actual_table(connection: &Connection, name: &TableName) -> Result<Option<Actual>> {
    let catalog = connection.database().catalog().to_owned();
    let place = |schema: &str, table: &str| {
        format!(
            "database_name = {} AND lower(schema_name) = lower({}) AND lower({table}) = lower({})",
            quote_text(&catalog),
            quote_text(schema),
            quote_text(&name.table)
        )
    };
    let schema = name.schema.as_deref().unwrap_or("main");
    let sql = format!(
        "SELECT schema_name, table_name, comment, 0::BIGINT FROM duckdb_tables() WHERE NOT temporary AND {} \
         UNION ALL \
         SELECT schema_name, view_name, comment, 1::BIGINT FROM duckdb_views() WHERE NOT temporary AND {}",
        place(schema, "table_name"),
        place(schema, "view_name")
    );
    let found = rows(connection, &sql, |row| {
        let name =
            TableName { catalog: Some(catalog.clone()), schema: Some(row.text(0)), table: row.text(1) };
        (name, row.text_or_none(2), row.long(3) == 1)
    })?;
    let Some((name, comment, is_view)) = found.into_iter().next() else { return Ok(None) };
    let stored_schema = name.schema.clone().unwrap_or_default();
    let here = format!(
        "database_name = {} AND schema_name = {} AND table_name = {}",
        quote_text(&catalog),
        quote_text(&stored_schema),
        quote_text(&name.table)
    );
    let columns = columns(connection, &name)?
        .into_iter()
        .filter(|column| column.name != LOCK_COLUMN)
        .map(|column| ActualColumn {
            name: column.name,
            duckdb_type: column.duckdb_type,
            nullable: column.nullable,
            default: column.default,
            comment: column.comment,
            is_generated: column.is_generated,
        })
        .collect();
    let primary_key = primary_keys(connection, Some(&catalog), Some(&stored_schema), &name.table)?
        .into_iter()
        .map(|part| part.column)
        .collect();
    let constraints = format!(
        "SELECT constraint_text FROM duckdb_constraints() \
         WHERE constraint_type IN ('UNIQUE', 'CHECK', 'FOREIGN KEY') AND {here} ORDER BY constraint_index"
    );
    let referenced_by = format!(
        "SELECT DISTINCT table_name FROM duckdb_constraints() \
         WHERE constraint_type = 'FOREIGN KEY' AND database_name = {} AND schema_name = {} \
               AND lower(referenced_table) = lower({}) ORDER BY 1",
        quote_text(&catalog),
        quote_text(&stored_schema),
        quote_text(&name.table)
    );
    let count = if is_view {
        0
    } else {
        rows(connection, &format!("SELECT count(*) FROM {}", name.to_sql()), |row| row.long(0))?[0]
    };
    Ok(Some(Actual {
        is_view,
        comment,
        columns,
        primary_key,
        indexes: indexes(connection, &here)?,
        constraints: rows(connection, &constraints, |row| row.text(0))?,
        referenced_by: rows(connection, &referenced_by, |row| row.text(0))?,
        declared_before: Vec::new(),
        rows: u64::try_from(count).unwrap_or(0),
        name,
    }))
}

fn indexes(connection: &Connection, here: &str) -> Result<Vec<ActualIndex>> {
    // The engine prints the list of what is indexed as text; cast back, its parts are SQL.
    let sql = format!(
        "SELECT index_name, is_unique::BIGINT, unnest(expressions::VARCHAR[]) \
         FROM (FROM duckdb_indexes() WHERE {here} AND NOT is_primary ORDER BY index_oid)"
    );
    let mut indexes: Vec<ActualIndex> = Vec::new();
    for (name, is_unique, expression) in
        rows(connection, &sql, |row| (row.text(0), row.long(1) == 1, row.text(2)))?
    {
        match indexes.last_mut().filter(|last| last.name == name) {
            Some(last) => last.expressions.push(expression),
            None => indexes.push(ActualIndex { name, expressions: vec![expression], is_unique }),
        }
    }
    Ok(indexes)
}
