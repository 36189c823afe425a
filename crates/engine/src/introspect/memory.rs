//! What the engine uses its memory for.

use super::rows::rows;
use crate::connection::Connection;
use crate::error::Result;

/// Bytes of one use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryUse {
    /// What for, as the engine calls it in lower case.
    pub tag: String,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Bytes that were spilled to disk.
    pub temp_bytes: u64,
}

/// Asks the engine what it uses its memory for. A query of a few rows, so that it also says whether the engine answers.
pub fn memory_use(connection: &Connection) -> Result<Vec<MemoryUse>> {
    let sql =
        "SELECT lower(tag), memory_usage_bytes::BIGINT, temporary_storage_bytes::BIGINT FROM duckdb_memory()";
    let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
    rows(connection, sql, |row| MemoryUse {
        tag: row.text(0),
        memory_bytes: bytes(row.long(1)),
        temp_bytes: bytes(row.long(2)),
    })
}

/// The engine's version, such as `v2.0.0`.
pub fn engine_version(connection: &Connection) -> Result<String> {
    Ok(rows(connection, "SELECT version()", |row| row.text(0))?.pop().unwrap_or_default())
}
