//! PollFlightInfo: starts a statement, says how far it is, and gives its endpoint when its result begins.
//! Runs on: the task of the call; the statement goes on between calls in a task of its own.
//! Never: starts a statement twice for one client that asks twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow_flight::{FlightDescriptor, FlightInfo, PollInfo};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::change::{Changed, change};
use super::describe::{DescribedFetch, describe};
use super::endpoint::{Endpoints, expiration, info};
use super::infos::Infos;
use crate::auth::Principal;
use crate::engine::{Class, Progress};
use crate::error::{Error, Result};
use crate::flight::request::{self, Ask, Call};
use crate::flight::result::{Asked, Fetch, LIFETIME};
use crate::query::RunOptions;

/// First bytes of a descriptor that asks how far a statement is.
const MAGIC: &[u8] = b"\0pintail\x02";
/// How long a call waits for news before it answers that there are none.
const NEWS_AFTER: Duration = Duration::from_millis(500);
/// Statements polled at one time.
const POLLS_MAX: usize = 256;

type Outcome = Option<std::result::Result<FlightInfo, Error>>;

/// A statement that is polled.
struct Polled {
    // Whose it is; nobody else hears of it.
    principal: Arc<Principal>,
    schema: SchemaRef,
    descriptor: FlightDescriptor,
    progress: Arc<OnceLock<Progress>>,
    outcome: watch::Receiver<Outcome>,
    work: JoinHandle<()>,
    expires: Instant,
}

impl Drop for Polled {
    fn drop(&mut self) {
        // Stops a statement that is still running; one that has ended does not mind.
        self.work.abort();
    }
}

/// Statements that were started by a poll and not forgotten yet.
#[derive(Default)]
pub(in crate::flight) struct Polls(Mutex<HashMap<u128, Polled>>);

/// What a call learns of a statement.
struct Watched {
    outcome: watch::Receiver<Outcome>,
    schema: SchemaRef,
    descriptor: FlightDescriptor,
    progress: Arc<OnceLock<Progress>>,
}

impl Polls {
    /// Keeps a statement that has been started, under a number that nobody guesses.
    fn add(&self, polled: Polled) -> Result<u128> {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.len() >= POLLS_MAX {
            return Err(Error::busy("256", "too many statements are polled at one time; cancel some"));
        }
        let number = rand::random();
        polls.insert(number, polled);
        Ok(number)
    }

    /// Asks for a statement, which is kept for another lifetime.
    fn watch(&self, number: u128, principal: &Principal) -> Result<Watched> {
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let polled = polls
            .get_mut(&number)
            .filter(|polled| polled.principal.is_same(principal))
            .ok_or_else(|| Error::not_found("unknown or expired poll; send the statement again"))?;
        polled.expires = Instant::now() + LIFETIME;
        Ok(Watched {
            outcome: polled.outcome.clone(),
            schema: Arc::clone(&polled.schema),
            descriptor: polled.descriptor.clone(),
            progress: Arc::clone(&polled.progress),
        })
    }

    /// Stops a statement; false when `descriptor` is not that of a poll.
    pub(in crate::flight) fn cancel(&self, descriptor: &[u8], principal: &Principal) -> bool {
        let Some(number) = decode(descriptor) else { return false };
        let mut polls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_theirs = polls.get(&number).is_some_and(|polled| polled.principal.is_same(principal));
        is_theirs && polls.remove(&number).is_some()
    }

    /// Forgets what nobody has asked for in a ticket's lifetime.
    pub(in crate::flight) fn sweep(&self) {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, poll| poll.expires > now);
    }
}

/// Starts what the descriptor asks for, or tells how far it is.
pub(in crate::flight) async fn poll(
    polls: &Polls,
    infos: &Infos,
    ask: &Ask,
    descriptor: FlightDescriptor,
    call: &mut Call,
) -> Result<PollInfo> {
    let number = match decode(&descriptor.cmd) {
        Some(number) => number,
        None => polls.add(start(infos, ask, descriptor, call).await?)?,
    };
    let Watched { mut outcome, schema, descriptor, progress } = polls.watch(number, &ask.caller.principal)?;
    let news = tokio::time::Instant::now() + NEWS_AFTER;
    let until = ask.run.deadline.map_or(news, |deadline| news.min(deadline.into()));
    // Elapsed is an answer too: no news.
    let _ = tokio::time::timeout_at(until, outcome.wait_for(Option::is_some)).await;
    let outcome = outcome.borrow().clone();
    match outcome {
        Some(Err(error)) => Err(error),
        Some(Ok(info)) => Ok(PollInfo {
            info: Some(info),
            flight_descriptor: None,
            progress: Some(1.0),
            expiration_time: Some(expiration()),
        }),
        None => Ok(PollInfo {
            info: Some(info(&schema, descriptor, None)?.with_app_metadata(encode(number))),
            flight_descriptor: Some(FlightDescriptor::new_cmd(encode(number))),
            progress: progress.get().and_then(Progress::share),
            expiration_time: Some(expiration()),
        }),
    }
}

/// Starts a statement that is polled.
async fn start(infos: &Infos, ask: &Ask, descriptor: FlightDescriptor, call: &mut Call) -> Result<Polled> {
    let read = request::read(&descriptor)?;
    let described = describe(infos.results(), ask.session(), read, call).await?;
    let schema = Arc::new(ask.form.schema(&described.schema));
    let progress = Arc::new(OnceLock::new());
    // The deadline of one poll is not that of the statement.
    let run = RunOptions { deadline: None, progress: Some(Arc::clone(&progress)), ..ask.run.clone() };
    let principal = Arc::clone(&ask.caller.principal);
    let ask = Ask { run, ..ask.clone() };
    let (tell, outcome) = watch::channel(None);
    let (infos, asked) = (infos.clone(), descriptor.clone());
    let work = tokio::spawn(async move {
        let mut call = Call::new("PollFlightInfo.run", &ask.caller);
        let result = begin_result(&infos, &ask, described, descriptor, &mut call).await;
        tell.send_replace(Some(result.clone()));
        // The error reaches the client with its next poll; the log gets it now.
        let _ = call.end(result);
    });
    Ok(Polled {
        principal,
        schema,
        descriptor: asked,
        progress,
        outcome,
        work,
        expires: Instant::now() + LIFETIME,
    })
}

/// Runs a statement until its result begins, or to its end if it is a change.
async fn begin_result(
    infos: &Infos,
    ask: &Ask,
    described: DescribedFetch,
    descriptor: FlightDescriptor,
    call: &mut Call,
) -> Result<FlightInfo> {
    let DescribedFetch { fetch, class, .. } = described;
    let (fetch, schema, rows) = if class == Class::Query {
        let mut result = infos.results().open(&fetch, ask.run.clone(), call).await?;
        result.wait_first().await?;
        let schema = Arc::clone(result.schema());
        (Fetch::begun(result), schema, None)
    } else {
        let Changed { rows, schema, fetch } = change(&infos.puts, fetch, ask.run.clone(), call).await?;
        (fetch, schema, Some(rows))
    };
    let schema = &ask.form.schema(&schema);
    let asked = Asked::ForItBy(ask.session().share());
    Endpoints { fetches: vec![fetch], schema, descriptor, rows, asked }
        .issue(&infos.tickets, &ask.caller.principal)
}

fn encode(number: u128) -> Bytes {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

fn decode(bytes: &[u8]) -> Option<u128> {
    bytes.strip_prefix(MAGIC)?.try_into().ok().map(u128::from_be_bytes)
}
