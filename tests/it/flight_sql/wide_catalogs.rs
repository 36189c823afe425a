//! A catalog of many and of wide tables, listed by a client with the default limits of its gRPC library (4 MiB a message).

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Schema;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::sql::CommandGetTables;
use arrow_flight::sql::client::FlightSqlServiceClient;
use arrow_flight::{Criteria, FlightInfo, IpcMessage};
use futures::{StreamExt, TryStreamExt};
use tonic::transport::{Channel, Endpoint};

use crate::support::calls::rows;
use crate::support::server::TestServer;

const TABLES: usize = 24;
const COLUMNS: usize = 400;

async fn channel(server: &TestServer) -> Channel {
    Endpoint::from_shared(server.uri.replace("grpc://", "http://")).unwrap().connect().await.unwrap()
}

/// A server with [`TABLES`] tables of [`COLUMNS`] columns.
async fn wide() -> TestServer {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let columns: Vec<String> =
        (0..COLUMNS).map(|column| format!("measurement_number_{column:04} DECIMAL(9,2)")).collect();
    let columns = columns.join(", ");
    for table in 0..TABLES {
        rows(&mut client, &format!("CREATE TABLE wide_{table:03} ({columns})")).await.unwrap();
    }
    server
}

fn names(batch: &RecordBatch) -> Vec<String> {
    let names = batch.column_by_name("table_name").unwrap().as_string::<i32>();
    names.iter().flatten().map(str::to_owned).collect()
}

fn schemas(batch: &RecordBatch) -> Vec<Schema> {
    let schemas = batch.column_by_name("table_schema").unwrap().as_binary::<i32>();
    schemas
        .iter()
        .flatten()
        .map(|bytes| Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap())
        .collect()
}

async fn tables(
    client: &mut FlightSqlServiceClient<Channel>,
    pattern: Option<&str>,
    include_schema: bool,
) -> Vec<RecordBatch> {
    let table_name_filter_pattern = pattern.map(str::to_owned);
    let command = CommandGetTables { table_name_filter_pattern, include_schema, ..Default::default() };
    let info = client.get_tables(command).await.unwrap();
    let stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    stream.try_collect().await.unwrap()
}

#[tokio::test]
async fn a_wide_catalog_leaves_in_batches_that_clients_take() {
    let server = wide().await;
    let mut client = FlightSqlServiceClient::new(channel(&server).await);
    let expected: Vec<String> = (0..TABLES).map(|table| format!("wide_{table:03}")).collect();
    let batches = tables(&mut client, None, true).await;
    assert!(batches.len() >= 4, "{} batches", batches.len());
    assert_eq!(batches.iter().flat_map(names).collect::<Vec<_>>(), expected);
    for schema in batches.iter().flat_map(schemas) {
        assert_eq!(schema.fields().len(), COLUMNS);
        assert_eq!(schema.field(COLUMNS - 1).metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "DECIMAL(9,2)");
        assert_eq!(schema.field(0).metadata()["ARROW:FLIGHT:SQL:PRECISION"], "9");
    }
    // Names alone are small, and what is asked for exactly is there at once.
    assert_eq!(tables(&mut client, None, false).await.len(), 1);
    let one = tables(&mut client, Some("wide\\_017"), true).await;
    assert_eq!((one.len(), names(&one[0])), (1, vec!["wide_017".to_owned()]));
    let none = tables(&mut client, Some("nothing"), true).await;
    assert_eq!(none.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
}

#[tokio::test]
async fn one_table_of_ten_thousand_columns_fits_a_message() {
    let server = TestServer::start().await;
    let mut plain = server.client().await;
    let columns: Vec<String> =
        (0..10_000).map(|column| format!("measurement_{column:05} INTEGER NOT NULL")).collect();
    rows(&mut plain, &format!("CREATE TABLE widest ({})", columns.join(", "))).await.unwrap();
    rows(&mut plain, "CREATE TABLE small (id INTEGER)").await.unwrap();
    let mut client = FlightSqlServiceClient::new(channel(&server).await);
    let batches = tables(&mut client, None, true).await;
    let found: Vec<Schema> = batches.iter().flat_map(schemas).collect();
    assert_eq!(batches.iter().flat_map(names).collect::<Vec<_>>(), ["small", "widest"]);
    assert_eq!(found[1].fields().len(), 10_000);
    // The type and whether it takes NULLs are said of every column, whatever else has no room.
    for field in found[1].fields() {
        assert_eq!(field.metadata()["ARROW:FLIGHT:SQL:TYPE_NAME"], "INTEGER");
        assert!(!field.is_nullable());
    }
    assert_eq!(found[0].field(0).metadata()["ARROW:FLIGHT:SQL:TABLE_NAME"], "small");
}

#[tokio::test]
async fn flights_are_described_as_they_are_taken() {
    let server = wide().await;
    let mut client = FlightServiceClient::new(channel(&server).await);
    let flights: Vec<FlightInfo> =
        client.list_flights(Criteria::default()).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(flights.len(), TABLES);
    for flight in &flights {
        assert_eq!(flight.clone().try_decode_schema().unwrap().fields().len(), COLUMNS);
    }
    // Each can be fetched.
    let ticket = flights[5].endpoint[0].ticket.clone().unwrap();
    assert!(client.do_get(ticket).await.unwrap().into_inner().try_next().await.unwrap().is_some());
    let criteria = Criteria { expression: "wide_00".into() };
    let some: Vec<FlightInfo> =
        client.list_flights(criteria).await.unwrap().into_inner().try_collect().await.unwrap();
    assert_eq!(some.len(), 10);
    let bad = client.list_flights(Criteria { expression: vec![0xff].into() }).await.unwrap_err();
    assert!(bad.message().contains("not UTF-8"), "{bad}");
}

/// A listing that is read slowly holds no connection and no snapshot: tables may come and go, and the transaction it
/// belongs to goes on.
#[tokio::test]
async fn the_catalog_may_change_while_it_is_listed() {
    let server = wide().await;
    let mut plain = server.client().await;
    let mut client = FlightSqlServiceClient::new(channel(&server).await);
    let transaction = client.begin_transaction().await.unwrap();
    let command = CommandGetTables { include_schema: true, ..Default::default() };
    let info = client.get_tables(command).await.unwrap();
    let mut stream = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    let mut found = names(&stream.next().await.unwrap().unwrap());
    client.execute_update("CREATE TABLE mine (id INTEGER)".into(), Some(transaction.clone())).await.unwrap();
    client.end_transaction(transaction, arrow_flight::sql::EndTransaction::Rollback).await.unwrap();
    rows(&mut plain, "DROP TABLE wide_023").await.unwrap();
    while let Some(batch) = stream.next().await {
        found.extend(names(&batch.unwrap()));
    }
    let expected: Vec<String> = (0..TABLES - 1).map(|table| format!("wide_{table:03}")).collect();
    assert_eq!(found, expected);
}
