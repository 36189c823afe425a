//! The database's own catalog -> what the columns of a table look like.
//! Runs on: the thread of the connection; blocks for a catalog query.
//! Never: reads table rows.

use arrow::array::RecordBatch;
use duckdb::description::TableDescription;
use duckdb::qualified_name::QualifiedName;

use super::connection::Connection;
use super::cursor::Cursor;
use super::duckdb_error::is_no_table;
use super::statement::parse_own;
use crate::catalog::{Column, Table, TableName};
use crate::error::{Error, Kind, Result};

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

/// A column that a table has only inside a transaction that keeps every other writer out of it.
///
/// The engine lets a DROP TABLE pass over rows that its snapshot does not see. A table that is altered takes no rows from
/// others, not even from transactions under way, so the first statement of such a transaction alters the table; and what
/// was committed between its snapshot and that statement is found in a later snapshot.
pub(super) const LOCK_COLUMN: &str = "__pintail_lock";

/// Keeps every other writer out of a table until the open transaction ends.
pub(super) fn lock_table(connection: &Connection, table: &TableName) -> Result<()> {
    let table = table.to_sql();
    connection.execute(&format!("ALTER TABLE {table} ADD COLUMN \"{LOCK_COLUMN}\" BOOLEAN")).map(|_| ())
}

/// Drops a table if there is no row in it, committed or about to be; whether it did. Writers that are at work on an empty
/// table hear that it was dropped.
///
/// Errors: `Aborted` when another transaction changes the table, which then stays.
pub fn drop_if_empty(connection: &mut Connection, table: &TableName) -> Result<bool> {
    let name = table.to_sql();
    connection.begin()?;
    let dropped = {
        let _turn = connection.reshapes();
        let is_empty = |connection: &Connection| -> Result<bool> {
            let rows = query(connection, &format!("SELECT 1 FROM {name} LIMIT 1"))?;
            Ok(rows.iter().all(|batch| batch.num_rows() == 0))
        };
        lock_table(connection, table).and_then(|()| {
            let later = connection.database().connection()?;
            if !is_empty(connection)? || !is_empty(&later)? {
                return Ok(false);
            }
            connection.execute(&format!("DROP TABLE {name}")).map(|_| true)
        })
    };
    match dropped {
        Ok(true) => connection.commit().map(|()| true),
        Ok(false) => connection.rollback().map(|()| false),
        Err(error) => {
            // The first error is the one to report.
            let _ = connection.rollback();
            Err(error)
        }
    }
}

/// Runs a small query of the server's own and collects it.
pub(super) fn query(connection: &Connection, sql: &str) -> Result<Vec<RecordBatch>> {
    let statement = parse_own(connection, sql)?;
    let schema = statement.describe(connection)?.schema;
    let mut cursor = Cursor::open(connection, &statement, &schema, 1 << 20, None)?;
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    Ok(batches)
}
