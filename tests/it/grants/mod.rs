//! What users may do: roles, grants, row filters and hidden columns, on every way in.

mod attacks;
mod changes;
mod hidden;
mod listings;
mod ways;

use pintail::auth::{Role, hash_password};
use pintail::client::Client;
use pintail::config::{Secret, User};
use serde_json::json;

use crate::identity::{PASSWORD, user, users};
use crate::support::calls::rows;
use crate::support::server::TestServer;

/// Tables of two customers and of nobody else, with words that must never come out.
const MADE: [&str; 21] = [
    "CREATE SCHEMA s",
    "CREATE SCHEMA other",
    "CREATE TABLE wells (field_code BIGINT, name VARCHAR, oil DOUBLE)",
    "INSERT INTO wells SELECT i % 10, CASE i % 10 WHEN 7 THEN i::VARCHAR ELSE 'secret' || i END, i FROM range(1000) r(i)",
    "CREATE TABLE open_table (a BIGINT, b VARCHAR)",
    "INSERT INTO open_table VALUES (1, 'x'), (2, 'y')",
    "CREATE TABLE s.t (a BIGINT PRIMARY KEY, b VARCHAR)",
    "INSERT INTO s.t VALUES (1, 'one')",
    "CREATE TABLE other.secret (field_code BIGINT PRIMARY KEY, token VARCHAR)",
    "INSERT INTO other.secret VALUES (7, 'hush')",
    "CREATE VIEW s.over_wells AS SELECT * FROM main.wells",
    "CREATE VIEW s.shown AS SELECT token FROM other.secret",
    "CREATE MACRO most() AS (SELECT max(oil) FROM wells)",
    "CREATE MACRO all_of() AS TABLE SELECT * FROM other.secret",
    "CREATE SEQUENCE ids",
    "COMMENT ON TABLE other.secret IS 'hush'",
    "CREATE TYPE other.mood AS ENUM ('hush', 'ok')",
    "CREATE TYPE feeling AS ENUM ('hush', 'ok')",
    "CREATE TYPE s.open_mood AS ENUM ('fine', 'ok')",
    "CREATE SEQUENCE s.numbers",
    "CREATE TABLE other.numbered (id BIGINT DEFAULT nextval('s.numbers'))",
];

/// A server with the users `root`, `wanda` (writer) and `rita` (reader) without grants, and `ada` (reader) and `walter` (writer)
/// with the same grants: a part of `wells`, all of `open_table`, and the schema `s`.
async fn granted() -> TestServer {
    let server = TestServer::start_with(|config| {
        users(config);
        let hash = hash_password(PASSWORD).unwrap();
        for (name, role) in [("ada", Role::Reader), ("walter", Role::Writer)] {
            let password_hash = Secret::new(hash.clone());
            config.auth.users.push(User { name: name.to_owned(), role, password_hash, grants: Vec::new() });
        }
    })
    .await;
    let mut root = client(&server, "root").await;
    for sql in MADE {
        rows(&mut root, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    for name in ["ada", "walter"] {
        for (on, rights, filter, hide) in [
            ("main.wells", vec!["read", "ingest"], Some("field_code = 7"), vec!["field_code"]),
            ("main.open_table", vec!["read", "ingest"], None, vec![]),
            ("s.*", vec!["read", "ingest", "define"], None, vec![]),
        ] {
            let mut body = json!({ "user": name, "on": on, "rights": rights, "hide": hide });
            if let Some(filter) = filter {
                body["where"] = filter.into();
            }
            root.action_with("pintail.grant", body.to_string()).await.unwrap();
        }
    }
    server
}

async fn client(server: &TestServer, name: &str) -> Client {
    server.client_as(&user(name, PASSWORD)).await.unwrap()
}
