//! Plain puts: small, with a key, of a producer, large, committed as they come.
//! Runs on: the tasks of its clients. Never: sends the same rows twice without a key or a number.

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::from_status;
use pintail::error::Kind;
use rand::Rng;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::books::Fate;
use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::rows::reshaped;
use crate::world::Actor;

/// How long a client tries again that wants to know.
const INSISTS: Duration = Duration::from_secs(40);

pub const SMALL: Actor = Actor { name: "small_puts", clients: 3, step: |hand| Box::pin(small(hand)) };
pub const KEYED: Actor = Actor { name: "keyed_puts", clients: 2, step: |hand| Box::pin(keyed(hand)) };
pub const PRODUCED: Actor = Actor { name: "producers", clients: 2, step: |hand| Box::pin(produced(hand)) };
pub const LARGE: Actor = Actor { name: "large_puts", clients: 1, step: |hand| Box::pin(large(hand)) };
pub const PROGRESS: Actor =
    Actor { name: "progress_puts", clients: 1, step: |hand| Box::pin(progress(hand)) };

fn somewhere(hand: &mut Hand) -> &'static str {
    ["plain", "declared"][hand.rng.random_range(0..2)]
}

/// A few rows, in one of several shapes, into a table that others put into as well.
async fn small(hand: &mut Hand) -> Verdict {
    let table = somewhere(hand);
    let count = hand.rng.random_range(1..20);
    let mut load = hand.load(table, count);
    let shape = hand.rng.random_range(0..4);
    load.batches[0] = reshaped(&load.batches[0], shape);
    let manner = Manner::any(&mut hand.rng);
    hand.store(&load, &manner, &[]).await?;
    Ok(())
}

/// Tries until the answer is certain; rows that carry a key are stored once however often they are sent.
async fn insist(hand: &mut Hand, load: &Load) -> Verdict {
    let id = hand.open(load);
    let started = Instant::now();
    let mut manner = Manner::any(&mut hand.rng);
    loop {
        match hand.send(load, &manner, &[]).await? {
            Outcome::Done(_) => break,
            other if started.elapsed() > INSISTS => {
                return hand.finding(format!("put {} is not taken: {other:?}", load.put));
            }
            _ => hand.pause(20).await,
        }
        manner = Manner::calm();
    }
    hand.close(id, Fate::Stored);
    Ok(())
}

async fn keyed(hand: &mut Hand) -> Verdict {
    let table = somewhere(hand);
    let counts = [hand.rng.random_range(1..30), hand.rng.random_range(0..30)];
    let load = hand.load_in_batches(table, &counts);
    let load = Load { headers: Vec::new(), ..load };
    let key = format!("key-{}-{}", hand.client, load.put);
    let load = load.header("pintail-idempotency-key", key);
    insist(hand, &load).await?;
    if hand.rng.random_bool(0.3)
        && let Outcome::Done(again) = hand.send(&load, &Manner::calm(), &[]).await?
        && !again.duplicate
    {
        return hand.finding(format!("put {} was taken a second time: {again:?}", load.put));
    }
    Ok(())
}

/// The messages of a put, each batch with its number.
async fn messages(load: &Load, first_seq: u64) -> Vec<FlightData> {
    let descriptor = FlightDescriptor::new_path(vec![load.table.clone()]);
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(load.batches[0].schema())
        .with_flight_descriptor(Some(descriptor))
        .with_max_flight_data_size(usize::MAX)
        .build(stream::iter(load.batches.clone().into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap();
    for (message, seq) in messages[1..].iter_mut().zip(first_seq..) {
        message.app_metadata = json!({ "seq": seq }).to_string().into();
    }
    messages
}

/// Numbered batches of one producer, sent again until they are known to be stored.
async fn produced(hand: &mut Hand) -> Verdict {
    let counts: Vec<i64> = (0..hand.rng.random_range(1..4)).map(|_| hand.rng.random_range(1..40)).collect();
    let load = hand.load_in_batches("plain", &counts);
    let messages = messages(&load, hand.counter).await;
    let id = hand.open(&load);
    let started = Instant::now();
    let mut manner = Manner::any(&mut hand.rng);
    loop {
        let mut request = manner.on(Request::new(stream::iter(messages.clone())));
        let producer = format!("producer-{}", hand.client);
        request.metadata_mut().insert("pintail-producer", producer.parse().unwrap());
        let mut link = hand.link.clone();
        let call = async {
            let answers = link.inner().do_put(request).await.map_err(from_status)?.into_inner();
            answers.map_err(from_status).try_collect::<Vec<_>>().await
        };
        match hand.call("a producer's put", &manner, &[], call).await? {
            Outcome::Done(_) => break,
            other if started.elapsed() > INSISTS => {
                return hand.finding(format!("batches from seq {} are not taken: {other:?}", hand.counter));
            }
            _ => hand.pause(20).await,
        }
        manner = Manner::calm();
    }
    hand.counter += counts.len() as u64;
    hand.close(id, Fate::Stored);
    Ok(())
}

/// A stream of several batches, now and then of more than a row group.
async fn large(hand: &mut Hand) -> Verdict {
    let table = somewhere(hand);
    let most = if hand.rng.random_bool(0.1) { 40_000 } else { 4_000 };
    let counts: Vec<i64> =
        (0..hand.rng.random_range(2..6)).map(|_| hand.rng.random_range(1000..most)).collect();
    let load = hand.load_in_batches(table, &counts);
    let manner = match hand.rng.random_range(0..4) {
        0 => Manner::hasty(&mut hand.rng),
        1 => Manner::leaving(&mut hand.rng, Duration::from_millis(200)),
        _ => Manner::calm(),
    };
    hand.store(&load, &manner, &[]).await?;
    hand.pause(150).await;
    Ok(())
}

/// Batches that are committed as they come, with a client that sometimes leaves between two of them.
async fn progress(hand: &mut Hand) -> Verdict {
    let table = somewhere(hand);
    let unit = hand.rng.random_range(1..200);
    let parts = hand.rng.random_range(2..8);
    let load = hand.load_in_batches(table, &vec![unit; parts]);
    let id = hand.open(&load);
    hand.world.books.in_units(id, unit);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receive));
    let producer = format!("progress-{}", load.put);
    for (name, value) in [("pintail-producer", producer.as_str()), ("pintail-commit", "progress")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let messages = messages(&load, 0).await;
    let mut link = hand.link.clone();
    let leaves_after =
        if hand.rng.random_bool(0.4) { hand.rng.random_range(1..messages.len()) } else { usize::MAX };
    let pauses: Vec<u64> = messages.iter().map(|_| hand.rng.random_range(0..12)).collect();
    let (is_fed, mut has_left) = tokio::sync::oneshot::channel();
    let feed = async move {
        for (index, (message, pause)) in messages.into_iter().zip(pauses).enumerate() {
            if index == leaves_after {
                break;
            }
            if send.send(message).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if leaves_after != usize::MAX {
            // Told, and the stream kept open: it is the call that is dropped.
            let _ = is_fed.send(());
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        drop(send);
        std::future::pending::<()>().await;
    };
    let books = &hand.world.books;
    let listen = async {
        let mut answers = link.inner().do_put(request).await.map_err(from_status)?.into_inner();
        let mut rows = 0;
        while let Some(answer) = answers.next().await {
            let answer: Value = serde_json::from_slice(&answer.map_err(from_status)?.app_metadata).unwrap();
            rows = answer["rows"].as_i64().unwrap_or(-1);
            books.at_least(id, rows);
        }
        Ok(rows)
    };
    let call = async {
        tokio::select! {
            () = feed => unreachable!("it waits for the call"),
            heard = listen => heard.map(Some),
            Ok(()) = &mut has_left => Ok(None),
        }
    };
    let outcome = hand.call("a progress put", &Manner::calm(), &[Kind::Aborted], call).await?;
    match outcome {
        Outcome::Done(Some(rows)) if rows == load.rows() => hand.close(id, Fate::Stored),
        Outcome::Done(Some(rows)) => {
            return hand.finding(format!("a progress put of {} rows ended with {rows}", load.rows()));
        }
        _ => hand.close(id, Fate::Unknown),
    }
    Ok(())
}
