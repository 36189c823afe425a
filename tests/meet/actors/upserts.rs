//! Puts into tables with keys that leave known rows out or put new ones in their place.
//! Runs on: the tasks of its clients. Never: two clients with one key where the order would not be known.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::rows::{rows_numbered, with_column};
use crate::world::Actor;

pub const OWN_KEYS: Actor = Actor { name: "upserts", clients: 2, step: |hand| Box::pin(own_keys(hand)) };
pub const SHARED_KEYS: Actor =
    Actor { name: "shared_upserts", clients: 3, step: |hand| Box::pin(shared_keys(hand)) };
pub const NULL_UNIQUE: Actor =
    Actor { name: "null_in_unique", clients: 1, step: |hand| Box::pin(null_unique(hand)) };

fn numbers(keys: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(keys.to_vec()))
}

/// Some of its own keys, once more or for the first time; the counts in the answer are right.
async fn own_keys(hand: &mut Hand) -> Verdict {
    let which: Vec<i64> = (0..30).filter(|_| hand.rng.random_bool(0.3)).collect();
    let replaces = hand.rng.random_bool(0.5);
    if which.is_empty() {
        return Ok(());
    }
    let put = hand.world.next_put();
    let keys: Vec<i64> = which.iter().map(|row| hand.client * 1000 + row).collect();
    let batch = with_column("k", numbers(&keys), &rows_numbered(hand.client, put, &which));
    let load = Load { table: "owned".into(), put, batches: vec![batch], headers: Vec::new() }
        .header("pintail-on-conflict", if replaces { "replace" } else { "ignore" });
    let held: Vec<Option<bool>> = keys.iter().map(|key| hand.world.books.holds("owned", *key)).collect();
    let (world, client) = (Arc::clone(&hand.world), hand.client);
    let note = |is_certain: bool| {
        for (key, held) in keys.iter().zip(&held) {
            let is_new = *held == Some(false);
            if replaces || is_new || held.is_none() {
                // What may have been there before stays when it is left alone.
                world.books.wrote("owned", *key, (client, put), is_certain && (replaces || is_new));
            }
        }
    };
    let manner = Manner::any(&mut hand.rng);
    match hand.send(&load, &manner, &[]).await? {
        Outcome::Done(answer) => {
            note(true);
            if held.iter().all(Option::is_some) {
                let known = held.iter().filter(|held| **held == Some(true)).count() as u64;
                let fresh = held.len() as u64 - known;
                let expected = if replaces {
                    (Some(fresh), None, Some(known))
                } else {
                    (Some(fresh), Some(known), None)
                };
                let zero = |count: Option<u64>| count.filter(|count| *count > 0);
                let told = (answer.inserted, zero(answer.ignored), zero(answer.replaced));
                if told != (expected.0, zero(expected.1), zero(expected.2)) {
                    return hand.finding(format!(
                        "an upsert of {fresh} new and {known} known keys was answered with {answer:?}"
                    ));
                }
            }
        }
        Outcome::Refused(_) => {}
        Outcome::Unknown => note(false),
    }
    Ok(())
}

/// The same twelve keys, all replaced by every put: afterwards all twelve are of one put.
async fn shared_keys(hand: &mut Hand) -> Verdict {
    let put = hand.world.next_put();
    let keys: Vec<i64> = (0..12).collect();
    let batch = with_column("k", numbers(&keys), &rows_numbered(hand.client, put, &keys));
    let load = Load { table: "shared".into(), put, batches: vec![batch], headers: Vec::new() }
        .header("pintail-on-conflict", "replace");
    let entry = hand.world.books.open_in_place(hand.actor, hand.client, put, "shared", load.rows());
    let manner = Manner::any(&mut hand.rng);
    let outcome = hand.send(&load, &manner, &[]).await?;
    hand.world.books.close_in_place(entry, outcome.fate());
    let writers = hand.number("SELECT count(DISTINCT put) FROM shared").await?;
    if writers > 1 {
        return hand
            .finding(format!("shared holds the rows of {writers} puts that each replaced all of them"));
    }
    Ok(())
}

/// New keys beside NULLs in another unique column: none of them is known, so none may be left out.
async fn null_unique(hand: &mut Hand) -> Verdict {
    let put = hand.world.next_put();
    let which: Vec<i64> = (0..hand.rng.random_range(2..6)).collect();
    let keys: Vec<i64> = which.iter().map(|row| put * 100 + row).collect();
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; which.len()]));
    let batch =
        with_column("k", numbers(&keys), &with_column("u", nulls, &rows_numbered(hand.client, put, &which)));
    let load = Load { table: "alike".into(), put, batches: vec![batch], headers: Vec::new() }
        .header("pintail-on-conflict", "ignore");
    // Where the engine cannot be trusted with it, it is refused.
    let refusals = [Kind::Invalid, Kind::Unsupported];
    if let Outcome::Done(answer) = hand.store(&load, &Manner::calm(), &refusals).await?
        && answer.ignored.unwrap_or(0) > 0
    {
        return hand.finding(format!("rows with new keys were left out: {answer:?}"));
    }
    hand.pause(20).await;
    Ok(())
}
