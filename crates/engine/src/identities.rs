//! The tables of users and API tokens: read at start, changed one row at a time.
//! Runs on: the thread of the connection; blocks.
//! Never: holds a password or a token, only what they can be checked against; lets SQL see them (`sql::surface`).

use crate::catalog::{quote_name, quote_text};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::internal::{IDENTITY_TABLES, INTERNAL_SCHEMA, own_name};
use crate::introspect::{find_table, rows};

const USERS: &str = IDENTITY_TABLES[0];
const USER_COLUMNS: [(&str, &str); 3] =
    [("name", "VARCHAR"), ("role", "VARCHAR"), ("password_hash", "VARCHAR")];
const TOKENS: &str = IDENTITY_TABLES[1];
const TOKEN_COLUMNS: [(&str, &str); 7] = [
    ("name", "VARCHAR"),
    ("user_name", "VARCHAR"),
    ("role", "VARCHAR"),
    ("tables", "VARCHAR"),
    ("hash", "VARCHAR"),
    ("created", "BIGINT"),
    ("expires", "BIGINT"),
];

/// A user as the database keeps one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredUser {
    /// The name.
    pub name: String,
    /// The role.
    pub role: String,
    /// Argon2id hash of the password; `None` for a user who comes in another way.
    pub password_hash: Option<String>,
}

/// An API token as the database keeps one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredToken {
    /// The token's name.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The role it gives at most.
    pub role: String,
    /// Patterns of the tables it reaches, separated by spaces; empty for all.
    pub tables: String,
    /// SHA-256 of the token, in hexadecimal digits.
    pub hash: String,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it expires, in seconds since 1970.
    pub expires: Option<i64>,
}

/// Every user.
///
/// Errors: `Invalid` when the table was changed by hand.
pub fn stored_users(connection: &Connection) -> Result<Vec<StoredUser>> {
    read(connection, USERS, &USER_COLUMNS, |columns, table| {
        rows(connection, &format!("SELECT {columns} FROM {table} ORDER BY name"), |row| StoredUser {
            name: row.text(0),
            role: row.text(1),
            password_hash: row.text_or_none(2),
        })
    })
}

/// Every API token.
///
/// Errors: `Invalid` when the table was changed by hand.
pub fn stored_tokens(connection: &Connection) -> Result<Vec<StoredToken>> {
    read(connection, TOKENS, &TOKEN_COLUMNS, |columns, table| {
        rows(connection, &format!("SELECT {columns} FROM {table} ORDER BY name"), |row| StoredToken {
            name: row.text(0),
            user: row.text(1),
            role: row.text(2),
            tables: row.text(3),
            hash: row.text(4),
            created: row.long(5),
            expires: row.long_or_none(6),
        })
    })
}

/// Stores a user, in the place of one with the same name.
pub fn store_user(connection: &mut Connection, user: &StoredUser) -> Result<()> {
    let values = [
        quote_text(&user.name),
        quote_text(&user.role),
        user.password_hash.as_deref().map_or("NULL".to_owned(), quote_text),
    ];
    store(connection, USERS, &USER_COLUMNS, &user.name, &values)
}

/// Stores an API token, in the place of one with the same name.
pub fn store_token(connection: &mut Connection, token: &StoredToken) -> Result<()> {
    let values = [
        quote_text(&token.name),
        quote_text(&token.user),
        quote_text(&token.role),
        quote_text(&token.tables),
        quote_text(&token.hash),
        token.created.to_string(),
        token.expires.map_or("NULL".to_owned(), |expires| expires.to_string()),
    ];
    store(connection, TOKENS, &TOKEN_COLUMNS, &token.name, &values)
}

/// Removes a user, and the tokens that are theirs.
pub fn remove_user(connection: &mut Connection, name: &str) -> Result<()> {
    let mut statements = created(connection, USERS, &USER_COLUMNS);
    statements.extend(created(connection, TOKENS, &TOKEN_COLUMNS));
    statements.push(delete(connection, USERS, "name", name));
    statements.push(delete(connection, TOKENS, "user_name", name));
    connection.define(&statements)
}

/// Removes an API token.
pub fn remove_token(connection: &mut Connection, name: &str) -> Result<()> {
    let mut statements = created(connection, TOKENS, &TOKEN_COLUMNS);
    statements.push(delete(connection, TOKENS, "name", name));
    connection.define(&statements)
}

fn read<T>(
    connection: &Connection,
    name: &str,
    columns: &[(&str, &str)],
    read: impl FnOnce(&str, &str) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let table = own_name(connection.database().catalog(), name);
    let Some(found) = find_table(connection, &table)? else { return Ok(Vec::new()) };
    let has: Vec<(&str, &str)> =
        found.columns.iter().map(|column| (column.name.as_str(), column.duckdb_type.as_str())).collect();
    if has != columns {
        return Err(Error::invalid(format!(
            "table {INTERNAL_SCHEMA}.{name} has been changed by hand and no longer says who may log in; restore it, or \
             drop it and add the users anew"
        )));
    }
    read(&names(columns), &table.to_sql())
}

fn store(
    connection: &mut Connection,
    table: &str,
    columns: &[(&str, &str)],
    name: &str,
    values: &[String],
) -> Result<()> {
    let mut statements = created(connection, table, columns);
    statements.push(delete(connection, table, "name", name));
    statements.push(format!(
        "INSERT INTO {} ({}) VALUES ({})",
        own_name(connection.database().catalog(), table).to_sql(),
        names(columns),
        values.join(", ")
    ));
    connection.define(&statements)
}

fn delete(connection: &Connection, table: &str, column: &str, value: &str) -> String {
    let table = own_name(connection.database().catalog(), table).to_sql();
    format!("DELETE FROM {table} WHERE {column} = {}", quote_text(value))
}

/// What makes the table, unless it is there.
fn created(connection: &Connection, table: &str, columns: &[(&str, &str)]) -> Vec<String> {
    let catalog = connection.database().catalog();
    let schema = [catalog, INTERNAL_SCHEMA].map(quote_name).join(".");
    let columns: Vec<String> =
        columns.iter().map(|(column, kind)| format!("{} {kind}", quote_name(column))).collect();
    vec![
        format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
        format!("CREATE TABLE IF NOT EXISTS {} ({})", own_name(catalog, table).to_sql(), columns.join(", ")),
    ]
}

fn names(columns: &[(&str, &str)]) -> String {
    columns.iter().map(|(column, _)| quote_name(column)).collect::<Vec<_>>().join(", ")
}
