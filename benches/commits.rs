//! Small durable puts: how many are acknowledged a second, alone and in company, against what DuckDB commits in
//! process from one thread, in one run.
//!
//! `cargo bench --bench commits -- [--seconds 5] [--fsync-delay-ms 5]`. The delay is put into every fdatasync and
//! fsync of both by strace, which must be installed for it.
//! `cargo bench --bench commits -- --checkpoints [--seconds 10]` shows small puts while larger ones fill the log and
//! checkpoints empty it, with and without statements that delete.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use futures::{StreamExt, stream};
use pintail::catalog::TableName;
use pintail::client::Client;
use pintail::engine::{Database, Options};

/// Smaller than the default, for more checkpoints in a short run.
const CHECKPOINT_BYTES: &str = "32 MiB";

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

/// The server's own program on free ports, or this program again as the in-process loop; maybe under strace.
fn command(program: &str, delay_ms: u64) -> Command {
    if delay_ms == 0 {
        return Command::new(program);
    }
    let mut command = Command::new("strace");
    let microseconds = delay_ms * 1000;
    command.args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e"]);
    command.arg(format!("inject=fdatasync,fsync:delay_exit={microseconds}"));
    command.arg(program);
    command
}

struct Served(Child, String);

impl Served {
    fn start(folder: &Path, name: &str, group_commit_ms: u64, delay_ms: u64, http: &str) -> Self {
        let mut child = command(env!("CARGO_BIN_EXE_pintail"), delay_ms)
            .args(["serve", "--listen", "127.0.0.1:0", "--http", http, "--database"])
            .arg(folder.join(format!("{name}.duckdb")))
            .env("PINTAIL_DATABASE__CHECKPOINT_BYTES", CHECKPOINT_BYTES)
            .env("PINTAIL_INGEST__GROUP_COMMIT_MS", group_commit_ms.to_string())
            .env("PINTAIL_LOG__LEVEL", "error")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().replace("listening on ", ""))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The whole group: strace does not take the server along.
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
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
        result_buffer_bytes: 8 << 20,
        icu_extension: None,
    })
    .unwrap();
    let session = database.session().unwrap();
    session.execute("CREATE TABLE t (id BIGINT NOT NULL, well VARCHAR, kbd DOUBLE)").unwrap();
    let started = Instant::now();
    let mut commits = 0;
    while started.elapsed() < length {
        session.execute(&format!("INSERT INTO t VALUES ({commits}, 'A-1', 0.5)")).unwrap();
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
    println!(
        "8 clients with single-row puts; puts of 20,000 rows fill the log; checkpoints at {CHECKPOINT_BYTES}\n"
    );
    println!("| beside them | checkpoints | mean s of one | puts/s | median ms | p99 ms | longest ms |");
    println!("|---|---|---|---|---|---|---|");
    for deletes in [false, true] {
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let server = Served::start(folder, &format!("deletes_{deletes}"), 2, 0, &http);
        let mut client = Client::connect(&server.1).await.unwrap();
        let rows = |ids: std::ops::Range<i64>| {
            let rows: Vec<_> = ids.map(row).collect();
            concat_batches(&rows[0].schema(), &rows).unwrap()
        };
        let bulk = rows(0..20_000);
        for name in ["t", "bulk", "gone"] {
            let table = TableName::from_text(name).unwrap();
            client.put(&table, bulk.schema(), stream::iter([Ok(rows(-2..-1))]), &[]).await.unwrap();
        }
        let until = Instant::now() + length;
        let mut filler = client.clone();
        let fill = tokio::spawn(async move {
            let table = TableName::from_text("bulk").unwrap();
            while Instant::now() < until {
                filler.put(&table, bulk.schema(), stream::iter([Ok(bulk.clone())]), &[]).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let delete = tokio::spawn(async move {
            while deletes && Instant::now() < until {
                let answer = client.query("DELETE FROM gone WHERE id >= 0", &[]).await.unwrap();
                answer.batches.for_each(|batch| async { drop(batch.unwrap()) }).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let figures = puts(&server.1, 8, length).await;
        fill.await.unwrap();
        delete.await.unwrap();
        let checkpoints = metric(&http, "pintail_checkpoints_total");
        println!(
            "| {} | {checkpoints} | {:.2} | {:.0} | {:.2} | {:.2} | {:.1} |",
            if deletes { "a DELETE every 50 ms" } else { "rows only added" },
            metric(&http, "pintail_checkpoint_seconds_sum") / checkpoints.max(1.0),
            figures.rate,
            figures.at(0.5),
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
    let limit = command(&own, delay_ms)
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
        let server = Served::start(folder.path(), &name, group_commit_ms, delay_ms, "127.0.0.1:0");
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
