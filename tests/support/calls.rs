//! The calls that most tests make: puts, and queries for rows, a number or an error.

use std::time::{Duration, Instant};

use arrow::array::{Array, Int64Array, RecordBatch};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::catalog::TableName;
use pintail::client::{Client, PutAnswer};
use pintail::error::{Error, Result};
use serde_json::json;

use super::put_stream;

pub fn table(name: &str) -> TableName {
    TableName::from_text(name).unwrap()
}

/// Puts batches with request headers.
pub async fn put_with(
    client: &mut Client,
    name: &str,
    batches: &[RecordBatch],
    headers: &[(&'static str, &str)],
) -> Result<PutAnswer> {
    let items: Vec<Result<RecordBatch>> = batches.iter().cloned().map(Ok).collect();
    let headers: Vec<(&'static str, String)> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    client.put(&table(name), batches[0].schema(), stream::iter(items), &headers).await
}

/// Puts numbered batches of [`wells`](super::batches::wells) for a producer, and gives the last answer.
pub async fn put_numbered(
    client: &mut Client,
    name: &str,
    producer: &str,
    batches: &[(RecordBatch, u64)],
) -> Result<PutAnswer> {
    put_numbered_with(client, name, &[("pintail-producer", producer)], batches).await
}

/// Puts numbered batches with request headers, and gives the last answer.
pub async fn put_numbered_with(
    client: &mut Client,
    name: &str,
    headers: &[(&'static str, &str)],
    batches: &[(RecordBatch, u64)],
) -> Result<PutAnswer> {
    let batches: Vec<_> = batches.iter().map(|(batch, seq)| (batch.clone(), json!({ "seq": seq }))).collect();
    let messages = stream::iter(put_stream::messages(name, &batches).await);
    let answers = put_stream::send(client, messages, headers).await?;
    Ok(serde_json::from_value(answers.last().unwrap().clone()).unwrap())
}

/// Puts batches with a mode.
pub async fn put(client: &mut Client, name: &str, batches: &[RecordBatch], mode: &str) -> Result<PutAnswer> {
    put_with(client, name, batches, &[("pintail-mode", mode)]).await
}

/// All rows of a query.
pub async fn rows(client: &mut Client, sql: &str) -> Result<Vec<RecordBatch>> {
    client.query(sql, &[]).await?.batches.try_collect().await
}

/// The one number a query gives.
pub async fn number(client: &mut Client, sql: &str) -> i64 {
    let batches = rows(client, &format!("SELECT ({sql})::BIGINT")).await.unwrap();
    batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
}

/// The error of a query, wherever it comes.
pub async fn query_error(client: &mut Client, sql: &str) -> Error {
    match rows(client, sql).await {
        Ok(_) => panic!("{sql} succeeded"),
        Err(error) => error,
    }
}

/// The batches of a stream, slowly.
pub async fn drain_slowly(
    mut batches: stream::BoxStream<'static, Result<RecordBatch>>,
    pause: Duration,
) -> Result<u64> {
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        rows += batch?.num_rows() as u64;
        tokio::time::sleep(pause).await;
    }
    Ok(rows)
}

/// Waits until the server counts this many put streams.
pub async fn wait_for_streams(client: &mut Client, count: u64) {
    let started = Instant::now();
    while client.action("pintail.status").await.unwrap()["ingest"]["streams"] != count {
        assert!(started.elapsed() < Duration::from_secs(20), "no {count} put streams are open");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
