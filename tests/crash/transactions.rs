//! Clients that send nothing again: transactions over three tables, and single rows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Int64Array, RecordBatch};
use arrow_flight::Action;
use arrow_flight::sql::{ActionEndTransactionRequest, Any, ProstMessageExt};
use futures::stream;
use pintail::client::{Client, from_status};
use pintail::error::Result;
use prost::Message;

use super::checks::numbers;
use super::world::{World, connected, is_outage};
use crate::support::calls::{number, rows, table};

/// Rows that transactions leave in `churn`; each deletes the older ones.
const CHURN: i64 = 20;

/// Transactions over three tables, written by puts and by SQL, each tried once.
pub(super) async fn pairs(world: Arc<World>) {
    let mut client = connected(&world).await;
    while !world.stops() {
        let n = world.attempts.fetch_add(1, Ordering::SeqCst) as i64;
        match pair(&mut client, n).await {
            Ok(()) => {
                world.committed.lock().unwrap().insert(n);
            }
            Err(error) => {
                assert!(is_outage(&error), "transaction {n}: {error:?}");
                client = connected(&world).await;
            }
        }
    }
}

async fn act(client: &mut Client, name: &str, body: Vec<u8>) -> Result<Vec<u8>> {
    let answers = client.inner().do_action(Action::new(name, body)).await.map_err(from_status)?;
    let answer = answers.into_inner().message().await.map_err(from_status)?;
    Ok(answer.map(|answer| answer.body.to_vec()).unwrap_or_default())
}

async fn pair(client: &mut Client, n: i64) -> Result<()> {
    let begun = Any::decode(act(client, "BeginTransaction", Vec::new()).await?.as_slice()).unwrap();
    let begun: arrow_flight::sql::ActionBeginTransactionResult = begun.unpack().unwrap().unwrap();
    for part in 0..2 {
        let batch = RecordBatch::try_from_iter([
            ("n", Arc::new(Int64Array::from(vec![n; 3])) as _),
            ("part", Arc::new(Int64Array::from(vec![part; 3])) as _),
        ])?;
        client.put(&table("pair_a"), batch.schema(), stream::iter([Ok(batch)]), &[]).await?;
        rows(client, &format!("INSERT INTO pair_b SELECT {n}, {part} FROM range(2)")).await?;
    }
    rows(client, &format!("INSERT INTO churn VALUES ({n}, {n})")).await?;
    rows(client, &format!("DELETE FROM churn WHERE n < {}", n - CHURN)).await?;
    let end = ActionEndTransactionRequest { transaction_id: begun.transaction_id, action: 1 };
    act(client, "EndTransaction", end.as_any().encode_to_vec()).await.map(|_| ())
}

/// Single rows that are never sent again: two of these share commits of one INSERT each.
pub(super) async fn loose(world: Arc<World>) {
    let mut client = connected(&world).await;
    while !world.stops() {
        let n = world.loose.fetch_add(1, Ordering::SeqCst) as i64;
        let row = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![n])) as _)]).unwrap();
        match client.put(&table("loose"), row.schema(), stream::iter([Ok(row)]), &[]).await {
            Ok(answer) => {
                assert_eq!((answer.rows, answer.durable), (1, true));
                world.loose_acknowledged.lock().unwrap().insert(n);
            }
            Err(error) => {
                assert!(is_outage(&error), "row {n}: {error:?}");
                client = connected(&world).await;
            }
        }
    }
}

/// Single rows that were acknowledged are there, and none is there twice.
pub(super) async fn check_loose(client: &mut Client, acknowledged: &BTreeSet<i64>) {
    let found = match rows(client, "SELECT n, count(*)::BIGINT FROM loose GROUP BY n").await {
        Ok(found) => found,
        // Made by the first of them.
        Err(error) if error.message().contains("loose") && acknowledged.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    let mut seen = BTreeSet::new();
    numbers(&found, &mut |row| {
        assert_eq!(row[1], 1, "single row {} is stored twice", row[0]);
        seen.insert(row[0]);
    });
    let lost: Vec<_> = acknowledged.difference(&seen).collect();
    assert!(lost.is_empty(), "single rows acknowledged and lost: {lost:?}");
}

/// A transaction is in both tables, whole, or in neither.
pub(super) async fn check_pairs(client: &mut Client, committed: &BTreeSet<i64>) {
    // One statement, one snapshot: the client with transactions is at work again.
    let sql = "SELECT n, sum(a)::BIGINT, sum(b)::BIGINT, sum(p)::BIGINT, sum(c)::BIGINT FROM (
        SELECT n, 1 AS a, 0 AS b, part AS p, 0 AS c FROM pair_a UNION ALL SELECT n, 0, 1, part, 0 FROM pair_b
        UNION ALL SELECT n, 0, 0, 0, 1 FROM churn) GROUP BY n ORDER BY n DESC";
    let found = match rows(client, sql).await {
        Ok(found) => found,
        // Made by the first put of the first transaction.
        Err(error) if error.message().contains("pair_a") && committed.is_empty() => return,
        Err(error) => panic!("{error}"),
    };
    let mut seen = BTreeSet::new();
    let mut newest = None;
    numbers(&found, &mut |row| {
        let newest = *newest.get_or_insert(row[0]);
        let churn = i64::from(row[0] >= newest - CHURN);
        assert_eq!(
            row[1..],
            [6, 4, 5, churn],
            "transaction {} is stored in part, the newest is {newest}",
            row[0]
        );
        seen.insert(row[0]);
    });
    if let Some(n) = newest {
        for n in [n, n - CHURN - 1] {
            // A newer one may have deleted it by now, so both are looked for in one statement.
            let sql = format!(
                "SELECT abs((SELECT count(*) FROM churn WHERE n = {n}) - (SELECT count(*) FROM churn WHERE n + 0 = {n}))
                 + abs((SELECT count(*) FROM churn WHERE v = {n}) - (SELECT count(*) FROM churn WHERE v + 0 = {n}))"
            );
            assert_eq!(number(client, &sql).await, 0, "an index of churn and a scan differ on {n}");
        }
    }
    let lost: Vec<_> = committed.difference(&seen).collect();
    assert!(lost.is_empty(), "transactions committed and lost: {lost:?}");
}
