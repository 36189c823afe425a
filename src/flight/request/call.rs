//! One call from its start to its end -> one log line and its metrics.
//! Runs on: the task of the call; ends when dropped, so a call that was dropped is reported as well.
//! Never: logs values, secrets or SQL of fast queries.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pintail_protocol::status::code_name;
use tonic::{Code, Status};

use super::caller::Caller;
use crate::auth::Principal;
use crate::error::shorten;
use crate::metrics;
use crate::session::InUse;

/// How much of a statement stands in the log.
const SUBJECT_BYTES_MAX: usize = 500;

/// A call under way.
pub(in crate::flight) struct Call {
    method: &'static str,
    peer: Option<SocketAddr>,
    principal: Option<Arc<Principal>>,
    trace: Option<String>,
    started: Instant,
    outcome: Option<(Code, String)>,
    /// Table or statement that the call is about.
    subject: String,
    pub(in crate::flight) rows: u64,
    pub(in crate::flight) bytes: u64,
    stages: Vec<(&'static str, Duration)>,
    slow_after: Option<Duration>,
    in_use: Vec<InUse>,
}

impl Call {
    pub(in crate::flight) fn new(method: &'static str, caller: &Caller) -> Self {
        Self {
            method,
            peer: caller.address,
            principal: Some(Arc::clone(&caller.principal)),
            trace: caller.trace.clone(),
            started: Instant::now(),
            outcome: None,
            subject: String::new(),
            rows: 0,
            bytes: 0,
            stages: Vec::new(),
            slow_after: None,
            in_use: vec![caller.in_use.clone()],
        }
    }

    /// A call of somebody who did not say who they are.
    pub(in crate::flight) fn of_nobody(method: &'static str, peer: Option<SocketAddr>) -> Self {
        Self {
            method,
            peer,
            principal: None,
            trace: None,
            started: Instant::now(),
            outcome: None,
            subject: String::new(),
            rows: 0,
            bytes: 0,
            stages: Vec::new(),
            slow_after: None,
            in_use: Vec::new(),
        }
    }

    /// Names the table, statement or action that the call is about.
    pub(in crate::flight) fn about(&mut self, subject: &str) {
        self.subject = shorten(subject, SUBJECT_BYTES_MAX);
    }

    /// Reports the call as slow, with what it ran, when it takes longer.
    pub(in crate::flight) fn slow_after(&mut self, limit: Duration) {
        self.slow_after = Some(limit);
    }

    /// Notes how long a stage took.
    pub(in crate::flight) fn stage(&mut self, name: &'static str, took: Duration) {
        metrics::stage(name, took);
        self.stages.push((name, took));
    }

    /// Keeps something in use until the call has ended.
    pub(in crate::flight) fn hold(&mut self, uses: Vec<InUse>) {
        self.in_use.extend(uses);
    }

    /// The call ended as it should.
    pub(in crate::flight) fn ok(&mut self) {
        self.outcome = Some((Code::Ok, String::new()));
    }

    /// The call failed; gives the status on.
    pub(in crate::flight) fn failed(&mut self, status: impl Into<Status>) -> Status {
        let status = status.into();
        self.outcome = Some((status.code(), status.message().to_owned()));
        status
    }

    /// Ends the call with what `result` says.
    pub(in crate::flight) fn end<T>(mut self, result: Result<T, impl Into<Status>>) -> Result<T, Status> {
        match result {
            Ok(value) => {
                self.ok();
                Ok(value)
            }
            Err(error) => Err(self.failed(error)),
        }
    }
}

fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

/// Names of stages and their milliseconds.
struct Stages<'a>(&'a [(&'static str, Duration)]);

impl fmt::Display for Stages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, span)) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", milliseconds(*span))?;
        }
        Ok(())
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let dropped = || (Code::Cancelled, "the client left".to_owned());
        let (code, error) = self.outcome.take().unwrap_or_else(dropped);
        metrics::call(self.method, code_name(code), took);
        let slow = self.slow_after.is_some_and(|limit| took > limit);
        // In the macro, so that it is done only for a line that is written.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = self.method,
                    what = %self.subject,
                    rows = self.rows,
                    bytes = self.bytes,
                    ms = milliseconds(took),
                    stages_ms = %Stages(&self.stages),
                    memory_mib = metrics::recent_resident_bytes() >> 20,
                    status = code_name(code),
                    %error,
                    slow,
                    user = %self.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
                    peer = %self.peer.map(|peer| peer.to_string()).unwrap_or_default(),
                    trace_id = self.trace.as_deref(),
                    "call"
                )
            };
        }
        match code {
            Code::Ok if !slow => line!(info),
            Code::Internal | Code::Unknown | Code::DataLoss => line!(error),
            _ => line!(warn),
        }
    }
}
