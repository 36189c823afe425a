//! What comes before a put's first row: its table, made in a transaction of its own, and the transaction of the rows.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: leaves a table behind that a failed put has made, unless others use it.

use std::sync::PoisonError;

use pintail_protocol::header::Mode;

use super::patience::Patience;
use super::place::{check_not_internal, place};
use super::plan::{Placement, Wanted};
use super::table::{new_types, offered};
use crate::catalog::{self, IfThere, TableName};
use crate::engine::{self, Connection};
use crate::error::{Kind, Result};
use crate::ingest::request::PutTarget;
use crate::ingest::shared::Shared;
use crate::ingest::tables::User;

/// Makes what a put needs before its own transaction, and says whether that was its table.
///
/// A new table is made in a transaction of its own: several streams may start on it at the same time, and a table made
/// inside of a long transaction would turn the others away.
pub(in crate::ingest) fn prepare(wanted: &Wanted<'_>, connection: &mut Connection) -> Result<bool> {
    let shared = wanted.shared;
    let PutTarget::Table { table, shown, mode } = wanted.target else { return Ok(false) };
    check_not_internal(table)?;
    let mut created = false;
    if *mode == Mode::CreateAppend && engine::find_table(connection, table)?.is_none() {
        created = create_outside(wanted, table, shown, connection)?;
    }
    if shared.declared(table).is_some_and(|declared| declared.dead_letters)
        && engine::find_table(connection, &catalog::rejected_name(table))?.is_none()
    {
        let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
        connection.define(&[catalog::create_rejected(table)])?;
    }
    Ok(created)
}

/// Opens a put's transaction with its table looked up inside of it, and does what comes before the first row.
///
/// Errors: as [`place`]; `Aborted` when tables go on changing for longer than [`Patience`].
pub(in crate::ingest) fn begin(wanted: &Wanted<'_>, connection: &mut Connection) -> Result<Placement> {
    let (shared, target) = (wanted.shared, wanted.target);
    let mut patience = Patience::new();
    loop {
        let shape = shared.database.shape();
        connection.begin()?;
        let placed = place(wanted, connection);
        // The declaration and the table must be of the same moment: no shape changed between the two look-ups.
        if shape.is_some() && shared.database.shape() == shape {
            let placement = placed?;
            placement.begin(connection)?;
            return Ok(placement);
        }
        connection.rollback()?;
        patience.pause(target)?;
    }
}

/// Makes a table for a stream; false when another stream has made it first.
fn create_outside(
    wanted: &Wanted<'_>,
    table: &TableName,
    shown: &TableName,
    connection: &mut Connection,
) -> Result<bool> {
    let Wanted { shared, schema, begun, .. } = *wanted;
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    if engine::find_table(connection, table)?.is_some() {
        return Ok(false);
    }
    let mut statements = match shared.declared(table) {
        Some(declared) => catalog::declared_create(&declared, table),
        None => {
            let offered = offered(connection, &shown.to_string(), schema)?;
            let types = new_types(schema, &offered, begun);
            catalog::check_new_table(shown, schema)?;
            vec![catalog::create_table(table, schema, &types, IfThere::Refuse)]
        }
    };
    // An earlier table of that name is gone, and so are the files that were stored in it.
    statements.extend(shared.loads.forgetting(connection, table));
    match connection.define(&statements) {
        Ok(()) => Ok(true),
        // Another client's SQL made it first.
        Err(error) if matches!(error.kind(), Kind::Exists | Kind::Aborted) => Ok(false),
        Err(error) => Err(error.context(format!("table {shown}"))),
    }
}

/// A stream that made its table and failed leaves no trace of it, unless others use the table meanwhile.
pub(in crate::ingest) fn remove_if_empty(
    shared: &Shared,
    connection: &mut Connection,
    table: &TableName,
    user: &User,
) {
    // A put that begins after this makes the table anew.
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    if !user.is_alone() {
        return;
    }
    if let Err(error) = engine::drop_if_empty(connection, table) {
        tracing::warn!(table = %table, %error, "an empty table of a failed stream could not be removed");
    }
}
