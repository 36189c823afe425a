//! Checkpoints and recoveries that stop half way.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use duckdb::Parameters;
use duckdb::environment::{Environment, StorageLocation};
use duckdb::instance::{AttachBuilder, InstanceBuilder};
use pintail::client::Client;
use pintail::engine::{Database, Options};
use pintail::error::Kind;

use super::{BATCH_ROWS, send, stored_batches};
use crate::support::calls::{number, rows};
use crate::support::database::{self, file};
use crate::support::process::{Process, free_port};
use crate::support::server::TestServer;

/// A checkpoint that stops at any of the points where DuckDB can be told to, with commits going on beside it: the
/// next start recovers everything, also when that is stopped half way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_may_stop_anywhere() {
    let (mut beside_in_all, mut stopped_again) = (0, 0);
    for point in [
        "BEFORE_WAL_FLUSH",
        "BEFORE_WAL_FINISH",
        "AFTER_FREE_LIST_WRITE",
        "BEFORE_HEADER",
        "BEFORE_HEADER_NON_FATAL",
        "BEFORE_TRUNCATE",
    ] {
        let (directory, path) = a_file_with_a_past().await;
        let copy = directory.path().join("killed");
        let committed = {
            let database = open_without_checkpoints(&path);
            let connection = database.connection().unwrap();
            connection.execute("DELETE FROM keyed WHERE id % 7 = 0").unwrap();
            connection.execute("INSERT INTO keyed SELECT i, i / 3 FROM range(400000, 401000) t(i)").unwrap();
            connection
                .execute("INSERT INTO t SELECT id + 20000, batch + 20, a, b, c, d, e, f FROM t")
                .unwrap();
            connection.execute(&format!("SET GLOBAL debug_checkpoint_abort = '{point}'")).unwrap();
            let checkpoint = std::thread::Builder::new().spawn({
                let database = Arc::clone(&database);
                move || database.checkpoint()
            });
            let checkpoint = checkpoint.unwrap();
            let mut committed = 0;
            let mut failed = None;
            while !checkpoint.is_finished() || (point == "BEFORE_WAL_FLUSH" && failed.is_none()) {
                match connection.execute(&format!("INSERT INTO beside VALUES ({committed}, -1)")) {
                    Ok(_) => committed += 1,
                    Err(error) => failed = Some(error),
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let stopped = checkpoint.join().unwrap();
            let lost = database.is_lost();
            println!("{point}: {stopped:?}, lost: {lost}, {committed} commits beside it, then {failed:?}");
            assert!(lost && (stopped.is_err() || failed.is_some()), "{point}: nothing was stopped");
            kill_in_mind(directory.path(), &copy);
            committed
        };
        beside_in_all += committed;
        // Once as a kill would leave it, recovered by the server, and once recovered in three attempts.
        let again = directory.path().join("again");
        kill_in_mind(&copy, &again);
        for step in ["BEFORE_MOVING_RECOVERY", "BEFORE_DELETING_CHECKPOINT_WAL"] {
            let recovery = recover_until(&again.join("test.duckdb"), step);
            println!("{point}, then {step}: {recovery:?}");
            stopped_again += usize::from(recovery.is_err());
        }
        for (copy, how) in [(&copy, "killed"), (&again, "killed again"), (&directory.path().into(), "closed")]
        {
            println!("{point}, {how}");
            let server = Process::start(copy, free_port(), &[]);
            check_recovered(&format!("{point}, {how}"), &server, committed).await;
        }
    }
    assert!(beside_in_all > 0, "no commits came beside the checkpoints");
    assert!(stopped_again > 1, "no recovery was stopped");
}

/// Rows, deleted ones among them later, and indexes, all in the file.
async fn a_file_with_a_past() -> (tempfile::TempDir, PathBuf) {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    rows(&mut client, "CREATE TABLE keyed (id BIGINT PRIMARY KEY, v BIGINT)").await.unwrap();
    rows(&mut client, "CREATE INDEX v ON keyed (v)").await.unwrap();
    rows(&mut client, "CREATE TABLE beside (id BIGINT PRIMARY KEY, v BIGINT)").await.unwrap();
    rows(&mut client, "INSERT INTO keyed SELECT i, i / 3 FROM range(300000) t(i)").await.unwrap();
    let (_, outcome) = send(&server.uri, 1, BATCH_ROWS, 20).await;
    outcome.unwrap();
    let directory = server.stop().await;
    let path = file(directory.path());
    (directory, path)
}

/// The files as they are, taken from under the process: what a kill at this moment would leave behind.
fn kill_in_mind(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() && file.file_name() != "server.log" {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Opens a file and stops the recovery at `point`, if it comes by there.
fn recover_until(path: &Path, point: &str) -> Result<(), String> {
    let text = |error: duckdb::Error| error.message;
    let environment = Environment::new().map_err(text)?;
    let instance = InstanceBuilder::new().options([("threads", "2")]).build(&environment).map_err(text)?;
    let connection = instance.connect().map_err(text)?;
    let sql = format!("SET GLOBAL debug_checkpoint_abort = '{point}'");
    connection.execute(&sql, Parameters::None).map_err(text)?;
    let location = StorageLocation::OnDisk(path.display().to_string());
    instance.attach(AttachBuilder::new(location).make_default()).map_err(text)?;
    Ok(())
}

async fn check_recovered(point: &str, server: &Process, committed: i64) {
    let mut client = Client::connect(&server.uri()).await.unwrap();
    assert_eq!(stored_batches(&mut client, BATCH_ROWS).await, 40, "{point}");
    let kept = 300_000 - i64::from(300_000_u32.div_ceil(7)) + 1000;
    assert_eq!(number(&mut client, "SELECT count(*) FROM keyed").await, kept, "{point}");
    // The statement that met the fatal error was not acknowledged; it may be there or not.
    let new = number(&mut client, "SELECT count(*) FROM beside").await;
    assert!((committed..=committed + 1).contains(&new), "{point}: {new} of {committed} commits");
    for (id, expected) in [(0, 0), (1, 1), (299_998, 1), (299_999, 0), (400_500, 1)] {
        let by_index = number(&mut client, &format!("SELECT count(*) FROM keyed WHERE id = {id}")).await;
        let by_scan = number(&mut client, &format!("SELECT count(*) FROM keyed WHERE id + 0 = {id}")).await;
        assert_eq!((by_index, by_scan), (expected, expected), "{point}: id {id}");
        let v = id / 3;
        let by_index = number(&mut client, &format!("SELECT count(*) FROM keyed WHERE v = {v}")).await;
        let by_scan = number(&mut client, &format!("SELECT count(*) FROM keyed WHERE v + 0 = {v}")).await;
        assert_eq!(by_index, by_scan, "{point}: v {v}");
    }
    let refused = rows(&mut client, "INSERT INTO keyed VALUES (400500, 0)").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{point}: {refused}");
}

/// Opens a file that nobody checkpoints but the test.
fn open_without_checkpoints(path: &Path) -> Arc<Database> {
    Database::open(Options { checkpoint_bytes: 1 << 40, ..database::options(path) }).unwrap()
}
