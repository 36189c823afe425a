//! API tokens and JSON web tokens.

use std::path::Path;
use std::time::{Duration, Instant};

use pintail::client::Client;
use pintail::error::Kind;
use pintail_protocol::action;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{PASSWORD, asks, refused, token, user, users};
use crate::support::server::TestServer;

#[tokio::test]
async fn a_token_is_shown_once_listed_and_revoked() {
    let server = TestServer::start_with(users).await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    let body = json!({ "name": "ci", "role": "writer", "tables": ["lab.*"] }).to_string();
    let made = wanda.action_with(action::TOKEN_ADD, body.clone()).await.unwrap();
    let secret = made["token"].as_str().unwrap().to_owned();
    assert_eq!(wanda.action_with(action::TOKEN_ADD, body).await.unwrap_err().kind(), Kind::Exists);
    let mut ci = server.client_as(&token(&secret)).await.unwrap();
    asks(&mut ci).await.unwrap();
    // A token makes no tokens, and ends none.
    for (name, body) in [
        (action::TOKEN_ADD, json!({ "name": "more" })),
        (action::TOKEN_REVOKE, json!({ "name": "ci" })),
        (action::USERS, Value::Null),
    ] {
        assert_eq!(ci.action_with(name, body.to_string()).await.unwrap_err().kind(), Kind::Denied, "{name}");
    }
    let listed = wanda.action(action::TOKENS).await.unwrap();
    assert_eq!(listed["tokens"][0]["name"], "ci");
    assert_eq!(listed["tokens"][0]["tables"], json!(["lab.*"]));
    assert!(!listed.to_string().contains(&secret));
    let mut rita = server.client_as(&user("rita", PASSWORD)).await.unwrap();
    assert_eq!(rita.action(action::TOKENS).await.unwrap()["tokens"], json!([]), "others' are not shown");
    let revoke = json!({ "name": "ci" }).to_string();
    assert_eq!(
        rita.action_with(action::TOKEN_REVOKE, revoke.clone()).await.unwrap_err().kind(),
        Kind::Denied
    );
    wanda.action_with(action::TOKEN_REVOKE, revoke.clone()).await.unwrap();
    refused(&mut ci, "unknown or was revoked").await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    assert_eq!(root.action_with(action::TOKEN_REVOKE, revoke).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test]
async fn a_token_expires_and_dies_with_its_user() {
    let server = TestServer::start_with(users).await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let mut make = async |name: &str, user: &str, expires: Option<i64>| {
        let body = json!({ "name": name, "user": user, "role": "admin", "expires": expires }).to_string();
        let made = root.action_with(action::TOKEN_ADD, body).await?;
        Ok::<String, pintail::error::Error>(made["token"].as_str().unwrap().to_owned())
    };
    assert_eq!(make("lost", "nobody", None).await.unwrap_err().kind(), Kind::NotFound);
    let expired = make("old", "root", Some(1_000_000_000)).await.unwrap();
    refused(&mut server.client_as(&token(&expired)).await.unwrap(), "\"old\" has expired").await;
    // A token never gives more than its user has.
    let narrow = make("narrow", "rita", None).await.unwrap();
    let mut narrow = server.client_as(&token(&narrow)).await.unwrap();
    assert_eq!(narrow.action(action::USERS).await.unwrap_err().kind(), Kind::Denied);
    let whole = make("whole", "root", None).await.unwrap();
    server.client_as(&token(&whole)).await.unwrap().action(action::USERS).await.unwrap();
    root.action_with(action::USER_ADD, json!({ "name": "ada" }).to_string()).await.unwrap();
    let body = json!({ "name": "of ada", "user": "ada" }).to_string();
    let made = root.action_with(action::TOKEN_ADD, body).await.unwrap();
    let mut ada = server.client_as(&token(made["token"].as_str().unwrap())).await.unwrap();
    asks(&mut ada).await.unwrap();
    root.action_with(action::USER_REMOVE, json!({ "name": "ada" }).to_string()).await.unwrap();
    refused(&mut ada, "unknown or was revoked").await;
    // Tokens are in the database, the one that was removed as well as those that were not.
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, users).await;
    asks(&mut server.client_as(&token(&whole)).await.unwrap()).await.unwrap();
    refused(&mut server.client_as(&token(made["token"].as_str().unwrap())).await.unwrap(), "revoked").await;
}

/// A line of `auth.tokens_file` for a token.
fn line(name: &str, token: &str) -> String {
    let hash: String = Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[token]]\nname = \"{name}\"\nuser = \"wanda\"\nrole = \"writer\"\nhash = \"{hash}\"\n")
}

/// Waits until a token is taken, or is not.
async fn until(server: &TestServer, client: &mut Client, is_taken: bool) {
    let started = Instant::now();
    while asks(client).await.is_ok() != is_taken {
        assert!(started.elapsed() < Duration::from_secs(20), "the file of tokens is not read again");
        server.renewal.look();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_file_of_tokens_is_read_again_and_a_broken_one_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens.toml");
    let (first, second) = ("ptk_first", "ptk_second");
    std::fs::write(&file, line("first", first)).unwrap();
    let server = TestServer::start_in(directory, |config| {
        users(config);
        config.auth.tokens_file = Some(Path::new(&config.database.path).with_file_name("tokens.toml"));
    })
    .await;
    let mut one = server.client_as(&token(first)).await.unwrap();
    let mut other = server.client_as(&token(second)).await.unwrap();
    asks(&mut one).await.unwrap();
    refused(&mut other, "unknown or was revoked").await;
    std::fs::write(&file, line("first", first) + &line("second", second)).unwrap();
    until(&server, &mut other, true).await;
    // Broken, and then gone: both stay.
    for broken in [Some("[[token]]\nname = 1\n"), None] {
        match broken {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        server.renewal.look();
        tokio::time::sleep(Duration::from_millis(100)).await;
        asks(&mut one).await.unwrap();
        asks(&mut other).await.unwrap();
    }
    std::fs::write(&file, line("second", second)).unwrap();
    until(&server, &mut one, false).await;
    refused(&mut one, "unknown or was revoked").await;
    asks(&mut other).await.unwrap();
}
