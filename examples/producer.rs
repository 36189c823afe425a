//! Sends readings so that each is stored once, whatever breaks. Prints: 1000 readings of pump-7 are durable

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use pintail::catalog::TableName;
use pintail::client::{Instance, Producer, ProducerOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let uri = std::env::args().nth(1).unwrap_or_else(|| "grpc://127.0.0.1:8815".into());
    let schema = Arc::new(Schema::new(vec![
        Field::new("second", DataType::Int64, false),
        Field::new("pressure", DataType::Float64, false),
    ]));
    let table = TableName::from_text("example_readings")?;
    // A number that grows with every start of this program: the newest start shuts the others out.
    let epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let options =
        ProducerOptions { give_up: std::time::Duration::from_secs(10), ..ProducerOptions::default() };
    let producer =
        Producer::open(&uri, Instance { producer: "pump-7", epoch }, table, Arc::clone(&schema), options)
            .await?;
    // An earlier start may have come this far already.
    let mut second = producer.durable().rows as i64;
    while second < 1000 {
        let seconds = second..(second + 10).min(1000);
        let pressures = seconds.clone().map(|second| 80.0 + (second % 60) as f64 / 10.0);
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from_iter_values(seconds.clone())),
                Arc::new(Float64Array::from_iter_values(pressures)),
            ],
        )?;
        producer.send(batch).await?;
        second = seconds.end;
    }
    let durable = producer.close().await?;
    println!("{} readings of pump-7 are durable", durable.rows);
    Ok(())
}
