//! A DROP … CASCADE -> whether all that goes with it is its sender's to define.
//! Runs on: the thread of the connection; blocks while the catalog is looked at.
//! Never: names what depends on the dropped.

use serde_json::Value;

use super::access::{Access, Right};
use super::facts::Cascade;
use super::planner::Planner;
use super::refusal::denied;
use crate::catalog::quote_text;
use crate::error::Result;

/// What is in the database, by the engine's number for it. Listings name a schema inside another one by its last part alone,
/// so what is in one is told apart.
const ENTRIES: &str = "nested(database_oid, oid) AS (
    SELECT database_oid, oid FROM duckdb_schemas() WHERE parent_schema_oid IS NOT NULL),
 entries(catalog, oid, schema, name, kind) AS (
    SELECT database_name, table_oid, schema_name, table_name,
           CASE WHEN (database_oid, schema_oid) IN (FROM nested) THEN 'nested' ELSE 'table' END FROM duckdb_tables()
    UNION ALL SELECT database_name, view_oid, schema_name, view_name,
           CASE WHEN (database_oid, schema_oid) IN (FROM nested) THEN 'nested' ELSE 'table' END FROM duckdb_views()
    UNION ALL SELECT s.database_name, s.oid, p.schema_name, s.schema_name, 'nested' FROM duckdb_schemas() AS s
           JOIN duckdb_schemas() AS p ON p.database_oid = s.database_oid AND p.oid = s.parent_schema_oid
    UNION ALL SELECT database_name, index_oid, schema_name, index_name, 'index' FROM duckdb_indexes()
    UNION ALL SELECT database_name, sequence_oid, schema_name, sequence_name, 'sequence' FROM duckdb_sequences()
    UNION ALL SELECT database_name, type_oid, schema_name, type_name, 'type' FROM duckdb_types() WHERE NOT internal
    UNION ALL SELECT database_name, function_oid, schema_name, function_name, 'macro' FROM duckdb_functions()
        WHERE NOT internal)";

/// Refuses to drop with the named what is not its sender's: tables and views that they may not define, and sequences, types
/// and macros, which are for admins.
///
/// Errors: `Denied`, without the names of what depends on it.
pub(super) fn check_cascade(planner: Planner<'_>, access: &Access, cascade: &Cascade) -> Result<()> {
    let Cascade { schema, table } = cascade;
    let catalog = quote_text(planner.0.database().catalog());
    let within = quote_text(&schema.to_lowercase());
    let only = if table.is_some() { "AND kind = 'table' AND lower(name) = $text" } else { "AND $text = ''" };
    let sql = format!(
        "WITH RECURSIVE {ENTRIES}, gone(oid) AS (
            SELECT oid FROM entries WHERE catalog = {catalog} AND lower(schema) = {within} {only}
            UNION SELECT refobjid FROM duckdb_dependencies() AS d JOIN gone ON d.objid = gone.oid)
         SELECT CAST(to_json(coalesce(list([kind, schema, name]), [])) AS VARCHAR)
         FROM gone LEFT JOIN (FROM entries WHERE catalog = {catalog}) USING (oid)"
    );
    let named = table.as_deref().unwrap_or_default().to_lowercase();
    let gone = planner.json(&sql, &named)?;
    let is_theirs = |entry: &Value| {
        let text = |at: usize| entry.get(at).and_then(Value::as_str).unwrap_or_default();
        match text(0) {
            "table" => access.may(Right::Define, text(1), text(2)),
            // It goes with its table, which is looked at itself.
            "index" => true,
            _ => false,
        }
    };
    // The path of a schema inside another one is in no listing.
    let is_nested = schema.contains('.');
    if !is_nested && gone.as_array().is_some_and(|gone| gone.iter().all(is_theirs)) {
        return Ok(());
    }
    let what = table.as_ref().map_or_else(|| schema.clone(), |table| format!("{schema}.{table}"));
    Err(denied(format!(
        "DROP {what} CASCADE would drop what {} may not define (tables of other schemas, or sequences, types and macros, which are \
         for admins); drop your own tables one by one, or let an admin do it",
        access.user
    )))
}
