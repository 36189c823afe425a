//! `[auth]`: who may come in.
//! Runs on: any thread.

use std::fmt;
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize, Serializer};

use crate::auth::{Grant, Role};

/// The role of who comes without credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// As an admin.
    Admin,
    /// As a writer.
    Writer,
    /// As a reader.
    Reader,
    /// Not at all.
    Off,
}

impl Anonymous {
    /// The role; `None` where nobody comes in without credentials.
    pub fn role(self) -> Option<Role> {
        match self {
            Anonymous::Admin => Some(Role::Admin),
            Anonymous::Writer => Some(Role::Writer),
            Anonymous::Reader => Some(Role::Reader),
            Anonymous::Off => None,
        }
    }
}

/// `[[auth.users]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Argon2id hash of the password, as `pintail user hash` prints it.
    pub password_hash: Secret,
    /// What the user may reach; a user without grants has what the role means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

/// `[auth.jwt]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// File with the issuer's public keys, a JSON Web Key Set; it is read again when it changes.
    pub jwks_file: PathBuf,
    /// Who has to have issued a token (`iss`).
    pub issuer: String,
    /// Whom a token has to be for (`aud`).
    pub audience: String,
    /// The algorithms taken, such as `["RS256"]`; a token cannot choose another one.
    pub algorithms: Vec<Algorithm>,
    /// The claim with the user's name. Default `sub`.
    #[serde(default = "user_claim")]
    pub user_claim: String,
    /// The claim with the role, a text or a list of texts. Default `role`.
    #[serde(default = "role_claim")]
    pub role_claim: String,
}

fn user_claim() -> String {
    "sub".to_owned()
}

fn role_claim() -> String {
    "role".to_owned()
}

/// A setting that nobody is shown: it prints as asterisks.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What stands in the place of a secret.
const MASK: &str = "********";

impl Secret {
    /// A secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whoever checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}
