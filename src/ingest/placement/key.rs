//! The primary key of a table that a put goes by.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: takes columns for a key that the engine would compare in another way.

use arrow::datatypes::{DataType, SchemaRef};
use pintail_protocol::header::ON_CONFLICT;

use crate::catalog::{Column, Table, TableName};
use crate::engine::{self, BulkInsert, Connection};
use crate::error::{Error, Result};

pub(in crate::ingest) fn key_of(connection: &Connection, table: &TableName) -> Result<Vec<String>> {
    let schema = table.schema.as_deref().unwrap_or("main");
    let columns = engine::primary_keys(connection, table.catalog.as_deref(), Some(schema), &table.table)?;
    Ok(columns.into_iter().map(|column| column.column).collect())
}

pub(super) fn no_key(shown: &str) -> Error {
    Error::invalid(format!(
        "table {shown} has no primary key, so {ON_CONFLICT} ignore and replace have nothing to go by; \
         declare a primary_key or leave the header out"
    ))
}

/// Name and type of the columns that an INSERT gives values for, in its order; empty when one is not in the table.
pub(super) fn columns_named(bulk: &BulkInsert, table: &Table) -> Vec<(String, String)> {
    let columns = table.columns.iter().filter(|column| !column.is_generated);
    let pair = |column: &Column| (column.name.clone(), column.duckdb_type.clone());
    match &bulk.columns {
        None => columns.map(pair).collect(),
        Some(names) => {
            let find = |name: &String| columns.clone().find(|one| one.name.eq_ignore_ascii_case(name));
            names.iter().map(|name| find(name).map(pair)).collect::<Option<Vec<_>>>().unwrap_or_default()
        }
    }
}

/// Which columns of the stream are the key of an upsert; `None` unless two of its keys are the same in the table just when
/// they are the same in the stream.
pub(super) fn key_columns(
    bulk: &BulkInsert,
    key: &[String],
    table: &Table,
    schema: &SchemaRef,
    connection: &Connection,
) -> Result<Option<Vec<usize>>> {
    let only;
    let key = if key.is_empty() {
        let Some(actual) = engine::actual_table(connection, &table.name)? else { return Ok(None) };
        let has_others = actual.indexes.iter().any(|index| index.is_unique)
            || actual.constraints.iter().any(|text| text.to_uppercase().contains("UNIQUE"));
        if actual.primary_key.is_empty() || has_others {
            return Ok(None);
        }
        only = actual.primary_key;
        &only
    } else {
        key
    };
    let columns = columns_named(bulk, table);
    let one = |name: &String| {
        let place = columns.iter().position(|(column, _)| column.eq_ignore_ascii_case(name))?;
        let parameter = bulk.values.get(place)?.1?;
        let sent = schema.fields().get(parameter)?.data_type();
        let is_same = match columns[place].1.as_str() {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT" | "USMALLINT"
            | "UINTEGER" | "UBIGINT" => sent.is_integer(),
            "VARCHAR" => sent == &DataType::Utf8 || sent.is_integer(),
            "DATE" => sent == &DataType::Date32,
            _ => false,
        };
        is_same.then_some(parameter)
    };
    Ok(key.iter().map(one).collect())
}
