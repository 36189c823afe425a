//! Temporary tables with the names of others' tables: they are their client's own, whatever path names them.
//! Runs on: the tasks of its clients, with a connection of its own for each session.
//! Never: writes its rows into the books; they go with the session.

use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Manner, Outcome, Verdict};
use crate::world::Actor;

pub const ACTOR: Actor = Actor { name: "temporary_tables", clients: 2, step: |hand| Box::pin(step(hand)) };

async fn step(hand: &mut Hand) -> Verdict {
    let mut own = hand.another().await?;
    let count = own.rng.random_range(1..20);
    if own.rng.random_bool(0.4) {
        let sql = "CREATE TEMP TABLE plain (client BIGINT, put BIGINT)";
        own.sql(sql, &Manner::calm(), &[]).await?;
        own.sql(
            &format!("INSERT INTO temp.main.plain SELECT i, 0 FROM range({count}) r(i)"),
            &Manner::calm(),
            &[],
        )
        .await?;
    } else {
        let load = own.load("temp.main.plain", count);
        let refusals = [Kind::Invalid, Kind::Unsupported, Kind::Denied];
        if !matches!(own.send(&load, &Manner::calm(), &refusals).await?, Outcome::Done(_)) {
            return Ok(());
        }
    }
    let found = own.number("SELECT count(*) FROM temp.main.plain").await?;
    if found != count {
        return hand.finding(format!("its temporary table has {found} rows of {count}"));
    }
    // Everybody else, this client's other connection among them, means the table that all share.
    let count = hand.rng.random_range(1..5);
    let load = hand.load("plain", count);
    let is_stored = hand.store(&load, &Manner::calm(), &[]).await?.done().is_some();
    let stored = format!("SELECT count(*) FROM plain WHERE client = {} AND put = {}", hand.client, load.put);
    let found = hand.number(&stored).await?;
    if is_stored && found != count {
        return hand.finding(format!("{found} rows of {count} are in plain"));
    }
    Ok(())
}
