//! Puts that declare what files their rows are from: stored once, remembered with the rows, forgotten with them.

mod following;
mod forgetting;
mod pieces;
mod refusals;

use arrow::array::RecordBatch;
use arrow_flight::FlightData;
use futures::stream;
use pintail::client::Client;
use pintail::error::{Error, Kind, Result};
use serde_json::{Value, json};

use crate::support::batches::wells;
use crate::support::calls::number;
use crate::support::put_stream::{self, messages};

const LEDGER: &str = "pintail_internal.load_ledger";

fn piece(file: &str, piece: u64, rows: usize) -> Value {
    json!({ "file": file, "piece": format!("{piece:016x}"), "rows": rows })
}

fn sources(pieces: &[Value]) -> Value {
    json!({ "sources": pieces })
}

/// Sends messages with headers and gives the answer.
async fn send(
    client: &mut Client,
    messages: impl futures::Stream<Item = FlightData> + Send + 'static,
    headers: &[(&'static str, &str)],
) -> Result<Value> {
    let mut answers = put_stream::send(client, messages, headers).await?;
    assert_eq!(answers.len(), 1);
    Ok(answers.remove(0))
}

/// Puts batches, each with its `app_metadata`.
async fn load_with(
    client: &mut Client,
    name: &str,
    headers: &[(&'static str, &str)],
    batches: &[(RecordBatch, Value)],
) -> Result<Value> {
    send(client, stream::iter(messages(name, batches).await), headers).await
}

/// Puts `count` rows from `first` as one piece of a file.
async fn load(
    client: &mut Client,
    name: &str,
    how: &str,
    (file, number): (&str, u64),
    (first, count): (i64, usize),
) -> Result<Value> {
    let batch = (wells(first, count), sources(&[piece(file, number, count)]));
    load_with(client, name, &[("pintail-sources", how)], &[batch]).await
}

async fn count(client: &mut Client, name: &str) -> i64 {
    number(client, &format!("SELECT count(*) FROM {name}")).await
}

/// Pieces that are remembered of a table.
async fn remembered(client: &mut Client, table: &str) -> i64 {
    number(client, &format!("SELECT count(*) FROM {LEDGER} WHERE table_name = '{table}'")).await
}

fn says(error: &Error, kind: Kind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.message().contains(part), "{error} lacks {part:?}");
    }
}
