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
    /// Where it lists columns: their names, and their places, which are counted anew.
    column: Option<[&'static str; 2]>,
    /// Where it lists tables: the number of their columns, which is counted anew.
    column_count: Option<&'static str>,
    /// Columns that are empty in the window.
    emptied: &'static [&'static str],
    /// Columns that are empty for tables that are granted in part.
    emptied_in_part: &'static [&'static str],
    /// Tables that are granted in part are left out.
    only_whole: bool,
}

const fn listing(
    name: &'static str,
    from: &'static str,
    columns: [&'static str; 3],
    emptied: &'static [&'static str],
) -> Listing {
    Listing {
        name,
        from,
        columns,
        column: None,
        column_count: None,
        emptied,
        emptied_in_part: &[],
        only_whole: false,
    }
}

const TABLE: [&str; 3] = ["database_name", "schema_name", "table_name"];
const INFORMATION: [&str; 3] = ["table_catalog", "table_schema", "table_name"];

const LISTINGS: [Listing; 9] = [
    Listing {
        column_count: Some("column_count"),
        emptied_in_part: &["has_primary_key"],
        ..listing(
            "duckdb_tables",
            "duckdb_tables()",
            TABLE,
            &["sql", "estimated_size", "check_constraint_count", "index_count"],
        )
    },
    Listing {
        column_count: Some("column_count"),
        ..listing("duckdb_views", "duckdb_views()", ["database_name", "schema_name", "view_name"], &["sql"])
    },
    Listing {
        column: Some(["column_name", "column_index"]),
        ..listing("duckdb_columns", "duckdb_columns()", TABLE, &["column_default"])
    },
    listing("duckdb_schemas", "duckdb_schemas()", ["database_name", "schema_name", ""], &["sql"]),
    Listing { only_whole: true, ..listing("duckdb_constraints", "duckdb_constraints()", TABLE, &[]) },
    Listing { only_whole: true, ..listing("duckdb_indexes", "duckdb_indexes()", TABLE, &["sql"]) },
    listing("information_schema.tables", "information_schema.tables", INFORMATION, &[]),
    Listing {
        column: Some(["column_name", "ordinal_position"]),
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
    let any = |tables: &[&Tables]| any(tables, [schema, table]);
    let mut conditions = vec![format!("{database} = {}", quote_text(catalog))];
    if let Some(granted) = granted {
        conditions.push(if granted.is_empty() { "false".to_owned() } else { any(&granted) });
    }
    if !scope.is_empty() {
        conditions.push(any(&scope.iter().collect::<Vec<_>>()));
    }
    let in_part: Vec<&Tables> = access.in_part().collect();
    if listing.only_whole && !in_part.is_empty() {
        conditions.push(format!("NOT {}", any(&in_part)));
    }
    let mut replaced: Vec<String> =
        listing.emptied.iter().map(|name| format!("CASE WHEN false THEN {name} END AS {name}")).collect();
    if !in_part.is_empty() {
        let empty = |name: &&str| format!("CASE WHEN NOT {} THEN {name} END AS {name}", any(&in_part));
        replaced.extend(listing.emptied_in_part.iter().map(empty));
    }
    let hides = access.hidden_columns().next().is_some();
    if let Some([column, place]) = listing.column.filter(|_| hides) {
        conditions.extend(not_hidden(access, [schema, table, column]));
        // Places without gaps, counted after the hidden ones are left out.
        replaced.push(format!(
            "CAST(row_number() OVER (PARTITION BY {database}, {schema}, {table} ORDER BY {place}) AS INTEGER) AS {place}"
        ));
    }
    if let Some(count) = listing.column_count.filter(|_| hides) {
        let mut counted = vec![
            format!("c.database_name = listed.{database}"),
            format!("c.schema_name = listed.{schema}"),
            format!("c.table_name = listed.{table}"),
        ];
        counted.extend(not_hidden(access, ["c.schema_name", "c.table_name", "c.column_name"]));
        replaced.push(format!(
            "(SELECT count(*) FROM duckdb_columns() AS c WHERE {}) AS {count}",
            counted.join(" AND ")
        ));
    }
    let mut query = "SELECT *".to_owned();
    if !replaced.is_empty() {
        query.push_str(&format!(" REPLACE ({})", replaced.join(", ")));
    }
    query.push_str(&format!(" FROM {} AS listed WHERE {}", listing.from, conditions.join(" AND ")));
    Some(Window::of(query))
}

/// Whether a row is of one of the tables: the columns with the names of its schema and table, the latter empty for listings
/// of schemas.
fn any(tables: &[&Tables], [schema, table]: [&str; 2]) -> String {
    let one = |tables: &&Tables| {
        let mut conditions = vec![format!("lower({schema}) <> 'pintail_internal'")];
        conditions.extend(tables.schema.as_deref().map(|name| is(schema, name)));
        conditions.extend(tables.table.as_deref().filter(|_| !table.is_empty()).map(|name| is(table, name)));
        format!("({})", conditions.join(" AND "))
    };
    format!("({})", tables.iter().map(one).collect::<Vec<_>>().join(" OR "))
}

/// Conditions that leave hidden columns out: the columns with the names of schema, table and column.
fn not_hidden(access: &Access, [schema, table, column]: [&str; 3]) -> Vec<String> {
    let one = |(tables, hidden): (&Tables, &[String])| {
        let hidden: Vec<String> = hidden.iter().map(|name| is(column, name)).collect();
        format!("NOT ({} AND ({}))", any(&[tables], [schema, table]), hidden.join(" OR "))
    };
    access.hidden_columns().map(one).collect()
}

fn is(column: &str, name: &str) -> String {
    format!("lower({column}) = {}", quote_text(&name.to_lowercase()))
}
