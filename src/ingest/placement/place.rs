//! A put's table, found or to be made, and its columns, conformed -> the INSERT that takes the rows.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: changes anything; what is to be done first stands in the placement.

use std::sync::Arc;

use pintail_protocol::header::{Mode, OnConflict};

use super::key::{key_of, no_key};
use super::plan::{Placement, Transaction, Wanted};
use super::statement::statement;
use super::table::{declared_table, keeps_its_shape, new_table, new_types, offered, replace_rows};
use crate::catalog::{self, Contract, Declaration, IfThere, Offered, Placed, Table, TableName};
use crate::engine::{self, Connection, Insert};
use crate::error::{Error, Kind, Result};
use crate::ingest::request::PutTarget;

/// The table that a put names, and how.
struct Named<'a> {
    table: &'a TableName,
    /// As the client gave it.
    shown: &'a TableName,
    mode: Mode,
}

/// What is there of a put's table.
enum Found {
    /// It stays, and these statements take its rows away first.
    Stays(Table, Vec<String>),
    /// The transaction makes it.
    IsMade,
}

pub(super) fn check_not_internal(table: &TableName) -> Result<()> {
    let schema = table.schema.as_deref();
    if schema.is_some_and(|schema| schema.eq_ignore_ascii_case(engine::INTERNAL_SCHEMA)) {
        let text = format!("schema {} is the server's own and takes no rows", engine::INTERNAL_SCHEMA);
        return Err(Error::new(Kind::Denied, text));
    }
    Ok(())
}

/// Finds the table, or decides how it is made, and how columns go in.
pub(in crate::ingest) fn place(wanted: &Wanted<'_>, connection: &Connection) -> Result<Placement> {
    match wanted.target {
        PutTarget::Table { table, shown, mode } => {
            check_not_internal(table)?;
            into_table(wanted, &Named { table, shown, mode: *mode }, connection)
        }
        PutTarget::Statement { bulk, table } => statement(wanted, bulk, table.as_ref(), connection),
    }
}

fn into_table(wanted: &Wanted<'_>, named: &Named<'_>, connection: &Connection) -> Result<Placement> {
    let Wanted { shared, target, schema, on_conflict, .. } = *wanted;
    let table = named.table;
    let declared = shared.declared(table);
    let declared = declared.as_deref();
    let found = find(wanted, named, declared, connection)?;
    let offered = offered(connection, &target.to_string(), schema)?;
    let created = matches!(found, Found::IsMade);
    let mut first = Vec::new();
    let (existing, clears) = match found {
        Found::Stays(existing, clears) => (existing, clears),
        Found::IsMade => {
            let (made, statements) = make(wanted, named, declared, &offered)?;
            first.extend(statements);
            first.extend(shared.loads.forgetting(connection, table));
            (made, Vec::new())
        }
    };
    let existing = Table { name: named.shown.clone(), ..existing };
    let earlier = shared.declarations.earlier(table);
    let conformed = catalog::conform(&existing, Contract { declared, earlier: &earlier }, &offered)?;
    first.extend(catalog::add_columns(table, &conformed.added));
    first.extend(catalog::settle_columns(table, &conformed.settled));
    let key = match declared {
        Some(declared) => declared.primary_key.clone(),
        None if on_conflict == OnConflict::Error => Vec::new(),
        None => key_of(connection, table)?,
    };
    let (conflict, last_of_key) = match on_conflict {
        OnConflict::Error => (String::new(), None),
        _ if key.is_empty() => return Err(no_key(&target.to_string())),
        OnConflict::Ignore => (catalog::ignore_conflict(&key), None),
        OnConflict::Replace => {
            let replace = catalog::replace_conflict(&existing, &key);
            (replace, Some(catalog::last_of_key(&conformed.columns, &key)))
        }
    };
    let insert = insert(table, &conformed.columns, &conflict, last_of_key.as_deref());
    let rejected =
        declared.is_some_and(|declared| declared.dead_letters).then(|| catalog::rejected_name(table));
    if let Some(rejected) = &rejected
        && engine::find_table(connection, rejected)?.is_none()
    {
        first.push(catalog::create_rejected(table));
    }
    Ok(Placement {
        shown: target.to_string(),
        table: Some(table.clone()),
        schema: Arc::clone(schema),
        insert,
        columns: conformed.columns,
        key,
        on_conflict,
        conflict,
        last_of_key,
        rejected,
        first,
        clears,
        created,
        is_one_by_one: false,
        conflict_key: None,
    })
}

/// What is there of the table, held against what the put's mode asks for.
fn find(
    wanted: &Wanted<'_>,
    named: &Named<'_>,
    declared: Option<&Declaration>,
    connection: &Connection,
) -> Result<Found> {
    let Wanted { shared, target: shown, schema, transaction, .. } = *wanted;
    let Named { table, mode, .. } = *named;
    match (mode, engine::find_table(connection, table)?) {
        (Mode::Append | Mode::ReplaceExisting, None) => Err(Error::not_found(format!(
            "table {shown} does not exist; create it first, or put with mode create or create_append"
        ))),
        (Mode::Create, Some(_)) => Err(Error::new(
            Kind::Exists,
            format!("table {shown} already exists; put with mode append, create_append or replace"),
        )),
        (Mode::Replace | Mode::ReplaceExisting, Some(existing)) => {
            if !keeps_its_shape(connection, declared, &existing, &shown.to_string(), schema)? {
                return Ok(Found::IsMade);
            }
            let mut clears = replace_rows(table, declared, transaction);
            clears.extend(shared.loads.forgetting(connection, table));
            Ok(Found::Stays(existing, clears))
        }
        (Mode::Create | Mode::Replace, None) => Ok(Found::IsMade),
        (Mode::Append | Mode::CreateAppend, Some(existing)) => Ok(Found::Stays(existing, Vec::new())),
        (Mode::CreateAppend, None) if transaction == Transaction::Clients => Ok(Found::IsMade),
        (Mode::CreateAppend, None) => {
            Err(Error::collided(format!("table {shown} was dropped while the stream began; send it again")))
        }
    }
}

/// The table that the transaction makes, as if it were there, and the statements that make it.
fn make(
    wanted: &Wanted<'_>,
    named: &Named<'_>,
    declared: Option<&Declaration>,
    offered: &[Offered],
) -> Result<(Table, Vec<String>)> {
    if let Some(declared) = declared {
        return Ok((declared_table(declared), catalog::declared_create(declared, named.table)));
    }
    let Wanted { schema, begun, .. } = *wanted;
    let if_there = match named.mode {
        Mode::Replace | Mode::ReplaceExisting => IfThere::Replace,
        Mode::Append | Mode::Create | Mode::CreateAppend => IfThere::Refuse,
    };
    let types = new_types(schema, offered, begun);
    catalog::check_new_table(named.shown, schema)?;
    let create = catalog::create_table(named.table, schema, &types, if_there);
    if wanted.on_conflict != OnConflict::Error {
        return Err(no_key(&wanted.target.to_string()));
    }
    Ok((new_table(named.shown, offered, types), vec![create]))
}

fn insert(table: &TableName, columns: &[Placed], conflict: &str, last_of_key: Option<&str>) -> Insert {
    let head = catalog::insert_head(table, columns);
    match last_of_key {
        None => Insert { head, tail: conflict.to_owned() },
        Some(last_of_key) => Insert {
            head: format!("{head}(FROM (SELECT row_number() OVER () AS {}, * FROM ", catalog::ROW),
            tail: format!(") {last_of_key}){conflict}"),
        },
    }
}
