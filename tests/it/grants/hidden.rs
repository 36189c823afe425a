//! Hidden columns, and what is behind a name: in errors, listings, and beside generated columns.

use pintail::error::Kind;
use serde_json::{Value, json};

use super::{client, granted};
use crate::support::batches::{batch, ids};
use crate::support::calls::{number, put, query_error, rows};

const MADE: [&str; 6] = [
    "CREATE TABLE calls (customer VARCHAR PRIMARY KEY CHECK (length(customer) < 9), id BIGINT, mood other.mood, \
     short VARCHAR GENERATED ALWAYS AS (customer[:2]), twice BIGINT GENERATED ALWAYS AS (id * 2))",
    "INSERT INTO calls (customer, id, mood) SELECT 'hush' || i, i % 20, 'ok' FROM range(100) r(i)",
    "CREATE SCHEMA keys",
    "CREATE TABLE keys.parent (id BIGINT PRIMARY KEY)",
    "CREATE TABLE keys.childsecret (id BIGINT REFERENCES keys.parent (id))",
    "CREATE VIEW s.over_secret AS SELECT count(*) AS n FROM other.secret",
];

#[tokio::test]
async fn hidden_names_stay_hidden() {
    let server = granted().await;
    let mut root = client(&server, "root").await;
    for sql in MADE {
        rows(&mut root, sql).await.unwrap();
    }
    let grant = |user: &str, hide: &[&str]| {
        let rights = if user == "ada" { vec!["read"] } else { vec!["read", "ingest"] };
        json!({ "user": user, "on": "main.calls", "rights": rights, "where": "id < 10 AND length(customer) > 1", "hide": hide })
            .to_string()
    };
    // A visible column that is computed from a hidden one would show it.
    for hide in [&["customer"][..], &["mood", "CUSTOMER"]] {
        let error = root.action_with("pintail.grant", grant("ada", hide)).await.unwrap_err();
        assert!(error.message().contains("column short") && error.message().contains("customer"), "{error}");
    }
    for user in ["ada", "walter"] {
        root.action_with("pintail.grant", grant(user, &["customer", "mood", "short"])).await.unwrap();
    }
    let body = json!({ "user": "walter", "on": "keys.parent", "rights": ["read", "ingest", "define"] });
    root.action_with("pintail.grant", body.to_string()).await.unwrap();
    let (mut ada, mut walter) = (client(&server, "ada").await, client(&server, "walter").await);
    assert_eq!(number(&mut ada, "SELECT count(twice) FROM calls").await, 50);
    for listing in ["duckdb_columns()", "information_schema.columns"] {
        let sql = format!("SELECT count(*) FROM {listing} WHERE generation_expression IS NOT NULL");
        assert_eq!(number(&mut ada, &sql).await, 0, "{listing}");
        assert_eq!(number(&mut root, &sql).await, 2, "{listing}");
    }
    // Errors.
    let wrong =
        put(&mut walter, "calls", &[batch(vec![("custome", ids(&[1]))])], "append").await.unwrap_err();
    let mut told = vec![wrong.message().to_owned()];
    for sql in [
        "INSERT INTO calls (customer, id, mood) VALUES ('q', 1, 'nope')",
        "INSERT INTO calls (customer, id, mood) VALUES ('q', 1, DATE '2026-01-01')",
        "INSERT INTO calls VALUES ('longer than nine', 1, 'ok')",
        "INSERT INTO calls (id) VALUES (1)",
        "DROP TABLE keys.parent",
        "DROP TABLE keys.parent CASCADE",
        "DROP SCHEMA s",
        "DROP SCHEMA s CASCADE",
        "ALTER TABLE keys.parent DROP COLUMN id",
        "FROM s.over_secret",
        "FROM all_of()",
        "DELETE FROM s.t WHERE a = (SELECT max(n) FROM s.over_secret)",
    ] {
        let error = query_error(&mut walter, sql).await;
        told.push(format!("{sql}\n  {error}"));
        let text = error.message();
        for word in ["customer", "hush", "childsecret", "numbered", "numbers", "other.secret", "short"] {
            assert!(sql.contains(word) || !text.contains(word), "{sql}: {text}");
        }
    }
    assert!(
        told[0].contains("custome\"") && !told[0].contains("customer") && !told[0].contains("short"),
        "{told:#?}"
    );
    assert_eq!(number(&mut root, "SELECT count(*) FROM other.numbered").await, 0);
    // Grants as their holder sees them.
    let own: Value = ada.action("pintail.grants").await.unwrap();
    let own = own.to_string();
    assert!(own.contains("main.calls") && own.contains("in_part"), "{own}");
    assert!(!own.contains("customer") && !own.contains("field_code"), "{own}");
    // A table that is made anew, so that a visible column shows a hidden one, is denied and not shown.
    rows(&mut root, "DROP TABLE calls").await.unwrap();
    let anew = "CREATE TABLE calls (customer VARCHAR, id BIGINT, mood BIGINT, short BIGINT, own VARCHAR GENERATED ALWAYS AS (customer))";
    rows(&mut root, anew).await.unwrap();
    let error = query_error(&mut ada, "SELECT own FROM calls").await;
    assert_eq!(error.kind(), Kind::Denied, "{error}");
}

/// A whole schema of one's own may be dropped with what is in it, if nothing of others goes with it.
#[tokio::test]
async fn what_is_ones_own_may_be_dropped_with_what_depends_on_it() {
    let server = granted().await;
    let (mut root, mut walter) = (client(&server, "root").await, client(&server, "walter").await);
    for sql in ["CREATE TABLE s.kept (a BIGINT)", "CREATE INDEX i ON s.kept (a)", "DROP TABLE s.kept CASCADE"]
    {
        rows(&mut walter, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    assert_eq!(query_error(&mut walter, "DROP SCHEMA s CASCADE").await.kind(), Kind::Denied);
    for sql in ["DROP TABLE other.numbered", "DROP SEQUENCE s.numbers"] {
        rows(&mut root, sql).await.unwrap();
    }
    // The type is an admin's as well.
    assert_eq!(query_error(&mut walter, "DROP SCHEMA s CASCADE").await.kind(), Kind::Denied);
    rows(&mut root, "DROP TYPE s.open_mood").await.unwrap();
    rows(&mut walter, "DROP SCHEMA s CASCADE").await.unwrap();
    assert_eq!(number(&mut root, "SELECT count(*) FROM duckdb_tables() WHERE schema_name = 's'").await, 0);
}

/// Whoever sees everything sees no windows of others: their conditions and hidden columns.
#[tokio::test]
async fn nobody_lists_the_windows_of_others() {
    let server = granted().await;
    let (mut ada, mut rita) = (client(&server, "ada").await, client(&server, "rita").await);
    assert_eq!(number(&mut ada, "SELECT count(*) FROM wells").await, 100);
    for sql in [
        "SELECT count(*) FROM duckdb_views() WHERE sql LIKE '%EXCLUDE%' OR database_name = 'pintail_access'",
        "SELECT count(*) FROM sqlite_master WHERE sql LIKE '%EXCLUDE%'",
        "SELECT count(*) FROM pg_catalog.pg_views WHERE definition LIKE '%EXCLUDE%'",
        "SELECT count(*) FROM duckdb_columns() WHERE database_name = 'pintail_access'",
        "SELECT count(*) FROM information_schema.tables WHERE table_catalog = 'pintail_access'",
        "SELECT count(*) FROM duckdb_schemas() WHERE database_name = 'pintail_access'",
    ] {
        assert_eq!(number(&mut rita, sql).await, 0, "{sql}");
    }
}
