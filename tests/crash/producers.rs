//! The producers, each with its own way to store its rows once.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::stream;
use pintail::client::{Client, Instance, Producer, ProducerOptions};
use pintail::error::Result;
use serde_json::json;

use super::world::{How, PRODUCERS, World, connected, is_outage, mix, schema};
use crate::support::calls::table;
use crate::support::put_stream::{self, messages};

/// One producer until it is told to stop; `first` is the batch it begins with, for those that ask nobody.
pub(super) async fn produce(world: Arc<World>, who: usize, epoch: u64) {
    match PRODUCERS[who].0 {
        How::Library => library(&world, who, epoch).await,
        How::Keys => keys(&world, who).await,
        How::Streams => streams(&world, who, epoch).await,
    }
}

pub(super) async fn library(world: &World, who: usize, epoch: u64) {
    let options = ProducerOptions {
        linger: Duration::from_millis(mix(world.seed, epoch, 7) % 4),
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_millis(80),
        give_up: Duration::from_secs(60),
        buffer_bytes: 4 << 20,
        batch_rows: 200_000,
        batch_bytes: 32 << 20,
        ..ProducerOptions::default()
    };
    let (name, into) = (format!("library-{who}"), table(PRODUCERS[who].1[0]));
    let producer = Producer::open(&world.uri, Instance { producer: &name, epoch }, into, schema(), options)
        .await
        .unwrap();
    let mut batch = world.batch_after(who, producer.durable().rows);
    while !world.stops() {
        producer.send(world.rows(who, batch)).await.unwrap();
        batch += 1;
        if batch.is_multiple_of(7) {
            producer.flush().await.unwrap();
        }
        world.acknowledge(who, producer.durable().rows);
    }
    let durable = producer.close().await.unwrap();
    world.acknowledge(who, durable.rows);
    assert_eq!(world.batch_after(who, durable.rows), batch);
}

async fn keys(world: &World, who: usize) {
    let mut acknowledged = world.acknowledged[who].load(Ordering::SeqCst);
    let mut batch = world.batch_after(who, acknowledged);
    let mut client = connected(world).await;
    while !world.stops() {
        let rows = world.rows(who, batch);
        let count = rows.num_rows() as u64;
        let into = table(PRODUCERS[who].1[(batch % 2) as usize]);
        let key = [("pintail-idempotency-key", format!("key-{who}-{batch}"))];
        match client.put(&into, schema(), stream::iter([Ok(rows)]), &key).await {
            Ok(answer) => {
                assert_eq!((answer.rows, answer.durable), (count, true));
                acknowledged += count;
                world.acknowledge(who, acknowledged);
                batch += 1;
            }
            Err(error) => {
                assert!(is_outage(&error), "producer {who}, batch {batch}: {error:?}");
                client = connected(world).await;
            }
        }
    }
}

/// How many numbered batches stream number `stream` of producer `who` has.
fn parts(world: &World, who: usize, stream: u64) -> u64 {
    (1 + mix(world.seed, who as u64 + 100, stream) % 4).min(world.size(who, stream))
}

async fn streams(world: &World, who: usize, epoch: u64) {
    let mut client = connected(world).await;
    let name = format!("streams-{who}");
    let mut position = None;
    while !world.stops() {
        let (batch, seq, acknowledged) = match position {
            Some(position) => position,
            None => match resume(world, who, &mut client, &name).await {
                Ok(at) => at,
                Err(error) => {
                    assert!(is_outage(&error), "producer {who}: {error:?}");
                    client = connected(world).await;
                    continue;
                }
            },
        };
        let rows = world.rows(who, batch);
        let count = rows.num_rows() as u64;
        let parts = parts(world, who, batch);
        match send_stream(&mut client, PRODUCERS[who].1[0], &name, epoch, seq, rows, parts).await {
            Ok(answer) => {
                assert_eq!(
                    (answer["rows"].as_u64(), answer["seq"].as_u64()),
                    (Some(count), Some(seq + parts - 1))
                );
                world.acknowledge(who, acknowledged + count);
                position = Some((batch + 1, seq + parts, acknowledged + count));
            }
            Err(error) => {
                assert!(is_outage(&error), "producer {who}, stream {batch}: {error:?}");
                client = connected(world).await;
                // Half of the time ask where to go on, half of the time send the same again.
                position = position.filter(|_| seq.is_multiple_of(2));
            }
        }
    }
}

/// Stream, first number and rows before it, from what the server says is durable.
async fn resume(world: &World, who: usize, client: &mut Client, name: &str) -> Result<(u64, u64, u64)> {
    let status = client
        .action_with("pintail.ingest_status", serde_json::json!({ "producer": name }).to_string())
        .await?;
    let next = status["seq"].as_u64().map_or(0, |seq| seq + 1);
    let (mut stream, mut seq, mut rows) = (0, 0, 0);
    while seq < next {
        seq += parts(world, who, stream);
        rows += world.size(who, stream);
        stream += 1;
    }
    assert_eq!(seq, next, "producer {who}: a stream was stored in part");
    assert_eq!(status["rows"].as_u64(), Some(rows));
    Ok((stream, seq, rows))
}

async fn send_stream(
    client: &mut Client,
    into: &str,
    name: &str,
    epoch: u64,
    seq: u64,
    rows: RecordBatch,
    parts: u64,
) -> Result<serde_json::Value> {
    let cut = |part: u64| rows.num_rows() * part as usize / parts as usize;
    let batches: Vec<_> = (0..parts)
        .map(|part| (rows.slice(cut(part), cut(part + 1) - cut(part)), json!({ "seq": seq + part })))
        .collect();
    let epoch = epoch.to_string();
    let headers = [("pintail-producer", name), ("pintail-epoch", epoch.as_str())];
    let messages = stream::iter(messages(into, &batches).await);
    let answers = put_stream::send(client, messages, &headers).await?;
    Ok(answers.last().unwrap().clone())
}
