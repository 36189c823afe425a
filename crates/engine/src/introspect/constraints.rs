//! DuckDB's constraints -> primary and foreign keys, column by column.
//! Runs on: the thread of the connection; blocks for a catalog query.
//! Never: reads table rows, or knows how a client wants the answer encoded.

use std::collections::HashMap;

use super::metadata::{shows, visible};
use super::rows::rows;
use crate::catalog::{TableName, quote_text};
use crate::connection::Connection;
use crate::error::Result;

/// One column of a primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryKeyColumn {
    /// Database.
    pub catalog: String,
    /// Schema.
    pub schema: String,
    /// Table.
    pub table: String,
    /// Column, in the table's spelling.
    pub column: String,
    /// Place of the column in the key, from 1.
    pub key_sequence: i32,
    /// Name of the constraint. DuckDB makes it up, also where the DDL gave one.
    pub constraint: String,
}

/// One column of a foreign key and the column it references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKeyColumn {
    /// Database of both tables; DuckDB's foreign keys do not leave a schema.
    pub catalog: String,
    /// Schema of both tables.
    pub schema: String,
    /// Referenced table.
    pub pk_table: String,
    /// Referenced column, in its table's spelling.
    pub pk_column: String,
    /// Name of the referenced PRIMARY KEY or UNIQUE constraint.
    pub pk_constraint: Option<String>,
    /// Referencing table.
    pub fk_table: String,
    /// Referencing column, in its table's spelling.
    pub fk_column: String,
    /// Name of the foreign key's constraint.
    pub fk_constraint: String,
    /// Place of the column in the key, from 1.
    pub key_sequence: i32,
}

/// The primary key columns of the tables called `table`, in every catalog and schema that is not given. Case makes
/// no difference between names, as in SQL.
pub fn primary_keys(
    connection: &Connection,
    catalog: Option<&str>,
    schema: Option<&str>,
    table: &str,
) -> Result<Vec<PrimaryKeyColumn>> {
    let condition =
        format!("p.constraint_type = '{PRIMARY_KEY}' AND lower(p.table_name) = lower({})", quote_text(table));
    let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|name| name.eq_ignore_ascii_case(found));
    let parts = shown(connection, key_parts(connection, &condition)?);
    Ok(parts
        .into_iter()
        // The engine takes letters outside of ASCII as they are.
        .filter(|part| is(catalog, &part.catalog) && is(schema, &part.schema) && is(Some(table), &part.table))
        .map(|part| PrimaryKeyColumn {
            catalog: part.catalog,
            schema: part.schema,
            table: part.table,
            column: part.column,
            key_sequence: part.key_sequence,
            constraint: part.constraint,
        })
        .collect())
}

/// Every foreign key's columns, key by key.
pub fn foreign_keys(connection: &Connection) -> Result<Vec<ForeignKeyColumn>> {
    let parts = shown(connection, key_parts(connection, "TRUE")?);
    let mut keys = resolve(&parts);
    if let Some(access) = connection.access() {
        keys.retain(|key| access.sees(&key.schema, &key.pk_table));
    }
    Ok(keys)
}

/// The keys that the connection's client may see: those of its tables, without columns that are left out.
fn shown(connection: &Connection, parts: Vec<KeyPart>) -> Vec<KeyPart> {
    let Some(access) = connection.access() else { return parts };
    let keys = parts.chunk_by(|one, next| one.number == next.number && one.table == next.table);
    let is_shown = |part: &KeyPart| {
        let name = TableName {
            catalog: Some(part.catalog.clone()),
            schema: Some(part.schema.clone()),
            table: part.table.clone(),
        };
        shows(access, &name, &part.column)
    };
    let shown: Vec<bool> =
        keys.flat_map(|key| std::iter::repeat_n(key.iter().all(is_shown), key.len())).collect();
    parts.into_iter().zip(shown).filter_map(|(part, shown)| shown.then_some(part)).collect()
}

const PRIMARY_KEY: &str = "PRIMARY KEY";
const FOREIGN_KEY: &str = "FOREIGN KEY";

/// One column of a PRIMARY KEY, UNIQUE or FOREIGN KEY constraint.
#[derive(Debug)]
struct KeyPart {
    catalog: String,
    schema: String,
    table: String,
    number: i64,
    constraint_type: String,
    constraint: String,
    key_sequence: i32,
    column: String,
    // As the DDL spelled them.
    referenced_table: Option<String>,
    referenced_column: Option<String>,
}

/// Constraints spell columns as their DDL did, so names come from the table, by the column's place.
fn key_parts(connection: &Connection, condition: &str) -> Result<Vec<KeyPart>> {
    let visible = visible();
    let sql = format!(
        "{visible}, parts AS ( \
             SELECT v.database_name, v.schema_name, table_name, constraint_index, constraint_type, \
                    constraint_name, referenced_table, database_oid, table_oid, \
                    unnest(constraint_column_indexes) AS column_place, \
                    unnest(referenced_column_names) AS referenced_column, \
                    unnest(range(1, len(constraint_column_indexes) + 1)) AS key_sequence \
             FROM duckdb_constraints() JOIN visible v USING (database_oid, schema_oid) \
             WHERE constraint_type IN ('{PRIMARY_KEY}', 'UNIQUE', '{FOREIGN_KEY}')) \
         SELECT p.database_name, p.schema_name, p.table_name, p.constraint_index, p.constraint_type, \
                p.constraint_name, p.key_sequence::INTEGER, c.column_name, p.referenced_table, \
                p.referenced_column \
         FROM parts p JOIN duckdb_columns() c \
              ON c.database_oid = p.database_oid AND c.table_oid = p.table_oid \
                 AND c.column_index = p.column_place + 1 \
         WHERE {condition} \
         ORDER BY p.constraint_index, p.key_sequence"
    );
    rows(connection, &sql, |row| KeyPart {
        catalog: row.text(0),
        schema: row.text(1),
        table: row.text(2),
        number: row.long(3),
        constraint_type: row.text(4),
        constraint: row.text(5),
        key_sequence: row.int_or_none(6).unwrap_or_default(),
        column: row.text(7),
        referenced_table: row.text_or_none(8),
        referenced_column: row.text_or_none(9),
    })
}

/// Finds the key that every foreign key references: same schema, same columns, in any spelling.
fn resolve(parts: &[KeyPart]) -> Vec<ForeignKeyColumn> {
    let constraints = || parts.chunk_by(|one, next| one.number == next.number);
    let spelled = |table: &str| table.to_ascii_lowercase();
    let mut keys: HashMap<(&str, &str, String), Vec<&[KeyPart]>> = HashMap::new();
    for key in constraints().filter(|key| key[0].constraint_type != FOREIGN_KEY) {
        keys.entry((&key[0].catalog, &key[0].schema, spelled(&key[0].table))).or_default().push(key);
    }
    let mut columns = Vec::new();
    for foreign in constraints().filter(|key| key[0].constraint_type == FOREIGN_KEY) {
        let referenced_table = foreign[0].referenced_table.as_deref().unwrap_or_default();
        let place = (foreign[0].catalog.as_str(), foreign[0].schema.as_str(), spelled(referenced_table));
        // The same columns may have a primary key and a unique constraint.
        let key = keys.get(&place).into_iter().flatten().filter(|key| references(foreign, key));
        let key = key.min_by_key(|key| key[0].constraint_type != PRIMARY_KEY);
        for (index, part) in foreign.iter().enumerate() {
            let target = key.map(|key| &key[index]);
            columns.push(ForeignKeyColumn {
                catalog: part.catalog.clone(),
                schema: part.schema.clone(),
                pk_table: target.map_or(referenced_table, |target| target.table.as_str()).to_owned(),
                pk_column: match target {
                    Some(target) => target.column.clone(),
                    None => part.referenced_column.clone().unwrap_or_default(),
                },
                pk_constraint: target.map(|target| target.constraint.clone()),
                fk_table: part.table.clone(),
                fk_column: part.column.clone(),
                fk_constraint: part.constraint.clone(),
                key_sequence: part.key_sequence,
            });
        }
    }
    columns
}

fn references(foreign: &[KeyPart], key: &[KeyPart]) -> bool {
    foreign.len() == key.len()
        && foreign.iter().zip(key).all(|(part, target)| {
            part.referenced_column.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(&target.column))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: i64, kind: &str, table: &str, sequence: i32, column: &str) -> KeyPart {
        KeyPart {
            catalog: "c".into(),
            schema: "s".into(),
            table: table.into(),
            number,
            constraint_type: kind.into(),
            constraint: format!("{table}_{number}"),
            key_sequence: sequence,
            column: column.into(),
            referenced_table: None,
            referenced_column: None,
        }
    }

    fn foreign(number: i64, sequence: i32, column: &str, table: &str, referenced: &str) -> KeyPart {
        KeyPart {
            referenced_table: Some(table.into()),
            referenced_column: Some(referenced.into()),
            ..part(number, FOREIGN_KEY, "child", sequence, column)
        }
    }

    #[test]
    fn foreign_keys_take_the_spelling_of_the_key_they_reference() {
        let parts = [
            part(0, "UNIQUE", "Parent", 1, "Id"),
            part(1, PRIMARY_KEY, "Parent", 1, "Id"),
            part(2, PRIMARY_KEY, "other", 1, "id"),
            foreign(3, 1, "p", "PARENT", "id"),
        ];
        let keys = resolve(&parts);
        assert_eq!(keys.len(), 1);
        assert_eq!((keys[0].pk_table.as_str(), keys[0].pk_column.as_str()), ("Parent", "Id"));
        assert_eq!((keys[0].fk_table.as_str(), keys[0].fk_column.as_str()), ("child", "p"));
        // The primary key, not the unique constraint on the same column.
        assert_eq!(keys[0].pk_constraint.as_deref(), Some("Parent_1"));
    }

    #[test]
    fn foreign_keys_of_several_columns_match_column_by_column() {
        let parts = [
            part(0, PRIMARY_KEY, "t", 1, "a"),
            part(1, "UNIQUE", "t", 1, "b"),
            part(1, "UNIQUE", "t", 2, "a"),
            foreign(2, 1, "x", "t", "b"),
            foreign(2, 2, "y", "t", "a"),
            foreign(3, 1, "x", "t", "missing"),
        ];
        let keys = resolve(&parts);
        let pairs: Vec<_> = keys.iter().map(|key| (key.fk_column.as_str(), key.pk_column.as_str())).collect();
        assert_eq!(pairs, [("x", "b"), ("y", "a"), ("x", "missing")]);
        assert_eq!(keys[1].pk_constraint.as_deref(), Some("t_1"));
        assert_eq!((keys[1].key_sequence, keys[2].pk_constraint.as_deref()), (2, None));
    }
}
