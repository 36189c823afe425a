//! Small durable puts: how many are acknowledged a second, alone and in company, against what DuckDB commits in
//! process from one thread, in one run.
//!
//! `cargo bench --bench commits -- [--seconds 5] [--fsync-delay-ms 5]`. The delay is put into every fdatasync and
//! fsync of both by a library that is loaded before the C library; making it takes `cc`.
//! `cargo bench --bench commits -- --checkpoints [--seconds 10]` shows how long small puts wait while larger ones fill
//! the log and checkpoints of different sizes empty it.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use futures::stream;
use pintail::catalog::TableName;
use pintail::client::Client;
use pintail::engine::{Database, Options};

fn row(id: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("well", DataType::Utf8, true),
        Field::new("kbd", DataType::Float64, true),
    ]));
    RecordBatch::try_new(
        schema,
        vec![
            Arc::new(Int64Array::from(vec![id])),
            Arc::new(StringArray::from(vec!["A-1"])),
            Arc::new(Float64Array::from(vec![0.5])),
        ],
    )
    .unwrap()
}

/// What is put in front of the C library, so that syncs take longer. A tracer would do as well, and hold up all
/// other threads while it does.
const SLOW_SYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
static int later(const char *name, int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    int result = real(fd);
    long us = atol(getenv("SYNC_DELAY_US"));
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&pause, NULL);
    return result;
}
int fdatasync(int fd) { return later("fdatasync", fd); }
int fsync(int fd) { return later("fsync", fd); }
"#;

/// Makes the library of [`SLOW_SYNC`].
fn slow_sync(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("slow_sync.c"), folder.join("slow_sync.so"));
    std::fs::write(&source, SLOW_SYNC).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O2", "-o"]).args([&library, &source]).arg("-ldl");
    assert!(cc.status().unwrap().success(), "cc cannot build the library that delays syncs");
    library.canonicalize().unwrap()
}

/// The server's own program, or this program again as the in-process loop; maybe with slow syncs.
fn command(program: &str, folder: &Path, delay_ms: u64) -> Command {
    let mut command = Command::new(program);
    if delay_ms > 0 {
        command.env("LD_PRELOAD", slow_sync(folder)).env("SYNC_DELAY_US", (delay_ms * 1000).to_string());
    }
    command
}

struct Served(Child, String);

impl Served {
    fn start(
        folder: &Path,
        name: &str,
        (group_commit_ms, delay_ms): (u64, u64),
        http: &str,
        size: &str,
    ) -> Self {
        let mut child = command(env!("CARGO_BIN_EXE_pintail"), folder, delay_ms)
            .args(["serve", "--listen", "127.0.0.1:0", "--http", http, "--database"])
            .arg(folder.join(format!("{name}.duckdb")))
            .env("PINTAIL_DATABASE__CHECKPOINT_BYTES", size)
            .env("PINTAIL_INGEST__GROUP_COMMIT_MS", group_commit_ms.to_string())
            .env("PINTAIL_LOG__LEVEL", "error")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().replace("listening on ", ""))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Commits of one row each from one thread, in this process.
fn in_process(folder: &Path, length: Duration) -> f64 {
    let database = Database::open(Options {
        path: folder.join("in_process.duckdb").display().to_string(),
        memory_limit_bytes: 4 << 30,
        threads: 2,
        temp_directory: None,
        max_temp_bytes: 1 << 30,
        checkpoint_bytes: 1 << 30,
        checkpoint_hold: Duration::from_secs(300),
        result_buffer_bytes: 8 << 20,
        engine_arrays: false,
        icu_extension: None,
    })
    .unwrap();
    let connection = database.connection().unwrap();
    connection.execute("CREATE TABLE t (id BIGINT NOT NULL, well VARCHAR, kbd DOUBLE)").unwrap();
    let started = Instant::now();
    let mut commits = 0;
    while started.elapsed() < length {
        connection.execute(&format!("INSERT INTO t VALUES ({commits}, 'A-1', 0.5)")).unwrap();
        commits += 1;
    }
    f64::from(commits) / started.elapsed().as_secs_f64()
}

/// Mean time of a write of 4 KiB and its fdatasync.
fn fsync_ms(folder: &Path) -> f64 {
    let mut file = std::fs::File::create(folder.join("fsync")).unwrap();
    let started = Instant::now();
    let count = 200;
    for _ in 0..count {
        file.write_all(&[7; 4096]).unwrap();
        file.sync_data().unwrap();
    }
    started.elapsed().as_secs_f64() * 1e3 / f64::from(count)
}

/// Acknowledged puts a second, and their times in milliseconds.
struct Figures {
    rate: f64,
    times: Vec<f64>,
}

impl Figures {
    fn at(&self, share: f64) -> f64 {
        self.times[((self.times.len() - 1) as f64 * share) as usize]
    }
}

/// Single-row puts of some clients, each of which waits for its answer before the next one.
async fn puts(uri: &str, clients: i64, length: Duration) -> Figures {
    let started = Instant::now();
    let mut tasks = Vec::new();
    for client in 0..clients {
        let mut connection = Client::connect(uri).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let table = TableName::from_text("t").unwrap();
            let mut times = Vec::new();
            let mut next = client * 100_000_000;
            while started.elapsed() < length {
                let batch = row(next);
                next += 1;
                let began = Instant::now();
                let answer =
                    connection.put(&table, batch.schema(), stream::iter([Ok(batch)]), &[]).await.unwrap();
                assert!(answer.durable && answer.rows == 1);
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.unwrap());
    }
    let rate = times.len() as f64 / started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Figures { rate, times }
}

/// The value of a counter on `/metrics`.
fn metric(http: &str, name: &str) -> f64 {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.trim().parse().unwrap())
}

/// Small puts while others fill the log, which is written into the file again and again.
async fn beside_checkpoints(folder: &Path, length: Duration) {
    println!("8 clients with single-row puts, one with puts of 20,000 rows into another table\n");
    println!(
        "| checkpoint_bytes | checkpoints | mean s of one | small puts/s | large rows/s | p99 ms | longest ms |"
    );
    println!("|---|---|---|---|---|---|---|");
    for size in ["8 MiB", "32 MiB", "128 MiB"] {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let server = Served::start(folder, &size.replace(' ', "_"), (2, 0), &http, size);
        let mut client = Client::connect(&server.1).await.unwrap();
        let rows = |ids: std::ops::Range<i64>| {
            let rows: Vec<_> = ids.map(row).collect();
            concat_batches(&rows[0].schema(), &rows).unwrap()
        };
        let many = rows(0..20_000);
        for name in ["t", "other"] {
            let table = TableName::from_text(name).unwrap();
            client.put(&table, many.schema(), stream::iter([Ok(rows(-2..-1))]), &[]).await.unwrap();
        }
        let until = Instant::now() + length;
        let fill = tokio::spawn(async move {
            let table = TableName::from_text("other").unwrap();
            let mut filled = 0;
            while Instant::now() < until {
                client.put(&table, many.schema(), stream::iter([Ok(many.clone())]), &[]).await.unwrap();
                filled += many.num_rows();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            filled
        });
        let figures = puts(&server.1, 8, length).await;
        let filled = fill.await.unwrap() as f64 / length.as_secs_f64();
        let checkpoints = metric(&http, "pintail_checkpoints_total");
        println!(
            "| {size} | {checkpoints} | {:.2} | {:.0} | {filled:.0} | {:.2} | {:.0} |",
            metric(&http, "pintail_checkpoint_seconds_sum") / checkpoints.max(1.0),
            figures.rate,
            figures.at(0.99),
            figures.at(1.0)
        );
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |flag: &str, default: u64| {
        let place = arguments.iter().position(|argument| argument == flag);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let length = Duration::from_secs(number("--seconds", 5));
    let delay_ms = number("--fsync-delay-ms", 0);
    let folder = tempfile::tempdir_in(".").unwrap();
    if let Some(place) = arguments.iter().position(|argument| argument == "--in-process") {
        println!("{}", in_process(Path::new(&arguments[place + 1]), length));
        return;
    }
    if arguments.iter().any(|argument| argument == "--checkpoints") {
        beside_checkpoints(folder.path(), length).await;
        return;
    }
    let own = std::env::current_exe().unwrap().display().to_string();
    let limit = command(&own, folder.path(), delay_ms)
        .args([
            "--in-process",
            &folder.path().display().to_string(),
            "--seconds",
            &length.as_secs().to_string(),
        ])
        .output()
        .unwrap();
    let limit: f64 = String::from_utf8(limit.stdout).unwrap().trim().parse().unwrap();
    println!("fsync of 4 KiB: {:.2} ms, and {delay_ms} ms added to each", fsync_ms(folder.path()));
    println!("in-process DuckDB, one thread: {limit:.0} commits/s\n");
    println!("| group_commit_ms | clients | acknowledged puts/s | of in-process | median ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for (group_commit_ms, clients) in [(0, 1), (2, 1), (0, 8), (2, 8), (2, 32)] {
        let name = format!("g{group_commit_ms}c{clients}");
        let server =
            Served::start(folder.path(), &name, (group_commit_ms, delay_ms), "127.0.0.1:0", "32 MiB");
        let mut client = Client::connect(&server.1).await.unwrap();
        let table = TableName::from_text("t").unwrap();
        client.put(&table, row(0).schema(), stream::iter([Ok(row(-1))]), &[]).await.unwrap();
        let figures = puts(&server.1, clients, length).await;
        println!(
            "| {group_commit_ms} | {clients} | {:.0} | {:.2} | {:.2} | {:.2} |",
            figures.rate,
            figures.rate / limit,
            figures.at(0.5),
            figures.at(0.99)
        );
    }
}
