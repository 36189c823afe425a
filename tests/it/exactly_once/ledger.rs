//! What is remembered of keys and producers: bounds, order, starts and cuts, over real databases.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pintail::catalog::Declarations;
use pintail::client::{Client, Instance, Producer, ProducerOptions, PutAnswer};
use pintail::config;
use pintail::engine::{
    Database, LedgerBounds, LedgerRow, append_ledger, create_ledger, cut_ledger, read_ledger,
};
use pintail::error::Kind;
use pintail::ingest::Ingest;

use crate::support::batches::wells;
use crate::support::calls::{number, put_numbered, put_numbered_with, put_with, table};
use crate::support::database::{file, open};
use crate::support::process::{Process, free_port};
use crate::support::server::TestServer;

fn ingest(database: &Arc<Database>, keys: usize, producers: usize) -> Ingest {
    let config =
        config::Ingest { ledger_keys: keys, ledger_producers: producers, ..config::Ingest::default() };
    Ingest::new(Arc::clone(database), &config, Arc::new(Declarations::default())).unwrap()
}

const LEDGER: &str = "pintail_internal.ingest_ledger";
const ANSWER: &str = r#"'{"inserted":1,"ignored":0,"replaced":0,"rejected":0,"on_conflict":"error"}'"#;

/// A ledger with so many keys, and so many producers of one batch each.
fn fill(path: &Path, count: u64) {
    let database = open(path);
    let connection = database.connection().unwrap();
    create_ledger(&connection).unwrap();
    for select in [
        format!("'main.t', 'key ' || i, NULL, NULL, NULL, 1, i, {ANSWER}"),
        "'main.t', NULL, 'producer ' || i, 1, 0, 1, i, NULL".to_owned(),
    ] {
        connection
            .execute(&format!("INSERT INTO {LEDGER} SELECT now(), {select} FROM range({count}) r(i)"))
            .unwrap();
    }
    connection.execute("CHECKPOINT").unwrap();
}

async fn ledger_rows(client: &mut Client) -> i64 {
    number(client, &format!("SELECT count(*) FROM {LEDGER}")).await
}

/// A server starts with 100,000 keys and 100,000 producers in a moment, whether all are remembered or most are to be
/// forgotten; then the table is cut back without a single new row.
#[tokio::test]
async fn a_start_takes_no_longer_the_more_is_remembered() {
    const COUNT: u64 = 100_000;
    for producers in [100_000, 10_000] {
        let directory = tempfile::tempdir().unwrap();
        fill(&file(directory.path()), COUNT);
        let settings = [("INGEST__LEDGER_PRODUCERS", producers.to_string())];
        let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
        // Memory is the process's.
        let started = Instant::now();
        let server = Process::start(directory.path(), free_port(), &settings);
        let taken = started.elapsed();
        let peak = server.peak_memory_mib();
        println!(
            "start with {COUNT} keys and {COUNT} producers, {producers} remembered: {taken:?}, {peak} MiB at most"
        );
        assert!(taken < Duration::from_secs(5), "{taken:?}");
        let mut client = Client::connect(&server.uri()).await.unwrap();
        let key = &[("pintail-idempotency-key", "key 7")];
        let known = put_with(&mut client, "t", &[wells(0, 1)], key).await;
        assert_eq!(known.unwrap_err().kind(), Kind::Exists, "the oldest key is known, with another checksum");
        let wanted = (COUNT + producers as u64) as i64;
        let until = Instant::now() + Duration::from_secs(60);
        while ledger_rows(&mut client).await != wanted {
            assert!(Instant::now() < until, "{} rows are left", ledger_rows(&mut client).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What a client knows of one of its lines.
#[derive(Debug, Clone, Default)]
struct Known {
    seq: Option<u64>,
    stored: u64,
}

/// Producers come, are forgotten, begin anew where they are told that nothing is known, and come again after starts that
/// remember more or less, over tables that were cut between them or not. What a producer is told is what it sent last
/// since it began, or nothing; and every row is there once.
#[tokio::test]
async fn what_is_forgotten_stays_forgotten() {
    let seed =
        std::env::var("PINTAIL_TEST_SEED").map_or(0x2545_F491_4F6C_DD1D_u64, |seed| seed.parse().unwrap());
    println!("PINTAIL_TEST_SEED={seed}");
    let mut random = seed;
    let mut below = |limit: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    let mut known: BTreeMap<(String, &str), Known> = BTreeMap::new();
    let mut epochs: BTreeMap<String, u64> = BTreeMap::new();
    let mut directory = tempfile::tempdir().unwrap();
    let (mut next_row, mut forgotten) = (0, 0);
    for _ in 0..12 {
        let lines_max = 1 + below(6) as usize;
        let server = TestServer::start_in(directory, |config| {
            config.ingest.ledger_producers = lines_max;
            config.ingest.group_commit_ms = 2 * (lines_max as u64 % 2);
        })
        .await;
        let mut client = server.client().await;
        for _ in 0..60 {
            let (producer, name) = (format!("p{}", below(5)), ["t", "u"][below(2) as usize]);
            let epoch = epochs.entry(producer.clone()).or_default();
            *epoch += u64::from(below(4) == 0);
            let epoch = epoch.to_string();
            let headers = [("pintail-producer", producer.as_str()), ("pintail-epoch", epoch.as_str())];
            let line = known.entry((producer.clone(), name)).or_default();
            // As the client does: an empty stream to have one's turn, then the question.
            put_numbered_with(&mut client, name, &headers, &[]).await.unwrap();
            let body = format!("{{\"producer\": \"{producer}\"}}");
            let told = client.action_with("pintail.ingest_status", body).await.unwrap();
            let told = told["tables"][format!("main.{name}")]["seq"].as_u64();
            assert!(
                told == line.seq || told.is_none(),
                "{producer} into {name}: {told:?} instead of {line:?}"
            );
            forgotten += u64::from(told != line.seq);
            line.seq = told;
            // Sometimes it leaves it at that, and the next start finds a line that has begun and has no batch.
            for _ in 0..below(3) {
                let seq = line.seq.map_or(below(2), |seq| seq + 1);
                let answer = put_numbered_with(&mut client, name, &headers, &[(wells(next_row, 1), seq)])
                    .await
                    .unwrap();
                assert!(!answer.duplicate && answer.seq == Some(seq), "{answer:?}");
                (line.seq, next_row) = (Some(seq), next_row + 1);
                line.stored += 1;
            }
        }
        let stored = "SELECT count(*) + 1000000 * count(DISTINCT id) FROM (SELECT id FROM t UNION ALL SELECT id FROM u)";
        assert_eq!(number(&mut client, stored).await, next_row * 1_000_001);
        directory = server.stop().await;
        if below(2) == 0 {
            let database = open(file(directory.path()));
            let mut connection = database.connection().unwrap();
            let bounds = LedgerBounds { keys: 5, lines: lines_max, batches: 64 };
            let left: Vec<u64> = (0..2)
                .map(|_| {
                    connection.begin().unwrap();
                    let left = cut_ledger(&connection, bounds, &[]).unwrap();
                    connection.commit().unwrap();
                    left
                })
                .collect();
            assert_eq!(left[0], left[1], "a cut of what was cut changes nothing");
        }
    }
    let stored: u64 = known.values().map(|line| line.stored).sum();
    assert!(forgotten > 20 && stored == next_row as u64, "{forgotten} times forgotten, {stored} rows");
}

/// What is recorded while the table is being cut survives the cut, whichever of the two commits first; a producer that
/// is at work keeps its line although it is the oldest.
#[tokio::test]
async fn a_cut_beside_commits_loses_nothing() {
    let database = open(":memory:");
    let row = |producer: &'static str, seq: i64| LedgerRow {
        table: Some("main.t"),
        producer: Some(producer),
        epoch: Some(3),
        seq: Some(seq),
        rows: Some(seq + 1),
        checksum: Some(1),
        ..LedgerRow::default()
    };
    let setup = database.connection().unwrap();
    create_ledger(&setup).unwrap();
    for producer in ["at work", "quiet", "a", "b"] {
        for seq in 0..70 {
            append_ledger(&setup, &[row(producer, seq)]).unwrap();
        }
    }
    let bounds = LedgerBounds { keys: 1, lines: 2, batches: 64 };
    let at_work = [("at work", "main.t")];
    for commits_first in [true, false] {
        let mut writer = database.connection().unwrap();
        let mut cutter = database.connection().unwrap();
        let (open, late) = if commits_first { ("early", "early too") } else { ("late", "late too") };
        writer.begin().unwrap();
        append_ledger(&writer, &[row(open, 0)]).unwrap();
        cutter.begin().unwrap();
        cut_ledger(&cutter, bounds, &at_work).unwrap();
        append_ledger(&setup, &[row(late, 0)]).unwrap();
        if commits_first {
            writer.commit().unwrap();
            cutter.commit().unwrap();
        } else {
            cutter.commit().unwrap();
            writer.commit().unwrap();
        }
        let mut found: BTreeMap<String, i64> = BTreeMap::new();
        let has_table = read_ledger(&setup, &mut |row| {
            let newest = found.entry(row.producer.unwrap().to_owned()).or_default();
            *newest = (*newest).max(row.seq.unwrap());
        });
        assert!(has_table.unwrap());
        assert_eq!((found.get(open), found.get(late)), (Some(&0), Some(&0)), "{found:?}");
        assert_eq!(found.get("at work"), Some(&69), "{found:?}");
        assert!(!found.contains_key("quiet"), "{found:?}");
    }
}

/// A producer whose stream is open while more others write than are remembered goes on where it was, and its newer
/// instance still shuts it out; one that was away and forgotten is told so when it comes back.
#[tokio::test]
async fn a_producer_at_work_is_remembered_and_one_forgotten_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let database = open(file(directory.path()));
    let ingest = ingest(&database, 10, 3);
    let name = table("t");
    let old = ingest.claim_producer("p", 4, &name).await.unwrap();
    let crowd = async || {
        for n in 0..20 {
            drop(ingest.claim_producer(&format!("other {n}"), 1, &name).await.unwrap());
        }
    };
    crowd().await;
    let refused = ingest.claim_producer("p", 3, &name).await.err().unwrap();
    assert_eq!(refused.kind(), Kind::Aborted, "{refused}");
    assert!(refused.message().contains("fenced"), "{refused}");
    drop(old);
    crowd().await;
    // Nothing tells it from one that never came.
    drop(ingest.claim_producer("p", 3, &name).await.unwrap());

    let server = TestServer::start_with(|config| config.ingest.ledger_producers = 3).await;
    let mut client = server.client().await;
    let mut put = async |producer: &str, seq: u64| -> pintail::error::Result<PutAnswer> {
        let (batch, n) = (wells(seq as i64, 1), seq);
        put_numbered(&mut client, "t", producer, &[(batch, n)]).await
    };
    for seq in 0..3 {
        put("p", seq).await.unwrap();
    }
    for n in 0..5 {
        put(&format!("other {n}"), 0).await.unwrap();
    }
    let refused = put("p", 3).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    for part in
        ["producer \"p\"", "batch 3", "expected seq 0 or 1", "main.t", "forgotten", "ingest.ledger_producers"]
    {
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    put("p", 0).await.unwrap();
}

/// Keys and producers of any length and spelling that a header can carry, and epochs up to the last one, are known
/// after a restart as they were before.
#[tokio::test]
async fn odd_names_and_the_last_numbers_are_remembered() {
    let last = (i64::MAX as u64).to_string();
    let names = [
        "'; DROP TABLE t; --".to_owned(),
        "a\"b\\c $1 ? %s {}".to_owned(),
        "k".repeat(256),
        " x ".to_owned(),
    ];
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for name in &names {
        let first =
            put_with(&mut client, "t", &[wells(0, 3)], &[("pintail-idempotency-key", name)]).await.unwrap();
        assert!(!first.duplicate, "{name}");
        let headers = [("pintail-producer", name.as_str()), ("pintail-epoch", last.as_str())];
        put_numbered_with(&mut client, "t", &headers, &[(wells(0, 3), 1)]).await.unwrap();
    }
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let mut client = server.client().await;
    for name in &names {
        let again =
            put_with(&mut client, "t", &[wells(0, 3)], &[("pintail-idempotency-key", name)]).await.unwrap();
        assert!(again.duplicate, "{name}");
        let headers = [("pintail-producer", name.as_str()), ("pintail-epoch", last.as_str())];
        let again = put_numbered_with(&mut client, "t", &headers, &[(wells(0, 3), 1)]).await.unwrap();
        assert!(again.duplicate, "{name}");
        let older = [("pintail-producer", name.as_str()), ("pintail-epoch", "9223372036854775806")];
        let fenced = put_numbered_with(&mut client, "t", &older, &[(wells(0, 3), 2)]).await.unwrap_err();
        assert_eq!(fenced.kind(), Kind::Aborted, "{name}: {fenced}");
    }
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 2 * 3 * names.len() as i64);
}

/// What an in-memory database takes is committed and seen by all, but it survives nothing, and the answers say so.
#[tokio::test]
async fn nothing_in_memory_is_called_durable() {
    let server = TestServer::start_with(|config| config.database.path = ":memory:".to_owned()).await;
    let mut client = server.client().await;
    let key = [("pintail-idempotency-key", "k")];
    for (rows, headers) in [(1, vec![]), (200_000, vec![]), (1, key.to_vec()), (1, key.to_vec())] {
        let answer = put_with(&mut client, "t", &[wells(0, rows)], &headers).await.unwrap();
        assert!(!answer.durable && answer.rows == rows as u64, "{headers:?}: {answer:?}");
    }
    for commit in ["stream", "progress"] {
        let headers = [("pintail-producer", commit), ("pintail-commit", commit)];
        for duplicate in [false, true] {
            let answer = put_numbered_with(&mut client, "t", &headers, &[(wells(0, 1), 0)]).await.unwrap();
            assert!(!answer.durable && answer.duplicate == duplicate && answer.seq == Some(0), "{answer:?}");
        }
    }
    let (schema, options) = (wells(0, 0).schema(), ProducerOptions::default());
    let producer =
        Producer::open(&server.uri, Instance { producer: "p", epoch: 1 }, table("made"), schema, options)
            .await
            .unwrap();
    producer.send(wells(0, 10)).await.unwrap();
    let stored = producer.close().await.unwrap();
    assert_eq!((stored.seq, stored.rows), (Some(0), 10));
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 1 + 200_000 + 1 + 2);
}
