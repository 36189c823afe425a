//! Users and API tokens as they are known in memory, and what a change of them has to keep to.
//! Runs on: blocking threads, for changes; the database first.
//! Never: forgets the last admin unasked; takes a configured user or token for one of the database.

use std::collections::HashMap;
use std::path::Path;

use super::password::check_hash;
use super::pattern::patterns;
use super::principal::{Role, Scope};
use super::tokens::{StoredForm, TokenHash};
use crate::engine::{Connection, StoredToken, StoredUser, store_user};
use crate::error::{Error, Kind, Result};

/// A user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) role: Role,
    pub(super) password_hash: Option<String>,
    // Of the configuration, which no command changes.
    pub(super) is_configured: bool,
}

/// An API token.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) user: String,
    pub(super) scope: Scope,
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
    pub(super) is_configured: bool,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Known {
    pub(super) users: HashMap<String, User>,
    pub(super) tokens: HashMap<TokenHash, Token>,
}

impl Known {
    /// Takes the tokens of a file.
    pub(super) fn take_file(&mut self, file: &Path) -> Result<()> {
        for token in StoredForm::read_file(file)? {
            self.insert_token(token, true)?;
        }
        Ok(())
    }

    pub(super) fn insert_token(&mut self, token: StoredToken, is_configured: bool) -> Result<()> {
        let wrong = |error: Error| error.context(format!("token \"{}\"", token.name));
        let hash = token.hash.parse().map_err(wrong)?;
        let tables = patterns(&token.tables).map_err(wrong)?;
        let scope =
            Scope { token: token.name.as_str().into(), role: token.role.parse().map_err(wrong)?, tables };
        let StoredToken { user, created, expires, .. } = token;
        self.tokens.insert(hash, Token { user, scope, created, expires, is_configured });
        Ok(())
    }

    pub(super) fn put_user(
        &mut self,
        connection: &mut Connection,
        name: &str,
        role: Role,
        password_hash: Option<String>,
    ) -> Result<()> {
        if let Some(hash) = &password_hash {
            check_hash(hash).map_err(Error::invalid)?;
        }
        let stored = StoredUser {
            name: name.to_owned(),
            role: role.to_string(),
            password_hash: password_hash.clone(),
        };
        store_user(connection, &stored)?;
        self.users.insert(name.to_owned(), User { role, password_hash, is_configured: false });
        Ok(())
    }

    /// Refuses to leave nobody who may add an admin again.
    pub(super) fn check_not_last_admin(&self, name: &str) -> Result<()> {
        let is_admin = |user: &User| user.role == Role::Admin;
        let is_last = self.users.get(name).is_some_and(is_admin)
            && !self.users.iter().any(|(other, user)| other != name && is_admin(user));
        if !is_last {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!(
                "user \"{name}\" is the last admin: nobody could change users and grants any more; make another one first, or \
                 say --force (\"force\": true)"
            ),
        ))
    }

    /// A user who can be changed.
    pub(super) fn stored_user(&self, name: &str) -> Result<&User> {
        match self.users.get(name) {
            None => Err(no_user(name)),
            Some(user) if user.is_configured => {
                Err(configured(&format!("user \"{name}\" is of the configuration ([[auth.users]])")))
            }
            Some(user) => Ok(user),
        }
    }
}

pub(super) fn configured(what: &str) -> Error {
    Error::new(Kind::Conflict, format!("{what}; change it there, and start the server again"))
}

pub(super) fn no_user(name: &str) -> Error {
    Error::not_found(format!("there is no user \"{name}\"; `pintail user list` shows those there are"))
}
