//! A put that makes its table and fails, while others put into the table.
//! Runs on: the task of its client, with connections of their own for the others. Never: uses a table's name twice.

use std::time::Duration;

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::{StreamExt, TryStreamExt, future, stream};
use pintail::client::from_status;
use pintail::error::{Error, Kind};
use rand::Rng;
use tokio::sync::Barrier;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::books::Fate;
use crate::hand::{Hand, Manner, Outcome, Verdict};
use crate::world::Actor;

pub const ACTOR: Actor = Actor { name: "failing_makers", clients: 2, step: |hand| Box::pin(step(hand)) };

/// Others that come at the moment of the failure: before it, the table would not be empty, and stay.
const OTHERS: usize = 4;

async fn step(hand: &mut Hand) -> Verdict {
    let table = format!("made_{}", hand.world.next_put());
    let moment = Barrier::new(OTHERS + 1);
    let mut maker = hand.another().await?;
    let mut others = Vec::new();
    for _ in 0..OTHERS {
        others.push(hand.another().await?);
    }
    let joined = future::join_all(others.iter_mut().map(|other| joins(other, &table, &moment)));
    let (failed, joined) = tokio::join!(fails(&mut maker, &table, &moment), joined);
    failed.and(joined.into_iter().collect::<Verdict>())?;
    let load = hand.load(&table, 3);
    hand.store(&load, &Manner::calm(), &[]).await?;
    hand.pause(50).await;
    Ok(())
}

/// Offers a first batch, stays for a while, and comes to a bad end.
async fn fails(hand: &mut Hand, table: &str, moment: &Barrier) -> Verdict {
    let load = hand.load_in_batches(table, &[5, 5]);
    let descriptor = FlightDescriptor::new_path(vec![table.to_owned()]);
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(load.batches[0].schema())
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter(load.batches.clone().into_iter().map(Ok)))
        .try_collect()
        .await
        .unwrap();
    let id = hand.open(&load);
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let mut last = messages.pop().unwrap();
    for message in messages {
        send.send(message).await.unwrap();
    }
    // The stream has no end: the client leaves with its call, and does not say that it is done.
    let open = send.clone();
    let (stays, leaves) = (hand.rng.random_range(25..90), hand.rng.random_bool(0.3));
    // A header that says nothing a reader could use.
    last.data_header = vec![0xFF; 16].into();
    let feed = async move {
        tokio::time::sleep(Duration::from_millis(stays)).await;
        moment.wait().await;
        if leaves {
            return Err(Error::new(Kind::Cancelled, "the client leaves"));
        }
        let _ = send.send(last).await;
        std::future::pending().await
    };
    let mut link = hand.link.clone();
    let request = Request::new(ReceiverStream::new(receive));
    let listen = async {
        let mut answers = link.inner().do_put(request).await.map_err(from_status)?.into_inner();
        answers.next().await.transpose().map_err(from_status)
    };
    let call = async {
        tokio::select! { ended = feed => ended, heard = listen => heard.map(|_| ()) }
    };
    let expected = [Kind::Invalid, Kind::Cancelled];
    let outcome = hand.call("a put with a broken message", &Manner::calm(), &expected, call).await?;
    // An end of the stream that comes before the connection has heard that the call is dropped would be an honest one.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(open);
    });
    match outcome {
        Outcome::Done(()) => hand.finding("a put with a broken message was acknowledged"),
        _ => {
            hand.close(id, Fate::Absent);
            Ok(())
        }
    }
}

async fn joins(hand: &mut Hand, table: &str, moment: &Barrier) -> Verdict {
    // A put that is refused before does not come to it.
    let _ = tokio::time::timeout(Duration::from_secs(1), moment.wait()).await;
    for _ in 0..3 {
        hand.pause(3).await;
        let count = hand.rng.random_range(1..5);
        let load = hand.load(table, count);
        hand.store(&load, &Manner::calm(), &[]).await?;
    }
    Ok(())
}
