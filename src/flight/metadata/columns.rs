//! A table's Arrow schema and its columns -> the schema GetTables sends, with Flight SQL's column metadata.
//! Runs on: the thread of a query; pure.
//! Never: asks the engine; drops metadata a field has already.

use std::sync::Arc;

use arrow::datatypes::{Field, Metadata, Schema};

use super::listing::VIEW;
use crate::engine::{ColumnEntry, TableEntry};

// Keys of FlightSql.proto. It calls the second one DB_SCHEMA_NAME, but every client library reads this name.
const CATALOG_NAME: &str = "ARROW:FLIGHT:SQL:CATALOG_NAME";
const SCHEMA_NAME: &str = "ARROW:FLIGHT:SQL:SCHEMA_NAME";
const TABLE_NAME: &str = "ARROW:FLIGHT:SQL:TABLE_NAME";
const TYPE_NAME: &str = "ARROW:FLIGHT:SQL:TYPE_NAME";
const PRECISION: &str = "ARROW:FLIGHT:SQL:PRECISION";
const SCALE: &str = "ARROW:FLIGHT:SQL:SCALE";
const IS_AUTO_INCREMENT: &str = "ARROW:FLIGHT:SQL:IS_AUTO_INCREMENT";
const IS_CASE_SENSITIVE: &str = "ARROW:FLIGHT:SQL:IS_CASE_SENSITIVE";
const IS_READ_ONLY: &str = "ARROW:FLIGHT:SQL:IS_READ_ONLY";
const IS_SEARCHABLE: &str = "ARROW:FLIGHT:SQL:IS_SEARCHABLE";
const REMARKS: &str = "ARROW:FLIGHT:SQL:REMARKS";

/// `schema`, the result of reading all of `table`, with what `columns` knows about each field.
pub(super) fn annotated(schema: &Schema, table: &TableEntry, columns: &[ColumnEntry]) -> Schema {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| {
            // A concurrent ALTER TABLE may have come between the two look-ups.
            let column = columns.get(index).filter(|column| column.name == *field.name());
            annotated_field(field.as_ref().clone(), table, column)
        })
        .collect();
    let mut metadata = schema.metadata().clone();
    // GetTables has no column for what a table is about; its schema has room for it.
    if let Some(comment) = &table.comment {
        metadata.insert(REMARKS.to_owned(), comment.clone());
    }
    Schema::new_with_metadata(fields, metadata)
}

/// `schema` with the engine's type of each column alone: for a table with more columns than a message holds otherwise.
pub(super) fn typed(schema: &Schema, columns: &[ColumnEntry]) -> Schema {
    let typed = |(index, field): (usize, &Arc<Field>)| {
        let field = field.as_ref().clone();
        let Some(column) = columns.get(index).filter(|column| column.name == *field.name()) else {
            return field;
        };
        let mut metadata = field.metadata().clone();
        metadata.insert(TYPE_NAME.to_owned(), column.duckdb_type.clone());
        field.with_nullable(column.nullable).with_metadata(metadata)
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().map(typed).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// Bytes that a schema takes in a message, roughly and never too few: each name, key and value has a head and a place in a
/// list.
pub(in crate::flight) fn size(schema: &Schema) -> usize {
    let texts = |metadata: &Metadata| -> usize {
        metadata.iter().map(|(key, value)| key.len() + value.len() + 40).sum()
    };
    let mut bytes = 128 + texts(schema.metadata());
    for field in schema.flattened_fields() {
        bytes += field.name().len() + 128 + texts(field.metadata());
    }
    bytes
}

fn annotated_field(field: Field, table: &TableEntry, column: Option<&ColumnEntry>) -> Field {
    let mut metadata = field.metadata().clone();
    let mut put = |key: &str, value: String| {
        metadata.insert(key.to_owned(), value);
    };
    put(CATALOG_NAME, table.catalog.clone());
    put(SCHEMA_NAME, table.schema.clone());
    put(TABLE_NAME, table.table.clone());
    put(IS_SEARCHABLE, flag(true));
    let Some(column) = column else { return field.with_metadata(metadata) };
    put(TYPE_NAME, column.duckdb_type.clone());
    if let Some(precision) = column.numeric_precision {
        put(PRECISION, precision.to_string());
    }
    if let Some(scale) = column.numeric_scale {
        put(SCALE, scale.to_string());
    }
    put(IS_AUTO_INCREMENT, flag(column.auto_increment));
    put(IS_CASE_SENSITIVE, flag(is_text(&column.duckdb_type)));
    put(IS_READ_ONLY, flag(column.is_generated || table.table_type == VIEW));
    if let Some(comment) = &column.comment {
        put(REMARKS, comment.clone());
    }
    field.with_nullable(column.nullable).with_metadata(metadata)
}

fn flag(value: bool) -> String {
    if value { "1".to_owned() } else { "0".to_owned() }
}

/// Whether values of the type are compared as text.
fn is_text(duckdb_type: &str) -> bool {
    matches!(duckdb_type, "VARCHAR" | "JSON")
        || (duckdb_type.starts_with("ENUM(") && duckdb_type.ends_with(')'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::DataType;
    use std::collections::HashMap;

    fn table(table_type: &str) -> TableEntry {
        TableEntry {
            catalog: "db".into(),
            schema: "main".into(),
            table: "t".into(),
            path: vec!["db".into(), "main".into(), "t".into()],
            table_type: table_type.into(),
            comment: None,
            rows: None,
            columns: 1,
        }
    }

    fn column(name: &str, duckdb_type: &str) -> ColumnEntry {
        ColumnEntry {
            name: name.into(),
            duckdb_type: duckdb_type.into(),
            nullable: true,
            default: None,
            is_generated: false,
            comment: None,
            numeric_precision: None,
            numeric_scale: None,
            auto_increment: false,
        }
    }

    #[test]
    fn fields_say_what_the_columns_know() {
        let kept = HashMap::from([("ARROW:extension:name".to_owned(), "arrow.json".to_owned())]);
        let schema = Schema::new(vec![
            Field::new("id", DataType::Decimal128(12, 3), true),
            Field::new("name", DataType::Utf8, true).with_metadata(kept),
            Field::new("surprise", DataType::Int32, true),
        ]);
        let id = ColumnEntry {
            nullable: false,
            numeric_precision: Some(12),
            numeric_scale: Some(3),
            auto_increment: true,
            ..column("id", "DECIMAL(12,3)")
        };
        let name =
            ColumnEntry { comment: Some("who".into()), is_generated: true, ..column("name", "VARCHAR") };
        let schema = annotated(&schema, &table("BASE TABLE"), &[id, name]);

        let value = |field: usize, key: &str| schema.field(field).metadata().get(key).map(String::as_str);
        assert!(!schema.field(0).is_nullable());
        assert_eq!(value(0, TYPE_NAME), Some("DECIMAL(12,3)"));
        assert_eq!((value(0, PRECISION), value(0, SCALE)), (Some("12"), Some("3")));
        assert_eq!((value(0, IS_AUTO_INCREMENT), value(0, IS_CASE_SENSITIVE)), (Some("1"), Some("0")));
        assert_eq!((value(0, IS_READ_ONLY), value(0, REMARKS)), (Some("0"), None));
        assert_eq!((value(1, IS_CASE_SENSITIVE), value(1, IS_READ_ONLY)), (Some("1"), Some("1")));
        assert_eq!((value(1, REMARKS), value(1, PRECISION)), (Some("who"), None));
        assert_eq!(value(1, "ARROW:extension:name"), Some("arrow.json"));
        assert_eq!((value(2, TABLE_NAME), value(2, TYPE_NAME)), (Some("t"), None));
        for field in 0..3 {
            assert_eq!((value(field, CATALOG_NAME), value(field, SCHEMA_NAME)), (Some("db"), Some("main")));
            assert_eq!(value(field, IS_SEARCHABLE), Some("1"));
        }
    }

    #[test]
    fn views_are_read_only_and_lists_of_text_are_not_text() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true)]);
        let view = TableEntry { comment: Some("about".into()), ..table(VIEW) };
        let schema = annotated(&schema, &view, &[column("a", "INTEGER")]);
        assert_eq!(schema.field(0).metadata()[IS_READ_ONLY], "1");
        assert_eq!(schema.metadata()[REMARKS], "about");
        assert!(is_text("ENUM('a', 'b')") && is_text("JSON"));
        assert!(!is_text("VARCHAR[]") && !is_text("ENUM('a')[3]") && !is_text("BLOB"));
    }
}
