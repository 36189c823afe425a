//! Names of the server's own: its schema, and what it adds to tables of others.

use crate::catalog::TableName;

/// Schema of the server's own tables, which no listing shows.
pub const INTERNAL_SCHEMA: &str = "pintail_internal";

/// The table of what is remembered of files.
pub(crate) const LOAD_LEDGER: &str = "load_ledger";

/// Tables of users and tokens. Their names are refused wherever they stand in a statement.
pub(crate) const IDENTITY_TABLES: [&str; 2] = ["pintail_users", "pintail_tokens"];

/// A column that a table has only inside a transaction that keeps every other writer out of it.
///
/// The engine lets a DROP TABLE pass over rows that its snapshot does not see. A table that is altered takes no rows from
/// others, not even from transactions under way, so the first statement of such a transaction alters the table; and what
/// was committed between its snapshot and that statement is found in a later snapshot.
pub(crate) const LOCK_COLUMN: &str = "__pintail_lock";

/// The full name of one of the server's own tables in the database `catalog`.
pub(crate) fn own_name(catalog: &str, table: &str) -> TableName {
    TableName { catalog: Some(catalog.to_owned()), schema: Some(INTERNAL_SCHEMA.into()), table: table.into() }
}
