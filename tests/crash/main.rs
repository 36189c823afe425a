//! kill -9 at random moments, again and again: what was acknowledged is stored, nothing is stored twice or in part.
//!
//! Four producers, a client with transactions, two that put single rows and one whose changes hide in CTEs and triggers write while the
//! server is killed and started on the same file, sometimes while it still recovers, and sometimes the clients die as well. `PINTAIL_CRASH_ROUNDS` says how often,
//! `PINTAIL_CRASH_SEED` repeats a run's choices (moments still differ from machine to machine).
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]

mod changes;
mod checks;
mod clients;
mod producers;
mod recovery;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::calls::rows;
use crate::support::process::{Process, free_port};
use checks::{Totals, check};
use clients::Clients;
use world::{TABLES, World, connected};

/// Rounds on one database before a new one is begun.
const ROUNDS_PER_DATABASE: u64 = 8;

/// Some rounds on one database file, and everything settled at the end.
async fn rounds_on_one_database(rounds: u64, seed: u64, totals: &mut Totals) {
    let mut rng = StdRng::seed_from_u64(seed);
    // Kept when something is found.
    let mut directory = tempfile::tempdir().unwrap();
    directory.disable_cleanup(true);
    let port = free_port();
    let group_commit = if rng.random_bool(0.5) { "0" } else { "2" };
    // With a small log, checkpoints come in the middle of everything; with a large one, recovery has more to do.
    let checkpoint = ["256 KiB", "2 MiB", "64 MiB"][rng.random_range(0..3)];
    let settings = [("INGEST__GROUP_COMMIT_MS", group_commit), ("DATABASE__CHECKPOINT_BYTES", checkpoint)];
    println!("  in {}", directory.path().display());
    let mut server = Process::start(directory.path(), port, &settings);
    let world = Arc::new(World {
        uri: server.uri(),
        seed,
        acknowledged: Default::default(),
        committed: Mutex::default(),
        attempts: AtomicU64::new(0),
        loose: AtomicU64::new(0),
        loose_acknowledged: Mutex::default(),
        changes: changes::Told::default(),
        stop: AtomicBool::new(false),
    });
    let mut client = connected(&world).await;
    for sql in TABLES.iter().flat_map(|(_, sql)| sql.split("; ")).chain(changes::TABLES) {
        rows(&mut client, sql).await.unwrap();
    }
    let mut clients = Clients::start(Arc::clone(&world));
    let mut found = Totals::default();
    for round in 0..rounds {
        let pause =
            |rng: &mut StdRng, longest: u64| Duration::from_micros(rng.random_range(0..longest * 1000));
        if rng.random_bool(0.15) {
            // The clients die and the server lives: the new ones shut the old ones out.
            tokio::time::sleep(pause(&mut rng, 100)).await;
            clients.begin();
        }
        tokio::time::sleep(pause(&mut rng, 500)).await;
        server.kill();
        clients.look().await;
        if rng.random_bool(0.3) {
            clients.begin();
        }
        while rng.random_bool(0.25) {
            // Killed again while it recovers.
            let mut early = Process::spawn(directory.path(), port, &settings);
            tokio::time::sleep(pause(&mut rng, 80)).await;
            early.kill();
        }
        server = Process::start(directory.path(), port, &settings);
        found = check(&world, &mut rng, false).await;
        clients.look().await;
        println!(
            "  round {round}: {} rows acknowledged, {} stored, {} transactions",
            found.acknowledged, found.stored, found.transactions
        );
    }
    clients.finish().await;
    server.kill();
    let mut server = Process::start(directory.path(), port, &settings);
    let settled = check(&world, &mut rng, true).await;
    assert!(settled.acknowledged >= found.stored && settled.acknowledged > 0);
    server.kill();
    assert!(!server.log().contains("panicked"), "{}", server.log());
    directory.disable_cleanup(false);
    totals.acknowledged += settled.acknowledged;
    totals.stored += settled.stored;
    totals.transactions += settled.transactions;
    totals.loose += settled.loose;
    totals.changes += settled.changes;
    println!(
        "seed {seed}: {rounds} rounds, group commit {group_commit} ms, checkpoint at {checkpoint}: {settled:?}"
    );
}

/// Acknowledged rows are stored, once, in whole batches, and indexes agree with scans, whenever the server is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let rounds = setting("PINTAIL_CRASH_ROUNDS").unwrap_or(6);
    let seed = setting("PINTAIL_CRASH_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("seed {seed} (PINTAIL_CRASH_SEED), {rounds} rounds (PINTAIL_CRASH_ROUNDS)");
    let started = Instant::now();
    let mut totals = Totals::default();
    let (mut done, mut databases) = (0, 0);
    // A short run still sees two databases.
    let per_database = ROUNDS_PER_DATABASE.min(rounds.div_ceil(2)).max(1);
    while done < rounds {
        let now = per_database.min(rounds - done);
        rounds_on_one_database(now, seed.wrapping_add(databases), &mut totals).await;
        done += now;
        databases += 1;
    }
    println!(
        "crash: {done} rounds of kill -9 on {databases} databases in {:.0} s: {} rows acknowledged, {} stored once, \
         {} transactions over three tables, {} single rows without a key, {} batches through RETURNING, CTEs and triggers; nothing lost, doubled or partial, indexes equal scans",
        started.elapsed().as_secs_f64(),
        totals.acknowledged,
        totals.stored,
        totals.transactions,
        totals.loose,
        totals.changes
    );
}
