//! `pintail.grant`, `pintail.revoke`, `pintail.grants`: what users may reach.
//! Runs on: the task of the call; the catalog work on a thread of the query bridge.
//! Never: lets anybody but an admin change grants.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{Grant, Role, TablePattern};
use crate::error::{Error, Result};
use crate::flight::request::Ask;
use crate::flight::server::FlightServer;

/// Body of `pintail.grant`.
#[derive(Deserialize)]
struct Granted {
    user: String,
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
    let Granted { user, grant } = serde_json::from_slice(body).map_err(|error| {
        Error::invalid(format!(
            "pintail.grant: expected a body such as {{\"user\": \"ada\", \"on\": \"main.wells\", \"rights\": [\"read\"]}}: {error}"
        ))
    })?;
    if user.is_empty() {
        return Err(Error::invalid("pintail.grant: expected the name of a user, found an empty one"));
    }
    let (grants, tables) = (Arc::clone(&server.grants), &server.declared_tables);
    let kept = tables.query.catalog(tables.pooled(), move |connection| {
        grants.keep(connection, &user, &grant).map(|()| json!({ "user": user, "grant": grant }))
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

/// What is granted: to everybody for an admin, to themselves for others.
pub(super) fn list(server: &FlightServer, ask: &Ask) -> Value {
    let principal = &ask.caller.principal;
    let is_shown = |user: &str| principal.role == Role::Admin || *principal.name == *user;
    let all = server.grants.all();
    let shown = all.iter().filter(|(user, _, _)| is_shown(user));
    let listed: Vec<Value> = shown
        .map(|(user, grant, is_configured)| {
            json!({ "user": user, "grant": grant, "from": if *is_configured { "configuration" } else { "database" } })
        })
        .collect();
    json!({ "grants": listed })
}
