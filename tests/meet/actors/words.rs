//! Data and SQL that say what the engine says when it is broken: the words are the client's, the faults as well.
//! Runs on: the task of its client. Never: breaks anything.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::world::Actor;

pub const ACTOR: Actor = Actor { name: "engine_words", clients: 1, step: |hand| Box::pin(step(hand)) };

const WORDS: [&str; 7] = [
    "database has been invalidated because of a previous fatal error",
    "FATAL Error: Failed",
    "INTERNAL Error: has been invalidated",
    "No space left on device",
    "could not allocate block of size 256.0 KiB",
    "failed to pin block, Out of Memory Error: failed to allocate data",
    "TransactionContext Error: Conflict on tuple deletion, Catalog write-write conflict",
];

/// How often a call is made that others get in the way of.
const TRIES: u32 = 5;

/// What breaks a constraint, or is not a value of its type, is the client's to mend.
const OWN_FAULT: [Kind; 3] = [Kind::Conflict, Kind::Exists, Kind::Invalid];

fn worded(words: &[&str], numbers: &[i32]) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
    let numbers: ArrayRef = Arc::new(Int32Array::from(numbers.to_vec()));
    RecordBatch::try_from_iter_with_nullable([
        ("word", Arc::clone(&texts), true),
        ("other", texts, true),
        ("n", numbers, true),
    ])
    .unwrap()
}

/// It must be refused, and for the client's own fault: a collision, a full disk or a lost server would be lies.
async fn must_refuse(hand: &Hand, what: &str, outcome: Outcome<()>) -> Verdict {
    match outcome {
        Outcome::Refused(error) if OWN_FAULT.contains(&error.kind()) => Ok(()),
        Outcome::Refused(error) => {
            hand.finding(format!("{what} was answered with {:?}: {error}", error.kind()))
        }
        _ => hand.finding(format!("{what} was taken")),
    }
}

/// One call that breaks a rule, and how it is named in a finding.
async fn attempt(hand: &mut Hand, way: u32, word: &str) -> Verdict<(String, Outcome<()>)> {
    let calm = Manner::calm();
    let batch = match way {
        0 => worded(&[word, word], &[1, 1]),
        1 => worded(&[word], &[0]),
        2 => {
            let sql = format!("INSERT INTO worded VALUES ('{word}', '{word}', 1), ('{word}', 'x', 1)");
            let outcome = hand.update(&sql, None, &calm, &OWN_FAULT).await?;
            return Ok((sql, outcome));
        }
        _ => {
            let sql = match way {
                3 => format!("INSERT INTO worded VALUES ('{word}', '{word}', 0)"),
                4 => format!("SELECT '{word}'::INTEGER"),
                _ => format!("SELECT error('{word}')"),
            };
            let outcome = hand.sql(&sql, &calm, &OWN_FAULT).await?.map_done();
            return Ok((sql, outcome));
        }
    };
    let load = Load { table: "worded".into(), put: 0, batches: vec![batch], headers: Vec::new() };
    let what = format!("a put of \"{word}\" that breaks a constraint");
    Ok((what, hand.send(&load, &calm, &OWN_FAULT).await?.map_done()))
}

async fn step(hand: &mut Hand) -> Verdict {
    let word = WORDS[hand.rng.random_range(0..WORDS.len())];
    let way = hand.rng.random_range(0..6);
    let (mut what, mut outcome) = attempt(hand, way, word).await?;
    for _ in 1..TRIES {
        // It may really have met a change of the tables. What is taken for a collision by its words is one every time.
        if !matches!(&outcome, Outcome::Refused(error) if error.kind() == Kind::Aborted) {
            break;
        }
        hand.pause(200).await;
        (what, outcome) = attempt(hand, way, word).await?;
    }
    must_refuse(hand, &what, outcome).await
}
