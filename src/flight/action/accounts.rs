//! The actions on users and API tokens.
//! Runs on: the task of the call; changes on blocking threads.
//! Never: answers with a password or its hash, or with a token a second time.

use arrow_flight::Action;
use pintail_protocol::action;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::auth::{NewToken, Role, TablePattern};
use crate::error::{Error, Kind, Result};
use crate::flight::request::Ask;
use crate::flight::server::FlightServer;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    name: String,
    role: Option<Role>,
    password_hash: Option<String>,
    /// The last admin too.
    #[serde(default)]
    force: bool,
}

/// Body of `pintail.user_remove`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovedBody {
    name: String,
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameBody {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenBody {
    name: String,
    user: Option<String>,
    role: Option<Role>,
    #[serde(default)]
    tables: Vec<TablePattern>,
    expires: Option<i64>,
}

/// Runs an action on users and tokens; `None` when it is none of those.
pub(super) async fn run(server: &FlightServer, ask: &Ask, action: &Action) -> Result<Option<Value>> {
    let name = action.r#type.as_str();
    let answer = match name {
        action::USERS => {
            check_admin(ask, name)?;
            json!({ "users": server.gate.accounts().users() })
        }
        action::USER_ADD => add_user(server, ask, read(action)?).await?,
        action::USER_CHANGE => change_user(server, ask, read(action)?).await?,
        action::USER_REMOVE => remove_user(server, ask, read(action)?).await?,
        action::TOKENS => tokens(server, ask),
        action::TOKEN_ADD => add_token(server, ask, read(action)?).await?,
        action::TOKEN_REVOKE => revoke_token(server, ask, read(action)?).await?,
        _ => return Ok(None),
    };
    Ok(Some(answer))
}

fn read<T: DeserializeOwned>(action: &Action) -> Result<T> {
    serde_json::from_slice(&action.body)
        .map_err(|error| Error::invalid(format!("{}: expected a body of JSON: {error}", action.r#type)))
}

/// Refuses whoever is no admin. A token narrowed to some tables administers nothing.
///
/// Errors: `Denied`.
fn check_admin(ask: &Ask, what: &str) -> Result<()> {
    let principal = &ask.caller.principal;
    let is_narrow = principal.scope.as_ref().is_some_and(|scope| !scope.tables.is_empty());
    if principal.role == Role::Admin && !is_narrow {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, format!("{what} is for admins; {principal} is a {}", principal.role)))
}

/// Whether the caller is this user in person, and not by a token.
fn is_self(ask: &Ask, user: &str) -> bool {
    let principal = &ask.caller.principal;
    principal.is_account_in_person() && *principal.name == *user
}

async fn add_user(server: &FlightServer, ask: &Ask, body: UserBody) -> Result<Value> {
    check_admin(ask, action::USER_ADD)?;
    let UserBody { name, role, password_hash, .. } = body;
    let role = role.unwrap_or(Role::Reader);
    let added = name.clone();
    server.gate.change(move |accounts| accounts.add_user(&added, role, password_hash)).await?;
    Ok(json!({ "name": name, "role": role }))
}

async fn change_user(server: &FlightServer, ask: &Ask, body: UserBody) -> Result<Value> {
    let UserBody { name, role, password_hash, force } = body;
    if role.is_some() || !is_self(ask, &name) {
        check_admin(ask, action::USER_CHANGE)?;
    }
    let changed = name.clone();
    let has_password = password_hash.is_some();
    server.gate.change(move |accounts| accounts.change_user(&changed, role, password_hash, force)).await?;
    if has_password {
        // Whoever logged in with the old one has to know the new one.
        server.sessions.log_out(&name);
    }
    Ok(json!({ "name": name }))
}

async fn remove_user(server: &FlightServer, ask: &Ask, body: RemovedBody) -> Result<Value> {
    check_admin(ask, action::USER_REMOVE)?;
    let (removed, force) = (body.name.clone(), body.force);
    server.gate.change(move |accounts| accounts.remove_user(&removed, force)).await?;
    server.sessions.log_out(&body.name);
    Ok(json!({ "name": body.name }))
}

fn tokens(server: &FlightServer, ask: &Ask) -> Value {
    let mut tokens = server.gate.accounts().tokens();
    if check_admin(ask, action::TOKENS).is_err() {
        let own = &ask.caller.principal;
        tokens.retain(|token| own.is_account_in_person() && token["user"] == *own.name);
    }
    json!({ "tokens": tokens })
}

/// Anybody may make tokens of their own, which give no more than they have.
async fn add_token(server: &FlightServer, ask: &Ask, body: TokenBody) -> Result<Value> {
    let principal = &ask.caller.principal;
    let user = match body.user {
        Some(user) => user,
        None if principal.is_account_in_person() => principal.name.to_string(),
        None => {
            check_admin(ask, action::TOKEN_ADD)?;
            return Err(Error::invalid(
                "pintail.token_add: expected the user whose token it is (`pintail token add --user NAME`)",
            ));
        }
    };
    if !is_self(ask, &user) {
        check_admin(ask, action::TOKEN_ADD)?;
    }
    let role = body.role.unwrap_or(Role::Reader);
    let (name, tables, expires) = (body.name.clone(), body.tables, body.expires);
    let new = NewToken { name, user: user.clone(), role, tables, expires };
    let token = server.gate.change(move |accounts| accounts.add_token(new)).await?;
    Ok(json!({ "name": body.name, "user": user, "role": role, "token": token }))
}

async fn revoke_token(server: &FlightServer, ask: &Ask, body: NameBody) -> Result<Value> {
    let tokens = server.gate.accounts().tokens();
    let own = tokens.iter().find(|token| token["name"] == body.name.as_str());
    let is_own = own.and_then(|token| token["user"].as_str()).is_some_and(|user| is_self(ask, user));
    if !is_own {
        check_admin(ask, action::TOKEN_REVOKE)?;
    }
    let revoked = body.name.clone();
    server.gate.change(move |accounts| accounts.revoke_token(&revoked)).await?;
    Ok(json!({ "name": body.name }))
}
