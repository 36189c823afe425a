//! The database's own catalog -> what the columns of a table look like, and the schema that reading it gives.
//! Runs on: the thread of the connection; blocks for a catalog query.
//! Never: reads table rows.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use duckdb::description::TableDescription;
use duckdb::qualified_name::QualifiedName;

use super::metadata::TableEntry;
use crate::catalog::{Column, Table, TableName};
use crate::connection::Connection;
use crate::duckdb_error::is_no_table;
use crate::error::{Error, Kind, Result};
use crate::read::{arrow_schema, describe};

/// The columns of `name`, or `None` when there is no such table.
///
/// Errors: `Conflict` when the name is a view, which cannot take rows.
pub fn find_table(connection: &Connection, name: &TableName) -> Result<Option<Table>> {
    let read = || {
        let parts: Vec<&str> = name.parts().collect();
        let description =
            TableDescription::new(connection.duckdb_for_binding(), &QualifiedName::from_parts(&parts)?)?;
        let mut columns = Vec::new();
        for column in description.columns()? {
            columns.push(Column {
                name: column.name()?.to_owned(),
                duckdb_type: column.logical_type()?.to_text()?,
                has_default: column.has_default()?,
                is_generated: column.has_generated()?,
            });
        }
        duckdb::Result::Ok(columns)
    };
    match read() {
        Ok(columns) => Ok(Some(Table { name: name.clone(), columns })),
        Err(error) => {
            let is_view = is_no_table(&error);
            let error = connection.database().note(error);
            match error.kind() {
                Kind::NotFound => Ok(None),
                _ if is_view => Err(Error::new(
                    Kind::Conflict,
                    format!("{name} is a view; rows can only be put into a table"),
                )),
                _ => Err(error),
            }
        }
    }
}

/// The schema of `SELECT * FROM entry`. What the engine knows of a table is there without a statement, which takes longer to
/// read than to bind.
///
/// Errors: as [`describe`].
pub fn table_schema(connection: &Connection, entry: &TableEntry) -> Result<SchemaRef> {
    let read = || {
        let parts: Vec<&str> = entry.path.iter().map(String::as_str).collect();
        let description =
            TableDescription::new(connection.duckdb_for_binding(), &QualifiedName::from_parts(&parts)?)?;
        let columns = description.columns()?;
        columns
            .iter()
            .map(|column| Ok((column.name()?.to_owned(), column.logical_type()?)))
            .collect::<duckdb::Result<Vec<_>>>()
    };
    // Of a client that is held to grants some columns may be hidden: its statement is what says so.
    let columns = if connection.access().is_none() { read().ok() } else { None };
    match columns {
        Some(columns) => arrow_schema(connection, columns).map(Arc::new),
        // A view, too, or a table in a schema that is inside another one.
        None => describe(connection, &format!("SELECT * FROM {}", entry.to_sql()))
            .map(|described| described.schema),
    }
}
