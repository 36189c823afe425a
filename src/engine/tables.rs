//! The database's own catalog -> what the columns of a table look like.
//! Runs on: the thread of the session; blocks for a catalog query.
//! Never: reads table rows.

use arrow::array::RecordBatch;
use duckdb::description::TableDescription;
use duckdb::qualified_name::QualifiedName;

use super::cursor::Cursor;
use super::session::Session;
use super::statement::parse;
use crate::catalog::{Column, Table, TableName};
use crate::error::{Error, Kind, Result};

/// The columns of `name`, or `None` when there is no such table.
///
/// Errors: `Conflict` when the name is a view, which cannot take rows.
pub fn find_table(session: &Session, name: &TableName) -> Result<Option<Table>> {
    let read = || {
        let parts: Vec<&str> = name.parts().collect();
        let description = TableDescription::new(session.connection(), &QualifiedName::from_parts(&parts)?)?;
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
            let is_view = error.message.contains("is not a");
            let error = session.database().note(error);
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

/// Runs a small catalog query and collects it.
pub(super) fn query(session: &Session, sql: &str) -> Result<Vec<RecordBatch>> {
    let statement = parse(session, sql)?;
    let schema = statement.describe(session)?.schema;
    let mut cursor = Cursor::open(session, &statement, &schema, 1 << 20, None)?;
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    Ok(batches)
}
