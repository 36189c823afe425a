//! Catalogs, schemas, tables and table types -> the batches of the listing commands.
//! Runs on: the thread of a query; pure.
//! Never: asks the engine; leaves filtering to arrow-flight's builders, whose LIKE knows other escapes.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};

use super::built::encoded;
use super::pattern::Pattern;
use crate::engine::{SchemaInfo, TableEntry};
use crate::error::Result;

/// What a table can be.
const TABLE_TYPES: [&str; 3] = [BASE_TABLE, "LOCAL TEMPORARY", VIEW];
const BASE_TABLE: &str = "BASE TABLE";
/// Type of a view, temporary or not.
pub(super) const VIEW: &str = "VIEW";

/// Whether `name` passes a filter that is a name and not a pattern; case makes no difference. An empty filter asks for
/// what has no such name, which DuckDB does not have.
pub(super) fn passes(filter: Option<&str>, name: &str) -> bool {
    filter.is_none_or(|filter| !filter.is_empty() && filter.eq_ignore_ascii_case(name))
}

/// The catalogs that `schemas` are in.
pub(super) fn catalog_names(schemas: Vec<SchemaInfo>) -> Vec<String> {
    let mut names: Vec<String> = schemas.into_iter().map(|schema| schema.catalog).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// One row per catalog.
pub(super) fn catalogs(names: &[String]) -> Result<RecordBatch> {
    let mut builder = CommandGetCatalogs {}.into_builder();
    for name in names {
        builder.append(name);
    }
    encoded(builder.build())
}

/// The schemas that pass the command's filters.
///
/// Errors: `Invalid` for a pattern that ends in an escape.
pub(super) fn choose_schemas(
    command: &CommandGetDbSchemas,
    mut schemas: Vec<SchemaInfo>,
) -> Result<Vec<SchemaInfo>> {
    let pattern = parsed(command.db_schema_filter_pattern.as_deref())?;
    schemas.retain(|one| {
        passes(command.catalog.as_deref(), &one.catalog) && matches(pattern.as_ref(), &one.schema)
    });
    Ok(schemas)
}

/// One row per schema.
pub(super) fn db_schemas(schemas: &[SchemaInfo]) -> Result<RecordBatch> {
    let mut builder = CommandGetDbSchemas::default().into_builder();
    for SchemaInfo { catalog, schema, .. } in schemas {
        builder.append(catalog, schema);
    }
    encoded(builder.build())
}

/// One row per kind of table.
pub(super) fn table_types() -> Result<RecordBatch> {
    let mut builder = CommandGetTableTypes {}.into_builder();
    for table_type in TABLE_TYPES {
        builder.append(table_type);
    }
    encoded(builder.build())
}

/// The tables that pass the command's filters.
///
/// Errors: `Invalid` for a pattern that ends in an escape.
pub(super) fn choose(command: &CommandGetTables, mut tables: Vec<TableEntry>) -> Result<Vec<TableEntry>> {
    let schemas = parsed(command.db_schema_filter_pattern.as_deref())?;
    let names = parsed(command.table_name_filter_pattern.as_deref())?;
    tables.retain(|entry| {
        passes(command.catalog.as_deref(), &entry.catalog)
            && matches(schemas.as_ref(), &entry.schema)
            && matches(names.as_ref(), &entry.table)
            && is_of(&command.table_types, &entry.table_type)
    });
    Ok(tables)
}

/// One row per table; its schema is part of the row only with `include_schema`.
pub(super) fn tables(include_schema: bool, rows: &[(TableEntry, Arc<Schema>)]) -> Result<RecordBatch> {
    let mut builder = CommandGetTables { include_schema, ..Default::default() }.into_builder();
    for (entry, schema) in rows {
        encoded(builder.append(&entry.catalog, &entry.schema, &entry.table, &entry.table_type, schema))?;
    }
    encoded(builder.build())
}

fn parsed(pattern: Option<&str>) -> Result<Option<Pattern>> {
    pattern.map(Pattern::parse).transpose()
}

fn matches(pattern: Option<&Pattern>, name: &str) -> bool {
    pattern.is_none_or(|pattern| pattern.matches(name))
}

/// Whether `found` is among the types asked for. JDBC tools call a base table TABLE.
fn is_of(asked: &[String], found: &str) -> bool {
    let same = |asked: &String| {
        found.eq_ignore_ascii_case(asked) || (found == BASE_TABLE && asked.eq_ignore_ascii_case("TABLE"))
    };
    asked.is_empty() || asked.iter().any(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use arrow::array::{Array, AsArray};

    fn entry(catalog: &str, schema: &str, table: &str, table_type: &str) -> TableEntry {
        TableEntry {
            catalog: catalog.into(),
            schema: schema.into(),
            table: table.into(),
            path: vec![catalog.into(), schema.into(), table.into()],
            table_type: table_type.into(),
            comment: None,
            rows: None,
            columns: 0,
        }
    }

    fn entries() -> Vec<TableEntry> {
        vec![
            entry("db", "main", "orders", BASE_TABLE),
            entry("db", "main", "orders_2026", BASE_TABLE),
            entry("db", "sales", "orders", VIEW),
            entry("temp", "main", "scratch", "LOCAL TEMPORARY"),
        ]
    }

    fn chosen(command: CommandGetTables) -> Vec<String> {
        let tables = choose(&command, entries()).unwrap();
        tables.into_iter().map(|entry| entry.name().to_string()).collect()
    }

    #[test]
    fn tables_are_chosen_by_every_filter() {
        assert_eq!(chosen(CommandGetTables::default()).len(), 4);
        let by_name = |pattern: &str| {
            chosen(CommandGetTables { table_name_filter_pattern: Some(pattern.into()), ..Default::default() })
        };
        assert_eq!(by_name("orders"), ["db.main.orders", "db.sales.orders"]);
        assert_eq!(by_name("orders\\_%"), ["db.main.orders_2026"]);
        assert_eq!(by_name("ORDERS"), Vec::<String>::new());
        let by_schema =
            CommandGetTables { db_schema_filter_pattern: Some("s%".into()), ..Default::default() };
        assert_eq!(chosen(by_schema), ["db.sales.orders"]);
        let by_catalog =
            |catalog: &str| chosen(CommandGetTables { catalog: Some(catalog.into()), ..Default::default() });
        assert_eq!(by_catalog("TEMP"), ["temp.main.scratch"]);
        assert_eq!(by_catalog("tem%"), Vec::<String>::new());
        // An empty filter asks for tables without a catalog.
        assert_eq!(by_catalog(""), Vec::<String>::new());
    }

    #[test]
    fn table_types_are_matched_as_tools_write_them() {
        let of = |types: &[&str]| {
            let table_types = types.iter().map(|name| (*name).into()).collect();
            chosen(CommandGetTables { table_types, ..Default::default() }).len()
        };
        assert_eq!(of(&["TABLE"]), 2);
        assert_eq!(of(&["base table", "View"]), 3);
        assert_eq!(of(&["LOCAL TEMPORARY"]), 1);
        assert_eq!(of(&["SYSTEM TABLE"]), 0);
    }

    #[test]
    fn a_pattern_with_a_lone_escape_is_refused() {
        let bad = || Some("a\\".to_owned());
        let by_name = CommandGetTables { table_name_filter_pattern: bad(), ..Default::default() };
        assert_eq!(choose(&by_name, entries()).unwrap_err().kind(), Kind::Invalid);
        let by_schema = CommandGetDbSchemas { db_schema_filter_pattern: bad(), ..Default::default() };
        assert_eq!(choose_schemas(&by_schema, Vec::new()).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn schemas_and_catalogs_are_listed_once() {
        let of = |catalog: &str, schema: &str| SchemaInfo {
            catalog: catalog.into(),
            schema: schema.into(),
            is_nested: false,
        };
        let all = vec![of("db", "main"), of("db", "sales"), of("temp", "main")];
        let command =
            CommandGetDbSchemas { catalog: Some("db".into()), db_schema_filter_pattern: Some("_a%".into()) };
        let batch = db_schemas(&choose_schemas(&command, all.clone()).unwrap()).unwrap();
        let names: Vec<_> = batch.column(1).as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["main", "sales"]);
        let batch = catalogs(&catalog_names(all)).unwrap();
        let names: Vec<_> = batch.column(0).as_string::<i32>().iter().flatten().collect();
        assert_eq!(names, ["db", "temp"]);
    }

    #[test]
    fn the_schema_column_is_there_only_when_asked_for() {
        let rows: Vec<_> = entries().into_iter().map(|entry| (entry, Arc::new(Schema::empty()))).collect();
        assert_eq!(tables(false, &rows).unwrap().num_columns(), 4);
        let batch = tables(true, &rows).unwrap();
        assert_eq!((batch.num_rows(), batch.num_columns(), batch.column(4).null_count()), (4, 5, 0));
    }
}
