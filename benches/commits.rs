//! Small durable puts: how many are acknowledged a second, alone and in company, against what DuckDB commits in
//! process from one thread, in one run.
//!
//! `cargo bench --bench commits -- [--seconds 5] [--fsync-delay-ms 5]`. The delay is put into every fdatasync and
//! fsync of both by strace, which must be installed for it.
#![allow(clippy::unwrap_used, missing_docs, clippy::disallowed_methods, reason = "a benchmark")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
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
    fn start(folder: &Path, name: &str, group_commit_ms: u64, delay_ms: u64) -> Self {
        let mut child = command(env!("CARGO_BIN_EXE_pintail"), delay_ms)
            .args(["serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--database"])
            .arg(folder.join(format!("{name}.duckdb")))
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

/// Acknowledged puts a second, and the 50th and 99th of their times in milliseconds.
async fn puts(uri: &str, clients: i64, length: Duration) -> (f64, f64, f64) {
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
    let seconds = started.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    (times.len() as f64 / seconds, at(0.5), at(0.99))
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
        let server = Served::start(folder.path(), &name, group_commit_ms, delay_ms);
        let mut client = Client::connect(&server.1).await.unwrap();
        let table = TableName::from_text("t").unwrap();
        client.put(&table, row(0).schema(), stream::iter([Ok(row(-1))]), &[]).await.unwrap();
        let (rate, median, p99) = puts(&server.1, clients, length).await;
        println!(
            "| {group_commit_ms} | {clients} | {rate:.0} | {:.2} | {median:.2} | {p99:.2} |",
            rate / limit
        );
    }
}
