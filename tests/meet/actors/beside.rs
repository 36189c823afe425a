//! What goes on beside those who write: tables altered and declared, backups, checkpoints, and readers that count.
//! Runs on: the tasks of its clients. Never: changes a row.

use std::sync::atomic::Ordering;

use pintail::client::Client;
use pintail::error::Kind;
use rand::Rng;

use crate::hand::{Hand, Manner, Verdict};
use crate::rows::DECLARED_V;
use crate::support::calls::number;
use crate::support::process::{Process, free_port};
use crate::tables::{LENIENT, declaration};
use crate::world::Actor;

pub const ALTERING: Actor = Actor { name: "altering", clients: 1, step: |hand| Box::pin(altering(hand)) };
pub const DECLARING: Actor = Actor { name: "declaring", clients: 1, step: |hand| Box::pin(declaring(hand)) };
pub const BACKUPS: Actor = Actor { name: "backups", clients: 1, step: |hand| Box::pin(backups(hand)) };
pub const CHECKPOINTS: Actor =
    Actor { name: "checkpoints", clients: 1, step: |hand| Box::pin(checkpoints(hand)) };
pub const COUNTING: Actor = Actor { name: "counting", clients: 2, step: |hand| Box::pin(counting(hand)) };

/// Columns come and go behind those that everybody writes.
async fn altering(hand: &mut Hand) -> Verdict {
    let number = hand.rng.random_range(0..3);
    let change = match hand.rng.random_range(0..3) {
        0 => format!("ALTER TABLE plain DROP COLUMN IF EXISTS extra_{number}"),
        1 => "CREATE OR REPLACE VIEW seen AS SELECT client, put FROM plain".to_owned(),
        _ => format!("ALTER TABLE plain ADD COLUMN IF NOT EXISTS extra_{number} INTEGER DEFAULT {number}"),
    };
    hand.sql(&change, &Manner::calm(), &[]).await?;
    hand.pause(120).await;
    Ok(())
}

/// The same declaration with another description, and now and then with a column more.
async fn declaring(hand: &mut Hand) -> Verdict {
    hand.counter += 1;
    let mut fields = DECLARED_V.to_owned();
    for number in 0..(hand.counter / 10).min(6) {
        fields += &format!("[[field]]\nname = 'note_{number}'\ntype = 'string'\n");
    }
    let head = format!("description = 'version {}'\n{LENIENT}", hand.counter);
    let body = declaration("declared", &head, &fields).into_bytes();
    hand.act("pintail.schema_apply", body, &Manner::calm(), &[]).await?;
    hand.pause(200).await;
    Ok(())
}

/// What a copy must have as its original has it: kinds of objects, and how many there are.
const OBJECTS: &str = "SELECT (SELECT count(*) FROM duckdb_triggers()) * 1000000
    + (SELECT count(*) FROM duckdb_indexes()) * 1000 + (SELECT count(*) FROM duckdb_constraints() WHERE table_name
    IN ('owned', 'shared', 'alike', 'kept', 'worded'))";

/// A copy, which now and then a second server opens: what was acknowledged before is in it, and no half transaction.
async fn backups(hand: &mut Hand) -> Verdict {
    let page = hand.world.page.load(Ordering::SeqCst);
    let objects = hand.number(OBJECTS).await?;
    let before = hand.number("SELECT count(*) FROM plain").await?;
    let name = format!("copy-{}-{}.duckdb", hand.client, hand.world.next_put());
    let body = serde_json::json!({ "to": name }).to_string().into_bytes();
    let is_made = hand.act("pintail.backup", body, &Manner::calm(), &[]).await?.done().is_some();
    let copy = hand.world.directory.join(name);
    if is_made && hand.rng.random_bool(0.4) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::rename(&copy, folder.path().join("test.duckdb")).unwrap();
        let server = Process::start(folder.path(), free_port(), &[]);
        let Ok(mut client) = Client::connect(&server.uri()).await else {
            return hand.finding("a copy cannot be opened");
        };
        let found = number(&mut client, "SELECT count(*) FROM plain").await;
        if found < before && page == hand.world.page.load(Ordering::SeqCst) {
            return hand.finding(format!("a copy has {found} of {before} rows of plain"));
        }
        let found = (number(&mut client, OBJECTS).await, number(&mut client, TORN).await);
        if found != (objects, 0) {
            return hand.finding(format!(
                "a copy has {} of {objects} as triggers, indexes and constraints, and {} halves of transactions",
                found.0, found.1
            ));
        }
    }
    // A refused one has left no file, and one that was looked at is gone.
    let _ = std::fs::remove_file(copy);
    hand.pause(1500).await;
    Ok(())
}

/// Transactions of which one table has more than the other.
const TORN: &str = "SELECT count(*) FROM (
    SELECT client, put FROM (SELECT client, put, 1 AS a, 0 AS b FROM tx_a UNION ALL SELECT client, put, 0, 1 FROM tx_b)
    GROUP BY client, put HAVING sum(a) <> sum(b))";

async fn checkpoints(hand: &mut Hand) -> Verdict {
    // The engine takes none while others are in the middle of a change; it says so.
    hand.act("pintail.checkpoint", Vec::new(), &Manner::calm(), &[Kind::Conflict]).await?;
    hand.pause(300).await;
    Ok(())
}

/// Tables that are only added to never shrink, and what one transaction wrote is seen in both tables or in none.
async fn counting(hand: &mut Hand) -> Verdict {
    let page = hand.world.page.load(Ordering::SeqCst);
    let count = hand.number("SELECT count(*) FROM plain").await? as u64;
    // The counter holds the last count and, above it, the page it is of.
    let (last_page, last) = (hand.counter >> 40, hand.counter & ((1 << 40) - 1));
    if last_page == page && count < last {
        return hand.finding(format!("plain had {last} rows and has {count}"));
    }
    hand.counter = page << 40 | count;
    let torn = hand.number(TORN).await?;
    if torn != 0 {
        return hand.finding(format!("{torn} transactions are seen in one of their tables only"));
    }
    hand.pause(60).await;
    Ok(())
}
