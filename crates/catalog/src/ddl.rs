//! Columns -> CREATE TABLE and INSERT text.
//! Runs on: any thread. Never: executes; decides types (the engine's importer names them).

use std::collections::HashSet;

use arrow::datatypes::{DataType, Schema};

use super::{Declaration, DeclaredField, Placed, Table, TableName, quote_name, quote_text};
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

/// What a CREATE TABLE does about a table of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfThere {
    /// It fails.
    Refuse,
    /// It drops the old one.
    Replace,
}

/// CREATE TABLE text for columns of `schema` whose DuckDB types are `types`, in order.
///
/// A field that is not nullable becomes NOT NULL; a table in the catalog `temp` is a temporary one. A type that is
/// open stays so, until [`settle_columns`].
pub fn create_table(name: &TableName, schema: &Schema, types: &[String], if_there: IfThere) -> String {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .zip(types)
        .map(|(field, duckdb_type)| {
            // A union has no NULLs of its own, so writers say nothing about it, or that there are none: its members have.
            let is_union = matches!(field.data_type(), DataType::Union(..));
            let rule = if field.is_nullable() || is_union { "" } else { " NOT NULL" };
            format!("{} {duckdb_type}{rule}", quote_name(field.name()))
        })
        .collect();
    let or_replace = if if_there == IfThere::Replace { "OR REPLACE " } else { "" };
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
///
/// It names the key. Without, every UNIQUE column counts as well, and the engine (2.0.0) takes rows with NULL in such a
/// column for equal and drops them.
pub fn ignore_conflict(key: &[String]) -> String {
    let key: Vec<String> = key.iter().map(|name| quote_name(name)).collect();
    format!(" WHERE true ON CONFLICT ({}) DO NOTHING", key.join(", "))
}

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
        return ignore_conflict(key);
    }
    let key: Vec<String> = key.iter().map(|name| quote_name(name)).collect();
    format!(" WHERE true ON CONFLICT ({}) DO UPDATE SET {}", key.join(", "), set.join(", "))
}

/// Keeps the last of the rows with one key, of rows numbered by [`ROW`].
pub fn last_of_key(columns: &[Placed], key: &[String]) -> String {
    let is_key = |column: &&Placed| key.iter().any(|key| key.eq_ignore_ascii_case(&column.target));
    let values: Vec<String> = columns.iter().filter(is_key).map(|column| column.value_or_null("")).collect();
    let partition =
        if values.is_empty() { String::new() } else { format!("PARTITION BY {} ", values.join(", ")) };
    format!("QUALIFY row_number() OVER ({partition}ORDER BY {ROW} DESC) = 1")
}

/// Adds columns that a producer brings; they are nullable.
pub fn add_columns(name: &TableName, added: &[(String, String)]) -> Vec<String> {
    let add = |(column, duckdb_type): &(String, String)| {
        format!("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {duckdb_type}", name.to_sql(), quote_name(column))
    };
    added.iter().map(add).collect()
}

/// Gives open columns the types that a stream brings. What is in them are NULLs and empty lists.
pub fn settle_columns(name: &TableName, settled: &[(String, String)]) -> Vec<String> {
    let settle = |(column, duckdb_type): &(String, String)| {
        let column = quote_name(column);
        format!("ALTER TABLE {} ALTER COLUMN {column} SET DATA TYPE {duckdb_type}", name.to_sql())
    };
    settled.iter().map(settle).collect()
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

/// Every statement that makes a declared table as `table`, in order: the table with its key, rules and defaults,
/// the comments, and an index for each `is_indexed` field.
pub fn declared_create(declaration: &Declaration, table: &TableName) -> Vec<String> {
    let mut statements = vec![declared_table(declaration, table, &[])];
    statements.extend(comments(declaration, table));
    let indexed = declaration.fields.iter().filter(|field| needs_index(declaration, field));
    statements.extend(indexed.map(|field| create_index(table, &field.name)));
    statements
}

/// CREATE TABLE for a declaration, with `further` column definitions after the declared ones.
pub(super) fn declared_table(declaration: &Declaration, table: &TableName, further: &[String]) -> String {
    let mut parts: Vec<String> = declaration.fields.iter().map(column_definition).collect();
    parts.extend(further.iter().cloned());
    if !declaration.primary_key.is_empty() {
        let columns: Vec<String> = declaration.primary_key.iter().map(|column| quote_name(column)).collect();
        parts.push(format!("PRIMARY KEY ({})", columns.join(", ")));
    }
    format!("CREATE TABLE {} ({})", table.to_sql(), parts.join(", "))
}

/// `"name" TYPE NOT NULL DEFAULT …`, as CREATE TABLE and ADD COLUMN take it.
pub(super) fn column_definition(field: &DeclaredField) -> String {
    let rule = if field.nullable { "" } else { " NOT NULL" };
    let default = field.default.as_ref().map_or(String::new(), |literal| format!(" DEFAULT {literal}"));
    format!("{} {}{rule}{default}", quote_name(&field.name), field.data_type.duckdb)
}

/// COMMENT ON statements for everything that has a description.
pub(super) fn comments(declaration: &Declaration, table: &TableName) -> Vec<String> {
    let of_table = declaration.description.as_deref().map(|words| comment_on_table(table, Some(words)));
    let of_columns = declaration.fields.iter().filter_map(|field| {
        field.description.as_deref().map(|words| comment_on_column(table, &field.name, Some(words)))
    });
    of_table.into_iter().chain(of_columns).collect()
}

pub(super) fn comment_on_table(table: &TableName, words: Option<&str>) -> String {
    format!("COMMENT ON TABLE {} IS {}", table.to_sql(), text_or_null(words))
}

pub(super) fn comment_on_column(table: &TableName, column: &str, words: Option<&str>) -> String {
    format!("COMMENT ON COLUMN {}.{} IS {}", table.to_sql(), quote_name(column), text_or_null(words))
}

fn text_or_null(words: Option<&str>) -> String {
    words.map_or_else(|| "NULL".to_owned(), quote_text)
}

/// Whether the field asks for an index that the primary key does not give already.
pub(super) fn needs_index(declaration: &Declaration, field: &DeclaredField) -> bool {
    field.is_indexed && declaration.primary_key != [field.name.as_str()]
}

/// The name of the index on one column of a declared table.
pub fn index_name(table: &str, column: &str) -> String {
    format!("{table}_{column}_index")
}

pub(super) fn create_index(table: &TableName, column: &str) -> String {
    let index = quote_name(&index_name(&table.table, column));
    format!("CREATE INDEX {index} ON {} ({})", table.to_sql(), quote_name(column))
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
        let text = create_table(&table(), &schema, &["BIGINT".into(), "\"NULL\"".into()], IfThere::Replace);
        assert_eq!(text, "CREATE OR REPLACE TABLE \"t\" (\"a b\" BIGINT NOT NULL, \"c\" \"NULL\")");
    }
}
