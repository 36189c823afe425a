//! The console: one page, and what it asks for besides SQL.
//! Runs on: the task of the call.
//! Never: tells somebody what Flight would not; lets the page load anything from elsewhere.

use ::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use ::http::{HeaderMap, HeaderValue, Request, Response};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;

use super::error::Refused;
use super::media::media_of;
use super::{Web, asks_for_password};
use crate::engine::Access;
use crate::error::{Error, Result};
use crate::flight::action;
use crate::flight::request::Caller;
use crate::flight::wire::Link;

/// Script and style are in it, so that it needs nothing else.
const PAGE: &str = include_str!("console/index.html");
/// Longest body of a request for something small.
const BODY_BYTES_MAX: usize = 4 << 10;

/// The page and its endpoints.
pub(super) fn routes() -> Router<Web> {
    let policy =
        HeaderValue::from_str(&policy(PAGE)).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let page = move |State(web): State<Web>, headers: HeaderMap| {
        let policy = policy.clone();
        async move {
            match web.0.guard.check_host(&headers) {
                Ok(()) => page(policy),
                Err(refused) => refused.into_response(false),
            }
        }
    };
    Router::new()
        .route("/", get(page))
        .route("/console/session", get(session))
        .route("/console/running", get(running))
        .route("/console/status", get(status))
        .route("/console/schemas", get(schemas))
        .route("/console/cancel", post(cancel))
}

fn page(policy: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::from(PAGE));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Nothing but the page's own script and style, and requests to this server.
fn policy(page: &str) -> String {
    let hash = |tag: &str| {
        let inner =
            page.split_once(&format!("<{tag}>")).and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")));
        let (inner, _) = inner.unwrap_or_default();
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inner.as_bytes())))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
}

/// Who asks. The page asks again and again, so that there is no log line for each time.
async fn caller(web: &Web, link: &Link, headers: &HeaderMap) -> Result<Caller, Refused> {
    web.0.guard.check(headers)?;
    let mut extensions = tonic::Extensions::default();
    extensions.insert(link.anew());
    let metadata = MetadataMap::from_headers(headers.clone());
    let server = &web.0.server;
    Ok(Caller::find(&server.gate, &server.sessions, &server.recorder, &metadata, &extensions).await?)
}

fn answered(headers: &HeaderMap, answer: Result<Value, Refused>) -> Response<Body> {
    match answer {
        Ok(value) => {
            let mut response = Response::new(Body::from(value.to_string()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
        Err(refused) => refused.into_response(asks_for_password(headers)),
    }
}

/// Who is logged in.
async fn session(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = caller(&web, &link, &headers).await.map(|caller| {
        json!({
            "user": caller.principal.to_string(),
            "role": caller.principal.role.as_str(),
            "anonymous": caller.principal.is_anonymous(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    });
    answered(&headers, answer)
}

/// Statements that run or wait: all for an admin, for others their own.
async fn running(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    headers: HeaderMap,
) -> Response<Body> {
    let answer = caller(&web, &link, &headers).await.map(|caller| {
        let listed = web.0.server.infos.results().query.listed();
        let shown = listed.iter().filter(|one| may_see(&caller, one));
        shown
            .map(|one| {
                json!({
                    "id": one.id,
                    "sql": one.sql,
                    "user": one.who.as_ref().map(ToString::to_string),
                    "seconds": one.age().as_secs_f64(),
                    "running": one.is_running(),
                    "progress": one.progress(),
                })
            })
            .collect()
    });
    answered(&headers, answer)
}

fn may_see(caller: &Caller, one: &crate::query::Listed) -> bool {
    caller.session.access().is_none() || one.who.as_ref().is_some_and(|who| who.is_same(&caller.principal))
}

/// Stops a statement that its caller sees.
async fn cancel(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request<Body>,
) -> Response<Body> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Which {
        id: u64,
    }
    let (head, body) = request.into_parts();
    let work = async {
        let caller = caller(&web, &link, &head.headers).await?;
        if media_of(&head.headers)? != "application/json" {
            return Err(Refused::media_type("header content-type: expected application/json"));
        }
        let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX)
            .await
            .map_err(|error| Error::invalid(format!("cannot read the body: {error}")))?;
        let Which { id } = serde_json::from_slice(&bytes)
            .map_err(|error| Error::invalid(format!("expected {{\"id\": 7}}: {error}")))?;
        web.0.server.infos.results().query.cancel(id, |one| may_see(&caller, one))?;
        Ok(json!({ "cancelled": id }))
    };
    answered(&head.headers, work.await)
}

/// As the action `pintail.status`.
async fn status(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    headers: HeaderMap,
) -> Response<Body> {
    let work = async {
        let caller = caller(&web, &link, &headers).await?;
        if let Some(access) = caller.session.access() {
            return Err(Access::only_admins(&access, "the server's status").into());
        }
        Ok(action::status(&web.0.server))
    };
    answered(&headers, work.await)
}

/// As the action `pintail.schemas`: the declared tables that the caller sees, and what is different in them.
async fn schemas(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    headers: HeaderMap,
) -> Response<Body> {
    let work = async {
        let caller = caller(&web, &link, &headers).await?;
        Ok(action::declared(&web.0.server.declared_tables, caller.session.access()).await?)
    };
    answered(&headers, work.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_small_file_that_loads_nothing() {
        assert!(PAGE.len() < 200 << 10);
        for foreign in
            ["src=", "@import", "http://", "https://", " style=\"", "onclick=", "eval(", "innerHTML"]
        {
            assert!(!PAGE.contains(foreign), "the page has {foreign}");
        }
        for tag in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{tag}>")).count(), 1);
        }
        let policy = policy(PAGE);
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert_ne!(policy, super::policy(&PAGE.replace("<script>", "<script> ")));
    }
}
