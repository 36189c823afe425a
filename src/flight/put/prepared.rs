//! Rows for the parameters of a prepared statement: kept for later, or run over at once.
//! Runs on: the task of the call.
//! Never: turns a parameter into text; runs a statement more than once per bound row.

use std::sync::Arc;

use bytes::Bytes;

use super::bulk::{Bulk, change_in_bulk};
use super::gathered::Gathered;
use super::puts::Puts;
use super::rows::{FirstBatches, RowStream};
use crate::engine;
use crate::error::Result;
use crate::flight::request::{Ask, Call, handle_bytes};
use crate::flight::result::{count_changed, prepared_fetch};
use crate::flight::wire::Incoming;
use crate::session::{ClientSession, Handle};

/// Keeps the rows of a stream for the parameters of a prepared statement.
pub(super) async fn bind(
    session: &Arc<ClientSession>,
    handle: Handle,
    mut incoming: Incoming,
    call: &mut Call,
) -> Result<Bytes> {
    let prepared = session.prepared(handle)?;
    call.statement(&prepared.sql);
    let mut rows = Gathered::new(session);
    while let Some(message) = incoming.next().await? {
        rows.take(&mut incoming, message)?;
    }
    let rows = rows.bound(&prepared.described.parameters)?;
    call.rows = rows.batches.iter().map(|batch| batch.num_rows() as u64).sum();
    prepared.bind(rows);
    Ok(handle_bytes(handle))
}

/// Runs a prepared statement over the rows of a stream, or over those bound before, and counts the changed rows.
pub(super) async fn update(
    puts: &Puts,
    ask: &Ask,
    handle: Handle,
    mut incoming: Incoming,
    call: &mut Call,
) -> Result<u64> {
    let session = ask.session();
    let prepared = session.prepared(handle)?;
    call.statement(&prepared.sql);
    let parameters = &prepared.described.parameters;
    let mut rows = Gathered::new(session);
    while let Some(message) = incoming.next().await? {
        rows.take(&mut incoming, message)?;
        let (Some(insert), Some(schema)) = (&prepared.bulk, rows.schema.clone()) else { continue };
        let bulk = Bulk { session, prepared: &prepared, insert };
        if rows.rows() > bulk.single_rows_max(&puts.ingest) {
            let columns = engine::match_columns(parameters, &schema)?;
            let begun = FirstBatches { batches: rows.batches, columns };
            return bulk.store(puts, RowStream::begun(begun, Some(incoming)), call).await;
        }
    }
    let bound = if rows.is_empty() { prepared.bound() } else { Some(Arc::new(rows.bound(parameters)?)) };
    let (sql, described) = (prepared.sql.clone(), prepared.described.clone());
    let fetch = prepared_fetch(session, &prepared, sql, described, bound)?;
    if let Some(changed) = change_in_bulk(puts, &fetch, call).await? {
        return Ok(changed);
    }
    let changed = count_changed(puts.results.open(&fetch, ask.run.clone(), call).await?).await?;
    call.rows = changed;
    Ok(changed)
}
