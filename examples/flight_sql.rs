//! Prepares, binds and fetches with arrow-flight's own Flight SQL client. Prints: 2 wells above 1 kbd: A-1, B-7

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{AsArray, Float64Array, RecordBatch, StringArray};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use tonic::transport::Endpoint;

#[tokio::main]
async fn main() -> Result<()> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "grpc://127.0.0.1:8815".into());
    let channel = Endpoint::from_shared(uri.replacen("grpc://", "http://", 1))?.connect().await?;
    let mut client = FlightSqlServiceClient::new(channel);

    let table = "CREATE OR REPLACE TABLE rust_wells (name VARCHAR, oil_kbd DOUBLE)";
    client.execute_update(table.into(), None).await?;

    // Both statements belong to one transaction; nobody sees half of it.
    let transaction = client.begin_transaction().await?;
    let insert = "INSERT INTO rust_wells VALUES ($name, $oil_kbd)";
    let mut prepared = client.prepare(insert.into(), Some(transaction.clone())).await?;
    prepared.set_parameters(RecordBatch::try_from_iter([
        ("name", Arc::new(StringArray::from(vec!["A-1", "A-2", "B-7"])) as _),
        ("oil_kbd", Arc::new(Float64Array::from(vec![1.5, 0.25, 3.0])) as _),
    ])?)?;
    prepared.execute_update().await?;
    prepared.close().await?;
    client.end_transaction(transaction, arrow_flight::sql::EndTransaction::Commit).await?;

    let select = "SELECT name FROM rust_wells WHERE oil_kbd > 1 ORDER BY name";
    let info = client.execute(select.into(), None).await?;
    let ticket = info.endpoint[0].ticket.clone().context("an endpoint without a ticket")?;
    let batches: Vec<RecordBatch> = client.do_get(ticket).await?.try_collect().await?;
    let names: Vec<&str> =
        batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten()).collect();
    println!("{} wells above 1 kbd: {}", names.len(), names.join(", "));
    Ok(())
}
