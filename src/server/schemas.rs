//! The folder of declarations at start: read, planned, applied, in force.
//! Runs on: the start of the server; blocks.
//! Never: changes anything when anything is wrong.

use std::sync::Arc;

use crate::catalog::{Breaking, Declaration, Declarations, read_declarations, read_folder, render};
use crate::config::Schemas;
use crate::engine::{Database, apply_declared, earlier_declarations, plan_declared, recorded_declarations};
use crate::error::{Error, Kind, Result};

/// The declarations of the configured folder; none without a folder.
///
/// Errors: `Invalid` with everything that is wrong, before the database is opened.
pub(super) fn read(config: &Schemas) -> Result<Option<Vec<Declaration>>> {
    let Some(folder) = &config.dir else { return Ok(None) };
    let files = read_folder(folder).map_err(|error| error.context("setting schemas.dir"))?;
    Ok(Some(read_declarations(&files)?))
}

/// Applies what was declared, or compares it, and puts it in force.
///
/// Errors: `Invalid` with every refusal; the database is as it was then.
pub(super) fn put_in_force(
    database: &Arc<Database>,
    config: &Schemas,
    declared: Option<Vec<Declaration>>,
) -> Result<Arc<Declarations>> {
    let mut connection = database.connection()?;
    let declared = match declared {
        None => recorded_declarations(&connection)?,
        Some(declared) if config.apply_at_start => {
            let applied =
                apply_declared(&mut connection, &declared, Breaking::Refused, |_| ()).map_err(|error| {
                    match error.kind() {
                        Kind::Conflict => Error::invalid(error.message()),
                        _ => error,
                    }
                })?;
            for table in applied.iter().filter(|table| !table.is_empty()) {
                let changes: Vec<&str> = table.plan.steps.iter().map(|step| step.text.as_str()).collect();
                tracing::info!(
                    table = %table.table,
                    version = table.new_version.or(table.version),
                    changes = %changes.join("; "),
                    "declared table"
                );
            }
            declared
        }
        Some(declared) => {
            for table in plan_declared(&connection, &declared, Breaking::Refused)? {
                if !table.plan.is_empty() {
                    let difference = render(std::slice::from_ref(&table));
                    tracing::warn!(table = %table.table, %difference, "the table differs from its declaration");
                }
            }
            declared
        }
    };
    let declarations = Arc::new(Declarations::default());
    declarations.add(declared, earlier_declarations(&connection)?);
    Ok(declarations)
}
