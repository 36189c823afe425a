//! Keys, tables and types as drivers list them.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema, UInt8Type};
use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo,
};

use super::{ask, fetch, sql, texts};
use crate::support::batches::joined;
use crate::support::server::TestServer;

/// Primary, imported, exported and cross keys, in the schemas of FlightSql.proto.
#[tokio::test]
async fn keys_are_listed_in_the_canonical_schemas() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    ask(&mut client, "CREATE TABLE parent (a INTEGER, b INTEGER, PRIMARY KEY (b, a))").await;
    ask(
        &mut client,
        "CREATE TABLE child (x INTEGER, y INTEGER, FOREIGN KEY (x, y) REFERENCES parent (b, a))",
    )
    .await;
    let info = client
        .get_primary_keys(CommandGetPrimaryKeys { catalog: None, db_schema: None, table: "parent".into() })
        .await
        .unwrap();
    let keys = joined(&fetch(&mut client, info).await);
    assert_eq!(texts(&keys, "column_name"), [Some("b".into()), Some("a".into())]);
    let imported = client
        .get_imported_keys(CommandGetImportedKeys { catalog: None, db_schema: None, table: "child".into() })
        .await
        .unwrap();
    let exported = client
        .get_exported_keys(CommandGetExportedKeys { catalog: None, db_schema: None, table: "parent".into() })
        .await
        .unwrap();
    let crossed = client
        .get_cross_reference(CommandGetCrossReference {
            pk_table: "parent".into(),
            fk_table: "child".into(),
            ..Default::default()
        })
        .await
        .unwrap();
    for info in [imported, exported, crossed] {
        let keys = joined(&fetch(&mut client, info).await);
        assert_eq!(texts(&keys, "pk_column_name"), [Some("b".into()), Some("a".into())]);
        assert_eq!(texts(&keys, "fk_column_name"), [Some("x".into()), Some("y".into())]);
        assert_eq!(keys.column_by_name("update_rule").unwrap().as_primitive::<UInt8Type>().values(), &[3, 3]);
    }
}

/// Filters, patterns and types of the listing commands; column metadata is filled.
#[tokio::test]
async fn listings_filter_by_pattern_and_type() {
    let server = TestServer::start().await;
    let mut client = sql(&server).await;
    for text in [
        "CREATE TABLE a_b (id INTEGER NOT NULL, price DECIMAL(9, 2))",
        "CREATE TABLE axb (id INTEGER)",
        "CREATE VIEW v AS SELECT * FROM a_b",
        "CREATE SCHEMA other",
        "CREATE TEMP TABLE private (id INTEGER)",
        "COMMENT ON COLUMN a_b.id IS 'the key'",
    ] {
        client.execute_update(text.into(), None).await.unwrap();
    }
    let mut tables = async |pattern: Option<&str>, types: &[&str], include_schema: bool| {
        let command = CommandGetTables {
            table_name_filter_pattern: pattern.map(str::to_owned),
            table_types: types.iter().map(|one| (*one).to_owned()).collect(),
            include_schema,
            ..Default::default()
        };
        let info = client.get_tables(command).await.unwrap();
        joined(&fetch(&mut client, info).await)
    };
    let names = |batch: &RecordBatch| texts(batch, "table_name").into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(names(&tables(None, &[], false).await), ["private", "a_b", "axb", "v"]);
    assert_eq!(names(&tables(Some("a_b"), &[], false).await), ["a_b", "axb"]);
    assert_eq!(names(&tables(Some("a\\_b"), &[], false).await), ["a_b"]);
    assert_eq!(names(&tables(Some("a%"), &["VIEW"], false).await), Vec::<String>::new());
    assert_eq!(names(&tables(None, &["VIEW"], false).await), ["v"]);
    assert_eq!(names(&tables(None, &["LOCAL TEMPORARY"], false).await), ["private"]);
    let described = tables(Some("a\\_b"), &[], true).await;
    let bytes = described.column_by_name("table_schema").unwrap().as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
    assert!(!schema.field(0).is_nullable() && schema.field(1).is_nullable());
    let metadata =
        |field: &Field, key: &str| field.metadata().get(&format!("ARROW:FLIGHT:SQL:{key}")).cloned();
    assert_eq!(metadata(schema.field(1), "TYPE_NAME").as_deref(), Some("DECIMAL(9,2)"));
    assert_eq!(metadata(schema.field(1), "PRECISION").as_deref(), Some("9"));
    assert_eq!(metadata(schema.field(1), "SCALE").as_deref(), Some("2"));
    assert_eq!(metadata(schema.field(0), "REMARKS").as_deref(), Some("the key"));
    let refused = client
        .get_tables(CommandGetTables { table_name_filter_pattern: Some("a\\".into()), ..Default::default() })
        .await
        .unwrap();
    let refused =
        client.do_get(refused.endpoint[0].ticket.clone().unwrap()).await.err().map(|e| e.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("escape")), "{refused:?}");
    let info = client
        .get_db_schemas(CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("o%".into()) })
        .await
        .unwrap();
    assert_eq!(texts(&joined(&fetch(&mut client, info).await), "db_schema_name"), [Some("other".into())]);
    let info = client.get_table_types().await.unwrap();
    assert_eq!(joined(&fetch(&mut client, info).await).num_rows(), 3);
    let info = client.get_catalogs().await.unwrap();
    assert_eq!(
        texts(&joined(&fetch(&mut client, info).await), "catalog_name"),
        [Some("temp".into()), Some("test".into())]
    );
    let info = client.get_sql_info(Vec::new()).await.unwrap();
    assert!(joined(&fetch(&mut client, info).await).num_rows() >= 70, "no codes asks for all of them");
    let info = client.get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert!(joined(&fetch(&mut client, info).await).num_rows() >= 20);
}
