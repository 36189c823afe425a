//! The table that a load goes into, as it is before the load.
//! Runs on: the task of the command. Never: changes it, except where a flag asks for columns.

use pintail_protocol::extension;
use std::sync::Arc;

use crate::catalog::{TableName, from_arrow, quote_name, quote_text, rejected_name};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::TryStreamExt;
use pintail_protocol::{action, header};

use super::known::number;

/// The table's state at the beginning.
pub(super) struct Target {
    /// Its columns; `None` when the load makes it.
    pub(super) schema: Option<SchemaRef>,
    /// Whether a declaration decides what it takes.
    pub(super) is_declared: bool,
    /// Whether it is there and holds nothing, so that what was loaded before is gone.
    pub(super) is_empty: bool,
    /// Whether rows of one part can collide with those of another: two transactions that are open at the same time may
    /// not bring the same key, not even where one after the other would be ignored or replaced.
    pub(super) has_unique_rows: bool,
}

impl Target {
    /// The table as it is, or as one that is made anew when `is_new`.
    pub(super) async fn of(client: &mut Client, table: &TableName, is_new: bool) -> Result<Self> {
        let headers = [(header::EXTENSION_TYPES, "on".to_owned())];
        let is_declared = is_declared(client, table).await?;
        let sql = format!("SELECT * FROM {} LIMIT 0", table.to_sql());
        let schema = match client.query(&sql, &headers).await {
            Ok(rows) => {
                let schema = Arc::clone(&rows.schema);
                rows.batches.try_for_each(|_| std::future::ready(Ok(()))).await?;
                Some(with_booleans(&schema))
            }
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(schema) = schema.filter(|_| !is_new || is_declared) else {
            return Ok(Self { schema: None, is_declared, is_empty: false, has_unique_rows: false });
        };
        let is_empty = is_empty(client, table).await?;
        let has_unique_rows = has_unique_rows(client, table).await?;
        Ok(Self { schema: Some(schema), is_declared, is_empty, has_unique_rows })
    }
}

/// Whether a table holds nothing, or is not there.
pub(super) async fn is_empty(client: &mut Client, table: &TableName) -> Result<bool> {
    let sql = format!("SELECT 1::BIGINT FROM {} LIMIT 1", table.to_sql());
    // A table of which all rows were rejected has been loaded all the same.
    let rejected = format!("SELECT 1::BIGINT FROM {} LIMIT 1", rejected_name(table).to_sql());
    Ok(number(client, &sql).await?.is_none() && number(client, &rejected).await?.is_none())
}

/// The table's columns with Arrow's own booleans, which is what files hold.
fn with_booleans(schema: &SchemaRef) -> SchemaRef {
    let fields =
        schema.fields().iter().map(|field| match field.metadata().get(extension::NAME).map(String::as_str) {
            Some("arrow.bool8") => Arc::new(Field::new(field.name(), DataType::Boolean, field.is_nullable())),
            _ => Arc::clone(field),
        });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

async fn is_declared(client: &mut Client, table: &TableName) -> Result<bool> {
    let answer = client.action(action::SCHEMAS).await?;
    let wanted = (table.schema.as_deref().unwrap_or("main").to_lowercase(), table.table.to_lowercase());
    let tables = answer["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(tables.iter().any(|declared| {
        let part = |name: &str| declared[name].as_str().unwrap_or_default().to_lowercase();
        let schema = Some(part("schema")).filter(|schema| !schema.is_empty());
        (schema.unwrap_or_else(|| "main".to_owned()), part("name")) == wanted
    }))
}

pub(super) async fn has_unique_rows(client: &mut Client, table: &TableName) -> Result<bool> {
    let of = |names: &str| {
        let schema = table.schema.as_deref().unwrap_or("main");
        format!(
            "FROM {names}() WHERE lower(table_name) = lower({}) AND lower(schema_name) = lower({})",
            quote_text(&table.table),
            quote_text(schema)
        )
    };
    let sql = format!(
        "SELECT ((SELECT count(*) {} AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')) \
         + (SELECT count(*) {} AND is_unique))::BIGINT",
        of("duckdb_constraints"),
        of("duckdb_indexes")
    );
    Ok(number(client, &sql).await?.is_none_or(|count| count > 0))
}

/// Adds columns to the table, and gives columns wider types.
pub(super) async fn change_columns(
    client: &mut Client,
    table: &TableName,
    added: &[FieldRef],
    widened: &[FieldRef],
) -> Result<()> {
    let alter = |field: &Field, action: &str, word: &str| {
        let name = quote_name(field.name());
        let kind = from_arrow(field)
            .map_err(|why| Error::invalid(format!("column \"{}\": {why}", field.name())))?
            .duckdb;
        Ok::<String, Error>(format!("ALTER TABLE {} {action} {name} {word}{kind}", table.to_sql()))
    };
    let added = added.iter().map(|field| alter(field, "ADD COLUMN", ""));
    let widened = widened.iter().map(|field| alter(field, "ALTER COLUMN", "TYPE "));
    let statements = added.chain(widened).collect::<Result<Vec<_>>>()?;
    for sql in statements {
        let rows = client.query(&sql, &[]).await.map_err(|error| error.context(&sql))?;
        rows.batches.try_for_each(|_| std::future::ready(Ok(()))).await?;
    }
    Ok(())
}
