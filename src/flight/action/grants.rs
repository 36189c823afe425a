//! `pintail.grant`, `pintail.revoke`, `pintail.grants`: what users may reach.
//! Runs on: the task of the call; the catalog work on a thread of the query bridge.
//! Never: lets anybody but an admin change grants.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{ANONYMOUS, Grant, Role, TablePattern};
use crate::error::{Error, Result};
use crate::flight::request::Ask;
use crate::flight::server::FlightServer;

/// Body of `pintail.grant`.
#[derive(Deserialize)]
struct Granted {
    user: String,
    /// There need be no such user yet.
    #[serde(default)]
    new_user: bool,
    #[serde(flatten)]
    grant: Grant,
}

/// Body of `pintail.revoke`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoked {
    user: String,
    on: TablePattern,
}

/// Grants, in force from the next statement of the user on.
pub(super) async fn grant(server: &FlightServer, body: &[u8]) -> Result<Value> {
    let Granted { user, new_user, grant } = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!(
            "pintail.grant: expected a body such as {{\"user\": \"ada\", \"on\": \"main.wells\", \"rights\": [\"read\"]}}: {error}"
        ))
    })?;
    if user.is_empty() {
        return Err(Error::invalid("pintail.grant: expected the name of a user, found an empty one"));
    }
    let role = server.gate.accounts().role_of(&user);
    // With a name that is nobody's, whoever was meant goes on with all that the role gives.
    if role.is_none() && user != ANONYMOUS && !new_user {
        return Err(Error::not_found(format!(
            "there is no user \"{user}\", so nobody is held to the grant; `pintail user list` shows those there are; \
             for one who is still to come, or comes by JSON web tokens, say --new-user (\"new_user\": true)"
        )));
    }
    let (grants, tables) = (Arc::clone(&server.grants), &server.declared_tables);
    let kept = tables.query.catalog(tables.pooled(), move |connection| {
        grants.keep(connection, &user, &grant)?;
        let all = grants.all().into_iter().filter(|(name, _, _)| *name == user);
        let all: Vec<Grant> = all.map(|(_, grant, _)| grant).collect();
        Ok(json!({ "user": user, "grant": grant, "role": role, "grants": all }))
    });
    kept.await
}

/// Takes back what a user was granted on tables.
pub(super) async fn revoke(server: &FlightServer, body: &[u8]) -> Result<Value> {
    let Revoked { user, on } = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!(
            "pintail.revoke: expected a body such as {{\"user\": \"ada\", \"on\": \"main.wells\"}}: {error}"
        ))
    })?;
    let (grants, tables) = (Arc::clone(&server.grants), &server.declared_tables);
    let removed = tables.query.catalog(tables.pooled(), move |connection| {
        let removed = grants.forget(connection, &user, &on)?;
        if !removed {
            return Err(Error::not_found(format!(
                "{user} was granted nothing on {on} that can be taken back"
            )));
        }
        let left = grants.all().iter().filter(|(name, _, _)| *name == user).count();
        Ok(json!({ "user": user, "on": on, "grants_left": left }))
    });
    removed.await
}

/// What is granted: to everybody for an admin, to themselves for others, who do not hear what is left out for them.
pub(super) fn list(server: &FlightServer, ask: &Ask) -> Value {
    let principal = &ask.caller.principal;
    let is_shown = |user: &str| principal.role == Role::Admin || *principal.name == *user;
    let all = server.grants.all();
    let shown = all.iter().filter(|(user, _, _)| is_shown(user));
    let listed: Vec<Value> = shown
        .map(|(user, grant, is_configured)| {
            let from = if *is_configured { "configuration" } else { "database" };
            let is_in_part = grant.filter.is_some() || !grant.hide.is_empty();
            match principal.role == Role::Admin {
                true => json!({ "user": user, "grant": grant, "from": from }),
                // The condition may name hidden columns as well.
                false => {
                    let grant = json!({ "on": grant.on, "rights": grant.rights, "in_part": is_in_part });
                    json!({ "user": user, "grant": grant, "from": from })
                }
            }
        })
        .collect();
    json!({ "grants": listed })
}
