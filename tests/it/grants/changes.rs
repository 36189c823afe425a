//! Puts, and grants that change while their users are at work.

use pintail::error::Kind;
use serde_json::json;

use super::{client, granted};
use crate::support::batches::{batch, ids};
use crate::support::calls::{number, put, put_with, query_error, rows};

#[tokio::test]
async fn puts_take_the_right_to_ingest() {
    let server = granted().await;
    let rows = [batch(vec![("a", ids(&[5]))])];
    for (name, table, mode, is_denied) in [
        ("rita", "open_table", "append", true),
        ("ada", "open_table", "append", true),
        ("ada", "fresh", "create", true),
        ("wanda", "open_table", "append", false),
        ("wanda", "made_by_wanda", "create_append", false),
        ("wanda", "open_table", "replace", true),
        ("walter", "open_table", "append", false),
        ("walter", "open_table", "replace", true),
        ("walter", "s.made", "create_append", false),
        ("walter", "s.made", "replace", false),
        ("walter", "made_by_walter", "create_append", true),
        ("walter", "other.secret", "append", true),
        ("walter", "other.nothing", "create_append", true),
        ("walter", "pintail_internal.grants", "append", true),
    ] {
        let mut client = client(&server, name).await;
        let found = put(&mut client, table, &rows, mode).await;
        match (is_denied, found) {
            (false, Ok(answer)) => assert_eq!(answer.rows, 1),
            (true, Err(error)) => assert_eq!(error.kind(), Kind::Denied, "{name} {table} {mode}: {error}"),
            (_, found) => panic!("{name} {table} {mode}: {found:?}"),
        }
    }
    // Into a table that is granted in part, rows are added, and not compared with those that are there.
    let mut walter = client(&server, "walter").await;
    let part = [batch(vec![("field_code", ids(&[7]))])];
    put(&mut walter, "wells", &part, "append").await.unwrap();
    for headers in
        [("pintail-on-conflict", "ignore"), ("pintail-on-conflict", "replace"), ("pintail-mode", "replace")]
    {
        let error = put_with(&mut walter, "wells", &part, &[headers]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{headers:?}: {error}");
    }
    assert_eq!(number(&mut walter, "SELECT count(*) FROM wells").await, 101);
}

/// A grant holds from the next statement on, in sessions that are there already; without any grant left, the role means what
/// it says again.
#[tokio::test]
async fn grants_change_at_the_next_statement() {
    let server = granted().await;
    let (mut root, mut ada) = (client(&server, "root").await, client(&server, "ada").await);
    let count = "SELECT count(*) FROM wells";
    assert_eq!(number(&mut ada, count).await, 100);
    let grant = |filter: &str| {
        json!({ "user": "ada", "on": "main.wells", "rights": ["read"], "where": filter }).to_string()
    };
    root.action_with("pintail.grant", grant("field_code IN (7, 8)")).await.unwrap();
    assert_eq!(number(&mut ada, count).await, 200);
    root.action_with("pintail.grant", grant("name = 'it''s -- not there'")).await.unwrap();
    assert_eq!(number(&mut ada, count).await, 0);
    let revoke = |on: &str| json!({ "user": "ada", "on": on }).to_string();
    root.action_with("pintail.revoke", revoke("main.wells")).await.unwrap();
    assert_eq!(query_error(&mut ada, count).await.kind(), Kind::Denied);
    let gone = root.action_with("pintail.revoke", revoke("main.wells")).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound, "{gone}");
    for on in ["main.open_table", "s.*"] {
        root.action_with("pintail.revoke", revoke(on)).await.unwrap();
    }
    assert_eq!(number(&mut ada, count).await, 1000);
}

/// The window follows its table; a condition that fits no more denies, and does not show.
#[tokio::test]
async fn windows_follow_their_table() {
    let server = granted().await;
    let (mut root, mut ada) = (client(&server, "root").await, client(&server, "ada").await);
    let columns = "SELECT column_name FROM (DESCRIBE wells)";
    assert_eq!(number(&mut ada, "SELECT count(*) FROM wells").await, 100);
    rows(&mut root, "ALTER TABLE wells ADD COLUMN gas DOUBLE DEFAULT 1").await.unwrap();
    assert_eq!(number(&mut ada, "SELECT count(gas) FROM wells").await, 100);
    rows(&mut root, "INSERT INTO wells VALUES (7, '5', 1, 1), (8, 'secret', 1, 1)").await.unwrap();
    assert_eq!(number(&mut ada, "SELECT count(*) FROM wells").await, 101);
    rows(&mut root, "ALTER TABLE wells RENAME field_code TO code").await.unwrap();
    let error = query_error(&mut ada, "FROM wells").await;
    assert_eq!(error.kind(), Kind::Denied, "{error}");
    assert!(rows(&mut ada, columns).await.is_err());
}

#[tokio::test]
async fn grants_that_do_not_fit_are_refused() {
    let server = granted().await;
    let mut root = client(&server, "root").await;
    for (body, part) in [
        (
            json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "nothing = 1" }),
            "nothing",
        ),
        (json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "hide": ["nothing"] }), "nothing"),
        (
            json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "1 = 1) OR (1 = 1" }),
            "where",
        ),
        (
            json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "true; DROP TABLE wells" }),
            "where",
        ),
        (
            json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "oil IN (SELECT field_code FROM other.secret)" }),
            "subqueries",
        ),
        (
            json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "field_code = $1" }),
            "parameter",
        ),
        (json!({ "user": "rita", "on": "main.wells", "rights": ["read"], "where": "oil > ?" }), "parameter"),
        (json!({ "user": "rita", "on": "s.*", "rights": ["read"], "where": "a = 1" }), "one table"),
        (json!({ "user": "eve", "on": "main.wells", "rights": ["read"] }), "no user \"eve\""),
        (json!({ "user": "rita", "on": "main.wells", "rights": ["ingest"], "where": "oil = 1" }), "read"),
        (json!({ "user": "rita", "on": "main.wells", "rights": [] }), "at least one"),
        (json!({ "user": "rita", "on": "main.wells", "rights": ["rule"] }), "rule"),
        (json!({ "user": "rita", "on": "*.wells", "rights": ["read"] }), "*.wells"),
        (json!({ "user": "", "on": "main.wells", "rights": ["read"] }), "name"),
        (json!({ "on": "main.wells", "rights": ["read"] }), "user"),
    ] {
        let error = root.action_with("pintail.grant", body.to_string()).await.expect_err(&body.to_string());
        assert!(error.message().contains(part), "{body}: {error}");
    }
    assert_eq!(number(&mut root, "SELECT count(*) FROM wells").await, 1000);
}

/// A name that is nobody's is a slip, unless it is said to be somebody who is still to come; names may have any letters.
#[tokio::test]
async fn grants_say_whom_they_hold() {
    let server = granted().await;
    let mut root = client(&server, "root").await;
    let body = json!({ "user": "eve", "new_user": true, "on": "main.wells", "rights": ["read"] });
    let answer = root.action_with("pintail.grant", body.to_string()).await.unwrap();
    assert!(answer["role"].is_null() && answer["grants"].as_array().unwrap().len() == 1, "{answer}");
    rows(&mut root, "CREATE TABLE \"a.b\" AS SELECT 1 AS x").await.unwrap();
    let mut rita = client(&server, "rita").await;
    let body = json!({ "user": "rita", "on": "main.\"a.b\"", "rights": ["read"] });
    let answer = root.action_with("pintail.grant", body.to_string()).await.unwrap();
    assert!(answer["role"] == "reader" && answer["grant"]["on"] == "main.\"a.b\"", "{answer}");
    assert_eq!(number(&mut rita, "SELECT x FROM \"a.b\"").await, 1);
    assert_eq!(query_error(&mut rita, "FROM wells").await.kind(), Kind::Denied);
    let body = json!({ "user": "rita", "on": "\"a.b\"" });
    assert_eq!(root.action_with("pintail.revoke", body.to_string()).await.unwrap()["grants_left"], 0);
}

#[tokio::test]
async fn a_view_says_where_its_right_is_missing() {
    let server = granted().await;
    let mut wanda = client(&server, "wanda").await;
    let error = query_error(&mut wanda, "CREATE OR REPLACE VIEW s.mine AS SELECT 1 AS x").await;
    assert!(error.message().contains("`pintail grant define --on s.mine --to wanda`"), "{error}");
    let error = query_error(&mut wanda, "CREATE VIEW IF NOT EXISTS mine AS SELECT 1 AS x").await;
    assert!(error.message().contains("--on main.mine"), "{error}");
}
