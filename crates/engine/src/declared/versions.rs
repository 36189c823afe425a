//! The versions of declarations on record: read, and written down with the change that brings a table to one.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::catalog::{Declaration, SchemaFile, quote_text, read_declarations};
use crate::connection::Connection;
use crate::error::Result;
use crate::internal::INTERNAL_SCHEMA;
use crate::introspect::rows;
use crate::read::query;

/// A version of a declaration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedVersion {
    /// The table, as the declaration named it.
    pub table: String,
    /// From 1.
    pub version: u64,
    /// What [`Declaration::fingerprint`] gave.
    pub fingerprint: String,
    /// The declaration as TOML.
    pub declaration: String,
    /// Milliseconds since 1970, UTC.
    pub applied_at_ms: i64,
}

/// The last recorded version of every table that was ever declared, by name.
pub fn recorded_versions(connection: &Connection) -> Result<Vec<RecordedVersion>> {
    versions(
        connection,
        "QUALIFY row_number() OVER (PARTITION BY lower(table_name) ORDER BY version DESC) = 1",
    )
}

/// Every recorded declaration but the last of each table, oldest first: what producers may still go by.
pub fn earlier_declarations(connection: &Connection) -> Result<Vec<Declaration>> {
    let earlier = "QUALIFY row_number() OVER (PARTITION BY lower(table_name) ORDER BY version DESC) > 1";
    Ok(readable(versions(connection, earlier)?))
}

fn versions(connection: &Connection, which: &str) -> Result<Vec<RecordedVersion>> {
    let known = format!(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() \
         AND schema_name = '{INTERNAL_SCHEMA}' AND table_name = 'schema_versions'"
    );
    if query(connection, &known)?.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT table_name, version, fingerprint, declaration, epoch_ms(applied_at) \
         FROM {INTERNAL_SCHEMA}.schema_versions \
         {which} ORDER BY lower(table_name), version"
    );
    rows(connection, &sql, |row| RecordedVersion {
        table: row.text(0),
        version: u64::try_from(row.long(1)).unwrap_or(0),
        fingerprint: row.text(2),
        declaration: row.text(3),
        applied_at_ms: row.long(4),
    })
}

/// The declarations recorded last, for a server that has no folder of them. One that cannot be read any more is
/// left out with a warning.
pub fn recorded_declarations(connection: &Connection) -> Result<Vec<Declaration>> {
    Ok(readable(recorded_versions(connection)?))
}

fn readable(versions: Vec<RecordedVersion>) -> Vec<Declaration> {
    let mut declarations = Vec::new();
    for recorded in versions {
        let file = SchemaFile { name: format!("{}.toml", recorded.table), text: recorded.declaration };
        match read_declarations(&[file]) {
            Ok(read) => declarations.extend(read),
            Err(problems) => {
                tracing::warn!(table = %recorded.table, %problems, "a recorded declaration is left out");
            }
        }
    }
    declarations
}

/// The columns that a recorded declaration had.
pub(super) fn declared_columns(version: &RecordedVersion) -> Vec<String> {
    let file = SchemaFile { name: format!("{}.toml", version.table), text: version.declaration.clone() };
    // One that cannot be read any more declares nothing; `recorded_declarations` warns of it.
    let read = read_declarations(&[file]).unwrap_or_default();
    read.into_iter().flat_map(|one| one.fields).map(|field| field.name).collect()
}

/// Writes a version down, in the open transaction.
pub(super) fn record(connection: &Connection, declaration: &Declaration, version: u64) -> Result<()> {
    connection.execute(&format!("CREATE SCHEMA IF NOT EXISTS {INTERNAL_SCHEMA}"))?;
    connection.execute(&format!(
        "CREATE TABLE IF NOT EXISTS {INTERNAL_SCHEMA}.schema_versions (table_name VARCHAR NOT NULL, \
         version BIGINT NOT NULL, fingerprint VARCHAR NOT NULL, declaration VARCHAR NOT NULL, \
         applied_at TIMESTAMP NOT NULL)"
    ))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // UTC without a time zone type, whose functions are not in the build.
    let sql = format!(
        "INSERT INTO {INTERNAL_SCHEMA}.schema_versions VALUES ({}, {version}, {}, {}, make_timestamp({}))",
        quote_text(&declaration.listed_name()),
        quote_text(&declaration.fingerprint()),
        quote_text(&declaration.to_toml()),
        now.as_micros()
    );
    connection.execute(&sql).map(|_| ())
}
