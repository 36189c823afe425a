//! A grant -> whether its condition and columns fit its table.
//! Runs on: the thread of the connection; blocks while the engine plans.
//! Never: reads a row.

use duckdb::query_result::StatementType;

use super::access::{Grant, Part, Right};
use super::facts::Facts;
use super::planner::{Planner, Unplanned, first_line};
use super::window::Window;
use crate::catalog::TableName;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::introspect::find_table;
use crate::sql::{opened, tokens};

/// Refuses a grant whose condition or columns do not fit its table, when the grant is made.
///
/// Errors: `Invalid`, with the engine's words.
pub fn check_grant(connection: &Connection, grant: &Grant) -> Result<()> {
    let part = Part { filters: grant.filter.iter().cloned().collect(), hide: grant.hide.clone() };
    if part == Part::default() {
        return Ok(());
    }
    let (Some(schema), Some(table)) = (&grant.tables.schema, &grant.tables.table) else {
        return Err(Error::invalid("where and hide are for one table: expected --on schema.table"));
    };
    if !grant.rights.contains(&Right::Read) {
        return Err(Error::invalid("where and hide leave something out of what is read: grant read as well"));
    }
    let catalog = connection.database().catalog().to_owned();
    let planner = Planner(connection);
    let name =
        TableName { catalog: Some(catalog.clone()), schema: Some(schema.clone()), table: table.clone() };
    if find_table(connection, &name)?.is_none() && !planner.is_view(schema, table)? {
        return Err(Error::not_found(format!(
            "there is no table {schema}.{table}: where and hide are checked against it"
        )));
    }
    for filter in &part.filters {
        check_closed(connection, filter)?;
    }
    let window = Window::on(&catalog, schema, table, &part);
    let (statement, kind) = planner.parsed(&window.query).map_err(|error| error.context("where"))?;
    if kind != StatementType::Select {
        return Err(Error::invalid("where: expected a condition, such as field_code = 7"));
    }
    match planner.planned(&statement, &window.query)? {
        Ok(plan) => {
            let facts = Facts::of(&plan);
            let is_plain =
                facts.reads.len() == 1 && facts.table_functions.is_empty() && facts.unknown.is_none();
            if !is_plain && !planner.is_view(schema, table)? {
                return Err(Error::invalid(
                    "where: expected a condition on the columns of the table alone, without subqueries",
                ));
            }
            Ok(())
        }
        Err(Unplanned { message, .. }) => Err(Error::invalid(format!(
            "the grant does not fit table {schema}.{table}: {}",
            first_line(&message)
        ))),
    }
}

/// Refuses a condition that closes a bracket which it has not opened: it stands in brackets, beside others.
fn check_closed(connection: &Connection, filter: &str) -> Result<()> {
    let tokens =
        tokens(connection.duckdb_for_binding(), filter).map_err(|error| connection.database().note(error))?;
    let mut level = 0_i64;
    for token in tokens {
        level += opened(&token);
        if level < 0 {
            return Err(Error::invalid("where: expected a condition whose brackets are closed in it"));
        }
    }
    Ok(())
}
