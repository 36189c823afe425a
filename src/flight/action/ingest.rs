//! `pintail.ingest_status` and `pintail.forget_loads`: what the server remembers of producers and of files.
//! Runs on: the task of the call.

use pintail_protocol::answer::{IngestStatus, TableStatus};
use serde_json::{Value, json};

use crate::catalog::TableName;
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::flight::names::{TEMPORARY, full_name};
use crate::ingest::Ingest;
use crate::session::ClientSession;

/// Where a producer can resume: after `seq`, which is null when nothing of it is durable. With several tables
/// the top-level `seq` is that of the table written last into; `tables` has them all.
///
/// Tables that are not there for the caller are left out.
pub(super) fn producer_status(ingest: &Ingest, access: Option<&Access>, body: &[u8]) -> Result<Value> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let producer = request.get("producer").and_then(Value::as_str).ok_or_else(|| {
        Error::invalid("pintail.ingest_status: expected a body of {\"producer\": \"name\"}")
    })?;
    let status = ingest.producer_status(producer);
    let (mut epoch, mut tables) = status.map_or((0, Vec::new()), |status| (status.epoch, status.tables));
    if let Some(access) = access {
        tables.retain(|table| sees(access, &table.table));
        // How far a producer of others is, is theirs to know.
        epoch = if tables.is_empty() { 0 } else { epoch };
    }
    let newest = tables.iter().max_by_key(|table| table.used);
    let status = IngestStatus {
        producer: producer.to_owned(),
        epoch,
        seq: newest.map(|table| table.seq),
        rows: newest.map_or(0, |table| table.rows),
        tables: tables
            .iter()
            .map(|table| (table.table.clone(), TableStatus { seq: table.seq, rows: table.rows }))
            .collect(),
    };
    Ok(json!(status))
}

/// Whether a table, by its name in the ledger, is there for somebody.
fn sees(access: &Access, table: &str) -> bool {
    TableName::from_text(table)
        .is_ok_and(|name| access.sees(name.schema.as_deref().unwrap_or("main"), &name.table))
}

/// Forgets which files were loaded into a table. The table and its rows stay, and it need not be there.
pub(super) async fn forget_loads(ingest: &Ingest, session: &ClientSession, body: &[u8]) -> Result<Value> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let table = request.get("table").and_then(Value::as_str).ok_or_else(|| {
        Error::invalid("pintail.forget_loads: expected a body of {\"table\": \"schema.table or table\"}")
    })?;
    let table = full_name(&TableName::from_text(table)?, session)?;
    if table.catalog.as_deref() == Some(TEMPORARY) {
        return Err(Error::invalid(format!(
            "table {table}: no files are remembered of temporary tables; expected another table's name"
        )));
    }
    if let Some(access) = session.access() {
        access.check_put(table.schema.as_deref().unwrap_or("main"), &table.table, false, true)?;
    }
    let (table, forgotten) = ingest.forget_loads(table).await?;
    Ok(json!({ "table": table, "forgotten": forgotten }))
}
