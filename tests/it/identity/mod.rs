//! Who may come in, and what belongs to whom: TLS, certificates, passwords, tokens.

mod belongings;
mod login;
mod shares;
mod tls;
mod tokens;

use pintail::auth::Role;
use pintail::auth::hash_password;
use pintail::client::{Client, ConnectOptions};
use pintail::config::{Anonymous, Config, Secret, User};
use pintail::error::{Error, Kind};

use crate::support::calls::rows;

pub(crate) const PASSWORD: &str = "correct horse";

/// Credentials of a user.
pub(crate) fn user(name: &str, password: &str) -> ConnectOptions {
    ConnectOptions {
        user: Some(name.to_owned()),
        password: Some(password.to_owned()),
        ..ConnectOptions::default()
    }
}

pub(crate) fn token(token: &str) -> ConnectOptions {
    ConnectOptions { token: Some(token.to_owned()), ..ConnectOptions::default() }
}

/// An admin `root`, a writer `wanda` and a reader `rita`; nobody comes without credentials.
pub(crate) fn users(config: &mut Config) {
    config.auth.anonymous = Some(Anonymous::Off);
    let hash = hash_password(PASSWORD).unwrap();
    for (name, role) in [("root", Role::Admin), ("wanda", Role::Writer), ("rita", Role::Reader)] {
        let password_hash = Secret::new(hash.clone());
        let grants = Vec::new();
        config.auth.users.push(User { name: name.to_owned(), role, password_hash, grants });
    }
}

/// What a query of somebody's gives: nothing, or why it was refused.
pub(crate) async fn asks(client: &mut Client) -> Result<(), Error> {
    rows(client, "SELECT 1").await.map(|_| ())
}

pub(crate) async fn refused(client: &mut Client, part: &str) {
    let error = asks(client).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unauthenticated, "{error}");
    assert!(error.message().contains(part), "{error:?} lacks {part:?}");
}
