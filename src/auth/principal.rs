//! Principal, role and scope: who makes a call, and the most that they may do.
//! Runs on: any thread; pure values.
//! Never: holds a secret.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::pattern::TablePattern;
use crate::error::{Error, Result};

/// Name of who makes calls without credentials; no user may have it.
pub const ANONYMOUS: &str = "anonymous";

/// What somebody may do at most; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads what it is granted.
    Reader,
    /// Reads, and stores rows.
    Writer,
    /// Everything, users and grants included.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Role; 3] = [Role::Reader, Role::Writer, Role::Admin];

    /// The role's name as it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or_else(|| {
            Error::invalid(format!("expected a role (reader, writer or admin), found \"{text}\""))
        })
    }
}

/// What an API token narrows its user to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The token's name.
    pub token: Arc<str>,
    /// The role it gives at most.
    pub role: Role,
    /// The tables it reaches; none named means all that the user reaches.
    pub tables: Vec<TablePattern>,
}

impl Scope {
    /// Whether the scope lets its holder come near the table.
    pub fn reaches(&self, schema: &str, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|pattern| pattern.matches(schema, table))
    }
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The user's name; grants go by it.
    pub name: Arc<str>,
    /// The role in force: that of the user, or the lower one of the token.
    pub role: Role,
    /// What an API token narrows to.
    pub scope: Option<Scope>,
    // A user whom the server keeps, and not one that an issuer of JSON web tokens speaks for.
    has_account: bool,
}

impl Principal {
    /// A user without a scope.
    pub fn new(name: impl Into<Arc<str>>, role: Role) -> Self {
        Self { name: name.into(), role, scope: None, has_account: true }
    }

    /// Somebody that an issuer of JSON web tokens speaks for. Grants go by the name, as for a user with an account; what
    /// belongs to that account, its password and tokens, does not belong to them.
    pub fn issued(name: impl Into<Arc<str>>, role: Role) -> Self {
        Self { has_account: false, ..Self::new(name, role) }
    }

    /// Whoever comes without credentials.
    pub fn anonymous(role: Role) -> Self {
        Self::issued(ANONYMOUS, role)
    }

    /// This user through an API token: never more than the user, never more than the token.
    pub fn narrowed(self, scope: Scope) -> Self {
        Self { role: self.role.min(scope.role), scope: Some(scope), ..self }
    }

    /// Whether it is somebody, and not whoever comes without credentials.
    pub fn is_known(&self) -> bool {
        *self.name != *ANONYMOUS
    }

    /// Whether the server keeps this user's account, and they come in person, not by an API token.
    pub fn is_account_in_person(&self) -> bool {
        self.has_account && self.scope.is_none()
    }

    /// Whether it stands for everybody without credentials.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// Whether both are the same user, by the same token where there is one. What one has begun, the other may go on
    /// with; the role may have changed since.
    pub fn is_same(&self, other: &Principal) -> bool {
        self.name == other.name && self.scope == other.scope && self.has_account == other.has_account
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.scope {
            Some(scope) => write!(f, " (token {})", scope.token),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_read_back_what_they_print() {
        assert!(Role::Reader < Role::Writer && Role::Writer < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.to_string().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_string(&role).unwrap(), format!("\"{role}\""));
        }
        assert!("Admin".parse::<Role>().unwrap_err().message().contains("reader, writer or admin"));
    }

    #[test]
    fn a_token_never_gives_more_than_its_user_has() {
        let scope = |role| Scope { token: "ci".into(), role, tables: vec!["a.*".parse().unwrap()] };
        let narrowed = Principal::new("ada", Role::Reader).narrowed(scope(Role::Admin));
        assert_eq!(narrowed.role, Role::Reader);
        let narrowed = Principal::new("ada", Role::Admin).narrowed(scope(Role::Reader));
        assert_eq!(narrowed.role, Role::Reader);
        assert!(!narrowed.is_same(&Principal::new("ada", Role::Admin)));
        assert!(!Principal::issued("ada", Role::Admin).is_same(&Principal::new("ada", Role::Admin)));
        assert!(Principal::new("ada", Role::Reader).is_same(&Principal::new("ada", Role::Admin)));
        assert!(narrowed.scope.is_some_and(|scope| scope.reaches("a", "t") && !scope.reaches("b", "t")));
    }
}
