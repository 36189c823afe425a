//! Names of tables as clients give them -> full names, within the session that gives them.
//! Runs on: async tasks; pure.
//! Never: lets a temporary table stand in for one of the database.

use crate::catalog::TableName;
use crate::error::{Error, Result};
use crate::session::ClientSession;

/// The catalog of a connection's temporary tables.
pub(in crate::flight) const TEMPORARY: &str = "temp";

/// The statement that reads a whole table, whose name is SQL.
pub(in crate::flight) fn select_all(table: &str) -> String {
    format!("SELECT * FROM {table}")
}

/// The database's own catalog, in its own spelling.
///
/// Errors: `NotFound` for any other.
pub(in crate::flight) fn own_or_refused(catalog: &str, session: &ClientSession) -> Result<String> {
    let own = session.catalog();
    if catalog.eq_ignore_ascii_case(own) {
        return Ok(own.to_owned());
    }
    Err(Error::not_found(format!(
        "catalog {} does not exist here; this server has the catalog {own}, and {TEMPORARY} for temporary tables",
        crate::error::shorten(catalog, 200)
    )))
}

/// `name` with the session's catalog and schema where it has none: a temporary table of the same name would
/// otherwise come first.
///
/// Errors: `NotFound` for a catalog that is neither the database's own nor that of temporary tables.
pub(in crate::flight) fn full_name(name: &TableName, session: &ClientSession) -> Result<TableName> {
    let path = session.path();
    let catalog = match name.catalog.as_deref() {
        Some(catalog) if catalog.eq_ignore_ascii_case(TEMPORARY) => return temporary_name(name),
        Some(catalog) => own_or_refused(catalog, session)?,
        None => path.catalog,
    };
    let schema = name.schema.clone().unwrap_or(path.schema);
    Ok(TableName { catalog: Some(catalog), schema: Some(schema), table: name.table.clone() })
}

/// The full name of a temporary table.
///
/// Errors: `Invalid` for a name that is another place's.
pub(in crate::flight) fn temporary_name(name: &TableName) -> Result<TableName> {
    let is = |part: &Option<String>, only: &str| {
        part.as_deref().is_none_or(|part| part.eq_ignore_ascii_case(only))
    };
    // With a schema alone, the catalog would be the database's own.
    let is_elsewhere = name.schema.is_some() && name.catalog.is_none();
    if is_elsewhere || !is(&name.catalog, TEMPORARY) || !is(&name.schema, "main") {
        return Err(Error::invalid(format!(
            "temporary table {name}: temporary tables live in the catalog temp and its one schema main; leave catalog \
             and schema out"
        )));
    }
    let (catalog, schema) = (Some(TEMPORARY.to_owned()), Some("main".to_owned()));
    Ok(TableName { catalog, schema, table: name.table.clone() })
}
