//! A full disk, a sync that fails, a connection cut inside a frame, a checkpoint that stops half way: what was
//! acknowledged is stored, and the server says clearly what is wrong or ends.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod common;
#[path = "common/process.rs"]
mod process;
#[path = "common/session.rs"]
mod session;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use common::{TestServer, number, rows, table};
use duckdb::Parameters;
use duckdb::environment::{Environment, StorageLocation};
use duckdb::instance::{AttachBuilder, InstanceBuilder};
use futures::{StreamExt, TryStreamExt, stream};
use pintail::client::{Client, Durable, Producer, ProducerOptions};
use pintail::engine::{Database, Insert, Options, Segment};
use pintail::error::{Error, Kind, Result};
use process::{Process, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Rows of a batch, and columns of random numbers in each: about 4 KiB that do not compress for every 64 rows.
const BATCH_ROWS: i64 = 1000;

fn schema() -> SchemaRef {
    let names = ["id", "batch", "a", "b", "c", "d", "e", "f"];
    Arc::new(Schema::new(names.map(|name| Field::new(name, DataType::Int64, false)).to_vec()))
}

/// Batch number `batch`, the same each time.
fn batch(batch: i64, count: i64) -> RecordBatch {
    let random = |salt: i64| {
        let mix = move |row: i64| {
            let mut x = (row as u64).wrapping_add(salt as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) as i64
        };
        Int64Array::from_iter_values((batch * count..(batch + 1) * count).map(mix))
    };
    let ids = Int64Array::from_iter_values(batch * count..(batch + 1) * count);
    let mut columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(Int64Array::from_iter_values((0..count).map(|_| batch)))];
    columns.extend((1..=6).map(|salt| Arc::new(random(salt << 40)) as _));
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn options(give_up: Duration) -> ProducerOptions {
    ProducerOptions {
        linger: Duration::ZERO,
        backoff: Duration::from_millis(10),
        backoff_max: Duration::from_millis(100),
        buffer_bytes: 4 << 20,
        batch_rows: 200_000,
        batch_bytes: 64 << 20,
        give_up,
        ..ProducerOptions::default()
    }
}

/// Sends batches of `count` rows until there are `until` of them, or the producer fails. Gives what is durable.
async fn send(uri: &str, epoch: u64, count: i64, until: i64) -> (Durable, Result<()>) {
    let opened = Producer::open(uri, "p", epoch, table("t"), schema(), options(Duration::from_secs(3))).await;
    let producer = match opened {
        Ok(producer) => producer,
        Err(error) => return (Durable::default(), Err(error)),
    };
    let first = producer.durable().rows as i64 / count;
    let work = async {
        for number in first..until {
            producer.send(batch(number, count)).await?;
        }
        producer.flush().await
    };
    let outcome = work.await;
    (producer.durable(), outcome)
}

/// Whole batches, each once, from the first to the last; gives their number.
async fn stored_batches(client: &mut Client, count: i64) -> i64 {
    let sql = format!(
        "SELECT CASE WHEN count(*) = count(DISTINCT id) AND count(*) % {count} = 0 \
         AND count(*) / {count} = count(DISTINCT batch) AND coalesce(max(id) + 1, 0) = count(*) \
         THEN count(DISTINCT batch) ELSE -1 END FROM t"
    );
    let batches = number(client, &sql).await;
    assert!(batches >= 0, "rows are stored in part or twice");
    batches
}

/// Goes through the health that a server tells, until its connection ends.
async fn watch_health(uri: String) -> Vec<ServingStatus> {
    let endpoint = tonic::transport::Endpoint::from_shared(uri.replace("grpc://", "http://")).unwrap();
    let mut client = HealthClient::new(endpoint.connect().await.unwrap());
    let mut seen = Vec::new();
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    while let Ok(Some(change)) = changes.message().await {
        seen.push(change.status());
    }
    seen
}

/// The server has met a fatal error: it says so in its health, ends with a failure and one clear line.
async fn ended_clearly(server: &mut Process, health: tokio::task::JoinHandle<Vec<ServingStatus>>) {
    let ended = server.wait_for_end(Duration::from_secs(20));
    let log = server.log();
    let ended = ended.unwrap_or_else(|| panic!("the server did not end:\n{log}"));
    assert_eq!(ended.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("fatal error") && last.contains("start again to recover"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let seen = health.await.unwrap();
    assert_eq!(seen.last(), Some(&ServingStatus::NotServing), "{seen:?}");
}

/// A small file system of its own.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path, size: &str) -> Option<Self> {
        let at = directory.join("disk");
        std::fs::create_dir(&at).unwrap();
        let option = format!("size={size}");
        match run(Command::new("mount").args(["-t", "tmpfs", "-o", &option, "none"]).arg(&at)) {
            Ok(()) => Some(Self(at)),
            Err(why) => {
                println!("skipped: a tmpfs cannot be mounted here, which takes root: {why}");
                None
            }
        }
    }

    fn grow(&self, size: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.0)).unwrap();
    }
}

fn run(command: &mut Command) -> std::result::Result<(), String> {
    let done = command.output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()) }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that a file that is still open does not keep it in place.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Small commits into the log, and whole row groups into the file, until the disk is full: the client is told so,
/// and after a new start exactly what was acknowledged is there; with room again, the rest goes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_acknowledged() {
    for count in [BATCH_ROWS, 130_000] {
        let directory = tempfile::tempdir().unwrap();
        let Some(disk) = SmallDisk::mount(directory.path(), "48m") else { return };
        let path = disk.0.join("full.duckdb").display().to_string();
        let temporary = disk.0.join("spill").display().to_string();
        let settings = [("DATABASE__PATH", path.as_str()), ("DATABASE__TEMP_DIRECTORY", temporary.as_str())];
        let port = free_port();
        let mut server = Process::start(directory.path(), port, &settings);
        let health = tokio::spawn(watch_health(server.uri()));
        let until = 120_000 * BATCH_ROWS / count;
        let (durable, outcome) = send(&server.uri(), 1, count, until).await;
        let refused = outcome.expect_err("48 MiB are never full");
        println!("batches of {count} rows: {durable:?}, then: {refused}");
        assert!(durable.rows > 0);
        assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
        let is_told = ["no space left", "fatal error", "no server answers"]
            .iter()
            .any(|part| refused.message().contains(part));
        assert!(is_told, "{refused}");
        if server.wait_for_end(Duration::from_millis(500)).is_some() {
            println!("the server ended by itself");
            ended_clearly(&mut server, health).await;
        } else {
            // It lives, and so does what is stored.
            let mut client = Client::connect(&server.uri()).await.unwrap();
            assert_eq!(stored_batches(&mut client, count).await * count, durable.rows as i64);
            let refused = put_one(&mut client).await.unwrap_err();
            println!("the server lives and refuses: {:?} {refused}", refused.kind());
            assert!(matches!(refused.kind(), Kind::Exhausted | Kind::Unavailable), "{refused:?}");
            server.kill();
        }
        disk.grow("400m");
        let mut server = Process::start(directory.path(), port, &settings);
        let mut client = Client::connect(&server.uri()).await.unwrap();
        let stored = stored_batches(&mut client, count).await * count;
        assert_eq!(stored as u64, durable.rows, "stored after a new start, and acknowledged");
        let more = stored / count + 5;
        let (durable, outcome) = send(&server.uri(), 2, count, more).await;
        outcome.unwrap();
        assert_eq!(stored_batches(&mut client, count).await, more);
        assert_eq!(durable.rows as i64, more * count);
        server.kill();
    }
}

/// A put that is large enough not to fit into what the last failure left free.
async fn put_one(client: &mut Client) -> Result<()> {
    let many: Vec<_> = (0..60).map(|number| Ok(batch(1_000_000 + number, 20_000))).collect();
    client.put(&table("other"), schema(), stream::iter(many), &[]).await.map(|_| ())
}

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
            .spawn(move || BufReader::new(stderr).lines().map_while(std::result::Result::ok).for_each(drop))
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
    let database = open(&directory.path().join("test.duckdb"));
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

/// Passes bytes on between a client and a server, until a number of them has gone up.
struct Proxy {
    uri: String,
    sent: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
}

impl Proxy {
    async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("grpc://{}", listener.local_addr().unwrap());
        let server = server.trim_start_matches("grpc://").to_owned();
        let (sent, limit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let proxy = Self { uri, sent: Arc::clone(&sent), limit: Arc::clone(&limit) };
        tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                let mut buffer = vec![0; 16 << 10];
                loop {
                    let Ok(read @ 1..) = from_client.read(&mut buffer).await else { return };
                    let left = limit.load(Ordering::SeqCst).saturating_sub(sent.load(Ordering::SeqCst));
                    let passed = read.min(usize::try_from(left).unwrap());
                    to_server.write_all(&buffer[..passed]).await.unwrap();
                    sent.fetch_add(passed as u64, Ordering::SeqCst);
                    if passed < read {
                        return;
                    }
                }
            };
            let down = tokio::io::copy(&mut from_server, &mut to_client);
            tokio::select! {
                () = up => {}
                _ = down => {}
            }
            // Both connections are closed here, in the middle of whatever was being sent.
        });
        proxy
    }
}

/// A connection that is cut inside a message: of a stream that commits at its end, nothing is there.
#[tokio::test]
async fn a_cut_connection_leaves_nothing_of_a_stream() {
    let server = TestServer::start().await;
    let mut direct = server.client().await;
    for (cut, count) in [(3_000_000, 20_000), (700, 1000), (20_000_000, 130_000), (40_000, 1000)] {
        rows(&mut direct, "DROP TABLE IF EXISTS t").await.unwrap();
        let proxy = Proxy::start(&server.uri).await;
        let mut client = Client::connect(&proxy.uri).await.unwrap();
        proxy.limit.store(cut, Ordering::SeqCst);
        let endless = stream::iter(0..).map(move |number| Ok(batch(number, count)));
        let refused = client.put(&table("t"), schema(), endless, &[]).await.unwrap_err();
        assert_eq!(proxy.sent.load(Ordering::SeqCst), cut, "{refused}");
        wait_until_quiet(&mut direct).await;
        let found = rows(&mut direct, "SELECT count(*) FROM t").await;
        let is_gone = match &found {
            Ok(_) => number(&mut direct, "SELECT count(*) FROM t").await == 0,
            Err(error) => error.message().contains("does not exist"),
        };
        assert!(is_gone, "cut after {cut} bytes: {found:?}");
    }
}

async fn wait_until_quiet(client: &mut Client) {
    let started = Instant::now();
    while client.action("pintail.status").await.unwrap()["ingest"]["streams"] != 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the put outlives its connection");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection that is cut inside a message: of a stream that commits as it goes, exactly what was acknowledged
/// is there.
#[tokio::test]
async fn a_cut_connection_leaves_what_was_acknowledged() {
    let server = TestServer::start().await;
    let mut direct = server.client().await;
    for (name, with_producer) in [("numbered", true), ("plain", false)] {
        let proxy = Proxy::start(&server.uri).await;
        let mut client = Client::connect(&proxy.uri).await.unwrap();
        let batches: Vec<_> = (0..4).map(|number| Ok(batch(number, 20_000))).collect();
        let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
            .with_schema(schema())
            .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![name.to_owned()])))
            .with_max_flight_data_size(usize::MAX)
            .build(stream::iter(batches))
            .try_collect()
            .await
            .unwrap();
        for (message, seq) in messages[1..].iter_mut().zip(0..) {
            message.app_metadata = serde_json::json!({ "seq": seq }).to_string().into();
        }
        let cut_in = messages.pop().unwrap();
        let bytes = cut_in.data_body.len() as u64;
        let (send, receive) = tokio::sync::mpsc::channel(8);
        let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
        request.metadata_mut().insert("pintail-commit", "progress".parse().unwrap());
        if with_producer {
            request.metadata_mut().insert("pintail-producer", "p".parse().unwrap());
        }
        for message in messages {
            send.send(message).await.unwrap();
        }
        let mut answers = client.inner().do_put(request).await.unwrap().into_inner();
        let mut acknowledged = 0;
        while acknowledged < 60_000 {
            let answer = answers.message().await.unwrap().unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&answer.app_metadata).unwrap();
            acknowledged = answer["rows"].as_u64().unwrap();
        }
        proxy.limit.store(proxy.sent.load(Ordering::SeqCst) + bytes / 2, Ordering::SeqCst);
        send.send(cut_in).await.unwrap();
        assert!(answers.message().await.is_err(), "a cut stream ended properly");
        wait_until_quiet(&mut direct).await;
        assert_eq!(number(&mut direct, &format!("SELECT count(*) FROM {name}")).await, acknowledged as i64);
    }
}

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
            let database = open(&path);
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
    let path = directory.path().join("test.duckdb");
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
fn recover_until(path: &Path, point: &str) -> std::result::Result<(), String> {
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

fn open(path: &Path) -> Arc<Database> {
    Database::open(Options {
        path: path.display().to_string(),
        memory_limit_bytes: 1 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 40,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        icu_extension: None,
    })
    .unwrap()
}

/// Errors that a producer cannot mend are told at once, and say what to do.
#[tokio::test]
async fn a_producer_fails_clearly() {
    let server = TestServer::start().await;
    let open = |epoch: u64| {
        Producer::open(&server.uri, "p", epoch, table("t"), schema(), options(Duration::from_secs(30)))
    };
    let first = open(1).await.unwrap();
    assert_eq!(first.durable(), Durable::default());
    first.send(batch(0, 10)).await.unwrap();
    first.flush().await.unwrap();
    assert_eq!(first.durable(), Durable { seq: Some(0), rows: 10 });
    // A newer instance takes over, and goes on where the first one stopped.
    let second = open(2).await.unwrap();
    assert_eq!(second.durable(), Durable { seq: Some(0), rows: 10 });
    second.send(batch(1, 10)).await.unwrap();
    second.flush().await.unwrap();
    first.send(batch(1, 10)).await.unwrap();
    let refused = first.flush().await.unwrap_err();
    assert!(refused.kind() == Kind::Aborted && refused.message().contains("fenced"), "{refused}");
    assert_eq!((first.lag().batches, first.lag().rows), (1, 10));
    let refused = first.send(batch(2, 10)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Aborted, "a failure is final: {refused}");
    let refused = open(1).await.err().unwrap();
    assert!(refused.kind() == Kind::Aborted && refused.message().contains("fenced"), "{refused}");
    assert_eq!(second.close().await.unwrap(), Durable { seq: Some(1), rows: 20 });
    let third = open(2).await.unwrap();
    assert_eq!(third.durable(), Durable { seq: Some(1), rows: 20 });
    let other = RecordBatch::try_from_iter([("x", Arc::new(Int64Array::from(vec![1])) as _)]).unwrap();
    let refused = third.send(other).await.unwrap_err();
    assert!(refused.kind() == Kind::Invalid && refused.message().contains("found x Int64"), "{refused}");
    // What the server refuses for good is not tried again: the table has become another one.
    let mut client = server.client().await;
    rows(&mut client, "ALTER TABLE t ALTER COLUMN f TYPE BLOB USING ''").await.unwrap();
    third.send(batch(2, 10)).await.unwrap();
    let started = Instant::now();
    let refused = third.flush().await.unwrap_err();
    assert!(refused.kind() == Kind::Invalid && refused.message().contains("f"), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 20);
    let nobody: Error = Producer::open(
        "grpc://127.0.0.1:1",
        "p",
        1,
        table("t"),
        schema(),
        options(Duration::from_millis(200)),
    )
    .await
    .err()
    .unwrap();
    assert!(nobody.kind() == Kind::Unavailable && nobody.message().contains("gave up"), "{nobody}");
}

/// A collision with a transaction of somebody else is no refusal: the batches are sent again under their numbers until
/// the other one has ended. A newer instance of the producer is nothing that a retry would wait for.
#[tokio::test]
async fn a_producer_sends_again_after_a_collision_and_not_after_a_takeover() {
    let server = TestServer::start().await;
    let mut other = server.client().await;
    let open = |epoch: u64| {
        Producer::open(&server.uri, "p", epoch, table("t"), schema(), options(Duration::from_secs(30)))
    };
    let producer = open(1).await.unwrap();
    producer.send(batch(0, 10)).await.unwrap();
    producer.flush().await.unwrap();
    let mut sent = 1;
    for end in [session::COMMIT, session::ROLLBACK] {
        let id = session::begin(&mut other).await;
        rows(&mut other, &format!("ALTER TABLE t ADD COLUMN more_{end} INTEGER")).await.unwrap();
        for number in sent..sent + 2 {
            producer.send(batch(number, 10)).await.unwrap();
        }
        let started = Instant::now();
        while producer.lag().retries < 3 {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?}", producer.lag());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lag = producer.lag();
        assert_eq!((lag.batches, lag.last_error.map(|error| error.kind())), (2, Some(Kind::Aborted)));
        session::end(&mut other, &id, end).await.unwrap();
        producer.flush().await.unwrap();
        sent += 2;
        assert_eq!(producer.durable().seq, Some(sent as u64 - 1));
        assert_eq!(stored_batches(&mut other, 10).await, sent);
    }
    let newer = open(2).await.unwrap();
    producer.send(batch(sent, 10)).await.unwrap();
    let fenced = producer.flush().await.unwrap_err();
    assert!(fenced.kind() == Kind::Aborted && fenced.message().contains("fenced"), "{fenced}");
    assert_eq!(stored_batches(&mut other, 10).await, sent);
    newer.send(batch(sent, 10)).await.unwrap();
    newer.close().await.unwrap();
    assert_eq!(stored_batches(&mut other, 10).await, sent + 1);
}
