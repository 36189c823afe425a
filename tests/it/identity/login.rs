//! Passwords, bearer tokens, and those who come without either.

use std::time::{Duration, Instant};

use arrow_flight::HandshakeRequest;
use arrow_flight::flight_service_client::FlightServiceClient;
use futures::{StreamExt, stream};
use pintail::auth::hash_password;
use pintail::client::Client;
use pintail::config::{Anonymous, Span};
use pintail::error::{Error, Kind};
use pintail_protocol::action;
use pintail_protocol::status::from_status;
use serde_json::json;
use tonic::Request;

use super::{PASSWORD, asks, refused, token, user, users};
use crate::support::batches::wells;
use crate::support::calls::{put, rows};
use crate::support::server::TestServer;

/// The header that a handshake answers with.
async fn handshake(server: &TestServer, authorization: &str) -> Result<String, Error> {
    let uri = server.uri.replace("grpc://", "http://");
    let channel = tonic::transport::Endpoint::from_shared(uri).unwrap().connect().await.unwrap();
    let mut client = FlightServiceClient::new(channel);
    let mut request = Request::new(stream::iter([HandshakeRequest::default()]));
    request.metadata_mut().insert("authorization", authorization.parse().unwrap());
    let response = client.handshake(request).await.map_err(from_status)?;
    let header = response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
    let answer = response.into_inner().next().await.unwrap().unwrap();
    assert_eq!(format!("Bearer {}", String::from_utf8(answer.payload.to_vec()).unwrap()), header);
    Ok(header.trim_start_matches("Bearer ").to_owned())
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(format!("{name}:{password}"));
    format!("Basic {text}")
}

#[tokio::test]
async fn the_right_password_lets_in_and_every_other_thing_does_not() {
    let server = TestServer::start_with(users).await;
    let mut wanda = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    put(&mut wanda, "wells", &[wells(0, 100)], "create").await.unwrap();
    asks(&mut wanda).await.unwrap();
    for (name, password) in [("wanda", "wrong"), ("nobody", PASSWORD), ("", "")] {
        let mut client = server.client_as(&user(name, password)).await.unwrap();
        refused(&mut client, "wrong user name or password").await;
    }
    refused(&mut server.client().await, "credentials are missing").await;
    refused(&mut server.client_as(&token("ptk_unknown")).await.unwrap(), "unknown or was revoked").await;
    refused(&mut server.client_as(&token("a.b.c")).await.unwrap(), "none that this server knows").await;
    // Every call, not only queries.
    let mut client = server.client().await;
    let error = put(&mut client, "wells", &[wells(0, 1)], "append").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert_eq!(client.list().await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(client.action(action::STATUS).await.unwrap_err().kind(), Kind::Unauthenticated);
    assert_eq!(
        client.inner().list_actions(arrow_flight::Empty {}).await.unwrap_err().code(),
        tonic::Code::Unauthenticated
    );
}

#[tokio::test]
async fn a_handshake_gives_a_token_that_lives_as_long_as_it_is_used() {
    let server = TestServer::start_with(|config| {
        users(config);
        config.session.idle_timeout = Span(Duration::from_millis(1500));
    })
    .await;
    let bearer = handshake(&server, &basic("rita", PASSWORD)).await.unwrap();
    let mut client = server.client_as(&token(&bearer)).await.unwrap();
    asks(&mut client).await.unwrap();
    // Drivers shake hands again with what they have; they keep it.
    assert_eq!(handshake(&server, &format!("Bearer {bearer}")).await.unwrap(), bearer);
    let error = handshake(&server, &basic("rita", "wrong")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        asks(&mut client).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The end of the token is what is waited for.
    tokio::time::sleep(Duration::from_secs(4)).await;
    refused(&mut client, "log in again").await;
    let mut other = server.client_as(&token("pintail-0123456789abcdef0123456789abcdef")).await.unwrap();
    refused(&mut other, "log in again").await;
}

#[tokio::test]
async fn users_are_added_changed_and_removed_while_the_server_runs() {
    let server = TestServer::start_with(users).await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let act = async |client: &mut Client, name: &str, body: serde_json::Value| {
        client.action_with(name, body.to_string()).await
    };
    let hash = |password: &str| hash_password(password).unwrap();
    let body = json!({ "name": "ada", "role": "reader", "password_hash": hash("first password") });
    act(&mut root, action::USER_ADD, body.clone()).await.unwrap();
    assert_eq!(act(&mut root, action::USER_ADD, body).await.unwrap_err().kind(), Kind::Exists);
    let mut ada = server.client_as(&user("ada", "first password")).await.unwrap();
    asks(&mut ada).await.unwrap();
    let bearer = handshake(&server, &basic("ada", "first password")).await.unwrap();
    let mut by_bearer = server.client_as(&token(&bearer)).await.unwrap();
    asks(&mut by_bearer).await.unwrap();
    // One's own password, and nothing else.
    let own = json!({ "name": "ada", "password_hash": hash("second password") });
    for (name, body) in [
        (action::USER_ADD, json!({ "name": "eve", "role": "admin" })),
        (action::USER_CHANGE, json!({ "name": "ada", "role": "admin" })),
        (action::USER_CHANGE, json!({ "name": "root", "password_hash": hash("second password") })),
        (action::USER_REMOVE, json!({ "name": "root" })),
        (action::USERS, json!(null)),
    ] {
        assert_eq!(act(&mut ada, name, body).await.unwrap_err().kind(), Kind::Denied, "{name}");
    }
    act(&mut ada, action::USER_CHANGE, own).await.unwrap();
    refused(&mut ada, "wrong user name or password").await;
    refused(&mut by_bearer, "log in again").await;
    let mut ada = server.client_as(&user("ada", "second password")).await.unwrap();
    asks(&mut ada).await.unwrap();
    let listed = act(&mut root, action::USERS, json!(null)).await.unwrap().to_string();
    assert!(listed.contains("\"ada\"") && !listed.contains("argon2"), "{listed}");
    for (body, kind) in [
        (json!({ "name": "a:b" }), Kind::Invalid),
        (json!({ "name": "anonymous" }), Kind::Invalid),
        (json!({ "name": "eve", "password_hash": "plain" }), Kind::Invalid),
        (json!({ "name": "eve", "password": "plain" }), Kind::Invalid),
        (json!({ "name": "root" }), Kind::Exists),
    ] {
        assert_eq!(act(&mut root, action::USER_ADD, body.clone()).await.unwrap_err().kind(), kind, "{body}");
    }
    let configured = act(&mut root, action::USER_REMOVE, json!({ "name": "rita" })).await.unwrap_err();
    assert_eq!(configured.kind(), Kind::Conflict, "{configured}");
    // They are in the database.
    let directory = server.stop().await;
    let server = TestServer::start_in(directory, users).await;
    let mut ada = server.client_as(&user("ada", "second password")).await.unwrap();
    asks(&mut ada).await.unwrap();
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    act(&mut root, action::USER_REMOVE, json!({ "name": "ada" })).await.unwrap();
    refused(&mut ada, "wrong user name or password").await;
}

#[tokio::test]
async fn no_statement_reads_what_logins_are_checked_against() {
    let server = TestServer::start_with(users).await;
    let mut root = server.client_as(&user("root", PASSWORD)).await.unwrap();
    let body = json!({ "name": "ada", "password_hash": hash_password("first password").unwrap() });
    root.action_with(action::USER_ADD, body.to_string()).await.unwrap();
    for sql in [
        "SELECT * FROM pintail_internal.pintail_users",
        "FROM \"pintail_internal\".\"PINTAIL_USERS\"",
        "SELECT * FROM query_table('pintail_internal.pintail_users')",
        "SELECT * FROM query('FROM pintail_internal.pintail_users')",
        "FROM pintail_internal.'pintail_users'",
        "CREATE VIEW v AS SELECT * FROM pintail_internal.pintail_users",
        "CREATE MACRO m() AS TABLE SELECT * FROM pintail_internal.pintail_tokens",
        "DELETE FROM pintail_internal.pintail_users",
        "USE pintail_internal",
        "SUMMARIZE pintail_internal.pintail_users",
    ] {
        assert!(rows(&mut root, sql).await.is_err(), "{sql}");
    }
    let error = put(&mut root, "pintail_internal.pintail_users", &[wells(0, 1)], "append").await.unwrap_err();
    assert_ne!(error.kind(), Kind::Internal, "{error}");
}

#[tokio::test]
async fn who_comes_without_credentials_is_what_the_setting_says() {
    let open = TestServer::start().await;
    // Nobody is known, so whatever a client says, it is as good as nothing.
    asks(&mut open.client_as(&user("whoever", "whatever")).await.unwrap()).await.unwrap();
    asks(&mut open.client_as(&token("whatever")).await.unwrap()).await.unwrap();
    let reads = TestServer::start_with(|config| {
        users(config);
        config.auth.anonymous = Some(Anonymous::Reader);
    })
    .await;
    asks(&mut reads.client().await).await.unwrap();
    let error = reads.client().await.action(action::USERS).await.unwrap_err();
    assert!(error.kind() == Kind::Denied && error.message().contains("anonymous is a reader"), "{error}");
    // Wrong credentials are not none.
    refused(&mut reads.client_as(&user("root", "wrong")).await.unwrap(), "wrong user name").await;
    refused(&mut reads.client_as(&token("whatever")).await.unwrap(), "none that this server knows").await;
}

#[tokio::test]
async fn guessing_is_slow_and_the_owner_is_not_locked_out() {
    let server = TestServer::start_with(users).await;
    let mut owner = server.client_as(&user("wanda", PASSWORD)).await.unwrap();
    asks(&mut owner).await.unwrap();
    let started = Instant::now();
    for guess in 0..7 {
        let mut client = server.client_as(&user("wanda", &format!("guess {guess}"))).await.unwrap();
        refused(&mut client, "wrong user name").await;
    }
    // After three that are free: 100, 200, 400 and 800 ms.
    assert!(started.elapsed() > Duration::from_millis(1400), "{:?}", started.elapsed());
    // Who has logged in goes on, and a new connection gets in at once while its password is known to be right.
    let started = Instant::now();
    asks(&mut owner).await.unwrap();
    asks(&mut server.client_as(&user("wanda", PASSWORD)).await.unwrap()).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1000), "{:?}", started.elapsed());
    // So does everybody else with the right one, after a wait that has an end.
    asks(&mut server.client_as(&user("rita", PASSWORD)).await.unwrap()).await.unwrap();
}

/// However often it is used, a token that stands for a password ends.
#[tokio::test]
async fn a_login_has_a_longest_life() {
    let server = TestServer::start_with(|config| {
        users(config);
        config.session.login_lifetime = Span(Duration::from_millis(500));
    })
    .await;
    let bearer = handshake(&server, &basic("rita", PASSWORD)).await.unwrap();
    let mut rita = server.client_as(&token(&bearer)).await.unwrap();
    let started = Instant::now();
    asks(&mut rita).await.unwrap();
    // A handshake with a token gives that token back, and no longer life.
    assert_eq!(handshake(&server, &format!("Bearer {bearer}")).await.unwrap(), bearer);
    while asks(&mut rita).await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "the token is taken for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(300), "{:?}", started.elapsed());
    refused(&mut rita, "session.login_lifetime").await;
    let again = handshake(&server, &basic("rita", PASSWORD)).await.unwrap();
    assert_ne!(again, bearer);
    asks(&mut server.client_as(&token(&again)).await.unwrap()).await.unwrap();
}
