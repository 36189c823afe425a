//! The HTTP port for people without Flight: statements and rows by POST, over the same bridges and for the same users.
//! Runs on: the task of the call.
//! Never: does what DoGet and DoPut would refuse; takes anything from a page of another site.
//!
//! `guard` looks where a request comes from, `media` what it holds; `query` and `ingest` are the two calls, `answer` writes a
//! result, `error` what became of one that has none; `console` is the page for people. A call has a session of its own, which ends with it.

mod answer;
mod console;
mod error;
mod guard;
mod ingest;
mod media;
mod query;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State};
use axum::routing::post;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use self::error::Refused;
use self::guard::Guard;
use self::ingest::Target;
use super::request::{Call, Caller};
use super::server::FlightServer;
use super::wire::Link;
use crate::catalog::TableName;
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::files::body::Bounds;

/// Bodies of text and of files that are read at one time; each takes some 30 MiB.
const READERS_MAX: usize = 16;

/// What the calls of the HTTP port work on.
#[derive(Clone)]
struct Web(Arc<Parts>);

struct Parts {
    server: FlightServer,
    guard: Guard,
    bounds: Bounds,
    // How long a body may say nothing.
    idle_timeout: Duration,
    draining: Arc<AtomicBool>,
    open: OpenCalls,
}

/// The calls of the HTTP port that are under way.
#[derive(Clone)]
pub struct OpenCalls(Arc<watch::Sender<()>>);

impl OpenCalls {
    /// Completes when none is.
    pub async fn ended(&self) {
        self.0.closed().await;
    }
}

/// The calls of the HTTP port; none begins once `draining`.
pub fn web(server: FlightServer, config: &Config, draining: Arc<AtomicBool>) -> (Router, OpenCalls) {
    let bounds = Bounds::new(
        config.server.max_message_bytes.as_usize(),
        config.ingest.receive_memory_limit.as_usize(),
        READERS_MAX,
        config.database.temp_directory.clone(),
        config.database.max_temp_size.0,
    );
    let guard = Guard::new(&config.server.http_hosts);
    let idle_timeout = config.ingest.idle_timeout.0;
    let open = OpenCalls(Arc::new(watch::Sender::new(())));
    let web = Web(Arc::new(Parts { server, guard, bounds, idle_timeout, draining, open: open.clone() }));
    let router = Router::new()
        .route("/query", post(query).fallback(only_post))
        .route("/ingest/{table}", post(ingest_one).fallback(only_post))
        .route("/ingest/{schema}/{table}", post(ingest_two).fallback(only_post))
        .merge(console::routes())
        .with_state(web);
    (router, open)
}

impl Web {
    /// Who makes the call of `method`.
    async fn begin(
        &self,
        method: &'static str,
        link: &Link,
        headers: &HeaderMap,
    ) -> Result<(Caller, Call), Refused> {
        self.0.guard.check(headers)?;
        if self.0.draining.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Unavailable, "the server is stopping").into());
        }
        let mut extensions = tonic::Extensions::default();
        extensions.insert(link.anew());
        let metadata = MetadataMap::from_headers(headers.clone());
        Ok(self.0.server.begin(method, (&metadata, &extensions)).await?)
    }
}

/// Whether who sent a request would be asked for a password by their browser: a page asks itself.
fn asks_for_password(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-dest").is_none_or(|dest| dest != "empty")
}

async fn only_post() -> Response<Body> {
    let error = Error::invalid("expected POST");
    Refused::with(StatusCode::METHOD_NOT_ALLOWED, error).into_response(false)
}

async fn query(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let open = web.0.open.0.subscribe();
    let answered = async {
        let (caller, call) = web.begin("Query", &link, &head.headers).await?;
        query::query(&web.0.server, caller, &head.headers, body, (call, open)).await
    };
    answered.await.unwrap_or_else(|refused| refused.into_response(asks_for_password(&head.headers)))
}

async fn ingest_one(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    Path(table): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    ingest(web, link, TableName::from_text(&table), request).await
}

async fn ingest_two(
    State(web): State<Web>,
    ConnectInfo(link): ConnectInfo<Link>,
    Path((schema, table)): Path<(String, String)>,
    request: Request<Body>,
) -> Response<Body> {
    ingest(web, link, TableName::from_path(&[schema, table]), request).await
}

async fn ingest(
    web: Web,
    link: Link,
    table: crate::error::Result<TableName>,
    request: Request<Body>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let _open = web.0.open.0.subscribe();
    let answered = async {
        let (caller, mut call) = web.begin("Ingest", &link, &head.headers).await?;
        let target = table.and_then(|table| Ok(Target { table, seq: seq_of(head.uri.query())? }));
        let target = target.map_err(|error| Refused::from(call.failed(error)))?;
        let Parts { server, bounds, idle_timeout, .. } = &*web.0;
        let reading = ingest::Bodies { bounds, idle_timeout: *idle_timeout };
        ingest::ingest(server, reading, caller, &head.headers, target, body, call).await
    };
    match answered.await {
        Ok(text) => {
            let mut response = Response::new(Body::from(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(refused) => refused.into_response(asks_for_password(&head.headers)),
    }
}

/// `seq` of the query of an address, which has nothing else.
fn seq_of(query: Option<&str>) -> crate::error::Result<Option<u64>> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(None) };
    match query.strip_prefix("seq=").map(str::parse) {
        Some(Ok(seq)) => Ok(Some(seq)),
        _ => Err(Error::invalid(format!(
            "expected ?seq=N, a whole number, found \"?{}\"; all else is said by headers",
            crate::error::shorten(query, 100)
        ))),
    }
}
