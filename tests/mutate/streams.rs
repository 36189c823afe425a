//! Put streams of every kind of type, whose messages are damaged: the header, the body, or the whole as protobuf.

use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;

use crate::damaged::{Change, Message, change, streams};
use crate::raw::{call, connect};
use crate::watch::Watch;
use crate::{Choices, messages};

/// Workers, each with a connection of its own.
const WORKERS: u64 = 8;
/// Streams of a worker between two looks at the server.
const STREAMS: u64 = 40;

/// What is to be damaged.
#[derive(Debug, Clone, Copy)]
enum Part {
    Header,
    Body,
    Whole,
}

/// A stream that is sent: which seed, how often its rows come, what becomes of them, and what is damaged where.
#[derive(Debug, Clone)]
struct Sent {
    seed: prop::sample::Index,
    times: usize,
    mode: &'static str,
    damage: Vec<(prop::sample::Index, Part, Vec<Change>)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let part = prop::sample::select(vec![Part::Header, Part::Header, Part::Body, Part::Body, Part::Whole]);
    let changes = prop::collection::vec(change(), 1..5);
    let damage = prop::collection::vec((any::<prop::sample::Index>(), part, changes), 1..4);
    let mode = prop::sample::select(vec!["append", "replace", "create_append"]);
    (any::<prop::sample::Index>(), 1..4_usize, mode, damage).prop_map(|(seed, times, mode, damage)| Sent {
        seed,
        times,
        mode,
        damage,
    })
}

fn seeds() -> Vec<Vec<Message>> {
    streams(|header| arrow::ipc::root_as_message(header).unwrap().bodyLength() as usize)
}

/// The stream's messages as protobuf.
fn encoded(stream: &[Message], table: &str) -> Vec<FlightData> {
    let mut messages: Vec<FlightData> = stream
        .iter()
        .map(|(header, body)| FlightData {
            data_header: header.clone().into(),
            data_body: body.clone().into(),
            ..FlightData::default()
        })
        .collect();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_path(vec![table.to_owned()]));
    messages
}

/// The messages of a stream as they leave, and how many of them are damaged.
fn damaged(seeds: &[Vec<Message>], sent: &Sent, table: &str) -> (Vec<Bytes>, u64) {
    let mut stream = seeds[sent.seed.index(seeds.len())].clone();
    let last = stream.last().unwrap().clone();
    stream.extend(std::iter::repeat_n(last, sent.times - 1));
    let mut messages = encoded(&stream, table);
    let mut whole: Vec<(usize, &[Change])> = Vec::new();
    let mut touched = std::collections::BTreeSet::new();
    for (index, part, changes) in &sent.damage {
        let at = index.index(messages.len());
        touched.insert(at);
        let message = &mut messages[at];
        let target = match part {
            Part::Header => &mut message.data_header,
            Part::Body => &mut message.data_body,
            Part::Whole => {
                whole.push((at, changes));
                continue;
            }
        };
        let mut bytes = target.to_vec();
        changes.iter().for_each(|change| change.make(&mut bytes));
        *target = bytes.into();
    }
    let mut messages: Vec<Vec<u8>> = messages.iter().map(FlightData::encode_to_vec).collect();
    for (at, changes) in whole {
        changes.iter().for_each(|change| change.make(&mut messages[at]));
    }
    (messages.into_iter().map(Bytes::from).collect(), touched.len() as u64)
}

/// Every seed is a stream that the server takes, so that what damages it begins at something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn undamaged_streams_are_taken() {
    let watch = Watch::start().await;
    let channel = connect(&watch.uri()).await;
    for (number, seed) in seeds().iter().enumerate() {
        let messages =
            encoded(seed, &format!("t{number}")).iter().map(|one| one.encode_to_vec().into()).collect();
        let answers = call(&channel, "DoPut", &[], messages).await;
        assert_eq!(answers.map_err(|status| status.message().to_owned()), Ok(1), "seed {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_streams_end_in_a_status_and_the_server_goes_on() {
    let mut watch = Watch::start().await;
    let wanted = messages();
    let mut workers: Vec<(u64, Choices)> = (0..).zip(Choices::seeded(WORKERS)).collect();
    let mut channels = Vec::new();
    for _ in 0..WORKERS {
        channels.push(connect(&watch.uri()).await);
    }
    let mut done = 0;
    while done < wanted {
        let working: Vec<_> = workers
            .drain(..)
            .map(|(worker, mut choices)| {
                let channel = channels[worker as usize].clone();
                tokio::spawn(async move {
                    let (seeds, strategy) = (seeds(), sent());
                    let mut ended = Vec::new();
                    for _ in 0..STREAMS {
                        let sent = choices.next(&strategy);
                        let (messages, damaged) = damaged(&seeds, &sent, &format!("target_{worker}"));
                        let headers = [("pintail-mode".to_owned(), sent.mode.to_owned())];
                        ended.push((call(&channel, "DoPut", &headers, messages).await, damaged, sent));
                    }
                    (worker, choices, ended)
                })
            })
            .collect();
        for work in working {
            let (worker, choices, ended) = work.await.unwrap();
            for (outcome, damaged, sent) in ended {
                done += damaged;
                watch.note(outcome, &|| format!("{sent:?}"));
            }
            workers.push((worker, choices));
        }
        watch.look().await;
    }
    watch.end(done, "damaged messages of put streams");
}
