//! Primary and foreign keys -> the batches of the key commands, which arrow-flight has no builders for.
//! Runs on: the thread of a query; pure.
//! Never: asks the engine.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray, UInt8Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetExportedKeys, CommandGetImportedKeys, UpdateDeleteRules,
};

use super::listing::passes;
use crate::engine::{ForeignKeyColumn, PrimaryKeyColumn};
use crate::error::Result;

/// Answer to GetPrimaryKeys, as FlightSql.proto has it.
pub(super) static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

/// Answer to GetExportedKeys, GetImportedKeys and GetCrossReference, as FlightSql.proto has it.
pub(super) static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
});

/// The keys by table, then key.
pub(super) fn sorted(mut keys: Vec<PrimaryKeyColumn>) -> Vec<PrimaryKeyColumn> {
    keys.sort_by(|a, b| by_table(a).cmp(&by_table(b)));
    keys
}

/// Bytes of a row, roughly.
pub(super) fn primary_key_size(key: &PrimaryKeyColumn) -> usize {
    let names = [&key.catalog, &key.schema, &key.table, &key.column, &key.constraint];
    32 + names.map(String::len).iter().sum::<usize>()
}

/// Bytes of a row, roughly; catalog and schema stand in it twice.
pub(super) fn foreign_key_size(key: &ForeignKeyColumn) -> usize {
    let names = [&key.pk_table, &key.pk_column, &key.fk_table, &key.fk_column, &key.fk_constraint];
    let constraint = key.pk_constraint.as_ref().map_or(0, String::len);
    64 + names.map(String::len).iter().sum::<usize>()
        + constraint
        + 2 * (key.catalog.len() + key.schema.len())
}

/// One row per column.
pub(super) fn primary_keys(keys: &[PrimaryKeyColumn]) -> Result<RecordBatch> {
    let texts = |read: fn(&PrimaryKeyColumn) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(keys.iter().map(read)))
    };
    let columns = vec![
        texts(|key| &key.catalog),
        texts(|key| &key.schema),
        texts(|key| &key.table),
        texts(|key| &key.column),
        texts(|key| &key.constraint),
        Arc::new(Int32Array::from_iter_values(keys.iter().map(|key| key.key_sequence))),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&PRIMARY_KEYS), columns)?)
}

/// The foreign keys that reference the command's table, ordered by the tables they are on.
pub(super) fn exported(
    command: &CommandGetExportedKeys,
    mut keys: Vec<ForeignKeyColumn>,
) -> Vec<ForeignKeyColumn> {
    keys.retain(|key| {
        is_in(key, command.catalog.as_deref(), command.db_schema.as_deref())
            && passes(Some(&command.table), &key.pk_table)
    });
    keys.sort_by(|a, b| by_foreign_key(a).cmp(&by_foreign_key(b)));
    keys
}

/// The foreign keys on the command's table, ordered by the tables they reference.
pub(super) fn imported(
    command: &CommandGetImportedKeys,
    mut keys: Vec<ForeignKeyColumn>,
) -> Vec<ForeignKeyColumn> {
    keys.retain(|key| {
        is_in(key, command.catalog.as_deref(), command.db_schema.as_deref())
            && passes(Some(&command.table), &key.fk_table)
    });
    keys.sort_by(|a, b| by_primary_key(a).cmp(&by_primary_key(b)));
    keys
}

/// The foreign keys of one table that reference the other.
pub(super) fn cross_reference(
    command: &CommandGetCrossReference,
    mut keys: Vec<ForeignKeyColumn>,
) -> Vec<ForeignKeyColumn> {
    keys.retain(|key| {
        is_in(key, command.pk_catalog.as_deref(), command.pk_db_schema.as_deref())
            && is_in(key, command.fk_catalog.as_deref(), command.fk_db_schema.as_deref())
            && passes(Some(&command.pk_table), &key.pk_table)
            && passes(Some(&command.fk_table), &key.fk_table)
    });
    keys.sort_by(|a, b| by_primary_key(a).cmp(&by_primary_key(b)));
    keys
}

fn is_in(key: &ForeignKeyColumn, catalog: Option<&str>, schema: Option<&str>) -> bool {
    passes(catalog, &key.catalog) && passes(schema, &key.schema)
}

type Order<'key> = (&'key str, &'key str, &'key str, &'key str, i32);

fn by_table(key: &PrimaryKeyColumn) -> Order<'_> {
    (&key.catalog, &key.schema, &key.table, &key.constraint, key.key_sequence)
}

fn by_foreign_key(key: &ForeignKeyColumn) -> Order<'_> {
    (&key.catalog, &key.schema, &key.fk_table, &key.fk_constraint, key.key_sequence)
}

/// The specification's order; the foreign key decides where several reference one key.
fn by_primary_key(key: &ForeignKeyColumn) -> (Order<'_>, Order<'_>) {
    let constraint = key.pk_constraint.as_deref().unwrap_or_default();
    ((&key.catalog, &key.schema, &key.pk_table, constraint, key.key_sequence), by_foreign_key(key))
}

/// One row per column.
pub(super) fn foreign_keys(keys: &[ForeignKeyColumn]) -> Result<RecordBatch> {
    let texts = |read: fn(&ForeignKeyColumn) -> Option<&str>| -> ArrayRef {
        Arc::new(keys.iter().map(read).collect::<StringArray>())
    };
    // DuckDB has no other rule: it refuses what would leave a row without its key.
    let rules = || -> ArrayRef {
        let rule = UpdateDeleteRules::NoAction as u8;
        Arc::new(UInt8Array::from_iter_values(keys.iter().map(|_| rule)))
    };
    let columns = vec![
        texts(|key| Some(&key.catalog)),
        texts(|key| Some(&key.schema)),
        texts(|key| Some(&key.pk_table)),
        texts(|key| Some(&key.pk_column)),
        texts(|key| Some(&key.catalog)),
        texts(|key| Some(&key.schema)),
        texts(|key| Some(&key.fk_table)),
        texts(|key| Some(&key.fk_column)),
        Arc::new(Int32Array::from_iter_values(keys.iter().map(|key| key.key_sequence))),
        texts(|key| Some(&key.fk_constraint)),
        texts(|key| key.pk_constraint.as_deref()),
        rules(),
        rules(),
    ];
    Ok(RecordBatch::try_new(Arc::clone(&FOREIGN_KEYS), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::AsArray;
    use arrow::datatypes::UInt8Type;

    fn key(schema: &str, fk_table: &str, pk_table: &str, sequence: i32) -> ForeignKeyColumn {
        ForeignKeyColumn {
            catalog: "db".into(),
            schema: schema.into(),
            pk_table: pk_table.into(),
            pk_column: format!("p{sequence}"),
            pk_constraint: (pk_table != "nameless").then(|| format!("{pk_table}_pkey")),
            fk_table: fk_table.into(),
            fk_column: format!("f{sequence}"),
            fk_constraint: format!("{fk_table}_{pk_table}_fkey"),
            key_sequence: sequence,
        }
    }

    fn keys() -> Vec<ForeignKeyColumn> {
        vec![
            key("main", "orders", "people", 2),
            key("main", "orders", "people", 1),
            key("main", "bills", "people", 1),
            key("main", "orders", "nameless", 1),
            key("other", "orders", "people", 1),
        ]
    }

    fn names(batch: &RecordBatch, column: &str) -> Vec<String> {
        let texts = batch.column_by_name(column).unwrap().as_string::<i32>();
        texts.iter().map(|text| text.unwrap_or("-").to_owned()).collect()
    }

    /// Name, type and `not null` of every column, as FlightSql.proto writes them.
    fn written(schema: &Schema) -> String {
        let column = |field: &Arc<Field>| {
            let name = match field.data_type() {
                DataType::Utf8 => "utf8",
                DataType::Int32 => "int32",
                DataType::UInt8 => "uint8",
                _ => "other",
            };
            format!("{}: {name}{}", field.name(), if field.is_nullable() { "" } else { " not null" })
        };
        schema.fields().iter().map(column).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn schemas_are_the_canonical_ones() {
        assert_eq!(
            written(&PRIMARY_KEYS),
            "catalog_name: utf8, db_schema_name: utf8, table_name: utf8 not null, \
             column_name: utf8 not null, key_name: utf8, key_sequence: int32 not null"
        );
        assert_eq!(
            written(&FOREIGN_KEYS),
            "pk_catalog_name: utf8, pk_db_schema_name: utf8, pk_table_name: utf8 not null, \
             pk_column_name: utf8 not null, fk_catalog_name: utf8, fk_db_schema_name: utf8, \
             fk_table_name: utf8 not null, fk_column_name: utf8 not null, key_sequence: int32 not null, \
             fk_key_name: utf8, pk_key_name: utf8, update_rule: uint8 not null, delete_rule: uint8 not null"
        );
    }

    #[test]
    fn exported_keys_are_those_that_reference_the_table() {
        let command =
            CommandGetExportedKeys { catalog: None, db_schema: Some("main".into()), table: "people".into() };
        let batch = foreign_keys(&exported(&command, keys())).unwrap();
        assert_eq!(names(&batch, "fk_table_name"), ["bills", "orders", "orders"]);
        assert_eq!(names(&batch, "fk_column_name"), ["f1", "f1", "f2"]);
        assert!(batch.column(11).as_primitive::<UInt8Type>().iter().all(|rule| rule == Some(3)));
        let nowhere = CommandGetExportedKeys { catalog: Some(String::new()), ..command };
        assert_eq!(exported(&nowhere, keys()).len(), 0);
    }

    #[test]
    fn imported_keys_are_those_on_the_table() {
        let command = CommandGetImportedKeys {
            catalog: Some("db".into()),
            db_schema: Some("main".into()),
            table: "orders".into(),
        };
        let batch = foreign_keys(&imported(&command, keys())).unwrap();
        assert_eq!(names(&batch, "pk_table_name"), ["nameless", "people", "people"]);
        assert_eq!(names(&batch, "pk_key_name"), ["-", "people_pkey", "people_pkey"]);
        assert_eq!(names(&batch, "pk_column_name"), ["p1", "p1", "p2"]);
    }

    #[test]
    fn cross_references_need_both_tables() {
        let command = CommandGetCrossReference {
            pk_table: "people".into(),
            fk_table: "bills".into(),
            ..Default::default()
        };
        let batch = foreign_keys(&cross_reference(&command, keys())).unwrap();
        assert_eq!(names(&batch, "fk_key_name"), ["bills_people_fkey"]);
        let apart = CommandGetCrossReference {
            pk_db_schema: Some("main".into()),
            fk_db_schema: Some("other".into()),
            ..command
        };
        assert_eq!(cross_reference(&apart, keys()).len(), 0);
    }

    #[test]
    fn primary_keys_come_in_the_specified_order() {
        let part = |table: &str, column: &str, sequence: i32| PrimaryKeyColumn {
            catalog: "db".into(),
            schema: "main".into(),
            table: table.into(),
            column: column.into(),
            key_sequence: sequence,
            constraint: format!("{table}_pkey"),
        };
        let found = sorted(vec![part("b", "y", 2), part("b", "z", 1), part("a", "x", 1)]);
        let batch = primary_keys(&found).unwrap();
        assert_eq!(names(&batch, "column_name"), ["x", "z", "y"]);
        assert_eq!(primary_keys(&[]).unwrap().schema(), *PRIMARY_KEYS);
        assert_eq!(foreign_keys(&[]).unwrap().schema(), *FOREIGN_KEYS);
    }
}
