//! Users and API tokens: those of the configuration, and those that the database keeps.
//! Runs on: look-ups on async tasks, in memory; changes on blocking threads, in the database first.
//! Never: keeps a password or a token; forgets one kind of account for another in silence.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::known::{Known, Token, User, configured, no_user};
use super::pattern::TablePattern;
use super::principal::{ANONYMOUS, Principal, Role};
use super::tokens::{hash_of, new_token};
use crate::config;
use crate::engine::{
    Connection, Database, StoredToken, remove_token, remove_user, store_token, stored_tokens, stored_users,
};
use crate::error::{Error, Kind, Result};

/// Longest name of a user or token, in bytes.
const NAME_BYTES_MAX: usize = 128;
/// Tokens of one user that are kept in the database or the tokens file.
const TOKENS_OF_USER_MAX: usize = 256;

/// A token to be made.
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// The role it gives at most.
    pub role: Role,
    /// The tables it reaches; none for all.
    pub tables: Vec<TablePattern>,
    /// When it expires, in seconds since 1970.
    pub expires: Option<i64>,
}

/// Users and API tokens.
pub struct Accounts {
    database: Arc<Database>,
    tokens_file: Option<PathBuf>,
    known: RwLock<Arc<Known>>,
    // Changes, one after the other.
    changes: Mutex<()>,
}

impl Accounts {
    /// Those of the configuration and of the database.
    ///
    /// Errors: `Invalid` for a tokens file that cannot be read, or a table changed by hand.
    pub fn open(database: &Arc<Database>, config: &config::Auth) -> Result<Self> {
        let mut known = Known::default();
        for user in stored_users(&database.connection()?)? {
            let role = user.role.parse()?;
            known
                .users
                .insert(user.name, User { role, password_hash: user.password_hash, is_configured: false });
        }
        for user in &config.users {
            let password_hash = Some(user.password_hash.expose().to_owned());
            let known = known
                .users
                .insert(user.name.clone(), User { role: user.role, password_hash, is_configured: true });
            if known.is_some() {
                tracing::warn!(user = %user.name, "the user of the configuration stands in for the one in the database");
            }
        }
        for token in stored_tokens(&database.connection()?)? {
            known.insert_token(token, false)?;
        }
        if let Some(file) = &config.tokens_file {
            known.take_file(file)?;
        }
        Ok(Self {
            database: Arc::clone(database),
            tokens_file: config.tokens_file.clone(),
            known: RwLock::new(Arc::new(known)),
            changes: Mutex::default(),
        })
    }

    /// The file of tokens, if there is one.
    pub(super) fn tokens_file(&self) -> Option<&Path> {
        self.tokens_file.as_deref()
    }

    /// Reads the file of tokens again. Those that are not there any more are taken no longer. Blocks.
    ///
    /// Errors: `Invalid` for a file that cannot be read; the tokens stay as they were.
    pub(super) fn reload(&self) -> Result<()> {
        let Some(file) = &self.tokens_file else { return Ok(()) };
        self.replace(|known| {
            known.tokens.retain(|_, token| !token.is_configured);
            known.take_file(file)
        })
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        let known = self.known();
        known.users.is_empty() && known.tokens.is_empty()
    }

    /// A user as the principal of a call, and the hash of their password.
    pub(super) fn user(&self, name: &str) -> Option<(Principal, Option<String>)> {
        let known = self.known();
        let user = known.users.get(name)?;
        Some((Principal::new(name, user.role), user.password_hash.clone()))
    }

    /// The role of a user; `None` for one who is not known.
    pub fn role_of(&self, name: &str) -> Option<Role> {
        self.known().users.get(name).map(|user| user.role)
    }

    /// Who a token speaks for.
    ///
    /// Errors: `Unauthenticated` for one that is not known, has expired, or whose user is gone.
    pub(super) fn token(&self, token: &str) -> Result<Principal> {
        let known = self.known();
        let refused = |why: String| Error::new(Kind::Unauthenticated, why);
        let (hash, found) = known
            .tokens
            .get_key_value(&hash_of(token))
            .ok_or_else(|| refused("the token is unknown or was revoked".to_owned()))?;
        debug_assert!(hash.is_of(token));
        let name = &found.scope.token;
        if found.expires.is_some_and(|expires| expires <= now()) {
            return Err(refused(format!(
                "token \"{name}\" has expired; make a new one with `pintail token add`"
            )));
        }
        let user = known
            .users
            .get(&found.user)
            .ok_or_else(|| refused(format!("token \"{name}\" is of user \"{}\", who is gone", found.user)))?;
        Ok(Principal::new(found.user.as_str(), user.role).narrowed(found.scope.clone()))
    }

    /// The users, without their passwords: name, role, whether there is a password, and where it is set.
    pub fn users(&self) -> Vec<Value> {
        let known = self.known();
        let mut names: Vec<&String> = known.users.keys().collect();
        names.sort_unstable();
        let users = names.into_iter().map(|name| {
            let user = &known.users[name];
            json!({
                "name": name,
                "role": user.role,
                "password": user.password_hash.is_some(),
                "from": source(user.is_configured),
            })
        });
        users.collect()
    }

    /// The API tokens, without what they are.
    pub fn tokens(&self) -> Vec<Value> {
        let known = self.known();
        let mut tokens: Vec<&Token> = known.tokens.values().collect();
        tokens.sort_unstable_by(|a, b| a.scope.token.cmp(&b.scope.token));
        let tokens = tokens.into_iter().map(|token| {
            json!({
                "name": *token.scope.token,
                "user": token.user,
                "role": token.scope.role,
                "tables": token.scope.tables,
                "created": token.created,
                "expires": token.expires,
                "from": source(token.is_configured),
            })
        });
        tokens.collect()
    }

    /// Adds a user. Blocks.
    ///
    /// Errors: `Exists`; `Invalid` for a name or hash that cannot be one.
    pub fn add_user(&self, name: &str, role: Role, password_hash: Option<String>) -> Result<()> {
        check_name("user", name)?;
        self.change(|known, connection| {
            if known.users.contains_key(name) {
                return Err(Error::new(Kind::Exists, format!("user \"{name}\" is there already")));
            }
            known.put_user(connection, name, role, password_hash)
        })
    }

    /// Changes a user's password, role, or both. Blocks.
    ///
    /// Errors: `NotFound`; `Conflict` for a user of the configuration, and for the last admin, unless `force`.
    pub fn change_user(
        &self,
        name: &str,
        role: Option<Role>,
        password_hash: Option<String>,
        force: bool,
    ) -> Result<()> {
        self.change(|known, connection| {
            let user = known.stored_user(name)?;
            let role = role.unwrap_or(user.role);
            if role != Role::Admin && !force {
                known.check_not_last_admin(name)?;
            }
            let password_hash = password_hash.or_else(|| user.password_hash.clone());
            known.put_user(connection, name, role, password_hash)
        })
    }

    /// Removes a user and their tokens. Blocks.
    ///
    /// Errors: `NotFound`; `Conflict` for a user of the configuration, and for the last admin, unless `force`.
    pub fn remove_user(&self, name: &str, force: bool) -> Result<()> {
        self.change(|known, connection| {
            known.stored_user(name)?;
            if !force {
                known.check_not_last_admin(name)?;
            }
            remove_user(connection, name)?;
            known.users.remove(name);
            known.tokens.retain(|_, token| token.user != name || token.is_configured);
            Ok(())
        })
    }

    /// Makes a token and gives it: nobody can see it later. Blocks.
    ///
    /// Errors: `Exists`; `NotFound` when there is no such user; `Invalid` for a name that cannot be one; `Exhausted` when the
    /// user has too many.
    pub fn add_token(&self, new: NewToken) -> Result<String> {
        check_name("token", &new.name)?;
        let token = new_token();
        self.change(|known, connection| {
            if known.tokens.values().any(|token| *token.scope.token == *new.name) {
                return Err(Error::new(Kind::Exists, format!("token \"{}\" is there already", new.name)));
            }
            if !known.users.contains_key(&new.user) {
                return Err(no_user(&new.user));
            }
            let count = known.tokens.values().filter(|token| token.user == new.user).count();
            if count >= TOKENS_OF_USER_MAX {
                return Err(Error::new(
                    Kind::Exhausted,
                    format!("user \"{}\" has {count} tokens, which is the most; revoke some", new.user),
                ));
            }
            let tables: Vec<String> = new.tables.iter().map(ToString::to_string).collect();
            let stored = StoredToken {
                name: new.name,
                user: new.user,
                role: new.role.to_string(),
                tables: tables.join(" "),
                hash: hash_of(&token).to_string(),
                created: now(),
                expires: new.expires,
            };
            store_token(connection, &stored)?;
            known.insert_token(stored, false)
        })?;
        Ok(token)
    }

    /// Revokes a token. Blocks.
    ///
    /// Errors: `NotFound`; `Conflict` for a token of the tokens file.
    pub fn revoke_token(&self, name: &str) -> Result<()> {
        self.change(|known, connection| {
            let found = known.tokens.values().find(|token| *token.scope.token == *name);
            match found {
                None => return Err(Error::not_found(format!("there is no token \"{name}\""))),
                Some(token) if token.is_configured => {
                    return Err(configured(&format!("token \"{name}\" is of auth.tokens_file")));
                }
                Some(_) => {}
            }
            remove_token(connection, name)?;
            known.tokens.retain(|_, token| *token.scope.token != *name);
            Ok(())
        })
    }

    /// Makes a change in the database, and then in memory.
    fn change(&self, change: impl FnOnce(&mut Known, &mut Connection) -> Result<()>) -> Result<()> {
        self.replace(|known| change(known, &mut self.database.connection()?))
    }

    /// Changes what is known, or nothing of it.
    fn replace(&self, change: impl FnOnce(&mut Known) -> Result<()>) -> Result<()> {
        let _one_at_a_time = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = Known::clone(&self.known());
        change(&mut known)?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        Ok(())
    }
}

fn source(is_configured: bool) -> &'static str {
    if is_configured { "configuration" } else { "database" }
}

/// Refuses a name that could not be typed, logged or sent.
///
/// Errors: `Invalid`.
pub fn check_name(what: &str, name: &str) -> Result<()> {
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.trim() == name
        && !name.contains(|letter: char| letter == ':' || letter == '"' || letter.is_control());
    if !fits {
        return Err(Error::invalid(format!(
            "expected the name of a {what}: 1 to {NAME_BYTES_MAX} bytes without colons, quotes and control characters, \
             found {name:?}"
        )));
    }
    if name == ANONYMOUS {
        return Err(Error::invalid(format!(
            "\"{ANONYMOUS}\" is who comes without credentials; take another name"
        )));
    }
    Ok(())
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
