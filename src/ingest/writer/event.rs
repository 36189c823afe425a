//! What a writer waits for: messages, and the moments at which it does something without one.
//! Runs on: the writer thread, which blocks on it.
//! Never: loses a message.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::error::Error;
use crate::ingest::exactly_once::ClaimKind;
use crate::ingest::job::{Job, Message};

/// How long a stream in progress mode may be quiet before what has come is committed.
const SLICE_QUIET: Duration = Duration::from_millis(5);
/// How long rows of a stream in progress mode wait for their commit at most.
pub(super) const SLICE_MAX: Duration = Duration::from_millis(500);

/// How often a quiet stream is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What comes next.
pub(super) enum Event {
    Message(Message),
    Pressed,
    /// Time to commit what has come.
    Slice,
    /// Time to look whether the transaction may go on.
    Look,
    Gone,
    Idle,
    /// A newer instance of the producer has come.
    ShutOut(Error),
}

/// Waits for what comes next. `quiet_since` is when the last message came; `has_uncommitted` says whether there are rows
/// that a stream in progress mode is to commit when it falls quiet.
pub(super) async fn next(
    job: &Job,
    messages: &mut mpsc::Receiver<Message>,
    quiet_since: Instant,
    has_uncommitted: bool,
) -> Event {
    let quiet = async {
        if has_uncommitted && job.terms.commit.is_progress() {
            tokio::time::sleep(SLICE_QUIET).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let shut_out = async {
        match job.terms.claim.as_ref().map(|claim| &claim.0) {
            Some(ClaimKind::Producer(producer)) => producer.shut_out().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        message = messages.recv() => message.map_or(Event::Gone, Event::Message),
        () = job.budget.pressed() => Event::Pressed,
        error = shut_out => Event::ShutOut(error),
        () = quiet => Event::Slice,
        () = tokio::time::sleep(LOOK_EVERY) => {
            if quiet_since.elapsed() >= job.shared.idle_timeout { Event::Idle } else { Event::Look }
        }
    }
}
