//! Waits for a result to begin, no longer than the call may take.
//! Runs on: the task of the call.
//! Never: says that a change was stopped which was made.

use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use tokio::sync::oneshot;

use crate::engine::Class;
use crate::error::{Error, Kind, Result};
use crate::running::{EngineThread, INTERRUPT_EVERY};

/// What the reader thread says before the first batch.
pub(super) struct Start {
    pub(super) schema: SchemaRef,
    pub(super) class: Class,
    pub(super) prepared: Duration,
}

/// What a client hears of a statement that its deadline has ended.
pub(super) const STOPPED: &str =
    "the query ran longer than the call's deadline or query.timeout allows, and was stopped";

/// Waits until the result begins, or `thread` ends before that. When the deadline passes first, the statement is stopped,
/// and its own end says whether it was: a change that is in its COMMIT is made.
///
/// Errors: `Deadline`.
pub(super) async fn opened(
    deadline: Option<Instant>,
    mut opening: oneshot::Receiver<Start>,
    thread: &mut EngineThread,
) -> Result<std::result::Result<Start, oneshot::error::RecvError>> {
    let Some(deadline) = deadline else { return Ok(opening.await) };
    if let Ok(start) = tokio::time::timeout_at(deadline.into(), &mut opening).await {
        return Ok(start);
    }
    if !thread.has_started() {
        // It waits for its connection. The thread looks at this after it has given the interrupt.
        opening.close();
        fence(Ordering::SeqCst);
        if !thread.has_started() {
            return Err(Error::new(Kind::Deadline, "the deadline passed before the query started"));
        }
    }
    loop {
        thread.ask_to_stop();
        match tokio::time::timeout(INTERRUPT_EVERY, &mut opening).await {
            Err(_) => {}
            Ok(Ok(start)) if start.class == Class::Query => return Err(Error::new(Kind::Deadline, STOPPED)),
            // The rows that a change gives back come after its COMMIT.
            Ok(Ok(start)) => return Ok(Ok(start)),
            Ok(Err(_)) => {
                return Err(match thread.ended().await {
                    Err(error) if error.kind() != Kind::Cancelled => error,
                    _ => Error::new(Kind::Deadline, STOPPED),
                });
            }
        }
    }
}
