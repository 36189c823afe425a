//! Puts into tables whose shape changes at the same moment: no value may be stored as another one.
//! Runs on: the tasks of its clients; the first one of each kind changes the table, the others put.
//! Never: takes a refusal for a fault; a value that was rounded is one.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, future, stream};
use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::rows::{self, COLUMNS, WHOLE};
use crate::tables::{LENIENT, declaration};
use crate::world::Actor;

pub const NEW_COLUMN: Actor =
    Actor { name: "new_column", clients: 1, step: |hand| Box::pin(new_column(hand)) };
pub const RETYPED: Actor = Actor { name: "retyped", clients: 3, step: |hand| Box::pin(retyped(hand)) };
pub const RECREATED: Actor = Actor { name: "recreated", clients: 3, step: |hand| Box::pin(recreated(hand)) };
pub const DROPPED: Actor = Actor { name: "dropped", clients: 3, step: |hand| Box::pin(dropped(hand)) };

/// Several clients bring one new column to a declared table at once: some as halves, some as whole numbers.
async fn new_column(hand: &mut Hand) -> Verdict {
    let table = format!("grow_{}", hand.world.next_put());
    let body = declaration(&table, LENIENT, "").into_bytes();
    if hand.act("pintail.schema_apply", body, &Manner::calm(), &[]).await?.done().is_none() {
        return Ok(());
    }
    let mut hands = Vec::new();
    for _ in 0..4 {
        hands.push(hand.another().await?);
    }
    let puts = hands.iter_mut().enumerate().map(|(index, hand)| {
        let table = &table;
        async move {
            for _ in 0..3 {
                let put = hand.world.next_put() + if index % 2 == 0 { WHOLE } else { 0 };
                let count = hand.rng.random_range(1..6);
                let batches = vec![rows::rows(hand.client, put, 0, count)];
                let load = Load { table: table.clone(), put, batches, headers: Vec::new() };
                // The type of the first one stays; halves do not go into a column of whole numbers.
                hand.store(&load, &Manner::calm(), &[Kind::Invalid]).await?;
            }
            Ok(())
        }
    });
    future::join_all(puts).await.into_iter().collect::<Verdict>()?;
    hand.pause(200).await;
    Ok(())
}

/// A put that stays open for some time between its batches.
async fn slowly(hand: &mut Hand, table: &str, refusals: &[Kind]) -> Verdict {
    let counts: Vec<i64> = (0..3).map(|_| hand.rng.random_range(1..300)).collect();
    let load = hand.load_in_batches(table, &counts);
    let pauses: Vec<u64> = counts.iter().map(|_| hand.rng.random_range(0..40)).collect();
    let batches = load.batches.clone().into_iter().zip(pauses);
    let batches = stream::iter(batches).then(|(batch, pause)| async move {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        Ok::<RecordBatch, pintail::error::Error>(batch)
    });
    let id = hand.open(&load);
    let mut link = hand.link.clone();
    let into = crate::support::calls::table(table);
    let call = link.put(&into, rows::schema(), batches, &[]);
    let outcome = hand.call(&format!("a slow put into {table}"), &Manner::calm(), refusals, call).await?;
    hand.close(id, outcome.fate());
    Ok(())
}

async fn small_or_slow(hand: &mut Hand, table: &str, refusals: &[Kind]) -> Verdict {
    if hand.rng.random_bool(0.3) {
        return slowly(hand, table, refusals).await;
    }
    let count = hand.rng.random_range(1..20);
    let load = hand.load(table, count);
    hand.store(&load, &Manner::calm(), refusals).await?;
    Ok(())
}

/// `v` becomes INTEGER, where all that was there becomes -1, and DOUBLE again. Halves are stored as halves or refused.
async fn retyped(hand: &mut Hand) -> Verdict {
    if hand.place > 0 {
        return small_or_slow(hand, "retyped", &[Kind::Invalid]).await;
    }
    for sql in
        ["ALTER TABLE retyped ALTER v TYPE INTEGER USING (-1)", "ALTER TABLE retyped ALTER v TYPE DOUBLE"]
    {
        hand.sql(sql, &Manner::calm(), &[]).await?;
        hand.pause(60).await;
    }
    Ok(())
}

/// The table is made anew, by turns with INTEGER and DOUBLE.
async fn recreated(hand: &mut Hand) -> Verdict {
    if hand.place > 0 {
        return small_or_slow(hand, "recreated", &[Kind::Invalid]).await;
    }
    hand.counter += 1;
    let v = if hand.counter.is_multiple_of(2) { "DOUBLE" } else { "INTEGER" };
    let eraser = hand.world.books.erase("recreated");
    let sql = format!("CREATE OR REPLACE TABLE recreated ({COLUMNS}, v {v})");
    let outcome = hand.sql(&sql, &Manner::calm(), &[]).await?;
    hand.world.books.erased(eraser, outcome.fate());
    hand.pause(60).await;
    Ok(())
}

/// The table is dropped, and the next put makes it again.
async fn dropped(hand: &mut Hand) -> Verdict {
    if hand.place > 0 {
        // A put that is open when its table goes may hear that it is gone.
        return small_or_slow(hand, "dropped", &[Kind::NotFound]).await;
    }
    let eraser = hand.world.books.erase("dropped");
    let outcome = hand.sql("DROP TABLE IF EXISTS dropped", &Manner::calm(), &[]).await?;
    if let Outcome::Refused(error) = &outcome
        && error.kind() != Kind::Aborted
    {
        return hand.finding(error);
    }
    hand.world.books.erased(eraser, outcome.fate());
    hand.pause(80).await;
    Ok(())
}
