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

use super::FlightServer;
use super::call::Call;
use super::caller::Caller;
use super::descriptor;
use super::form::Form;
use super::info::{Changed, expiration, info};
use super::ticket::{Fetch, LIFETIME};
use crate::engine::{Class, Progress};
use crate::error::{Error, Result};
use crate::query::RunOptions;

/// First bytes of a descriptor that asks how far a statement is.
const MAGIC: &[u8] = b"\0pintail\x02";
/// How long a call waits for news before it answers that there are none.
const NEWS_AFTER: Duration = Duration::from_millis(500);
/// Statements polled at one time.
const POLLS_MAX: usize = 256;

type Outcome = Option<std::result::Result<FlightInfo, Error>>;

struct Poll {
    schema: SchemaRef,
    asked: FlightDescriptor,
    progress: Arc<OnceLock<Progress>>,
    outcome: watch::Receiver<Outcome>,
    work: JoinHandle<()>,
    expires: Instant,
}

impl Drop for Poll {
    fn drop(&mut self) {
        // Stops a statement that is still running; one that has ended does not mind.
        self.work.abort();
    }
}

/// Statements that were started by a poll and not forgotten yet.
#[derive(Default)]
pub(super) struct Polls(Mutex<HashMap<u128, Poll>>);

impl Polls {
    /// Stops a statement; false when `descriptor` is not that of a poll.
    pub(super) fn cancel(&self, descriptor: &[u8]) -> bool {
        let Some(number) = decode(descriptor) else { return false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&number).is_some()
    }

    /// Forgets what nobody has asked for in a ticket's lifetime.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, poll| poll.expires > now);
    }
}

impl FlightServer {
    /// Starts what the descriptor asks for, or tells how far it is.
    pub(super) async fn poll(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
        options: RunOptions,
        form: Form,
        call: &mut Call,
    ) -> Result<PollInfo> {
        let number = match decode(&descriptor.cmd) {
            Some(number) => number,
            None => self.start_poll(caller, descriptor, options.clone(), form, call).await?,
        };
        let unknown = || Error::not_found("unknown or expired poll; send the statement again");
        let (mut outcome, schema, asked, progress) = {
            let mut polls = self.polls.0.lock().unwrap_or_else(PoisonError::into_inner);
            let poll = polls.get_mut(&number).ok_or_else(unknown)?;
            poll.expires = Instant::now() + LIFETIME;
            let progress = Arc::clone(&poll.progress);
            (poll.outcome.clone(), Arc::clone(&poll.schema), poll.asked.clone(), progress)
        };
        let news = tokio::time::Instant::now() + NEWS_AFTER;
        let until = options.deadline.map_or(news, |deadline| news.min(deadline.into()));
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
                info: Some(info(&schema, asked, None)?.with_app_metadata(encode(number))),
                flight_descriptor: Some(FlightDescriptor::new_cmd(encode(number))),
                progress: progress.get().and_then(Progress::share),
                expiration_time: Some(expiration()),
            }),
        }
    }

    async fn start_poll(
        &self,
        caller: &Caller,
        descriptor: FlightDescriptor,
        options: RunOptions,
        form: Form,
        call: &mut Call,
    ) -> Result<u128> {
        let read = descriptor::read(&descriptor)?;
        let (fetch, schema, class) = self.described(&caller.session, read, call).await?;
        let schema = Arc::new(form.schema(&schema));
        let progress = Arc::new(OnceLock::new());
        // The deadline of one poll is not that of the statement.
        let options = RunOptions { deadline: None, progress: Some(Arc::clone(&progress)), ..options };
        let (tell, outcome) = watch::channel(None);
        let (server, asked, caller) = (self.clone(), descriptor.clone(), caller.clone());
        let work = tokio::spawn(async move {
            let mut call = Call::new("PollFlightInfo.run", &caller);
            let result = server.begin_result(fetch, class, descriptor, options, form, &mut call).await;
            tell.send_replace(Some(result.clone()));
            // The error reaches the client with its next poll; the log gets it now.
            let _ = call.end(result);
        });
        let number = rand::random();
        let poll = Poll { schema, asked, progress, outcome, work, expires: Instant::now() + LIFETIME };
        let mut polls = self.polls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if polls.len() >= POLLS_MAX {
            return Err(Error::exhausted("256", "too many statements are polled at one time; cancel some"));
        }
        polls.insert(number, poll);
        Ok(number)
    }

    /// Runs a statement until its result begins, or to its end if it is a change.
    async fn begin_result(
        &self,
        fetch: Fetch,
        class: Class,
        descriptor: FlightDescriptor,
        options: RunOptions,
        form: Form,
        call: &mut Call,
    ) -> Result<FlightInfo> {
        if class != Class::Query {
            let Changed { rows, schema, fetch } = self.change(fetch, options, call).await?;
            return self.endpoint_info(fetch, &form.schema(&schema), descriptor, Some(rows), false);
        }
        let mut result = self.open_fetch(&fetch, options, call).await?;
        result.wait_first().await?;
        let schema = Arc::clone(result.schema());
        self.endpoint_info(Fetch::begun(result), &form.schema(&schema), descriptor, None, false)
    }
}

fn encode(number: u128) -> Bytes {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

fn decode(bytes: &[u8]) -> Option<u128> {
    bytes.strip_prefix(MAGIC)?.try_into().ok().map(u128::from_be_bytes)
}
