//! Listings of the catalog -> windows that list what somebody may see.
//! Runs on: any thread; pure.
//! Never: shows definitions, which name other tables; shows statistics of tables that are granted in part.

use super::access::{Access, Tables};
use super::window::Window;
use crate::catalog::quote_text;

/// A listing of the catalog: a function or a view of the engine's.
struct Listing {
    /// Name; with its schema for those of information_schema.
    name: &'static str,
    /// SQL that it stands for.
    from: &'static str,
    /// Columns with the names of database, schema and table; no table for listings of schemas.
    columns: [&'static str; 3],
    /// The column of column names, where it lists columns.
    column: Option<&'static str>,
    /// Columns that are empty in the window.
    emptied: &'static [&'static str],
    /// Tables that are granted in part are left out.
    only_whole: bool,
}

const fn listing(
    name: &'static str,
    from: &'static str,
    columns: [&'static str; 3],
    emptied: &'static [&'static str],
) -> Listing {
    Listing { name, from, columns, column: None, emptied, only_whole: false }
}

const TABLE: [&str; 3] = ["database_name", "schema_name", "table_name"];
const INFORMATION: [&str; 3] = ["table_catalog", "table_schema", "table_name"];

const LISTINGS: [Listing; 9] = [
    listing(
        "duckdb_tables",
        "duckdb_tables()",
        TABLE,
        &["sql", "estimated_size", "check_constraint_count", "index_count"],
    ),
    listing("duckdb_views", "duckdb_views()", ["database_name", "schema_name", "view_name"], &["sql"]),
    Listing {
        column: Some("column_name"),
        ..listing("duckdb_columns", "duckdb_columns()", TABLE, &["column_default"])
    },
    listing("duckdb_schemas", "duckdb_schemas()", ["database_name", "schema_name", ""], &["sql"]),
    Listing { only_whole: true, ..listing("duckdb_constraints", "duckdb_constraints()", TABLE, &[]) },
    Listing { only_whole: true, ..listing("duckdb_indexes", "duckdb_indexes()", TABLE, &["sql"]) },
    listing("information_schema.tables", "information_schema.tables", INFORMATION, &[]),
    Listing {
        column: Some("column_name"),
        ..listing(
            "information_schema.columns",
            "information_schema.columns",
            INFORMATION,
            &["column_default"],
        )
    },
    listing(
        "information_schema.schemata",
        "information_schema.schemata",
        ["catalog_name", "schema_name", ""],
        &[],
    ),
];

/// The window in the place of a listing, if it is one.
pub(super) fn window(access: &Access, catalog: &str, path: &[String]) -> Option<Window> {
    let lower: Vec<String> = path.iter().map(|part| part.to_lowercase()).collect();
    let named = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [name] | ["system" | "main", name] | ["system", "main", name] => (*name).to_owned(),
        ["information_schema", name] => format!("information_schema.{name}"),
        [_, "information_schema", name] => format!("information_schema.{name}"),
        _ => return None,
    };
    let listing = LISTINGS.iter().find(|listing| listing.name == named)?;
    let [database, schema, table] = listing.columns;
    let (granted, scope) = access.listed();
    let any = |tables: &[&Tables]| {
        let one = |tables: &&Tables| {
            let mut conditions = vec![format!("lower({schema}) <> 'pintail_internal'")];
            conditions.extend(tables.schema.as_deref().map(|name| is(schema, name)));
            conditions
                .extend(tables.table.as_deref().filter(|_| !table.is_empty()).map(|name| is(table, name)));
            format!("({})", conditions.join(" AND "))
        };
        format!("({})", tables.iter().map(one).collect::<Vec<_>>().join(" OR "))
    };
    let mut conditions = vec![format!("{database} = {}", quote_text(catalog))];
    if let Some(granted) = granted {
        conditions.push(if granted.is_empty() { "false".to_owned() } else { any(&granted) });
    }
    if !scope.is_empty() {
        conditions.push(any(&scope.iter().collect::<Vec<_>>()));
    }
    if let Some(column) = listing.column {
        for (tables, hidden) in access.hidden_columns() {
            let hidden: Vec<String> = hidden.iter().map(|name| is(column, name)).collect();
            conditions.push(format!("NOT ({} AND ({}))", any(&[tables]), hidden.join(" OR ")));
        }
    }
    if listing.only_whole {
        let in_part: Vec<&Tables> = access.in_part().collect();
        if !in_part.is_empty() {
            conditions.push(format!("NOT {}", any(&in_part)));
        }
    }
    let mut query = "SELECT *".to_owned();
    if !listing.emptied.is_empty() {
        let emptied: Vec<String> =
            listing.emptied.iter().map(|name| format!("CASE WHEN false THEN {name} END AS {name}")).collect();
        query.push_str(&format!(" REPLACE ({})", emptied.join(", ")));
    }
    query.push_str(&format!(" FROM {} WHERE {}", listing.from, conditions.join(" AND ")));
    Some(Window::of(query))
}

fn is(column: &str, name: &str) -> String {
    format!("lower({column}) = {}", quote_text(&name.to_lowercase()))
}
