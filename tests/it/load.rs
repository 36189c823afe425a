//! `pintail.load`: files of the server's machine, by whoever may put rows into the table, from where the operator allows.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use arrow_flight::Action;
use futures::TryStreamExt;
use pintail::client::{Client, from_status};
use pintail::config::Config;
use pintail::error::{Error, Kind};
use serde_json::{Value, json};

use crate::identity::{PASSWORD, user, users};
use crate::support::calls::{number, rows};
use crate::support::server::TestServer;

/// Folders `in` and `out` beside the database, with files of CSV in both.
fn folders(config: &mut Config) -> PathBuf {
    let root = Path::new(&config.database.path).parent().unwrap().to_owned();
    for (name, first) in [("in/a.csv", 0), ("in/sub/b.csv", 1000), ("out/secret.csv", 5000)] {
        let file = root.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let lines: String = (first..first + 1000).map(|n| format!("{n},x{n}\n")).collect();
        std::fs::write(file, format!("n,s\n{lines}")).unwrap();
    }
    config.ingest.load_directories = vec![root.join("in")];
    root
}

/// All answers of a load, or its error.
async fn load(client: &mut Client, body: Value) -> Result<Vec<Value>, Error> {
    let action = Action { r#type: "pintail.load".to_owned(), body: body.to_string().into() };
    let answers = client.inner().do_action(action).await.map_err(from_status)?.into_inner();
    let answers: Vec<_> = answers.try_collect().await.map_err(from_status)?;
    Ok(answers.iter().map(|answer| serde_json::from_slice(&answer.body).unwrap()).collect())
}

async fn refused(client: &mut Client, paths: &[&str]) -> Error {
    load(client, json!({ "paths": paths, "table": "wells" })).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_loaded_once_and_the_load_is_told() {
    let server = TestServer::start_with(|config| drop(folders(config))).await;
    let mut client = server.client().await;
    let body = json!({ "paths": ["."], "table": "wells", "mode": "create_append" });
    let answers = load(&mut client, body.clone()).await.unwrap();
    let last = answers.last().unwrap();
    assert_eq!(
        (&last["rows"], &last["files"], &last["left_out"]),
        (&json!(2000), &json!(2), &json!(0)),
        "{last}"
    );
    assert_eq!((&last["durable"], &last["duplicate"]), (&json!(true), &json!(false)));
    let progress = answers.iter().rev().find_map(|answer| answer["progress"]["rows"].as_u64());
    assert_eq!(progress, Some(2000), "{answers:?}");
    // Again, under another name of a file, and after one more has come.
    std::fs::copy(server.directory.path().join("in/a.csv"), server.directory.path().join("in/c.csv"))
        .unwrap();
    let again = load(&mut client, body).await.unwrap();
    assert_eq!(again.last().unwrap()["left_out"], 2, "{again:?}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM wells").await, 3000);
    let absolute = server.directory.path().join("in/sub/*.csv");
    let body = json!({ "paths": [absolute.to_str().unwrap()], "table": "main.wells", "mode": "append" });
    assert_eq!(load(&mut client, body).await.unwrap().last().unwrap()["rows"], 0);
    // A key holds for the whole load, whatever the files hold by then.
    let keyed = json!({ "paths": ["a.csv"], "table": "keyed", "idempotency_key": "monday" });
    assert_eq!(load(&mut client, keyed.clone()).await.unwrap().last().unwrap()["rows"], 1000);
    std::fs::write(server.directory.path().join("in/a.csv"), "n,s\n1,other\n").unwrap();
    let again = load(&mut client, keyed).await.unwrap();
    assert_eq!(again.last().unwrap()["duplicate"], true, "{again:?}");
    assert_eq!(number(&mut client, "SELECT count(*) FROM keyed").await, 1000);
}

/// The directories are a wall: `..`, absolute paths, URLs and links lead nowhere, and nobody learns what is behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outside_of_the_directories_is_read() {
    let server = TestServer::start_with(|config| {
        let root = folders(config);
        symlink(root.join("out/secret.csv"), root.join("in/link.csv")).unwrap();
        std::fs::create_dir(root.join("in/far")).unwrap();
        symlink(root.join("out"), root.join("in/far/folder")).unwrap();
    })
    .await;
    let mut client = server.client().await;
    let out = server.directory.path().join("out/secret.csv");
    let missing = server.directory.path().join("out/missing.csv");
    for path in [
        "../out/secret.csv",
        "sub/../../out/secret.csv",
        out.to_str().unwrap(),
        missing.to_str().unwrap(),
        "/etc/passwd",
        "/proc/self/environ",
        "https://example.com/a.csv",
        "link.csv",
        "*.csv",
        "far",
        "far/folder/secret.csv",
        "far/*/*.csv",
        ".",
    ] {
        let error = refused(&mut client, &[path]).await;
        let expected = if path.starts_with("https") { Kind::NotFound } else { Kind::Denied };
        assert_eq!(error.kind(), expected, "{path}: {error}");
        assert!(!error.message().contains("x5000"), "{error}");
    }
    let text = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'wells'";
    assert_eq!(number(&mut client, text).await, 0);
    // What lies inside is still there for everybody.
    let body = json!({ "paths": ["a.csv", "sub"], "table": "wells" });
    assert_eq!(load(&mut client, body).await.unwrap().last().unwrap()["rows"], 2000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_is_held_to_its_callers_rights() {
    let server = TestServer::start_with(|config| {
        users(config);
        folders(config);
    })
    .await;
    let root_folder = server.directory.path().display().to_string();
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    for sql in ["CREATE TABLE wells (n BIGINT, s VARCHAR)", "CREATE TABLE other (n BIGINT, s VARCHAR)"] {
        rows(&mut root, sql).await.unwrap();
    }
    let grant = json!({ "user": "wanda", "on": "main.wells", "rights": ["ingest"] }).to_string();
    root.action_with("pintail.grant", grant).await.unwrap();
    let mut rita = server.client_as(&user("rita", PASSWORD)).await.unwrap();
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let of = |paths: &[&str], table: &str| json!({ "paths": paths, "table": table, "mode": "append" });
    for (name, table) in [("rita", "wells"), ("wanda", "other"), ("wanda", "pintail_internal.users")] {
        let client = if name == "rita" { &mut rita } else { &mut wanda };
        let error = load(client, of(&["a.csv"], table)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Denied, "{table}: {error}");
        // Nor does such a caller learn what there is.
        let missing = load(client, of(&["missing.csv"], table)).await.unwrap_err();
        assert_eq!(missing.message(), error.message());
    }
    let done = load(&mut wanda, of(&["a.csv"], "wells")).await.unwrap();
    assert_eq!(done.last().unwrap()["rows"], 1000);
    assert_eq!(load(&mut wanda, of(&["a.csv"], "wells")).await.unwrap().last().unwrap()["left_out"], 1);
    std::fs::write(server.directory.path().join("in/bad.csv"), "n,s\n1,x\nno,y\n").unwrap();
    for (client, may_see) in [(&mut wanda, false), (&mut root, true)] {
        for path in ["bad.csv", "missing.csv"] {
            let error = load(client, of(&[path], "wells")).await.unwrap_err();
            assert!(error.message().contains(path), "{error}");
            assert_eq!(error.message().contains(&root_folder), may_see, "{error}");
        }
    }
    assert_eq!(number(&mut root, "SELECT count(*) FROM wells").await, 1000);
}

#[tokio::test]
async fn without_directories_nothing_is_loaded() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let error = refused(&mut client, &["/etc/hostname"]).await;
    assert_eq!(error.kind(), Kind::Denied);
    assert!(error.message().contains("ingest.load_directories"), "{error}");
    let error = load(&mut client, json!({ "paths": [], "table": "wells" })).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}
