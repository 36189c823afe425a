//! Puts that replace what a table holds: several at once, on declared tables and on others.
//! Runs on: the tasks of its clients. Never: asks which of two came last; either may, but not both.

use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Manner, Verdict};
use crate::world::Actor;

pub const DECLARED: Actor = Actor { name: "replace_puts", clients: 3, step: |hand| Box::pin(declared(hand)) };
pub const UNDECLARED: Actor =
    Actor { name: "replace_keeps_key", clients: 1, step: |hand| Box::pin(undeclared(hand)) };

async fn replace(hand: &mut Hand, table: &str, manner: &Manner, refusals: &[Kind]) -> Verdict {
    let counts = [hand.rng.random_range(1..30), hand.rng.random_range(1..30)];
    let load = hand.load_in_batches(table, &counts).header("pintail-mode", "replace");
    let entry = hand.world.books.open_in_place(hand.actor, hand.client, load.put, table, load.rows());
    let outcome = hand.send(&load, manner, refusals).await?;
    hand.world.books.close_in_place(entry, outcome.fate());
    Ok(())
}

/// The declared table holds the rows of one put at any time, also when it was empty before: the first of these clients
/// empties it now and then, and then several come at once.
async fn declared(hand: &mut Hand) -> Verdict {
    if hand.place > 0 {
        let manner = Manner::any(&mut hand.rng);
        replace(hand, "latest", &manner, &[]).await?;
        hand.pause(40).await;
        return Ok(());
    }
    let eraser = hand.world.books.erase("latest");
    let outcome = hand.sql("DELETE FROM latest", &Manner::calm(), &[]).await?;
    hand.world.books.erased(eraser, outcome.fate());
    let mut hands = [hand.another().await?, hand.another().await?, hand.another().await?];
    let calm = Manner::calm();
    let puts = hands.iter_mut().map(|hand| replace(hand, "latest", &calm, &[]));
    futures::future::join_all(puts).await.into_iter().collect::<Verdict>()?;
    // At any moment, not only when all rest: the next one would take both contents away.
    let writers = hand.number("SELECT count(DISTINCT put) FROM latest").await?;
    if writers > 1 {
        return hand.finding(format!("latest holds the rows of {writers} puts that replace each other"));
    }
    hand.pause(20).await;
    Ok(())
}

/// A table that is not declared keeps its key, or the put is refused.
async fn undeclared(hand: &mut Hand) -> Verdict {
    replace(hand, "kept", &Manner::calm(), &[Kind::Invalid, Kind::Conflict, Kind::Unsupported]).await?;
    let keys = "SELECT count(*) FROM duckdb_constraints() WHERE table_name = 'kept' AND constraint_type = 'PRIMARY KEY'";
    if hand.number(keys).await? != 1 {
        return hand.finding("a put that replaces the rows of \"kept\" has dropped its primary key");
    }
    hand.pause(100).await;
    Ok(())
}
