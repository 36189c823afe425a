//! Metadata calls and actions: everybody sees what is there for them.

use arrow::util::pretty::pretty_format_batches;
use arrow_flight::sql::{
    CommandGetDbSchemas, CommandGetExportedKeys, CommandGetPrimaryKeys, CommandGetTables,
};
use arrow_flight::{FlightDescriptor, sql::client::FlightSqlServiceClient};
use futures::TryStreamExt;
use tonic::Code;

use super::{client, granted};
use crate::support::calls::{number, rows};

#[tokio::test]
async fn metadata_shows_what_is_granted() {
    let server = granted().await;
    for (name, shows, hides) in [
        ("rita", vec!["wells", "secret", "open_table", "shown"], vec!["grants"]),
        ("ada", vec!["wells", "open_table", "over_wells", "shown"], vec!["secret", "grants"]),
    ] {
        let mut client = client(&server, name).await;
        let flights: Vec<String> = client
            .list()
            .await
            .unwrap()
            .iter()
            .flat_map(|info| info.flight_descriptor.clone())
            .map(|d| d.path.join("."))
            .collect();
        let flights = flights.join(" ");
        let mut sql = FlightSqlServiceClient::new_from_inner(client.inner().clone());
        let mut answers = vec![flights.replace("shown", "")];
        for info in [
            sql.get_tables(CommandGetTables { include_schema: false, ..Default::default() }).await.unwrap(),
            sql.get_db_schemas(CommandGetDbSchemas::default()).await.unwrap(),
            sql.get_primary_keys(CommandGetPrimaryKeys {
                catalog: None,
                db_schema: None,
                table: "secret".into(),
            })
            .await
            .unwrap(),
            sql.get_exported_keys(CommandGetExportedKeys {
                catalog: None,
                db_schema: None,
                table: "secret".into(),
            })
            .await
            .unwrap(),
        ] {
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            let batches: Vec<_> = sql.do_get(ticket).await.unwrap().try_collect().await.unwrap();
            answers.push(pretty_format_batches(&batches).unwrap().to_string());
        }
        for table in &shows {
            assert!(answers[1].contains(table), "{name} does not see {table}: {}", answers[1]);
        }
        for (table, answer) in
            hides.iter().flat_map(|table| answers.iter().map(move |answer| (table, answer)))
        {
            assert!(!answer.contains(table), "{name} sees {table}: {answer}");
        }
        assert_eq!(answers[2].contains("other"), name == "rita", "{name}: {}", answers[2]);
    }
}

/// Columns that are left out are in no schema; a count that says how many rows are left out is not given.
#[tokio::test]
async fn schemas_leave_hidden_columns_out() {
    let server = granted().await;
    let mut ada = client(&server, "ada").await;
    let path = FlightDescriptor::new_path(vec!["main".into(), "wells".into()]);
    let info = ada.inner().get_flight_info(path.clone()).await.unwrap().into_inner();
    assert_eq!(info.total_records, -1);
    let schema = info.try_decode_schema().unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["name", "oil"]);
    let other = FlightDescriptor::new_path(vec!["other".into(), "secret".into()]);
    let missing = FlightDescriptor::new_path(vec!["other".into(), "nothing".into()]);
    for descriptor in [other, missing] {
        let refused = ada.inner().get_schema(descriptor).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let listed = ada.list().await.unwrap();
    let wells = listed
        .iter()
        .find(|info| info.flight_descriptor.clone().unwrap().path.ends_with(&["wells".into()]))
        .unwrap();
    assert_eq!((wells.total_records, wells.clone().try_decode_schema().unwrap().fields().len()), (-1, 2));
    let mut sql = FlightSqlServiceClient::new_from_inner(ada.inner().clone());
    let info = sql.get_tables(CommandGetTables { include_schema: true, ..Default::default() }).await.unwrap();
    let batches: Vec<_> =
        sql.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap().try_collect().await.unwrap();
    assert!(!pretty_format_batches(&batches).unwrap().to_string().contains("field_code"));
}

/// Hidden columns are not counted, and leave no gaps; a column without an alias is called as it is written, whatever stands in
/// the place of its table.
#[tokio::test]
async fn nothing_is_counted_or_named_after_what_is_hidden() {
    let server = granted().await;
    for name in ["ada", "walter"] {
        let mut client = client(&server, name).await;
        let counted = "SELECT column_count FROM duckdb_tables() WHERE table_name = 'wells'";
        assert_eq!(number(&mut client, counted).await, 2);
        let placed =
            "SELECT sum(ordinal_position)::BIGINT FROM information_schema.columns WHERE table_name = 'wells'";
        assert_eq!(number(&mut client, placed).await, 3);
        let placed = "SELECT max(column_index)::BIGINT FROM duckdb_columns WHERE table_name = 'wells'";
        assert_eq!(number(&mut client, placed).await, 2);
        let sql = "SELECT 1 + (SELECT count(*) FROM main.wells), EXISTS (FROM wells)";
        let found = rows(&mut client, sql).await.unwrap();
        let schema = found[0].schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["(1 + (SELECT count_star() FROM main.wells))", "EXISTS(SELECT * FROM wells)"]);
    }
}

#[tokio::test]
async fn actions_take_their_role() {
    let server = granted().await;
    for name in ["rita", "wanda", "ada", "walter"] {
        let mut client = client(&server, name).await;
        for action in [
            "pintail.status",
            "pintail.checkpoint",
            "pintail.backup",
            "pintail.schema_plan",
            "pintail.schema_apply",
            "pintail.grant",
            "pintail.revoke",
        ] {
            let body = r#"{"user": "ada", "on": "*", "rights": ["read"]}"#.to_owned();
            let error = client.action_with(action, body).await.unwrap_err();
            assert_eq!(error.kind(), pintail::error::Kind::Denied, "{name} {action}: {error}");
        }
        let own = client.action("pintail.grants").await.unwrap();
        let users: Vec<&str> =
            own["grants"].as_array().unwrap().iter().map(|grant| grant["user"].as_str().unwrap()).collect();
        assert!(users.iter().all(|user| *user == name), "{own}");
    }
}
