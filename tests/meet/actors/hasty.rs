//! Clients that want every answer within 1 to 5 ms, and clients that leave with their connection.
//! Runs on: the tasks of its clients. Never: knows what became of its rows; the books say all or none.

use std::time::Duration;

use pintail::error::Kind;
use rand::Rng;

use crate::books::Fate;
use crate::hand::{Hand, Load, Manner, Verdict};
use crate::rows::sql_values;
use crate::tables::{LENIENT, declaration};
use crate::world::Actor;

pub const DEADLINES: Actor = Actor { name: "deadlines", clients: 3, step: |hand| Box::pin(deadlines(hand)) };
pub const LEAVERS: Actor = Actor { name: "leavers", clients: 2, step: |hand| Box::pin(leavers(hand)) };

/// What a client hears of a transaction that has ended without it.
const OVER: [Kind; 1] = [Kind::NotFound];

/// Each kind of call with next to no time, and then one that has all the time it wants, which must succeed.
async fn deadlines(hand: &mut Hand) -> Verdict {
    for _ in 0..3 {
        let manner = Manner::hasty(&mut hand.rng);
        any_call(hand, &manner).await?;
    }
    // Whatever connection this one meets, nothing is left on it.
    let count = hand.number("SELECT count(*) FROM worded").await?;
    if count < 1 {
        return hand.finding(format!("worded has {count} rows"));
    }
    Ok(())
}

async fn any_call(hand: &mut Hand, manner: &Manner) -> Verdict {
    let count = hand.rng.random_range(1..6);
    match hand.rng.random_range(0..11) {
        0 => {
            let sql = "SELECT sum(i * j) FROM range(1000) a(i), range(2000) b(j)";
            hand.sql(sql, manner, &[]).await?;
        }
        1 | 2 => insert(hand, manner).await?,
        3 => {
            let load = hand.load("plain", count);
            hand.store(&load, manner, &[]).await?;
        }
        4 => {
            let table = format!("made_{}", hand.world.next_put());
            let load = hand.load_in_batches(&table, &[3000, 3000]);
            hand.store(&load, manner, &[]).await?;
        }
        5..=8 => transaction(hand, manner).await?,
        9 => {
            let body = declaration("declared", LENIENT, crate::rows::DECLARED_V).into_bytes();
            // Others may have declared more columns by now, and a declaration without them is refused.
            hand.act("pintail.schema_apply", body, manner, &[Kind::Conflict]).await?;
        }
        _ => {
            hand.act("pintail.checkpoint", Vec::new(), manner, &[Kind::Conflict]).await?;
        }
    }
    Ok(())
}

/// As many rows as take about the time there is, so that it ends in the statement or in its COMMIT; as one statement, or
/// as a script of two.
async fn insert(hand: &mut Hand, manner: &Manner) -> Verdict {
    let most = if hand.rng.random_bool(0.7) { 12 } else { 120 };
    let count = hand.rng.random_range(2..most);
    let load = hand.load("plain", count);
    let insert = |first: usize, count: usize| {
        let values = sql_values(&load.batches[0].slice(first, count));
        format!("INSERT INTO plain (client, put, \"row\", text, price, \"at\", tags, v) VALUES {values}")
    };
    let (all, half) = (count as usize, count as usize / 2);
    let id = hand.open(&load);
    let outcome = match hand.rng.random_range(0..5) {
        0 => hand.sql(&insert(0, all), manner, &[]).await?.map_done(),
        1 | 2 => hand.info(&insert(0, all), manner, &[]).await?.map_done(),
        3 => hand.update(&insert(0, all), None, manner, &[]).await?,
        _ => {
            let script = format!("{}; {}", insert(0, half), insert(half, all - half));
            hand.update(&script, None, manner, &[]).await?
        }
    };
    hand.close(id, outcome.fate());
    Ok(())
}

async fn transaction(hand: &mut Hand, manner: &Manner) -> Verdict {
    let own = hand.another().await?;
    // Time is short for the end, and sometimes for all of it.
    let before = if hand.rng.random_bool(0.7) { Manner::calm() } else { manner.clone() };
    let Some(id) = own.begin(&before).await? else { return Ok(()) };
    let count = hand.rng.random_range(1..6);
    let load = hand.load("tx_a", count);
    let entry = hand.world.books.open(hand.actor, hand.client, load.put, &[("tx_a", count), ("tx_b", count)]);
    for table in ["tx_a", "tx_b"] {
        let load = Load { table: table.to_owned(), ..load.clone() };
        if own.send(&load, &before, &OVER).await?.done().is_none() {
            // Whoever does not know what is in it takes it back.
            own.end(&id, false, manner, &OVER).await?;
            hand.close(entry, Fate::Absent);
            return Ok(());
        }
    }
    // On a busy machine a client may be slower than its transaction lives.
    let fate = own.end(&id, true, manner, &OVER).await?.fate();
    hand.close(entry, fate);
    Ok(())
}

/// A call is under way, and the connection goes.
async fn leavers(hand: &mut Hand) -> Verdict {
    let manner = Manner::leaving(&mut hand.rng, Duration::from_millis(25));
    any_call(hand, &manner).await?;
    hand.reconnect().await
}
