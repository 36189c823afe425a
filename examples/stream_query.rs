//! Streams ten million rows and holds one batch at a time. Prints: 10000000 rows, sum 49999995000000

use arrow::array::AsArray;
use arrow::compute::sum;
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use pintail::client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "grpc://127.0.0.1:8815".into());
    let mut client = Client::connect(&uri).await?;
    let mut result = client.query("SELECT range AS n FROM range(10000000)", &[]).await?;
    let (mut rows, mut total) = (0, 0);
    while let Some(batch) = result.batches.try_next().await? {
        rows += batch.num_rows();
        total += sum(batch.column(0).as_primitive::<Int64Type>()).unwrap_or(0);
    }
    println!("{rows} rows, sum {total}");
    Ok(())
}
