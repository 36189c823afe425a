//! Changes that do more than they say, while the server is killed: RETURNING, DML inside CTEs, and triggers that write
//! into other tables. Each batch of four rows is put into `source`, and most are moved to `target` afterwards; triggers
//! note both in `seen` and `gone`.
//! Runs on: one task, and the checks after each start.
//! Never: sends a batch a second time, so what was not acknowledged is whole or absent.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use pintail::client::Client;
use pintail::error::Result;

use super::checks::numbers;
use super::world::{World, connected, is_outage};
use crate::support::calls::{number, rows};

/// Rows of a batch; batch `b` has the numbers from `10 * b` on, and values seven times as large.
const ROWS: i64 = 4;

/// What makes the tables and their triggers.
pub(crate) const TABLES: [&str; 8] = [
    "CREATE TABLE source (n BIGINT PRIMARY KEY, v BIGINT)",
    "CREATE INDEX source_v ON source (v)",
    "CREATE TABLE target (n BIGINT PRIMARY KEY, v BIGINT)",
    "CREATE TABLE seen (n BIGINT, v BIGINT)",
    "CREATE TABLE gone (n BIGINT, v BIGINT)",
    "CREATE INDEX gone_n ON gone (n)",
    "CREATE TRIGGER comes AFTER INSERT ON source REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT \
     INSERT INTO seen SELECT n, v FROM fresh",
    "CREATE TRIGGER goes AFTER DELETE ON source REFERENCING OLD TABLE AS old FOR EACH STATEMENT \
     INSERT INTO gone SELECT n, v FROM old",
];

/// What the client was told.
#[derive(Default)]
pub(crate) struct Told {
    next: AtomicI64,
    inserted: Mutex<BTreeSet<i64>>,
    moved: Mutex<BTreeSet<i64>>,
}

impl Told {
    fn inserted(&self) -> BTreeSet<i64> {
        self.inserted.lock().unwrap().clone()
    }

    fn moved(&self) -> BTreeSet<i64> {
        self.moved.lock().unwrap().clone()
    }
}

/// The client: one batch after the other, each statement tried once.
pub(crate) async fn client(world: &World) {
    let mut client = connected(world).await;
    while !world.stops() {
        let batch = world.changes.next.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = change(world, &mut client, batch).await {
            assert!(is_outage(&error), "batch {batch}: {error:?}");
            client = connected(world).await;
        }
    }
}

async fn change(world: &World, client: &mut Client, batch: i64) -> Result<()> {
    let first = batch * 10;
    let insert = format!(
        "INSERT INTO source SELECT i, i * 7 FROM range({first}, {}) r(i) RETURNING n, v",
        first + ROWS
    );
    // Read slowly now and then, so that a kill falls into the reading.
    let pause = Duration::from_millis(if batch % 3 == 0 { 5 } else { 0 });
    let mut returned = client.query(&insert, &[]).await?.batches;
    let mut count = 0;
    while let Some(rows) = returned.next().await {
        count += rows?.num_rows() as i64;
        tokio::time::sleep(pause).await;
    }
    assert_eq!(count, ROWS, "batch {batch}: RETURNING gave other rows than were inserted");
    world.changes.inserted.lock().unwrap().insert(batch);
    if batch % 5 == 0 {
        return Ok(());
    }
    let deleted =
        format!("WITH d AS (DELETE FROM source WHERE n >= {first} AND n < {} RETURNING n, v)", first + 10);
    let moved = match batch % 2 {
        0 => format!("{deleted} INSERT INTO target SELECT n, v FROM d"),
        _ => format!(
            "{deleted}, i AS (INSERT INTO target SELECT n, v FROM d RETURNING n) SELECT count(*) AS n FROM i"
        ),
    };
    rows(client, &moved).await?;
    world.changes.moved.lock().unwrap().insert(batch);
    Ok(())
}

/// Every batch is whole in one table, and what the triggers wrote agrees with it; gives the batches told of.
pub(crate) async fn check(world: &World, told: (BTreeSet<i64>, BTreeSet<i64>)) -> u64 {
    let (inserted, moved) = told;
    let mut client = connected(world).await;
    // One statement, one snapshot: the client is at work again.
    let part = |column: &str, table: &str| {
        let flags: Vec<String> = ["s", "t", "i", "g"]
            .iter()
            .map(|name| format!("{} AS {name}", i32::from(*name == column)))
            .collect();
        format!("SELECT n, v, {} FROM {table}", flags.join(", "))
    };
    let sql = format!(
        "SELECT n // 10, sum(s)::BIGINT, sum(t)::BIGINT, sum(i)::BIGINT, sum(g)::BIGINT, sum(n % 10)::BIGINT, \
         count_if(v <> n * 7)::BIGINT FROM ({} UNION ALL {} UNION ALL {} UNION ALL {}) GROUP BY n // 10",
        part("s", "source"),
        part("t", "target"),
        part("i", "seen"),
        part("g", "gone")
    );
    let found = rows(&mut client, &sql).await.unwrap();
    let (mut here, mut there) = (BTreeSet::new(), BTreeSet::new());
    numbers(&found, &mut |row| {
        let [batch, source, target, seen, gone, digits, altered] = row[..] else { unreachable!() };
        let says = format!(
            "batch {batch}: {source} rows in source, {target} in target, {seen} noted as inserted, {gone} as deleted"
        );
        assert!(source + target == ROWS && (source == 0 || target == 0), "{says}");
        assert!(seen == ROWS && gone == target, "a trigger's table differs: {says}");
        // Whole batches of the digits 0 to 3 each, in two or three tables.
        assert_eq!(digits, (source + target + seen + gone) / ROWS * (ROWS * (ROWS - 1) / 2), "{says}");
        assert_eq!(altered, 0, "{says}");
        if source > 0 {
            here.insert(batch)
        } else {
            there.insert(batch)
        };
    });
    let lost: Vec<_> =
        inserted.iter().filter(|batch| !here.contains(batch) && !there.contains(batch)).collect();
    assert!(lost.is_empty(), "batches acknowledged and lost: {lost:?}");
    let back: Vec<_> = moved.difference(&there).collect();
    assert!(back.is_empty(), "batches moved and back, or lost: {back:?}");
    // The newest rows have lived through the fewest checkpoints, so these are looked at by index and by scan.
    for n in here.iter().rev().take(2).chain(there.iter().rev().take(2)).map(|batch| batch * 10 + 1) {
        let looks = [("source", "n", n), ("source", "v", n * 7), ("target", "n", n), ("gone", "n", n)];
        let differences: Vec<String> = looks
            .iter()
            .map(|(table, column, value)| {
                let count = |what: &str| format!("(SELECT count(*) FROM {table} WHERE {what} = {value})");
                format!("abs({} - {})", count(column), count(&format!("{column} + 0")))
            })
            .collect();
        let sql = format!("SELECT {}", differences.join(" + "));
        assert_eq!(number(&mut client, &sql).await, 0, "an index and a scan differ on {n}");
    }
    inserted.len() as u64
}

/// What the client had been told before the check began.
pub(crate) fn told(world: &World) -> (BTreeSet<i64>, BTreeSet<i64>) {
    // Moves first: a batch that is moved was inserted before.
    let moved = world.changes.moved();
    (world.changes.inserted(), moved)
}
