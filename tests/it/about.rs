//! What the server tells of itself in SQL: queries, puts, producers, settings, metrics, and what was accounted for.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt64Type};
use pintail::client::Client;
use pintail::config::Statements;
use pintail::error::Kind;
use serde_json::json;

use crate::identity::{PASSWORD, token, user, users};
use crate::support::batches::wells;
use crate::support::calls::{put, rows};
use crate::support::server::TestServer;

/// The only column of a query, as text.
async fn texts(client: &mut Client, sql: &str) -> Vec<String> {
    let batches = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |batch: &RecordBatch| -> Vec<String> {
        batch.column(0).as_string::<i32>().iter().map(|text| text.unwrap_or("NULL").to_owned()).collect()
    };
    batches.iter().flat_map(text).collect()
}

async fn number(client: &mut Client, sql: &str) -> u64 {
    let batches = rows(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    batches[0].column(0).as_primitive::<UInt64Type>().value(0)
}

/// Waits until a query gives this: a call is recorded once it has ended, which its client may see before.
async fn becomes(client: &mut Client, sql: &str, expected: &[&str]) {
    let started = Instant::now();
    loop {
        let found = texts(client, sql).await;
        if found == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "{sql}: {found:?} is not {expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn statements_are_listed_with_their_words_and_without_literals() {
    let server = TestServer::start().await;
    let client = &mut server.client().await;
    put(client, "wells", &[wells(0, 100)], "create").await.unwrap();
    rows(client, "SELECT count(*) FROM wells WHERE 'secret' <> 'hush' /* secret */").await.unwrap();
    rows(client, "SELECT 'secret'::INTEGER").await.unwrap_err();
    let of = "FROM pintail.queries WHERE method = 'DoGet' AND statement LIKE";
    becomes(
        client,
        &format!("SELECT statement {of} '%wells%'"),
        &["SELECT count(*) FROM wells WHERE ? <> ?"],
    )
    .await;
    becomes(
        client,
        &format!("SELECT concat_ws(' ', outcome, status, \"user\", \"rows\", tables) {of} '%wells%'"),
        &["ok OK anonymous 1 wells"],
    )
    .await;
    becomes(
        client,
        "SELECT DISTINCT concat_ws(' ', outcome, status, regexp_matches(error, 'secret')) FROM pintail.queries \
         WHERE statement = 'SELECT ?::INTEGER'",
        &["failed INVALID_ARGUMENT false"],
    )
    .await;
    let all = texts(client, "SELECT to_json(q)::VARCHAR FROM pintail.queries q").await.join("\n");
    assert!(!all.contains("secret") && !all.contains("hush"), "{all}");
    // The statement that asks is under way itself.
    assert_eq!(
        texts(
            client,
            "SELECT outcome FROM pintail.queries WHERE statement LIKE '%ORDER BY id + ?%' ORDER BY id + 0"
        )
        .await,
        ["running"]
    );
    // Joined with a table of one's own, grouped by what is the same but for its literals.
    let joined = "SELECT q.statement FROM pintail.queries q JOIN (SELECT DISTINCT 'wells' AS name FROM wells) t \
                  ON list_contains(q.tables, t.name) WHERE q.method = 'DoGet' AND q.outcome = 'ok' AND q.statement NOT LIKE '%pintail%'";
    assert_eq!(texts(client, joined).await, ["SELECT count(*) FROM wells WHERE ? <> ?"]);
}

#[tokio::test]
async fn all_of_a_statement_shows_where_that_is_set() {
    let server = TestServer::start_with(|config| config.log.statements = Statements::Full).await;
    let client = &mut server.client().await;
    rows(client, "SELECT 'in full'").await.unwrap();
    becomes(
        client,
        "SELECT statement FROM pintail.queries WHERE method = 'DoGet' AND NOT contains(statement, 'pintail')",
        &["SELECT 'in full'"],
    )
    .await;
}

#[tokio::test]
async fn puts_producers_and_settings_are_listed() {
    let server = TestServer::start_with(|config| config.log.recent = 3).await;
    let client = &mut server.client().await;
    for rows in 1..=5 {
        put(client, "wells", &[wells(0, rows)], "create_append").await.unwrap();
    }
    put(client, "wells", &[wells(0, 1)], "create").await.unwrap_err();
    let kept = "SELECT concat_ws(' ', \"table\", outcome, \"rows\") FROM pintail.ingest ORDER BY id";
    becomes(client, kept, &["wells ok 4", "wells ok 5", "wells failed 0"]).await;
    let stages = rows(
        client,
        "SELECT min(append_ms + commit_ms + queue_ms) AS least, min(bytes) AS bytes FROM pintail.ingest WHERE outcome = 'ok'",
    )
    .await
    .unwrap();
    assert!(stages[0].column(0).as_primitive::<Float64Type>().value(0) > 0.0);
    assert!(stages[0].column(1).as_primitive::<UInt64Type>().value(0) > 0);
    assert_eq!(texts(client, "SELECT value FROM pintail.settings WHERE name = 'log.recent'").await, ["3"]);
    assert_eq!(texts(client, "SELECT producer FROM pintail.producers").await, Vec::<String>::new());
    let numbers = "SELECT count(DISTINCT id)::UBIGINT FROM pintail.queries";
    assert!(number(client, numbers).await <= 4, "the ring holds three, and one is under way");
    assert!(
        number(client, "SELECT count(*)::UBIGINT FROM pintail.metrics WHERE name = 'pintail_calls_total'")
            .await
            > 0
    );
}

#[tokio::test]
async fn everybody_sees_their_own_and_an_admin_all() {
    let server = TestServer::start_with(users).await;
    let root = &mut server.client_as(&user("root", PASSWORD)).await.unwrap();
    let rita = &mut server.client_as(&user("rita", PASSWORD)).await.unwrap();
    let wanda = &mut server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    rows(root, "CREATE TABLE t AS SELECT 1 AS a").await.unwrap();
    rows(rita, "SELECT a AS of_rita FROM t").await.unwrap();
    put(wanda, "wells", &[wells(0, 3)], "create").await.unwrap();
    rows(wanda, "SELECT a AS of_wanda FROM t").await.unwrap();
    let seen = "SELECT DISTINCT \"user\" FROM pintail.queries WHERE outcome <> 'running' ORDER BY ALL";
    becomes(root, seen, &["rita", "root", "wanda"]).await;
    becomes(rita, seen, &["rita"]).await;
    becomes(wanda, seen, &["wanda"]).await;
    assert_eq!(texts(rita, "SELECT \"table\" FROM pintail.ingest").await, Vec::<String>::new());
    becomes(wanda, "SELECT \"table\" FROM pintail.ingest", &["wells"]).await;
    for table in ["audit", "settings", "metrics"] {
        let refused = rows(wanda, &format!("SELECT * FROM pintail.{table}")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied, "{refused}");
        assert!(refused.message().contains("for admins"), "{refused}");
    }
    // A token of hers shows what was done by it alone.
    let body = json!({ "name": "ci", "role": "reader" }).to_string();
    let made = wanda.action_with("pintail.token_add", body).await.unwrap();
    let ci = &mut server.client_as(&token(made["token"].as_str().unwrap())).await.unwrap();
    let by_token = "SELECT DISTINCT concat(\"user\", ' ', token) FROM pintail.queries ORDER BY ALL";
    becomes(ci, by_token, &["wanda ci"]).await;
    becomes(wanda, by_token, &["wanda ", "wanda ci"]).await;
    // With grants for another table alone, one's own are there as well.
    let grant = json!({ "user": "rita", "on": "main.wells", "rights": ["read"] });
    root.action_with("pintail.grant", grant.to_string()).await.unwrap();
    let own = texts(rita, "SELECT DISTINCT \"user\" FROM pintail.queries WHERE outcome <> 'running'").await;
    assert_eq!(own, ["rita"]);
    assert_eq!(rows(rita, "SELECT * FROM pintail.audit").await.unwrap_err().kind(), Kind::Denied);
}

#[tokio::test]
async fn what_was_done_is_accounted_for() {
    let server = TestServer::start_with(users).await;
    let root = &mut server.client_as(&user("root", PASSWORD)).await.unwrap();
    let rita = &mut server.client_as(&user("rita", PASSWORD)).await.unwrap();
    let stranger = &mut server.client_as(&user("rita", "gu3ssed")).await.unwrap();
    rows(root, "CREATE TABLE t (a BIGINT)").await.unwrap();
    rows(root, "INSERT INTO t VALUES (17)").await.unwrap();
    put(root, "wells", &[wells(0, 3)], "create").await.unwrap();
    rows(rita, "SELECT a FROM t WHERE a = 17").await.unwrap();
    rows(rita, "INSERT INTO t VALUES (18)").await.unwrap_err();
    put(rita, "wells", &[wells(0, 3)], "append").await.unwrap_err();
    rows(stranger, "SELECT 1").await.unwrap_err();
    rita.action("pintail.checkpoint").await.unwrap_err();
    root.action("pintail.checkpoint").await.unwrap();
    let grant = json!({ "user": "rita", "on": "main.t", "rights": ["read"], "where": "a = 4711" });
    root.action_with("pintail.grant", grant.to_string()).await.unwrap();
    rows(root, "SELECT * FROM nowhere").await.unwrap_err();
    let expected: HashSet<&str> = HashSet::from([
        "root login ok  ",
        "rita login ok  ",
        "rita login refused  ",
        "root define ok CREATE TABLE t (a BIGINT) t",
        "root write ok INSERT INTO t VALUES (?) t",
        "root write ok wells wells",
        "rita read ok SELECT a FROM t WHERE a = ? t",
        "rita write refused INSERT INTO t VALUES (?) t",
        "rita write refused wells wells",
        "rita action refused pintail.checkpoint ",
        "root action ok pintail.checkpoint ",
        "root access ok pintail.grant user=rita on=main.t rights=read ",
        "root read failed SELECT * FROM nowhere nowhere",
    ]);
    let started = Instant::now();
    let sql = "SELECT DISTINCT concat(\"user\", ' ', action, ' ', outcome, ' ', what, ' ', array_to_string(tables, ',')) \
               FROM pintail.audit WHERE NOT contains(what, 'pintail.audit')";
    loop {
        let found = texts(root, sql).await;
        let found: HashSet<&str> = found.iter().map(String::as_str).collect();
        if found == expected {
            break;
        }
        let differ: Vec<_> = found.symmetric_difference(&expected).collect();
        assert!(started.elapsed() < Duration::from_secs(10), "{differ:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = texts(root, "SELECT to_json(a)::VARCHAR FROM pintail.audit a").await.join("\n");
    assert!(!all.contains("4711") && !all.contains(PASSWORD) && !all.contains("gu3ssed"), "{all}");
}

/// A statement that is stopped, and one whose client leaves, are told from those that fail.
#[tokio::test]
async fn a_statement_that_runs_out_of_time_was_cancelled() {
    let server = TestServer::start().await;
    let client = &mut server.client().await;
    let long = "SELECT count(*) FROM range(100000000000) r(i) WHERE i % 7 = 3";
    let running = &mut server.client().await;
    let asked = tokio::time::timeout(Duration::from_millis(300), rows(running, long)).await;
    assert!(asked.is_err(), "the statement should not have ended");
    let sql =
        "SELECT DISTINCT outcome FROM pintail.queries WHERE statement LIKE '%i % ? = ?' AND method = 'DoGet'";
    becomes(client, sql, &["cancelled"]).await;
    let sql = "SELECT outcome FROM pintail.audit WHERE action = 'read' AND what LIKE '%i % ? = ?'";
    becomes(client, sql, &["cancelled"]).await;
}
