//! Transactions over several tables: committed, rolled back, left, expired; and one that is long at work.
//! Runs on: the tasks of its clients, with a connection of its own for each transaction.
//! Never: expects more of a transaction than all or nothing.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use futures::{StreamExt, stream};
use pintail::error::{Error, Kind};
use rand::Rng;

use crate::books::Fate;
use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::rows;
use crate::world::Actor;

pub const SEVERAL: Actor = Actor { name: "transactions", clients: 2, step: |hand| Box::pin(several(hand)) };
pub const EXPIRING: Actor =
    Actor { name: "expiring_transactions", clients: 2, step: |hand| Box::pin(expiring(hand)) };
pub const BUSY: Actor = Actor { name: "busy_transactions", clients: 1, step: |hand| Box::pin(busy(hand)) };

/// `session.transaction_idle_timeout` of the meeting's server.
const IDLE: Duration = Duration::from_secs(1);
/// What a client hears of a transaction that has ended without it; on a busy machine a client may be slower than its
/// transaction lives.
const OVER: [Kind; 1] = [Kind::NotFound];

/// The same rows for another table.
fn into(load: &Load, table: &str) -> Load {
    Load { table: table.to_owned(), ..load.clone() }
}

/// The same rows into both tables, by puts and by SQL; true while the transaction can be committed.
async fn both(hand: &mut Hand, load: &Load, id: &bytes::Bytes) -> Verdict<bool> {
    for table in ["tx_a", "tx_b"] {
        let outcome = if hand.rng.random_bool(0.5) {
            let load = into(load, table);
            match hand.send(&load, &Manner::calm(), &OVER).await? {
                Outcome::Done(answer) if answer.durable => {
                    return hand
                        .finding(format!("a put inside a transaction was called durable: {answer:?}"));
                }
                other => other.map_done(),
            }
        } else {
            let sql = format!("INSERT INTO {table} VALUES {}", rows::sql_values(&load.batches[0]));
            hand.update(&sql, Some(id), &Manner::calm(), &OVER).await?
        };
        if !matches!(outcome, Outcome::Done(())) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn several(hand: &mut Hand) -> Verdict {
    let mut own = hand.another().await?;
    let count = own.rng.random_range(1..12);
    let load = own.load("tx_a", count);
    let Some(id) = own.begin(&Manner::calm()).await? else {
        return hand.finding("a transaction does not begin");
    };
    let entry = own.world.books.open(own.actor, own.client, load.put, &[("tx_a", count), ("tx_b", count)]);
    let is_whole = both(&mut own, &load, &id).await?;
    let end = own.rng.random_range(0..100);
    let fate = match end {
        // The connection is closed with its session; what is open is rolled back.
        0..15 => Fate::Absent,
        // With a statement missing, a client takes the others back.
        _ if end < 30 || !is_whole => {
            own.end(&id, false, &Manner::calm(), &OVER).await?;
            Fate::Absent
        }
        _ => {
            let manner = Manner::any(&mut own.rng);
            own.end(&id, true, &manner, &OVER).await?.fate()
        }
    };
    drop(own);
    hand.close(entry, fate);
    Ok(())
}

/// Idle for longer than a transaction may be, in the middle of it. Whatever the client hears, it is all or nothing.
async fn expiring(hand: &mut Hand) -> Verdict {
    let own = hand.another().await?;
    let count = hand.rng.random_range(1..12);
    let load = hand.load("tx_a", count);
    let Some(id) = own.begin(&Manner::calm()).await? else {
        return hand.finding("a transaction does not begin");
    };
    let parts = [("tx_a", count), ("tx_b", count)];
    let entry = hand.world.books.open(hand.actor, hand.client, load.put, &parts);
    let first = own.send(&load, &Manner::calm(), &OVER).await?;
    // The sweep comes once a second.
    tokio::time::sleep(IDLE * 2 + Duration::from_millis(300)).await;
    let second = own.send(&into(&load, "tx_b"), &Manner::calm(), &OVER).await?;
    let is_whole = matches!((&first, &second), (Outcome::Done(_), Outcome::Done(_)));
    let ended = own.end(&id, is_whole, &Manner::calm(), &OVER).await?;
    hand.close(entry, if is_whole { ended.fate() } else { Fate::Absent });
    Ok(())
}

/// At work for longer than a transaction may be idle: what is in use is not idle.
async fn busy(hand: &mut Hand) -> Verdict {
    let own = hand.another().await?;
    let load = hand.load_in_batches("tx_a", &[2, 3, 4, 5, 6, 7]);
    let Some(id) = own.begin(&Manner::calm()).await? else {
        return hand.finding("a transaction does not begin");
    };
    let parts = [("tx_a", load.rows()), ("tx_b", load.rows())];
    let entry = hand.world.books.open(hand.actor, hand.client, load.put, &parts);
    let pause = IDLE * 2 / 5;
    let batches = stream::iter(load.batches.clone()).then(move |batch| async move {
        tokio::time::sleep(pause).await;
        Ok::<RecordBatch, Error>(batch)
    });
    let mut link = own.link.clone();
    let target = crate::support::calls::table("tx_a");
    let call = link.put(&target, rows::schema(), batches, &[]);
    let slow = own.call("a slow put inside a transaction", &Manner::calm(), &[], call).await?;
    if slow.done().is_none() {
        hand.close(entry, Fate::Absent);
        return Ok(());
    }
    let since = Instant::now();
    // Idle now, and for less than it may be; the sweep comes by in most cases.
    tokio::time::sleep(IDLE * 7 / 10).await;
    let second = own.send(&into(&load, "tx_b"), &Manner::calm(), &OVER).await?;
    let is_whole = matches!(second, Outcome::Done(_));
    let ended = own.end(&id, is_whole, &Manner::calm(), &OVER).await?;
    if since.elapsed() < IDLE * 9 / 10
        && let (Outcome::Refused(error), _) | (_, Outcome::Refused(error)) = (&second.map_done(), &ended)
        && error.kind() != Kind::Aborted
    {
        return hand.finding(format!("a transaction was given up while a put ran in it: {error}"));
    }
    hand.close(entry, if is_whole { ended.fate() } else { Fate::Absent });
    Ok(())
}
