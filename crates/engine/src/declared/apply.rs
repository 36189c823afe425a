//! Declared tables: plans against the database as it is, and one transaction that brings it there.
//! Runs on: the thread of the connection, which must be a pooled one: a temporary table would come before a table
//! of the same name. Blocks.
//! Never: decides what may change (`catalog::plan` does); leaves half of a plan behind.

use super::lock::lock_table;
use super::versions::{declared_columns, earlier_declarations, record, recorded_versions};
use crate::catalog::{Breaking, Declaration, TablePlan, plan, quote_name, render};
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::introspect::{actual_table, rows};

/// Plans every declaration against the database as it is.
pub fn plan_declared(
    connection: &Connection,
    declarations: &[Declaration],
    breaking: Breaking,
) -> Result<Vec<TablePlan>> {
    let recorded = recorded_versions(connection)?;
    let mut plans = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        let table = declaration.listed_name();
        let last = recorded.iter().find(|version| version.table.to_lowercase() == table.to_lowercase());
        let is_recorded = last.is_some_and(|version| version.fingerprint == declaration.fingerprint());
        let version = last.map(|version| version.version);
        let mut actual = actual_table(connection, &declaration.name)?;
        if let (Some(actual), Some(last)) = (&mut actual, last) {
            actual.declared_before = declared_columns(last);
        }
        plans.push(TablePlan {
            table,
            version,
            new_version: (!is_recorded).then(|| version.unwrap_or(0) + 1),
            is_new: actual.is_none(),
            plan: plan(declaration, actual.as_ref(), breaking),
        });
    }
    Ok(plans)
}

/// Brings the database to the declarations in one transaction, records their versions, and gives what was done.
///
/// `in_force` is called with the earlier versions once the change is committed, before any other commit: whoever sees the
/// tables as they are now is held to the new declarations.
/// Errors: `Conflict` with every refusal, or with the statement that failed; nothing is changed then.
pub fn apply_declared(
    connection: &mut Connection,
    declarations: &[Declaration],
    breaking: Breaking,
    in_force: impl FnOnce(Vec<Declaration>),
) -> Result<Vec<TablePlan>> {
    // Looked at before the transaction, whose first statements lock what is rebuilt.
    let before = plan_declared(connection, declarations, breaking)?;
    let rebuilt: Vec<&Declaration> = declarations
        .iter()
        .zip(&before)
        .filter(|(_, table)| table.plan.rebuilds() && table.plan.refusals.is_empty())
        .map(|(declaration, _)| declaration)
        .collect();
    connection.begin()?;
    let done = {
        let _turn = connection.reshapes();
        lock(connection, &rebuilt).and_then(|()| {
            let plans = apply_begun(connection, declarations, &rebuilt, breaking)?;
            Ok((plans, earlier_declarations(connection)?))
        })
    };
    match done {
        Ok((plans, earlier)) => connection.commit_and(|| in_force(earlier)).map(|()| plans),
        Err(error) => {
            // The error that led here is the one to report; dropping the connection rolls back as well.
            let _ = connection.rollback();
            Err(error)
        }
    }
}

/// Keeps every other writer out of the tables that are rebuilt: rows that another transaction commits while a table is
/// copied would be gone after the rename, and nobody would be told.
fn lock(connection: &Connection, tables: &[&Declaration]) -> Result<()> {
    for declaration in tables {
        lock_table(connection, &declaration.name)?;
    }
    if tables.is_empty() {
        return Ok(());
    }
    let later = connection.database().connection()?;
    for declaration in tables {
        let Some(actual) = actual_table(connection, &declaration.name)? else { continue };
        let columns: Vec<String> = actual.columns.iter().map(|column| quote_name(&column.name)).collect();
        let sql = format!(
            "SELECT concat(count(*), ' ', sum(hash({})::HUGEINT)) FROM {}",
            columns.join(", "),
            declaration.name.to_sql()
        );
        let content = |connection: &Connection| rows(connection, &sql, |row| row.text(0));
        if content(connection)? != content(&later)? {
            return Err(moved(declaration));
        }
    }
    Ok(())
}

fn moved(declaration: &Declaration) -> Error {
    let table = declaration.listed_name();
    Error::new(
        Kind::Aborted,
        format!("table {table} changed while it was looked at; nothing was changed, try again"),
    )
}

fn apply_begun(
    connection: &Connection,
    declarations: &[Declaration],
    locked: &[&Declaration],
    breaking: Breaking,
) -> Result<Vec<TablePlan>> {
    let plans = plan_declared(connection, declarations, breaking)?;
    if plans.iter().any(|table| !table.plan.refusals.is_empty()) {
        return Err(Error::new(
            Kind::Conflict,
            format!("the declarations do not fit the database, and nothing was changed\n{}", render(&plans)),
        ));
    }
    for (declaration, table) in declarations.iter().zip(&plans) {
        if table.plan.rebuilds() != locked.iter().any(|one| one.name == declaration.name) {
            return Err(moved(declaration));
        }
    }
    for (declaration, table) in declarations.iter().zip(&plans) {
        for step in &table.plan.steps {
            for sql in &step.sql {
                connection.execute(sql).map_err(|error| {
                    let what = format!("table {}: {}", table.table, step.text);
                    Error::new(
                        match error.kind() {
                            Kind::Invalid | Kind::NotFound | Kind::Exists => Kind::Conflict,
                            other => other,
                        },
                        format!("{what} failed, and nothing was changed: {}", error.message()),
                    )
                })?;
            }
        }
        if let Some(version) = table.new_version {
            record(connection, declaration, version)?;
        }
    }
    Ok(plans)
}
