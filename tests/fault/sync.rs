//! Syncs and commits that fail.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use futures::stream;
use pintail::client::Client;
use pintail::engine::{Insert, Segment};
use pintail::error::Kind;

use super::{BATCH_ROWS, batch, ended_clearly, schema, send, stored_batches, watch_health};
use crate::support::calls::{number, table};
use crate::support::database::{file, open};
use crate::support::process::{Process, free_port};

/// `strace` on a running server, which makes system calls fail.
struct Strace(Child);

impl Strace {
    fn attach(server: &Process, inject: &str) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace
            .args([
                "-f",
                "-q",
                "-e",
                "trace=fsync,fdatasync",
                "-e",
                &format!("inject=fsync,fdatasync:{inject}"),
            ])
            .args(["-p", &server.pid().to_string()])
            .stderr(Stdio::piped());
        let mut child = match strace.spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: strace cannot be run ({error}); install it with: apt-get install strace");
                return None;
            }
        };
        // It is attached when the calls of the server's own threads stop in it; a second tracer is told so.
        let status = format!("/proc/{}/status", server.pid());
        let started = Instant::now();
        loop {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
            if tracer.is_some_and(|pid| pid.trim() == child.id().to_string()) {
                break;
            }
            if child.try_wait().unwrap().is_some() || started.elapsed() > Duration::from_secs(10) {
                let mut text = String::new();
                let _ = child.kill();
                let _ = BufReader::new(child.stderr.take().unwrap()).read_line(&mut text);
                println!("skipped: strace cannot attach to the server: {}", text.trim());
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let stderr = child.stderr.take().unwrap();
        // A full pipe would stop the tracer, and the server with it.
        std::thread::Builder::new()
            .spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).for_each(drop))
            .unwrap();
        Some(Self(child))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A sync that fails is fatal: nobody knows what is on the disk then. The server ends at once, and after a new
/// start what was acknowledged is there, no more and no less, and the producer finishes without doubling.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_ends_the_server() {
    for (when, count) in [(1, BATCH_ROWS), (4, BATCH_ROWS), (2, 130_000)] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let settings = [("DATABASE__CHECKPOINT_BYTES", "8 MiB")];
        let mut server = Process::start(directory.path(), port, &settings);
        let (before, outcome) = send(&server.uri(), 1, count, 3).await;
        outcome.unwrap();
        let health = tokio::spawn(watch_health(server.uri()));
        let Some(strace) = Strace::attach(&server, &format!("error=EIO:when={when}+")) else { return };
        let (durable, outcome) = send(&server.uri(), 2, count, 400).await;
        let refused = outcome.expect_err("every sync fails and nobody notices");
        println!("sync {when} fails, batches of {count} rows: {durable:?}, then: {refused}");
        assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
        drop(strace);
        ended_clearly(&mut server, health).await;
        let acknowledged = durable.rows.max(before.rows) as i64;
        let server = Process::start(directory.path(), port, &settings);
        let mut client = Client::connect(&server.uri()).await.unwrap();
        let stored = stored_batches(&mut client, count).await * count;
        println!("acknowledged {acknowledged}, stored {stored}");
        assert_eq!(stored, acknowledged, "the commit whose sync failed is taken back");
        let (durable, outcome) = send(&server.uri(), 3, count, stored / count + 5).await;
        outcome.unwrap();
        assert_eq!(stored_batches(&mut client, count).await, stored / count + 5);
        assert_eq!(durable.rows as i64, stored + 5 * count);
    }
}

/// The same for small puts without a number, which share an INSERT that commits itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_takes_small_puts_back() {
    for when in [1, 3, 8] {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut server = Process::start(directory.path(), port, &[]);
        let mut client = Client::connect(&server.uri()).await.unwrap();
        client.put(&table("t"), schema(), stream::iter([Ok(batch(0, 1))]), &[]).await.unwrap();
        let health = tokio::spawn(watch_health(server.uri()));
        let Some(strace) = Strace::attach(&server, &format!("error=EIO:when={when}+")) else { return };
        let mut tasks = Vec::new();
        for writer in 1..5 {
            let mut client = client.clone();
            tasks.push(tokio::spawn(async move {
                let mut acknowledged = 0;
                loop {
                    let one = batch(writer * 1_000_000 + acknowledged, 1);
                    match client.put(&table("t"), schema(), stream::iter([Ok(one)]), &[]).await {
                        Ok(answer) => assert!(answer.durable && answer.rows == 1),
                        Err(error) => return (acknowledged, error),
                    }
                    acknowledged += 1;
                }
            }));
        }
        let mut acknowledged = 1;
        for task in tasks {
            let (count, refused) = task.await.unwrap();
            assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
            acknowledged += count;
        }
        drop(strace);
        ended_clearly(&mut server, health).await;
        let server = Process::start(directory.path(), port, &[]);
        let mut client = Client::connect(&server.uri()).await.unwrap();
        let stored = number(&mut client, "SELECT count(*) FROM t").await;
        println!("sync {when} fails: acknowledged {acknowledged}, stored {stored}");
        assert_eq!(stored, acknowledged);
        assert_eq!(number(&mut client, "SELECT count(DISTINCT id) FROM t").await, stored);
    }
}

/// An INSERT that commits itself tells when its commit fails, and leaves nothing.
#[test]
fn a_commit_that_fails_in_an_insert_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(file(directory.path()));
    let connection = database.connection().unwrap();
    connection.execute("CREATE TABLE t (n BIGINT)").unwrap();
    let insert = Insert { head: "INSERT INTO t SELECT n FROM ".into(), tail: String::new() };
    let append = || {
        let rows = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
        pintail::engine::append(&connection, &insert, Segment::new(rows.schema(), vec![[rows].into()]))
    };
    assert_eq!(append().unwrap(), 2);
    connection.execute("SET GLOBAL debug_force_commit_failure = true").unwrap();
    let refused = append().unwrap_err();
    assert!(refused.message().contains("Forced commit failure"), "{refused}");
    connection.execute("SET GLOBAL debug_force_commit_failure = false").unwrap();
    assert_eq!(append().unwrap(), 2);
    assert_eq!(pintail::engine::count_rows(&connection, &table("t")).unwrap(), 4);
}
