//! What must hold after each start.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::stream;
use pintail::client::Client;
use pintail::error::Kind;
use rand::Rng;
use rand::rngs::StdRng;

use super::changes;
use super::transactions::{check_loose, check_pairs};
use super::world::{BATCH, PRODUCERS, TABLES, WHO, World, connected, schema};
use crate::support::calls::{number, rows, table};

/// What is stored of every batch: rows, different ids, smallest and largest size told, and the sum of ids.
type Stored = BTreeMap<(usize, u64), (String, [i64; 5])>;

pub(super) fn numbers(batches: &[RecordBatch], into: &mut dyn FnMut(Vec<i64>)) {
    for batch in batches {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().clone()).collect();
        for row in 0..batch.num_rows() {
            into(columns.iter().map(|column| column.value(row)).collect());
        }
    }
}

pub(super) async fn stored(client: &mut Client) -> Stored {
    let mut stored = Stored::new();
    // One statement, one snapshot: producers are at work again, and one of them writes into both tables.
    let part = |index: usize, name: &str| {
        format!(
            "SELECT {index}::BIGINT, who, batch, count(*)::BIGINT, count(DISTINCT id)::BIGINT, min(size), max(size), \
             sum(id % {BATCH})::BIGINT FROM {name} GROUP BY who, batch"
        )
    };
    let sql = format!("{} UNION ALL {}", part(0, TABLES[0].0), part(1, TABLES[1].0));
    let batches = rows(client, &sql).await.unwrap();
    numbers(&batches, &mut |row| {
        let name = TABLES[row[0] as usize].0.to_owned();
        let before = stored.insert((row[1] as usize, row[2] as u64), (name, row[3..].try_into().unwrap()));
        assert!(before.is_none(), "batch {} of producer {} is in two tables", row[2], row[1]);
    });
    stored
}

/// Rows acknowledged and stored.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) acknowledged: u64,
    pub(super) stored: u64,
    pub(super) transactions: u64,
    pub(super) loose: u64,
    pub(super) changes: u64,
}

/// Everything that is promised, for the state in front of us. `is_settled`: nobody writes, so equal, not just above.
pub(super) async fn check(world: &World, rng: &mut StdRng, is_settled: bool) -> Totals {
    let mut client = connected(world).await;
    let acknowledged: Vec<u64> = world.acknowledged.iter().map(|rows| rows.load(Ordering::SeqCst)).collect();
    let committed = world.committed.lock().unwrap().clone();
    let loose_acknowledged = world.loose_acknowledged.lock().unwrap().clone();
    let told = changes::told(world);
    let stored = stored(&mut client).await;
    let mut totals = Totals { transactions: committed.len() as u64, ..Totals::default() };
    for (who, (_, tables)) in PRODUCERS.iter().enumerate() {
        let own = stored.range((who, 0)..(who + 1, 0));
        let mut rows = 0;
        for (expected, ((_, batch), (name, found))) in (0..).zip(own) {
            assert_eq!(*batch, expected, "producer {who}: batch {expected} is missing, {batch} is there");
            assert_eq!(
                name,
                tables[(batch % 2) as usize],
                "producer {who}: batch {batch} is in another table"
            );
            let size = world.size(who, *batch) as i64;
            let whole = [size, size, size, size, size * (size - 1) / 2];
            assert_eq!(*found, whole, "producer {who}: batch {batch} is stored in part, or twice");
            rows += size as u64;
        }
        assert!(
            rows >= acknowledged[who] && (!is_settled || rows == acknowledged[who]),
            "producer {who}: {} rows acknowledged, {rows} stored",
            acknowledged[who]
        );
        totals.acknowledged += acknowledged[who];
        totals.stored += rows;
    }
    check_pairs(&mut client, &committed).await;
    check_loose(&mut client, &loose_acknowledged).await;
    totals.loose = loose_acknowledged.len() as u64;
    totals.changes = changes::check(world, told).await;
    check_indexes(&mut client, &stored, world, rng).await;
    totals
}

/// Both indexes of `keyed` find what a scan finds, and the primary key still refuses what is there.
async fn check_indexes(client: &mut Client, stored: &Stored, world: &World, rng: &mut StdRng) {
    let batches: Vec<(usize, u64)> =
        stored.iter().filter(|(_, (name, _))| name == "keyed").map(|(batch, _)| *batch).collect();
    if batches.is_empty() {
        return;
    }
    for sample in 0..6 {
        // The newest batches have lived through the fewest checkpoints, so they are always looked at.
        let (who, batch) = match sample {
            0 => batches[batches.len() - 1],
            _ => batches[rng.random_range(0..batches.len())],
        };
        let row = rng.random_range(0..world.size(who, batch)) as i64;
        let id = who as i64 * WHO + batch as i64 * BATCH + row;
        let by_index = number(client, &format!("SELECT count(*) FROM keyed WHERE id = {id}")).await;
        assert_eq!(by_index, 1, "the primary key's index does not find row {id}");
        // With the columns wrapped the engine has to scan. Both in one statement: rows may be added meanwhile.
        let v = id / 3;
        let found = number(
            client,
            &format!(
                "SELECT (SELECT count(*) FROM keyed WHERE v = {v}) * 1000 + (SELECT count(*) FROM keyed WHERE v + 0 = {v})"
            ),
        )
        .await;
        if found == 0 || found / 1000 != found % 1000 {
            let near =
                format!("SELECT * FROM keyed WHERE id + 0 BETWEEN {} AND {} ORDER BY id", id - 3, id + 3);
            let near = rows(client, &near).await.unwrap();
            let near = arrow::util::pretty::pretty_format_batches(&near).unwrap();
            panic!("v = {v}, of row {id}: {} by index, {} by scan\n{near}", found / 1000, found % 1000);
        }
        if sample == 0 {
            let again = world.rows(who, batch).slice(row as usize, 1);
            let refused =
                client.put(&table("keyed"), schema(), stream::iter([Ok(again)]), &[]).await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Conflict, "row {id} was taken a second time: {refused}");
        }
    }
}
