//! `[auth]`: who may come in.
//! Runs on: any thread.

use serde::{Deserialize, Serialize};

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
    pub password_hash: String,
    /// What the user may reach; a user without grants has what the role means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}
