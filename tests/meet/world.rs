//! One meeting: a server over a file of its own, the actors, the moments of rest, and what was found.
//! Runs on: the driver's task and one task per client.
//! Never: goes on after a finding; leaves a server behind.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use futures::StreamExt;
use futures::future::BoxFuture;
use pintail::client::Client;
use pintail::error::Kind;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::RwLock;

use super::books::Books;
use super::entry::Found;
use super::hand::{Finding, Hand, Manner, Verdict};
use super::rows::{self, V};
use super::tables::{self, LAST_WINS, UPSERTED};
use crate::support::process::{Process, free_port};

/// How long everybody may take to come to rest.
const REST: Duration = Duration::from_secs(60);
/// Entries and rows after which the tables are emptied and a new page is begun.
const PAGE: (usize, i64) = (150_000, 1_500_000);
/// New clients that look at the server at every rest; more than one, so that they meet several of its connections.
const NEWCOMERS: usize = 6;
/// Lines of the server's log that a failure shows.
const LOG_LINES: usize = 25;

/// What one kind of client does, again and again.
pub struct Actor {
    pub name: &'static str,
    /// Clients of this kind.
    pub clients: usize,
    /// One thing that it does; everybody may rest between two steps.
    pub step: for<'a> fn(&'a mut Hand) -> BoxFuture<'a, Verdict>,
}

/// What actors share.
pub struct World {
    pub uri: String,
    pub directory: PathBuf,
    pub books: Books,
    /// Counts the times that tables were emptied.
    pub page: AtomicU64,
    puts: AtomicI64,
    at_work: RwLock<()>,
    stop: AtomicBool,
    findings: Mutex<Vec<Finding>>,
    busy: Mutex<BTreeMap<(&'static str, usize), Instant>>,
    steps: Mutex<BTreeMap<&'static str, u64>>,
}

impl World {
    pub fn next_put(&self) -> i64 {
        self.puts.fetch_add(1, Ordering::Relaxed)
    }

    pub async fn connect(&self) -> Verdict<Client> {
        Client::connect(&self.uri).await.map_err(|error| Finding(format!("no new connection: {error}")))
    }

    pub fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn found(&self, finding: Finding) {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
        self.stop.store(true, Ordering::SeqCst);
    }

    /// One client, until the meeting is over.
    async fn play(self: Arc<Self>, actor: &'static Actor, client: i64, place: usize, seed: u64) {
        let mut hand = match Hand::new(&self, actor.name, client, place, seed).await {
            Ok(hand) => hand,
            Err(finding) => return self.found(finding),
        };
        while !self.stops() {
            let at_work = self.at_work.read().await;
            self.busy.lock().unwrap().insert((actor.name, place), Instant::now());
            let verdict = (actor.step)(&mut hand).await;
            self.busy.lock().unwrap().remove(&(actor.name, place));
            drop(at_work);
            match verdict {
                Ok(()) => *self.steps.lock().unwrap().entry(actor.name).or_default() += 1,
                Err(finding) => return self.found(finding),
            }
            hand.pause(5).await;
        }
    }

    /// Everything as it is stored, while nobody works, against what was told.
    async fn compare(self: &Arc<Self>) -> Verdict {
        let mut hand = Hand::new(self, "a new client", 0, 0, 0).await?;
        self.settle(&hand).await?;
        for _ in 0..NEWCOMERS {
            let newcomer = hand.another().await?;
            let leaked = "SELECT count(*) FROM duckdb_tables() WHERE temporary";
            if newcomer.number(leaked).await? != 0 {
                return newcomer.finding("it meets temporary tables of somebody else");
            }
            let schema = "SELECT count(*) FROM (SELECT 1) WHERE current_schema() <> 'main'";
            if newcomer.number(schema).await? != 0 {
                return newcomer.finding("it is in somebody else's schema");
            }
        }
        let mut differences = Vec::new();
        let mut found = Found::new();
        for table in self.books.tables() {
            let keys = self.read(&hand, &table, &mut found, &mut differences).await?;
            if UPSERTED.contains(&table.as_str()) {
                differences.extend(self.books.compare_keys(&table, &keys));
            }
        }
        differences.extend(self.books.compare(&found, LAST_WINS));
        if differences.is_empty() {
            return Ok(());
        }
        let count = differences.len();
        differences.truncate(12);
        Err(Finding(format!(
            "{count} differences between what was told and what is stored:\n    {}",
            differences.join("\n    ")
        )))
    }

    /// Waits until the server has nothing left of calls whose clients have gone.
    async fn settle(&self, hand: &Hand) -> Verdict {
        let started = Instant::now();
        loop {
            let mut link = hand.link.clone();
            let status =
                hand.call("pintail.status", &Manner::calm(), &[], link.action("pintail.status")).await?;
            let Some(status) = status.done() else { return hand.finding("pintail.status has no answer") };
            let running =
                [&status["ingest"]["streams"], &status["query"]["running"], &status["query"]["queued"]];
            if running.iter().all(|count| count.as_u64() == Some(0)) {
                // A small put whose client has gone may still be in a commit, for milliseconds.
                tokio::time::sleep(Duration::from_millis(100)).await;
                return Ok(());
            }
            if started.elapsed() > REST {
                return hand
                    .finding(format!("nobody calls any more, and the server is still at work: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Notes the rows of a table; gives its keys where it is one with keys.
    async fn read(
        &self,
        hand: &Hand,
        table: &str,
        found: &mut Found,
        differences: &mut Vec<String>,
    ) -> Verdict<HashMap<i64, (i64, i64)>> {
        let mut link = hand.link.clone();
        let sql = format!("SELECT * FROM {table}");
        let mut keys = HashMap::new();
        let puts = found.entry(table.to_owned()).or_default();
        let result = match link.query(&sql, &[]).await {
            Ok(result) => result,
            // Nothing has made it, or somebody dropped it; whether that can be is for the books to say.
            Err(error) if error.kind() == Kind::NotFound => return Ok(keys),
            Err(error) => return hand.finding(format!("{sql}: {:?}: {error}", error.kind())),
        };
        let allowed = if table == "retyped" { V::OrMinusOne } else { V::Exact };
        let mut batches = result.batches;
        let (mut altered, mut doubled) = (Vec::new(), Vec::new());
        while let Some(batch) = batches.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => return hand.finding(format!("{sql}: {:?}: {error}", error.kind())),
            };
            let (names, wrong) = match rows::examine(&batch, allowed) {
                Ok(examined) => examined,
                Err(what) => return hand.finding(format!("table {table}: {what}")),
            };
            altered.extend(wrong);
            if let Some(column) = batch.column_by_name("k") {
                let column = column.as_primitive::<Int64Type>();
                keys.extend(
                    column.values().iter().zip(&names).map(|(key, (client, put, _))| (*key, (*client, *put))),
                );
            }
            for (client, put, row) in names {
                if puts.entry((client, put)).or_default().add(row) {
                    doubled.push((client, put, row));
                }
            }
        }
        for (what, count, examples) in [
            ("altered", altered.len(), altered.iter().take(4).cloned().collect::<Vec<_>>()),
            ("stored twice", doubled.len(), doubled.iter().take(4).map(|row| format!("{row:?}")).collect()),
        ] {
            if count > 0 {
                let examples = examples.join("; ");
                differences
                    .push(format!("table {table}: {count} rows are {what}, (client, put, row): {examples}"));
            }
        }
        Ok(keys)
    }

    /// Tables of one step are dropped after they were looked at; all are emptied when they have grown large.
    async fn turn_page(self: &Arc<Self>) -> Verdict {
        let hand = Hand::new(self, "the driver", 0, 0, 0).await?;
        let (entries, rows) = self.books.size();
        let is_full = entries > PAGE.0 || rows > PAGE.1;
        let gone: Vec<String> =
            self.books.tables().into_iter().filter(|table| is_full || tables::is_passing(table)).collect();
        for table in &gone {
            if is_full && !tables::is_passing(table) {
                tables::empty(&hand, table).await?;
            } else {
                hand.sql(&format!("DROP TABLE IF EXISTS {table}"), &Manner::calm(), &[]).await?;
            }
        }
        self.books.forget(|table| gone.iter().any(|name| name == table));
        self.page.fetch_add(u64::from(is_full), Ordering::SeqCst);
        Ok(())
    }

    /// Everybody finishes the step they are in, and what is stored is compared with what they were told.
    async fn rest(self: &Arc<Self>) -> Verdict {
        let Ok(everybody) = tokio::time::timeout(REST, self.at_work.write()).await else {
            let busy = self.busy.lock().unwrap().clone();
            let busy: Vec<_> = busy
                .iter()
                .map(|((name, place), since)| format!("{name} {place} for {:?}", since.elapsed()))
                .collect();
            return Err(Finding(format!("some do not end what they began: {}", busy.join(", "))));
        };
        if self.stops() && !self.findings.lock().unwrap().is_empty() {
            return Ok(());
        }
        self.compare().await?;
        self.turn_page().await?;
        drop(everybody);
        Ok(())
    }
}

/// The server's settings: short time-outs and a small log, so that everything happens within seconds.
const SETTINGS: [(&str, &str); 8] = [
    ("DATABASE__CHECKPOINT_BYTES", "2 MiB"),
    ("DATABASE__MEMORY_LIMIT", "512 MiB"),
    ("INGEST__MEMORY_LIMIT", "64 MiB"),
    ("INGEST__STREAM_MEMORY_LIMIT", "32 MiB"),
    ("SESSION__TRANSACTION_IDLE_TIMEOUT", "1 s"),
    ("SESSION__IDLE_TIMEOUT", "3 s"),
    ("SESSION__MAX_TRANSACTIONS", "400"),
    ("LOG__SLOW_QUERY_MS", "5000"),
];

/// Lets these actors meet for a while. Panics with everything that is known about the first finding.
pub async fn meet(actors: &[&'static Actor], length: Duration, seed: u64) {
    let mut directory = tempfile::tempdir().unwrap();
    directory.disable_cleanup(true);
    let mut server = Process::start(directory.path(), free_port(), &SETTINGS);
    let world = Arc::new(World {
        uri: server.uri(),
        directory: directory.path().to_owned(),
        books: Books::default(),
        page: AtomicU64::new(0),
        puts: AtomicI64::new(1),
        at_work: RwLock::new(()),
        stop: AtomicBool::new(false),
        findings: Mutex::default(),
        busy: Mutex::default(),
        steps: Mutex::default(),
    });
    let outcome = drive(&world, actors, length, seed).await;
    world.stop.store(true, Ordering::SeqCst);
    let mut findings = std::mem::take(&mut *world.findings.lock().unwrap());
    findings.extend(outcome.err());
    if let Some(status) = server.wait_for_end(Duration::ZERO) {
        findings.push(Finding(format!("the server has ended: {status}")));
    }
    let log = server.log();
    if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
        findings.push(Finding(format!("a thread of the server panicked: {line}")));
    }
    let steps = world.steps.lock().unwrap().clone();
    println!(
        "  steps: {steps:?}; server's peak memory {} MiB",
        if findings.is_empty() { server.peak_memory_mib() } else { 0 }
    );
    if findings.is_empty() {
        directory.disable_cleanup(false);
        return;
    }
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n    ");
    let what: Vec<String> = findings.iter().take(6).map(|finding| format!("  - {}", finding.0)).collect();
    panic!(
        "{} findings, seed {seed} (PINTAIL_MEET_SEED), files in {}:\n{}\n  the server's last lines:\n    {tail}",
        findings.len(),
        directory.path().display(),
        what.join("\n")
    );
}

async fn drive(world: &Arc<World>, actors: &[&'static Actor], length: Duration, seed: u64) -> Verdict {
    let mut rng = StdRng::seed_from_u64(seed);
    let hand = Hand::new(world, "the driver", 0, 0, 0).await?;
    tables::make(&hand).await?;
    let mut tasks = Vec::new();
    let mut client = 1;
    for actor in actors {
        for place in 0..actor.clients {
            tasks.push(tokio::spawn(Arc::clone(world).play(actor, client, place, rng.random())));
            client += 1;
        }
    }
    let started = Instant::now();
    let mut outcome = Ok(());
    while outcome.is_ok() && !world.stops() && started.elapsed() < length {
        let pause =
            Duration::from_millis(rng.random_range(800..4000)).min(length.saturating_sub(started.elapsed()));
        let until = Instant::now() + pause;
        while !world.stops() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        outcome = world.rest().await;
    }
    world.stop.store(true, Ordering::SeqCst);
    for task in tasks {
        // A client that hangs has been reported by then.
        let ended = tokio::time::timeout(REST, task).await;
        if let Ok(Err(panicked)) = ended {
            world.found(Finding(format!("an actor panicked: {panicked}")));
        }
    }
    outcome
}
