//! Puts three rows into a table. Prints: 3 rows in table example_put, durable

use std::sync::Arc;

use arrow::array::{Float64Array, RecordBatch, StringArray};
use futures::stream;
use pintail::catalog::TableName;
use pintail::client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "grpc://127.0.0.1:8815".into());
    let batch = RecordBatch::try_from_iter([
        ("well", Arc::new(StringArray::from(vec!["A-1", "A-2", "B-7"])) as _),
        ("oil_kbd", Arc::new(Float64Array::from(vec![1.5, 0.25, 3.0])) as _),
    ])?;
    let table = TableName::from_text("example_put")?;
    let mut client = Client::connect(&uri).await?;
    let answer = client.put(&table, batch.schema(), stream::iter([Ok(batch)]), &[]).await?;
    println!(
        "{} rows in table {}, {}",
        answer.rows,
        answer.table,
        if answer.durable { "durable" } else { "not durable" }
    );
    Ok(())
}
