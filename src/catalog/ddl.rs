//! Columns -> CREATE TABLE and INSERT text.
//! Runs on: any thread. Never: executes; decides types (the engine's importer names them).

use std::collections::HashSet;

use arrow::datatypes::Schema;

use super::{Placed, Table, TableName, quote_name};
use crate::error::{Error, Result};

/// Checks that a table can be made from `schema`, naming what is wrong.
pub fn check_new_table(name: &TableName, schema: &Schema) -> Result<()> {
    if schema.fields().is_empty() {
        return Err(Error::invalid(format!(
            "table {name}: the stream has no columns; a table needs at least one"
        )));
    }
    let mut seen = HashSet::new();
    for field in schema.fields() {
        if field.name().is_empty() {
            return Err(Error::invalid(format!("table {name}: a column has no name")));
        }
        // SQL compares names without case, so "A" beside "a" could not be told apart.
        if !seen.insert(field.name().to_lowercase()) {
            return Err(Error::invalid(format!(
                "table {name}: column \"{}\" is there twice; names must differ by more than case",
                field.name()
            )));
        }
    }
    Ok(())
}

/// CREATE TABLE text for columns of `schema` whose DuckDB types are `types`, in order.
///
/// A field that is not nullable becomes NOT NULL; a table in the catalog `temp` is a temporary one.
pub fn create_table(name: &TableName, schema: &Schema, types: &[String], replace: bool) -> String {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .zip(types)
        .map(|(field, duckdb_type)| {
            // An Arrow null column says nothing about its type; INTEGER is what CREATE TABLE AS takes.
            let duckdb_type = if duckdb_type == "\"NULL\"" { "INTEGER" } else { duckdb_type };
            let rule = if field.is_nullable() { "" } else { " NOT NULL" };
            format!("{} {duckdb_type}{rule}", quote_name(field.name()))
        })
        .collect();
    let or_replace = if replace { "OR REPLACE " } else { "" };
    let temporary = if name.catalog.as_deref() == Some("temp") { "TEMPORARY " } else { "" };
    format!("CREATE {or_replace}{temporary}TABLE {} ({})", name.to_sql(), columns.join(", "))
}

/// The INSERT up to the source of its rows: `INSERT INTO t (columns) SELECT expressions FROM `.
pub fn insert_head(name: &TableName, columns: &[Placed]) -> String {
    let targets: Vec<String> = columns.iter().map(|column| quote_name(&column.target)).collect();
    let values: Vec<String> = columns.iter().map(Placed::value).collect();
    format!("INSERT INTO {} ({}) SELECT {} FROM ", name.to_sql(), targets.join(", "), values.join(", "))
}

/// Name of the column that numbers the rows of a stream inside a statement, from 1, as SQL.
pub const ROW: &str = "\"pintail row\"";

/// What follows the rows of an INSERT that leaves a row with a known key as it is.
pub const IGNORE_CONFLICT: &str = " WHERE true ON CONFLICT DO NOTHING";

/// What follows the rows of an INSERT that takes the new row in place of the one with its key.
///
/// Columns that the stream does not bring get their default or NULL: the whole row is the new one.
pub fn replace_conflict(table: &Table, key: &[String]) -> String {
    let is_key = |name: &str| key.iter().any(|key| key.eq_ignore_ascii_case(name));
    let set: Vec<String> = table
        .columns
        .iter()
        .filter(|column| !column.is_generated && !is_key(&column.name))
        .map(|column| format!("{0} = excluded.{0}", quote_name(&column.name)))
        .collect();
    if set.is_empty() {
        return IGNORE_CONFLICT.to_owned();
    }
    let key: Vec<String> = key.iter().map(|name| quote_name(name)).collect();
    format!(" WHERE true ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
}

/// Keeps the last of the rows with one key, of rows numbered by [`ROW`].
pub fn last_of_key(columns: &[Placed], key: &[String]) -> String {
    let is_key = |column: &&Placed| key.iter().any(|key| key.eq_ignore_ascii_case(&column.target));
    let values: Vec<String> = columns.iter().filter(is_key).map(Placed::value_or_null).collect();
    let partition =
        if values.is_empty() { String::new() } else { format!("PARTITION BY {} ", values.join(", ")) };
    format!("QUALIFY row_number() OVER ({partition}ORDER BY {ROW} DESC) = 1")
}

/// Makes a declared table.
pub fn declared_create(declared: &super::Declaration, name: &TableName) -> Vec<String> {
    let mut parts: Vec<String> = declared
        .fields
        .iter()
        .map(|field| {
            let rule = if declared.is_required(&field.name) { " NOT NULL" } else { "" };
            let default =
                field.default.as_ref().map_or(String::new(), |default| format!(" DEFAULT {default}"));
            format!("{} {}{rule}{default}", quote_name(&field.name), field.data_type.duckdb)
        })
        .collect();
    if !declared.primary_key.is_empty() {
        let key: Vec<String> = declared.primary_key.iter().map(|name| quote_name(name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    vec![format!("CREATE TABLE {} ({})", name.to_sql(), parts.join(", "))]
}

/// Adds columns that a producer brings; they are nullable.
pub fn add_columns(name: &TableName, added: &[(String, String)]) -> Vec<String> {
    let add = |(column, duckdb_type): &(String, String)| {
        format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {duckdb_type}", name.to_sql(), quote_name(column))
    };
    added.iter().map(add).collect()
}

/// The table that takes the rejected rows of `name`.
pub fn rejected_name(name: &TableName) -> TableName {
    TableName { table: format!("{}__rejected", name.table), ..name.clone() }
}

/// Makes that table, if it is not there.
pub fn create_rejected(name: &TableName) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (rejected_at TIMESTAMP, row_number BIGINT, reason VARCHAR, \
         producer VARCHAR, \"row\" JSON)",
        rejected_name(name).to_sql()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
    }

    fn table() -> TableName {
        TableName::from_text("t").unwrap()
    }

    #[test]
    fn a_table_needs_named_distinct_columns() {
        check_new_table(&table(), &schema(&["a", "b"])).unwrap();
        for (names, part) in
            [(&[][..], "no columns"), (&["a", "A"], "\"A\" is there twice"), (&[""], "no name")]
        {
            let message = check_new_table(&table(), &schema(names)).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("table t"), "{message}");
        }
    }

    #[test]
    fn create_text_keeps_nullability_and_quotes_names() {
        let schema = Schema::new(vec![
            Field::new("a b", DataType::Int64, false),
            Field::new("c", DataType::Null, true),
        ]);
        let text = create_table(&table(), &schema, &["BIGINT".into(), "\"NULL\"".into()], true);
        assert_eq!(text, "CREATE OR REPLACE TABLE \"t\" (\"a b\" BIGINT NOT NULL, \"c\" INTEGER)");
    }
}
