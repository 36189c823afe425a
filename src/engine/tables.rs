//! The database's own catalog -> what tables there are and what their columns look like.
//! Runs on: the thread of the session; blocks for a catalog query.
//! Never: reads table rows.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use duckdb::description::TableDescription;
use duckdb::qualified_name::QualifiedName;

use super::cursor::Cursor;
use super::session::Session;
use super::statement::parse_own;
use crate::catalog::{Column, Table, TableName};
use crate::error::{Error, Kind, Result};

/// A table as `ListFlights` and `pintail tables` show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    /// Full name.
    pub name: TableName,
    /// `BASE TABLE` or `VIEW`.
    pub table_type: String,
    /// Rows as the engine estimates them; exact for tables without deletes. `None` for views.
    pub rows: Option<u64>,
    /// Number of columns.
    pub columns: u64,
}

/// All user tables and views, by name.
pub fn list_tables(session: &Session) -> Result<Vec<TableInfo>> {
    let sql = "SELECT database_name, schema_name, table_name, 'BASE TABLE' AS kind, estimated_size::BIGINT, \
                      column_count::BIGINT \
               FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND schema_name <> 'pintail_internal' \
               UNION ALL \
               SELECT database_name, schema_name, view_name, 'VIEW', NULL::BIGINT, column_count::BIGINT \
               FROM duckdb_views() WHERE NOT internal AND NOT temporary \
               ORDER BY ALL";
    let mut tables = Vec::new();
    for batch in query(session, sql)? {
        let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
        let rows = batch.column(4).as_primitive::<Int64Type>();
        let columns = batch.column(5).as_primitive::<Int64Type>();
        for row in 0..batch.num_rows() {
            tables.push(TableInfo {
                name: TableName {
                    catalog: Some(text(0, row)),
                    schema: Some(text(1, row)),
                    table: text(2, row),
                },
                table_type: text(3, row),
                rows: (!rows.is_null(row)).then(|| rows.value(row).max(0) as u64),
                columns: columns.value(row).max(0) as u64,
            });
        }
    }
    Ok(tables)
}

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

/// Runs a small query of the server's own and collects it.
pub(super) fn query(session: &Session, sql: &str) -> Result<Vec<RecordBatch>> {
    let statement = parse_own(session, sql)?;
    let schema = statement.describe(session)?.schema;
    let mut cursor = Cursor::open(session, &statement, &schema, 1 << 20, None)?;
    let mut batches = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    Ok(batches)
}
