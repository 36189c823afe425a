//! The catalog of one database -> a list of all that it holds, to be compared with another's.
//! Runs on: the thread of the connection; blocks for catalog queries and a count of each table.
//! Never: lists what other databases hold, or what is temporary; believes a copy that it has not looked at.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;

use crate::catalog::{quote_name, quote_text};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::read::query;

/// Tables counted by one statement.
const TABLES_AT_ONCE: usize = 50;
/// Differences named in an error.
const NAMED_MAX: usize = 10;

/// All that a database holds, at the moment of the connection's transaction.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    // Kind and name -> what else is known of each object of that name, in order.
    objects: BTreeMap<(String, String), Vec<String>>,
    /// Tables, with their full paths inside the database.
    pub(crate) tables: Vec<Vec<String>>,
    /// Triggers in the order they were made.
    pub(crate) triggers: Vec<Trigger>,
    indexes: Vec<Vec<String>>,
    // What each gives next, and whether it counts down; those that begin again at their end are left out.
    sequences: BTreeMap<String, (i64, bool)>,
    rows: BTreeMap<String, u64>,
}

/// A trigger, and the statement that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) schema: Vec<String>,
    pub(crate) name: String,
    pub(crate) sql: String,
}

/// What a look at the catalog gives of an object: its kind, its schema, its name, and what must be the same in a copy.
const OBJECTS: &str = "
    SELECT 'table', schema_oid, table_name, coalesce(comment, '') FROM duckdb_tables() WHERE database_name = $db
    UNION ALL
    SELECT 'column', schema_oid, table_name || '.' || column_name,
           concat_ws(' ', data_type, is_nullable, column_default, comment)
    FROM duckdb_columns() WHERE database_name = $db AND NOT internal
         AND table_oid IN (SELECT table_oid FROM duckdb_tables() WHERE database_name = $db)
    UNION ALL
    SELECT 'constraint', schema_oid, table_name, constraint_text FROM duckdb_constraints() WHERE database_name = $db
    UNION ALL
    SELECT 'index', schema_oid, index_name, concat_ws(' ', table_name, is_unique, expressions, comment)
    FROM duckdb_indexes() WHERE database_name = $db
    UNION ALL
    SELECT 'view', schema_oid, view_name, coalesce(comment, '') FROM duckdb_views()
    WHERE database_name = $db AND NOT internal
    UNION ALL
    SELECT 'macro', NULL, schema_name || '.' || function_name, concat_ws(' ', function_type, parameters, comment)
    FROM duckdb_functions() WHERE database_name = $db AND NOT internal
    UNION ALL
    SELECT 'type', schema_oid, type_name, concat_ws(' ', logical_type, labels, comment) FROM duckdb_types()
    WHERE database_name = $db AND NOT internal
    UNION ALL
    SELECT 'sequence', schema_oid, sequence_name, concat_ws(' ', increment_by, min_value, max_value, cycle, comment)
    FROM duckdb_sequences() WHERE database_name = $db
    UNION ALL
    SELECT 'trigger', schema_oid, table_name || '.' || trigger_name,
           concat_ws(' ', action_timing, event_manipulation, columns, for_each, comment)
    FROM duckdb_triggers() WHERE database_name = $db";

impl Inventory {
    /// Lists what the connection's database holds, and counts the rows of its tables.
    pub(crate) fn read(connection: &Connection) -> Result<Self> {
        let schemas = schemas(connection)?;
        let mut inventory = Self::default();
        for schema in schemas.values() {
            inventory.add("schema", schema, String::new());
        }
        for [kind, schema, name, detail] in texts(connection, OBJECTS)? {
            let mut path = path(&schemas, &schema);
            match kind.as_str() {
                "table" => inventory.tables.push([path.clone(), vec![name.clone()]].concat()),
                "index" => inventory.indexes.push([path.clone(), vec![name.clone()]].concat()),
                _ => {}
            }
            path.push(name);
            inventory.add(&kind, &path, detail);
        }
        let sql = "SELECT schema_oid, trigger_name, sql FROM duckdb_triggers() WHERE database_name = $db \
                   ORDER BY trigger_oid";
        for [schema, name, sql] in texts(connection, sql)? {
            inventory.triggers.push(Trigger { schema: path(&schemas, &schema), name, sql });
        }
        let sql = "SELECT schema_oid, sequence_name, coalesce(last_value + increment_by, start_value), increment_by < 0 \
                   FROM duckdb_sequences() WHERE database_name = $db AND NOT cycle";
        for [schema, name, next, counts_down] in texts(connection, sql)? {
            let mut path = path(&schemas, &schema);
            path.push(name);
            // One that is at the end of BIGINT gives nothing any more.
            let Ok(next) = next.parse() else { continue };
            inventory.sequences.insert(path.join("."), (next, counts_down == "true"));
        }
        inventory.count(connection)?;
        Ok(inventory)
    }

    fn add(&mut self, kind: &str, path: &[String], detail: String) {
        let details = self.objects.entry((kind.to_owned(), path.join("."))).or_default();
        let at = details.partition_point(|known| *known < detail);
        details.insert(at, detail);
    }

    fn count(&mut self, connection: &Connection) -> Result<()> {
        for tables in self.tables.chunks(TABLES_AT_ONCE) {
            let counts: Vec<String> = tables
                .iter()
                .enumerate()
                .map(|(index, table)| {
                    format!("SELECT {index}::BIGINT, count(*) FROM {}", to_sql(connection, table))
                })
                .collect();
            for batch in query(connection, &counts.join(" UNION ALL "))? {
                let [indexes, counts] = [0, 1].map(|column| batch.column(column).as_primitive::<Int64Type>());
                for (index, count) in indexes.values().iter().zip(counts.values()) {
                    let table = usize::try_from(*index).ok().and_then(|index| tables.get(index));
                    let table = table.ok_or_else(|| Error::internal("a count of no table"))?;
                    self.rows.insert(table.join("."), count.unsigned_abs());
                }
            }
        }
        Ok(())
    }

    /// Indexes that the engine cannot copy.
    ///
    /// Cause: COPY FROM DATABASE of 2.0.0 looks for an index's table under the last part of its schema's path, finds
    /// none, or another one of that name, which it would spoil.
    pub(crate) fn nested_indexes(&self) -> Vec<String> {
        self.indexes.iter().filter(|path| path.len() > 2).map(|path| path.join(".")).collect()
    }

    /// What `copy` lacks or has otherwise, a line for each; nothing when it is whole.
    pub(crate) fn missing_in(&self, copy: &Self) -> Vec<String> {
        let mut missing = Vec::new();
        for ((kind, name), details) in &self.objects {
            match copy.objects.get(&(kind.clone(), name.clone())) {
                None => missing.push(format!("{kind} {name} is missing")),
                Some(found) if found != details => missing.push(format!("{kind} {name} is another one")),
                Some(_) => {}
            }
        }
        for (table, rows) in &self.rows {
            match copy.rows.get(table) {
                Some(found) if found != rows => {
                    missing.push(format!("table {table} has {found} of {rows} rows"));
                }
                _ => {}
            }
        }
        for (sequence, (next, counts_down)) in &self.sequences {
            // Others may have taken numbers meanwhile: of those, the copy may leave some out, and repeat none.
            let repeats = |found: i64| if *counts_down { found > *next } else { found < *next };
            match copy.sequences.get(sequence) {
                Some((found, _)) if repeats(*found) => {
                    missing.push(format!("sequence {sequence} goes on with {found} instead of {next}"));
                }
                _ => {}
            }
        }
        missing
    }
}

/// The first of many names, and how many more there are.
pub(crate) fn first_of(names: &[String]) -> String {
    match names.len().checked_sub(NAMED_MAX) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED_MAX].join(", ")),
    }
}

/// A path inside the connection's database as SQL.
pub(crate) fn to_sql(connection: &Connection, path: &[String]) -> String {
    let parts = [connection.database().catalog()].into_iter().chain(path.iter().map(String::as_str));
    parts.map(quote_name).collect::<Vec<_>>().join(".")
}

/// Every schema by its number, as a path: `CREATE SCHEMA a.b` makes one inside another.
fn schemas(connection: &Connection) -> Result<HashMap<String, Vec<String>>> {
    let sql = "SELECT oid, schema_name, coalesce(parent_schema_oid::VARCHAR, '') FROM duckdb_schemas() \
               WHERE database_name = $db";
    let found: HashMap<String, (String, String)> =
        texts(connection, sql)?.into_iter().map(|[oid, name, parent]| (oid, (name, parent))).collect();
    let path = |oid: &str| {
        let mut path = Vec::new();
        let mut next = found.get(oid);
        while let Some((name, parent)) = next.filter(|_| path.len() < found.len()) {
            path.insert(0, name.clone());
            next = found.get(parent);
        }
        path
    };
    Ok(found.keys().map(|oid| (oid.clone(), path(oid))).collect())
}

fn path(schemas: &HashMap<String, Vec<String>>, oid: &str) -> Vec<String> {
    schemas.get(oid).cloned().unwrap_or_default()
}

/// Rows of `N` columns as texts, NULL as an empty one. `$db` stands for the name of the connection's database.
fn texts<const N: usize>(connection: &Connection, sql: &str) -> Result<Vec<[String; N]>> {
    let sql = sql.replace("$db", &quote_text(connection.database().catalog()));
    let columns: Vec<String> = (0..N).map(|column| format!("c{column}::VARCHAR")).collect();
    let names: Vec<String> = (0..N).map(|column| format!("c{column}")).collect();
    let mut rows = Vec::new();
    for batch in
        query(connection, &format!("SELECT {} FROM ({sql}) q({})", columns.join(", "), names.join(", ")))?
    {
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|column| {
                let values = batch.column(column).as_string::<i32>();
                if values.is_null(row) { String::new() } else { values.value(row).to_owned() }
            }));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Inventory {
        let mut inventory = Inventory::default();
        let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        inventory.add("table", &path("main.t"), String::new());
        for detail in ["b", "a"] {
            inventory.add("macro", &path("main.m"), detail.to_owned());
        }
        inventory.indexes = vec![path("main.i"), path("a.b.i")];
        inventory.rows.insert("main.t".into(), 5);
        inventory.sequences.insert("main.up".into(), (7, false));
        inventory.sequences.insert("main.down".into(), (-7, true));
        inventory
    }

    #[test]
    fn what_a_copy_lacks_is_named() {
        let check = |change: fn(&mut Inventory), expected: &[&str]| {
            let mut copy = whole();
            change(&mut copy);
            assert_eq!(whole().missing_in(&copy), expected);
        };
        check(|_| {}, &[]);
        check(|copy| copy.objects.clear(), &["macro main.m is missing", "table main.t is missing"]);
        check(
            |copy| copy.add("macro", &["main".into(), "m".into()], "c".into()),
            &["macro main.m is another one"],
        );
        check(|copy| copy.rows.extend([("main.t".into(), 4)]), &["table main.t has 4 of 5 rows"]);
        check(
            |copy| copy.sequences.extend([("main.up".into(), (6, false)), ("main.down".into(), (-6, true))]),
            &[
                "sequence main.down goes on with -6 instead of -7",
                "sequence main.up goes on with 6 instead of 7",
            ],
        );
        check(
            |copy| copy.sequences.extend([("main.up".into(), (9, false)), ("main.down".into(), (-9, true))]),
            &[],
        );
        assert_eq!(whole().nested_indexes(), ["a.b.i"]);
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
        assert_eq!(first_of(&names[..2]), "t0, t1");
        assert!(first_of(&names[..10]).ends_with("t9"));
        assert!(first_of(&names).ends_with("t9 and 2 more"));
    }
}
