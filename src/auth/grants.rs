//! Grants of the configuration and of the database, and a principal -> what their statements are held to.
//! Runs on: async tasks look up in memory; reading and keeping grants blocks.
//! Never: gives more than the role and the token allow; lets an admin be held to anything but a token's tables.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::pattern::TablePattern;
use super::principal::{Principal, Role};
use crate::engine::{self, Access, Connection, Level, StoredGrant, Tables};
use crate::error::{Error, Result};

/// What can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read rows.
    Read,
    /// Put, insert, update and delete rows.
    Ingest,
    /// Create, change and drop tables, views and indexes.
    Define,
}

impl Right {
    /// The right's name.
    pub fn as_str(self) -> &'static str {
        self.in_engine().as_str()
    }

    fn in_engine(self) -> engine::Right {
        match self {
            Right::Read => engine::Right::Read,
            Right::Ingest => engine::Right::Ingest,
            Right::Define => engine::Right::Define,
        }
    }
}

impl FromStr for Right {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Right::Read, Right::Ingest, Right::Define]
            .into_iter()
            .find(|right| right.as_str() == text)
            .ok_or_else(|| {
                Error::invalid(format!("expected a right (read, ingest or define), found \"{text}\""))
            })
    }
}

/// A grant: what somebody may do with tables, and which part of them is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `schema.table`, `schema.*`, or `*` for all.
    pub on: TablePattern,
    /// What may be done.
    pub rights: Vec<Right>,
    /// An SQL condition: other rows are not there.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Columns that are not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hide: Vec<String>,
}

fn tables(pattern: &TablePattern) -> Tables {
    Tables { schema: pattern.schema().map(str::to_owned), table: pattern.table().map(str::to_owned) }
}

impl Grant {
    /// The grant as the engine holds statements to it.
    pub fn in_engine(&self) -> engine::Grant {
        engine::Grant {
            tables: tables(&self.on),
            rights: self.rights.iter().map(|right| right.in_engine()).collect(),
            filter: self.filter.clone(),
            hide: self.hide.clone(),
        }
    }

    fn stored(&self, user: &str) -> Result<StoredGrant> {
        let rights: Vec<&str> = self.rights.iter().map(|right| right.as_str()).collect();
        let hide = serde_json::to_string(&self.hide)
            .map_err(|error| Error::internal(format!("column names cannot be written: {error}")))?;
        Ok(StoredGrant {
            user: user.to_owned(),
            tables: self.on.to_string(),
            rights: rights.join(","),
            filter: self.filter.clone().unwrap_or_default(),
            hide,
        })
    }

    fn read(stored: &StoredGrant) -> Result<Self> {
        let rights = stored.rights.split(',').map(str::parse).collect::<Result<Vec<Right>>>()?;
        let hide = serde_json::from_str(&stored.hide)
            .map_err(|error| Error::invalid(format!("hidden columns of a grant cannot be read: {error}")))?;
        let filter = Some(stored.filter.clone()).filter(|filter| !filter.is_empty());
        Ok(Self { on: stored.tables.parse()?, rights, filter, hide })
    }
}

/// The grants of every user.
#[derive(Default)]
pub struct Grants {
    configured: HashMap<String, Vec<Grant>>,
    now: RwLock<Arc<Now>>,
}

/// Grants as they are now, and what was made of them for principals that have come.
#[derive(Default)]
struct Now {
    kept: HashMap<String, Vec<Grant>>,
    definable: Vec<Tables>,
    made: RwLock<Vec<(Principal, Arc<Access>)>>,
}

/// Principals of which it is remembered what they may do; beyond that it is put together again.
const MADE_MAX: usize = 1000;

impl Grants {
    /// Grants of the configuration, by user.
    pub fn new(configured: HashMap<String, Vec<Grant>>) -> Self {
        let grants = Self { configured, now: RwLock::default() };
        grants.set(HashMap::new());
        grants
    }

    /// Reads what the database keeps. Blocks.
    ///
    /// Errors: `Invalid` when a grant there cannot be read: nobody is let in on half of them.
    pub fn load(&self, connection: &Connection) -> Result<()> {
        let mut kept: HashMap<String, Vec<Grant>> = HashMap::new();
        for stored in engine::read_grants(connection)? {
            let grant = Grant::read(&stored)
                .map_err(|error| error.context(format!("grant of {} on {}", stored.user, stored.tables)))?;
            kept.entry(stored.user.clone()).or_default().push(grant);
        }
        self.set(kept);
        Ok(())
    }

    fn set(&self, kept: HashMap<String, Vec<Grant>>) {
        let all = self.configured.values().chain(kept.values()).flatten();
        let definable = all
            .filter(|grant| grant.rights.contains(&Right::Define))
            .map(|grant| tables(&grant.on))
            .collect();
        let now = Now { kept, definable, made: RwLock::default() };
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(now);
    }

    /// What the statements of a principal are held to from now on; `None` for an admin, who may do everything.
    pub fn access(&self, principal: &Principal) -> Option<Arc<Access>> {
        let scope: Vec<Tables> = principal.scope.iter().flat_map(|scope| &scope.tables).map(tables).collect();
        if principal.role == Role::Admin && scope.is_empty() {
            return None;
        }
        let now = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        {
            let made = now.made.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, access)) = made.iter().find(|(known, _)| known == principal) {
                return Some(Arc::clone(access));
            }
        }
        let access = Arc::new(self.put_together(principal, scope, &now));
        let mut made = now.made.write().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= MADE_MAX {
            made.clear();
        }
        made.push((principal.clone(), Arc::clone(&access)));
        Some(access)
    }

    fn put_together(&self, principal: &Principal, scope: Vec<Tables>, now: &Now) -> Access {
        let name: &str = &principal.name;
        let level = if principal.role == Role::Reader { Level::Reader } else { Level::Writer };
        let grants = if principal.role == Role::Admin {
            // An admin's token for some tables does everything there, and nothing elsewhere.
            let all = |tables: &Tables| engine::Grant {
                tables: tables.clone(),
                rights: engine::Right::ALL.to_vec(),
                filter: None,
                hide: Vec::new(),
            };
            Some(scope.iter().map(all).collect())
        } else {
            let of =
                |grants: Option<&Vec<Grant>>| grants.into_iter().flatten().map(Grant::in_engine).collect();
            let mut all: Vec<engine::Grant> = of(self.configured.get(name));
            all.extend::<Vec<_>>(of(now.kept.get(name)));
            // Somebody without a single grant has what the role means.
            (!all.is_empty()).then_some(all)
        };
        let token = principal.scope.as_ref().map(|scope| scope.token.to_string());
        Access::new(name, level, grants, scope, now.definable.clone()).by_token(token)
    }

    /// Keeps a grant, in force from the next statement of its user on. Blocks.
    ///
    /// Errors: `Invalid` when its condition or its columns do not fit the table.
    pub fn keep(&self, connection: &mut Connection, user: &str, grant: &Grant) -> Result<()> {
        if grant.rights.is_empty() {
            return Err(Error::invalid("expected at least one right: read, ingest or define"));
        }
        engine::check_grant(connection, &grant.in_engine())?;
        engine::keep_grant(connection, &grant.stored(user)?)?;
        self.load(connection)
    }

    /// Forgets what a user was granted on `on`; `false` when that was nothing. Blocks.
    pub fn forget(&self, connection: &mut Connection, user: &str, on: &TablePattern) -> Result<bool> {
        let removed = engine::forget_grant(connection, user, &on.to_string())?;
        self.load(connection)?;
        Ok(removed)
    }

    /// Every grant with its user, and whether it is the configuration's.
    pub fn all(&self) -> Vec<(String, Grant, bool)> {
        let now = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        let listed =
            |grants: &HashMap<String, Vec<Grant>>, is_configured: bool| -> Vec<(String, Grant, bool)> {
                let of = |(user, grants): (&String, &Vec<Grant>)| -> Vec<(String, Grant, bool)> {
                    grants.iter().map(|grant| (user.clone(), grant.clone(), is_configured)).collect()
                };
                grants.iter().flat_map(of).collect()
            };
        let mut all = listed(&self.configured, true);
        all.extend(listed(&now.kept, false));
        all.sort_by(|(one, first, _), (other, second, _)| {
            (one, first.on.to_string()).cmp(&(other, second.on.to_string()))
        });
        all
    }
}
