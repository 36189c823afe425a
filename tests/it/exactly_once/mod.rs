//! Exactly once over a real socket: what a retry is answered with, and what each mistake.

mod files;
mod keys;
mod ledger;
mod ledger_table;
mod producers;

use arrow::array::RecordBatch;
use futures::stream;
use pintail::client::Client;
use pintail::error::Result;
use serde_json::{Value, json};

use crate::support::put_stream::{self, messages};

/// Sends numbered batches; every answer, or the first error.
async fn produce(
    client: &mut Client,
    name: &str,
    producer: &str,
    epoch: u64,
    batches: &[(RecordBatch, Value)],
    more: &[(&'static str, &'static str)],
) -> Result<Vec<Value>> {
    let epoch = epoch.to_string();
    let mut headers = vec![("pintail-producer", producer), ("pintail-epoch", &epoch)];
    headers.extend(more);
    put_stream::send(client, stream::iter(messages(name, batches).await), &headers).await
}

fn seq(number: u64) -> Value {
    json!({ "seq": number })
}

async fn status(client: &mut Client, producer: &str) -> Value {
    client.action_with("pintail.ingest_status", json!({ "producer": producer }).to_string()).await.unwrap()
}
