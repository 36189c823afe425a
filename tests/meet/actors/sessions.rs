//! A session with an option, longer idle and longer at work than a session may be: rows go where the option says.
//! Runs on: the tasks of its clients, with a connection of its own for each session.
//! Never: takes a refusal for a fault; rows in another table are one.

use std::collections::HashMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, stream};
use pintail::error::{Error, Kind};
use prost::Message;
use rand::Rng;

use crate::hand::{Hand, Load, Manner, Verdict};
use crate::rows;
use crate::world::Actor;

pub const ACTOR: Actor = Actor { name: "session_options", clients: 2, step: |hand| Box::pin(step(hand)) };

/// `session.idle_timeout` of the meeting's server.
const IDLE: Duration = Duration::from_secs(3);

/// `SetSessionOptionsRequest` as any client sends it.
#[derive(Clone, PartialEq, prost::Message)]
struct Options {
    #[prost(map = "string, message", tag = "1")]
    options: HashMap<String, Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
}

/// A put into "plain" that belongs into the session's schema.
async fn belongs_aside(own: &Hand, load: &Load, refusals: &[Kind]) -> Verdict {
    let id = own.world.books.open(own.actor, own.client, load.put, &[("side.plain", load.rows())]);
    let outcome = own.send(load, &Manner::calm(), refusals).await?;
    own.close(id, outcome.fate());
    Ok(())
}

async fn step(hand: &mut Hand) -> Verdict {
    let mut own = hand.another().await?;
    let options =
        Options { options: HashMap::from([("schema".into(), Value { text: Some("side".into()) })]) };
    if own.act("SetSessionOptions", options.encode_to_vec(), &Manner::calm(), &[]).await?.done().is_none() {
        return hand.finding("the option schema was not set");
    }
    let first = own.load("plain", 3);
    belongs_aside(&own, &first, &[]).await?;
    // What a client may hear of a session that is no more.
    let over = [Kind::NotFound, Kind::Conflict, Kind::Denied];
    if own.rng.random_bool(0.5) {
        tokio::time::sleep(IDLE + Duration::from_millis(1500)).await;
        let late = own.load("plain", 4);
        return belongs_aside(&own, &late, &over).await;
    }
    // At work for longer than a session may be idle.
    let load = own.load_in_batches("plain", &[2, 2, 2, 2, 2]);
    let pause = IDLE * 3 / 10;
    let batches = stream::iter(load.batches.clone()).then(move |batch| async move {
        tokio::time::sleep(pause).await;
        Ok::<RecordBatch, Error>(batch)
    });
    let id = own.world.books.open(own.actor, own.client, load.put, &[("side.plain", load.rows())]);
    let mut link = own.link.clone();
    let into = crate::support::calls::table("plain");
    let call = link.put(&into, rows::schema(), batches, &[]);
    let outcome = own.call("a slow put of a session", &Manner::calm(), &[], call).await?;
    own.close(id, outcome.fate());
    let after = own.load("plain", 5);
    belongs_aside(&own, &after, &[]).await
}
