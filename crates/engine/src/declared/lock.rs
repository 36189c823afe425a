//! Tables that nobody else writes to until a transaction ends.

use crate::catalog::TableName;
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::LOCK_COLUMN;
use crate::read::query;

/// Keeps every other writer out of a table until the open transaction ends.
pub(crate) fn lock_table(connection: &Connection, table: &TableName) -> Result<()> {
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
