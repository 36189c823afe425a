//! `pintail.checkpoint` and `pintail.backup`.
//! Runs on: the task of the call.
//! Never: shows the path of the backup folder.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::engine::{BackupTarget, Database};
use crate::error::{Error, Result};
use crate::operations::Operations;

/// Writes the log into the database file.
pub(super) async fn checkpoint(operations: &Operations, database: &Database) -> Result<Value> {
    let before = database.wal_bytes();
    operations.checkpoint().await?;
    Ok(json!({ "wal_bytes_before": before, "wal_bytes": database.wal_bytes() }))
}

/// Writes a copy of the database. The server writes it itself, on its own disk: a copy streamed to the client
/// would need the same disk first, because its pages are not written in order.
pub(super) async fn backup(operations: &Operations, folder: Option<&Path>, body: &[u8]) -> Result<Value> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let to = request.get("to").and_then(Value::as_str).ok_or_else(|| {
        Error::invalid("pintail.backup: expected a body of {\"to\": \"name of the file to write\"}")
    })?;
    let folder = folder.ok_or_else(|| {
        Error::invalid(
            "a database in memory has no folder of its own for backups; set database.backup_directory",
        )
    })?;
    let started = Instant::now();
    let bytes = operations.backup(BackupTarget::find(folder, to)?).await?;
    Ok(json!({ "to": to, "bytes": bytes, "seconds": started.elapsed().as_secs_f64() }))
}
