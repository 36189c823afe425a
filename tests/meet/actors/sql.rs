//! Changes as SQL: INSERTs, changes inside of CTEs, RETURNING; by every call that runs a statement.
//! Runs on: the tasks of its clients. Never: sends a statement twice; what runs twice, the server has run twice.

use std::time::Duration;

use futures::StreamExt;
use pintail::error::Kind;
use rand::Rng;

use crate::books::{Fate, Id};
use crate::hand::{Hand, Load, Manner, Outcome, Verdict};
use crate::rows::sql_values;
use crate::world::Actor;

pub const INSERTS: Actor = Actor { name: "sql_inserts", clients: 3, step: |hand| Box::pin(inserts(hand)) };
pub const CTES: Actor = Actor { name: "changes_in_ctes", clients: 2, step: |hand| Box::pin(ctes(hand)) };
pub const TRIGGERS: Actor = Actor { name: "triggers", clients: 2, step: |hand| Box::pin(triggers(hand)) };
pub const RETURNING: Actor = Actor { name: "returning", clients: 2, step: |hand| Box::pin(returning(hand)) };

/// Runs a statement by one of the ways there are; a result that can be fetched again is fetched again.
async fn run(hand: &mut Hand, sql: &str, manner: &Manner) -> Verdict<Outcome<()>> {
    match hand.rng.random_range(0..3) {
        0 => Ok(hand.sql(sql, manner, &[]).await?.map_done()),
        1 => hand.update(sql, None, manner, &[]).await,
        _ => {
            let info = match hand.info(sql, manner, &[]).await? {
                Outcome::Done(info) => info,
                other => return Ok(other.map_done()),
            };
            // Whoever fetches a ticket, however often, fetches what the statement gave.
            let mut outcome = Outcome::Unknown;
            for ticket in info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.clone()) {
                for again in 0..2 {
                    match hand.fetch(ticket.clone(), &Manner::calm(), &[]).await? {
                        Outcome::Done(_) => outcome = Outcome::Done(()),
                        other if again == 0 => return Ok(other.map_done()),
                        other => return hand.finding(format!("a second fetch of {sql}: {other:?}")),
                    }
                }
            }
            Ok(outcome)
        }
    }
}

/// Rows that a trigger writes down a second time, by a put or by SQL: both tables have them or neither.
async fn triggers(hand: &mut Hand) -> Verdict {
    let count = hand.rng.random_range(1..8);
    let load = hand.load("rung", count);
    let entry =
        hand.world.books.open(hand.actor, hand.client, load.put, &[("rung", count), ("rung_log", count)]);
    let manner = Manner::any(&mut hand.rng);
    let outcome = if hand.rng.random_bool(0.5) {
        hand.send(&load, &manner, &[]).await?.map_done()
    } else {
        let sql = format!("INSERT INTO rung VALUES {}", sql_values(&load.batches[0]));
        run(hand, &sql, &manner).await?
    };
    hand.close(entry, outcome.fate());
    Ok(())
}

/// A few rows as literals; several clients' statements share commits.
async fn inserts(hand: &mut Hand) -> Verdict {
    let count = hand.rng.random_range(1..5);
    let load = hand.load("plain", count);
    let sql = format!(
        "INSERT INTO plain (client, put, \"row\", text, price, \"at\", tags, v) VALUES {}",
        sql_values(&load.batches[0])
    );
    let id = hand.open(&load);
    let manner = Manner::any(&mut hand.rng);
    let outcome = run(hand, &sql, &manner).await?;
    hand.close(id, outcome.fate());
    Ok(())
}

/// Rows that this client may move, or delete.
async fn staged(hand: &mut Hand, count: i64) -> Verdict<Option<(Load, Id)>> {
    let load = hand.load("staging", count);
    let id = hand.open(&load);
    let outcome = hand.send(&load, &Manner::calm(), &[]).await?;
    hand.close(id, outcome.fate());
    Ok(outcome.done().map(|_| (load, id)))
}

async fn ctes(hand: &mut Hand) -> Verdict {
    let manner = Manner::any(&mut hand.rng);
    let count = hand.rng.random_range(1..8);
    let way = hand.rng.random_range(0..4);
    if way < 2 {
        // New rows, told of by a statement that begins like a query.
        let load = hand.load("moved", count);
        let values = sql_values(&load.batches[0]);
        let sql = match way {
            0 => format!(
                "WITH i AS (INSERT INTO moved VALUES {values} RETURNING \"row\") SELECT count(*) AS n FROM i"
            ),
            _ => format!("EXPLAIN ANALYZE INSERT INTO moved VALUES {values}"),
        };
        let id = hand.open(&load);
        let outcome = match way {
            0 => run(hand, &sql, &manner).await?,
            _ => {
                let refusals = [Kind::Unsupported, Kind::Denied, Kind::Invalid];
                match hand.info(&sql, &manner, &refusals).await? {
                    Outcome::Done(info) => {
                        let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.clone());
                        let mut outcome = Outcome::Unknown;
                        for ticket in tickets.flat_map(|ticket| [ticket.clone(), ticket]) {
                            outcome = hand.fetch(ticket, &Manner::calm(), &refusals).await?.map_done();
                        }
                        outcome
                    }
                    other => other.map_done(),
                }
            }
        };
        hand.close(id, outcome.fate());
        return Ok(());
    }
    let Some((load, id)) = staged(hand, count).await? else { return Ok(()) };
    let own = format!("client = {} AND put = {}", hand.client, load.put);
    let sql = match way {
        2 => format!(
            "WITH d AS (DELETE FROM staging WHERE {own} RETURNING *) INSERT INTO moved SELECT * FROM d"
        ),
        _ => format!(
            "WITH d AS (DELETE FROM staging WHERE {own} RETURNING *), \
             i AS (INSERT INTO moved SELECT * FROM d RETURNING \"row\") SELECT count(*) AS n FROM i"
        ),
    };
    hand.world.books.moving(id, "moved");
    let outcome = run(hand, &sql, &manner).await?;
    hand.world.books.moved(id, outcome.fate());
    Ok(())
}

/// A result of changed rows that is read slowly, or that its reader leaves.
async fn returning(hand: &mut Hand) -> Verdict {
    let count = hand.rng.random_range(1..6000);
    let Some((load, id)) = staged(hand, count).await? else { return Ok(()) };
    let own = format!("client = {} AND put = {}", hand.client, load.put);
    let deletes = hand.rng.random_bool(0.5);
    let (sql, id) = if deletes {
        (format!("DELETE FROM staging WHERE {own} RETURNING *"), id)
    } else {
        let copy = hand.world.books.open(hand.actor, hand.client, load.put, &[("moved", count)]);
        (format!("INSERT INTO moved SELECT * FROM staging WHERE {own} RETURNING *"), copy)
    };
    let (leaves, pause) = (hand.rng.random_bool(0.3), hand.rng.random_range(0..30));
    let (breaks, mut link) = (hand.rng.random_bool(0.3), hand.link.clone());
    let read = async {
        let mut batches = link.query(&sql, &[("pintail-batch-rows", "200".to_owned())]).await?.batches;
        let mut rows = 0;
        while let Some(batch) = batches.next().await {
            rows += batch?.num_rows() as i64;
            if leaves && rows > count / 3 {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(Some(rows))
    };
    let outcome = hand.call("a RETURNING", &Manner::calm(), &[], read).await?;
    let fate = match outcome {
        Outcome::Done(Some(rows)) if rows != count => {
            return hand.finding(format!("a RETURNING of {count} rows gave {rows}: {sql}"));
        }
        Outcome::Done(Some(_)) if deletes => Fate::Absent,
        Outcome::Done(Some(_)) => Fate::Stored,
        Outcome::Done(None) | Outcome::Unknown => Fate::Unknown,
        Outcome::Refused(_) if deletes => Fate::Stored,
        Outcome::Refused(_) => Fate::Absent,
    };
    hand.close(id, fate);
    if breaks {
        drop(link);
        hand.reconnect().await?;
    }
    Ok(())
}
