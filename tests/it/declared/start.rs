//! A server over declarations: its folder, its actions, and the starts that it refuses.

use std::path::Path;

use pintail::error::Kind;
use pintail::server::Server;
use serde_json::json;

use super::apply::BASE;
use super::declared;
use crate::support::calls::{number, query_error, rows};
use crate::support::server::{TestServer, config};

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

#[tokio::test]
async fn the_server_applies_its_folder_and_hides_its_own_schema() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = directory.path().join("declared");
    write(&schemas, "t.toml", BASE);
    let folder = schemas.clone();
    let server = TestServer::start_in(directory, |config| config.schemas.dir = Some(folder)).await;
    let mut client = server.client().await;
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    assert_eq!(number(&mut client, "SELECT count(*) FROM pintail_internal.schema_versions").await, 1);
    let listed = client.list().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let answer = client.action("pintail.schemas").await.unwrap();
    let table = &answer["tables"][0];
    assert_eq!(
        (&table["name"], &table["version"], &table["difference"]),
        (&json!("t"), &json!(1), &json!(null))
    );
    assert_eq!(table["fingerprint"], table["recorded_fingerprint"]);
    // Drift is seen, and a table that is gone as well.
    rows(&mut client, "ALTER TABLE t ALTER COLUMN price SET DEFAULT 3").await.unwrap();
    let answer = client.action("pintail.schemas").await.unwrap();
    assert!(answer["tables"][0]["difference"][0].as_str().unwrap().contains("default of price"), "{answer}");
    let answer = client.action_with("pintail.schemas", json!({ "table": "T" }).to_string()).await.unwrap();
    let shown = answer["actual"]["declaration"].as_str().unwrap();
    assert_eq!(declared(shown)[0].fields[2].default.as_deref(), Some("CAST('3.00' AS DECIMAL(5, 2))"));
    // Started again, the server finds its tables as they were declared.
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |config| config.schemas.dir = Some(schemas)).await;
    let answer = server.client().await.action("pintail.schemas").await.unwrap();
    assert_eq!(answer["tables"][0]["difference"], json!(null));
    server.stop().await;
}

#[tokio::test]
async fn declarations_applied_by_an_action_are_in_force_also_after_a_start_without_a_folder() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let body = |text: &str| json!({ "files": [{ "name": "t.toml", "text": text }] }).to_string();
    let plan = client.action_with("pintail.schema_plan", body(BASE)).await.unwrap();
    assert!(plan["text"].as_str().unwrap().contains("t: create, version 1"), "{plan}");
    assert!(query_error(&mut client, "FROM t").await.message().contains("does not exist"));
    client.action_with("pintail.schema_apply", body(BASE)).await.unwrap();
    assert_eq!(number(&mut client, "SELECT count(*) FROM t").await, 0);
    let wrong = client.action_with("pintail.schema_plan", body("mode = 'x'\nfoo = 1")).await.unwrap();
    assert_eq!(wrong["problems"].as_array().unwrap().len(), 3, "{wrong}");
    let wrong = client.action_with("pintail.schema_apply", body("mode = 'x'")).await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Invalid);
    let refused = client.action_with("pintail.schema_apply", body(&BASE.replace("int32", "int8"))).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Conflict);
    let bad = client.action_with("pintail.schema_plan", "{\"fils\": []}".into()).await.unwrap_err();
    assert!(bad.message().contains("files"), "{bad}");
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, |_| {}).await;
    let answer = server.client().await.action("pintail.schemas").await.unwrap();
    assert_eq!((&answer["tables"][0]["name"], &answer["tables"][0]["version"]), (&json!("t"), &json!(1)));
    server.stop().await;
}

/// A start with wrong declarations, or with declarations the database does not fit, says everything and does nothing.
#[tokio::test]
async fn a_start_is_refused_with_every_problem_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let schemas = directory.path().join("declared");
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int46'");
    write(&schemas, "b.toml", "primary_key = ['y']\n[[field]]\nname = 'x'\ntype = 'int8'\ndefault = 'q'");
    let mut config = config(directory.path());
    config.schemas.dir = Some(schemas.clone());
    let refusal = |error: pintail::error::Error| {
        assert_eq!(error.kind(), Kind::Invalid);
        error.message().to_owned()
    };
    let message = refusal(Server::start(&config).await.err().unwrap());
    for part in ["3 problems", "a.toml:3", "b.toml:1", "b.toml:5"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    assert!(!Path::new(&config.database.path).exists(), "the database was made");
    // A first version of two tables, and then two contradictions, beside a table that would be fine.
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int64'");
    write(&schemas, "b.toml", "[[field]]\nname = 'x'\ntype = 'string'");
    Server::start(&config).await.unwrap().stop().await.unwrap();
    write(&schemas, "a.toml", "[[field]]\nname = 'x'\ntype = 'int32'");
    write(&schemas, "b.toml", "[[field]]\nname = 'y'\ntype = 'string'");
    write(&schemas, "c.toml", "[[field]]\nname = 'x'\ntype = 'int64'");
    let message = refusal(Server::start(&config).await.err().unwrap());
    for part in ["a: refused", "narrows", "b: refused", "drop column x", "c: create"] {
        assert!(message.contains(part), "{message} lacks {part}");
    }
    // Differences are only told when the start is not to apply anything.
    config.schemas.apply_at_start = false;
    let server = Server::start(&config).await.unwrap();
    let uri = format!("grpc://{}", server.flight_addr());
    let running = tokio::spawn(
        server.run_until(tokio::time::sleep(std::time::Duration::from_secs(2)), std::future::pending()),
    );
    let mut client = pintail::client::Client::connect(&uri).await.unwrap();
    let answer = client.action("pintail.schemas").await.unwrap();
    let exists: Vec<bool> =
        answer["tables"].as_array().unwrap().iter().map(|one| one["exists"] == json!(true)).collect();
    assert_eq!(exists, [true, true, false]);
    drop(client);
    running.await.unwrap().unwrap();
}
