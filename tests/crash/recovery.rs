//! How long a start after kill -9 takes.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use futures::stream;
use pintail::client::Client;

use super::world::{TABLES, schema};
use crate::support::calls::{number, rows, table};
use crate::support::process::{Process, free_port};

/// Not a check but a measurement: how long a start after kill -9 takes by the size of the log, and what it needs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; run it with: make recovery"]
async fn recovery_time_by_log_size() {
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let memory = setting("PINTAIL_RECOVERY_MEMORY", "1 GiB");
    println!("database.memory_limit {memory}");
    println!(
        "{:>9} {:>6} {:>9} {:>9} {:>9} {:>8} {:>9}",
        "log MiB", "keyed", "commits", "rows", "ready s", "MiB/s", "peak MiB"
    );
    for mib in setting("PINTAIL_RECOVERY_MIB", "64,256,1024").split(',') {
        let target = mib.parse::<u64>().unwrap() << 20;
        for keyed in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let port = free_port();
            let settings =
                |memory| [("DATABASE__CHECKPOINT_BYTES", "1 TiB"), ("DATABASE__MEMORY_LIMIT", memory)];
            let mut server = Process::start(directory.path(), port, &settings("3 GiB"));
            let mut client = Client::connect(&server.uri()).await.unwrap();
            for sql in TABLES.iter().flat_map(|(_, sql)| sql.split("; ")) {
                rows(&mut client, sql).await.unwrap();
            }
            let log = directory.path().join("test.duckdb.wal");
            let name = if keyed { "keyed" } else { "plain" };
            let (mut commits, mut count) = (0, 0);
            // Never quiet for long enough that the maintenance thread would write the log into the file.
            while std::fs::metadata(&log).map_or(0, |log| log.len()) < target {
                let many = logged(count, 5000);
                count += many.num_rows() as i64;
                commits += 1;
                client.put(&table(name), schema(), stream::iter([Ok(many)]), &[]).await.unwrap();
            }
            server.kill();
            let size = std::fs::metadata(&log).unwrap().len() as f64 / f64::from(1 << 20);
            let started = Instant::now();
            let mut server = Process::start(directory.path(), port, &settings(&memory));
            let ready = started.elapsed().as_secs_f64();
            let peak = server.peak_memory_mib();
            let mut client = Client::connect(&server.uri()).await.unwrap();
            assert_eq!(number(&mut client, &format!("SELECT count(*) FROM {name}")).await, count);
            println!(
                "{size:>9.0} {keyed:>6} {commits:>9} {count:>9} {ready:>9.2} {:>8.0} {peak:>9}",
                size / ready
            );
            server.kill();
        }
    }
}

fn logged(first: i64, count: i64) -> RecordBatch {
    let ids = || first..first + count;
    let same = || Arc::new(Int64Array::from_iter_values(ids().map(|_| 0)));
    let texts = ids().map(|id| format!("text of row {id} and so on"));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        same(),
        same(),
        same(),
        Arc::new(Int64Array::from_iter_values(ids().map(|id| id / 3))),
        Arc::new(StringArray::from_iter_values(texts)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}
