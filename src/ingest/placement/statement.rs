//! The placement of rows that are parameters of a client's own INSERT.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: changes what the statement does, but for casts that its columns' types ask for.

use std::sync::Arc;

use pintail_protocol::header::OnConflict;

use super::key::{columns_named, key_columns};
use super::plan::{Placement, Wanted};
use super::table::offered;
use crate::catalog::{self, Contract, Offered, Placed, Table, TableName};
use crate::engine::{self, BulkInsert, Connection};
use crate::error::Result;

/// An INSERT of the client's own. Into a declared table its parameters are held to the declaration.
pub(super) fn statement(
    wanted: &Wanted<'_>,
    bulk: &BulkInsert,
    table: Option<&TableName>,
    connection: &Connection,
) -> Result<Placement> {
    let schema = wanted.schema;
    let mut placement = Placement {
        shown: wanted.target.to_string(),
        table: None,
        schema: Arc::clone(schema),
        insert: bulk.insert.clone(),
        columns: Vec::new(),
        key: Vec::new(),
        on_conflict: OnConflict::Error,
        conflict: String::new(),
        last_of_key: None,
        rejected: None,
        first: Vec::new(),
        clears: Vec::new(),
        created: false,
        is_one_by_one: bulk.is_one_by_one,
        conflict_key: None,
    };
    if bulk.is_one_by_one
        && let Some(name) = table
        && let Some(found) = engine::find_table(connection, name)?
    {
        if let Some(key) = &bulk.conflict_key {
            placement.conflict_key = key_columns(bulk, key, &found, schema, connection)?;
        }
        // Without the casts the engine looks for the key before it has its column's type, and finds no conflict.
        let types = columns_named(bulk, &found);
        let cast = |(place, (text, _)): (usize, &(String, Option<usize>))| match types.get(place) {
            // One without a type yet takes no cast.
            Some((_, duckdb_type)) if !catalog::is_open(duckdb_type) => {
                format!("CAST({text} AS {duckdb_type})")
            }
            _ => text.clone(),
        };
        placement.insert = bulk.with_values(&bulk.values.iter().enumerate().map(cast).collect::<Vec<_>>());
    }
    if let Some(name) = table {
        hold_to_declaration(&mut placement, wanted, bulk, name, connection)?;
    }
    Ok(placement)
}

/// Into a declared table parameters are held to the declaration, as columns of a stream are.
fn hold_to_declaration(
    placement: &mut Placement,
    wanted: &Wanted<'_>,
    bulk: &BulkInsert,
    name: &TableName,
    connection: &Connection,
) -> Result<()> {
    let Wanted { shared, schema, .. } = *wanted;
    let Some(declared) = shared.declared(name) else { return Ok(()) };
    let Some(existing) = engine::find_table(connection, name)? else { return Ok(()) };
    let existing = Table { name: declared.name.clone(), ..existing };
    let all = existing.columns.iter().filter(|column| !column.is_generated);
    let columns: Vec<String> = match &bulk.columns {
        Some(columns) => columns.clone(),
        None => all.map(|column| column.name.clone()).collect(),
    };
    let offered = offered(connection, &placement.shown, schema)?;
    // Values that are a parameter and nothing else: place in the statement, parameter, column.
    let plain: Vec<(usize, usize, Offered)> = bulk
        .values
        .iter()
        .enumerate()
        .zip(&columns)
        .filter_map(|((place, (_, parameter)), column)| {
            let parameter = (*parameter)?;
            Some((place, parameter, Offered { name: column.clone(), ..offered.get(parameter)?.clone() }))
        })
        .collect();
    if plain.is_empty() {
        return Ok(());
    }
    let earlier = shared.declarations.earlier(name);
    let contract = Contract { declared: Some(&declared), earlier: &earlier };
    let named: Vec<Offered> = plain.iter().map(|(_, _, offered)| offered.clone()).collect();
    let conformed = catalog::conform_some(&existing, contract, &named)?;
    let mut values: Vec<String> = bulk.values.iter().map(|(text, _)| text.clone()).collect();
    for ((place, _, _), column) in plain.iter().zip(&conformed.columns) {
        values[*place] = column.value_of(&bulk.values[*place].0);
    }
    placement.insert = bulk.with_values(&values);
    placement.table = Some(name.clone());
    // With each parameter in one place, the row that breaks a rule can be told.
    let mut by_parameter: Vec<Option<Placed>> = vec![None; schema.fields().len()];
    for ((_, parameter, _), column) in plain.iter().zip(conformed.columns) {
        let source = schema.field(*parameter).name().clone();
        by_parameter[*parameter] = Some(Placed { source, ..column });
    }
    placement.columns = by_parameter.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
    Ok(())
}
