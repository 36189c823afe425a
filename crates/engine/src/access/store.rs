//! Grants as the database keeps them: one row for each user and table or schema.
//! Runs on: the thread of the connection; blocks.
//! Never: keeps two rows for the same.

use crate::catalog::quote_text;
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::{INTERNAL_SCHEMA, own_name};
use crate::introspect::rows;
use crate::ledgers::create_own;

/// A grant as it is kept; what the texts mean is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGrant {
    /// Who has it.
    pub user: String,
    /// `schema.table`, `schema.*` or `*`.
    pub tables: String,
    /// `read,ingest`.
    pub rights: String,
    /// The condition; empty for none.
    pub filter: String,
    /// Column names, as a JSON array.
    pub hide: String,
}

const COLUMNS: [(&str, &str); 5] = [
    ("user_name", "VARCHAR"),
    ("tables", "VARCHAR"),
    ("rights", "VARCHAR"),
    ("filter", "VARCHAR"),
    ("hide", "VARCHAR"),
];

fn table(connection: &Connection) -> String {
    own_name(connection.database().catalog(), "grants").to_sql()
}

/// Makes the table of grants, unless it is there.
pub fn create_grants(connection: &Connection) -> Result<()> {
    create_own(connection, &own_name(connection.database().catalog(), "grants"), &COLUMNS)
}

/// Every grant; none when there is no table of them yet.
pub fn read_grants(connection: &Connection) -> Result<Vec<StoredGrant>> {
    let there = format!(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = {} AND schema_name = '{INTERNAL_SCHEMA}' \
         AND table_name = 'grants'",
        quote_text(connection.database().catalog())
    );
    if rows(connection, &there, |row| row.text(0))?.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT user_name, tables, rights, filter, hide FROM {} ORDER BY 1, 2", table(connection));
    rows(connection, &sql, |row| StoredGrant {
        user: row.text(0),
        tables: row.text(1),
        rights: row.text(2),
        filter: row.text(3),
        hide: row.text(4),
    })
}

/// Keeps a grant in the place of the one that the user has on the same. In a transaction of its own.
pub fn keep_grant(connection: &mut Connection, grant: &StoredGrant) -> Result<()> {
    create_grants(connection)?;
    let StoredGrant { user, tables, rights, filter, hide } = grant;
    let values = [user, tables, rights, filter, hide].map(|text| quote_text(text)).join(", ");
    let insert = format!(
        "INSERT INTO {} (\"at\", user_name, tables, rights, filter, hide) SELECT now()::TIMESTAMP, {values}",
        table(connection)
    );
    connection.begin()?;
    {
        let _turn = connection.deletes();
        remove(connection, user, tables)?;
        connection.execute(&insert)?;
    }
    connection.commit()
}

/// Forgets what a user was granted on something; `false` when that was nothing.
pub fn forget_grant(connection: &mut Connection, user: &str, tables: &str) -> Result<bool> {
    create_grants(connection)?;
    connection.begin()?;
    let removed = {
        let _turn = connection.deletes();
        remove(connection, user, tables)?
    };
    connection.commit()?;
    Ok(removed > 0)
}

fn remove(connection: &Connection, user: &str, tables: &str) -> Result<u64> {
    connection.execute(&format!(
        "DELETE FROM {} WHERE user_name = {} AND tables = {}",
        table(connection),
        quote_text(user),
        quote_text(tables)
    ))
}
