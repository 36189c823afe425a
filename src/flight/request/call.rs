//! One call from its start to its end -> one log line, its metrics, and what is remembered of it.
//! Runs on: the task of the call; ends when dropped, so a call that was dropped is reported as well.
//! Never: logs values or secrets; nor literals, unless `log.statements` is `full`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use pintail_protocol::status::code_name;
use tonic::{Code, Status};

use super::caller::Caller;
use crate::about::{Ended, Live, Recorder, Stages, Subject, Who};
use crate::engine::SchemaPath;
use crate::metrics;
use crate::session::InUse;

/// A call under way.
pub(in crate::flight) struct Call {
    recorder: Arc<Recorder>,
    id: u64,
    method: &'static str,
    who: Who,
    trace: Option<String>,
    started: Instant,
    began: SystemTime,
    memory_before: u64,
    outcome: Option<(Code, String)>,
    subject: Subject,
    // While a statement of it is under way.
    live: Option<Arc<Live>>,
    // Where names of the statement are looked up.
    path: Option<SchemaPath>,
    pub(in crate::flight) rows: u64,
    pub(in crate::flight) bytes: u64,
    stages: Stages,
    slow_after: Option<Duration>,
    in_use: Vec<InUse>,
    key: Option<String>,
    producer: Option<String>,
    is_duplicate: bool,
}

impl Call {
    pub(in crate::flight) fn new(method: &'static str, caller: &Caller) -> Self {
        let who = Who::of(&caller.principal, caller.address);
        let mut call = Self::of_nobody(method, Arc::clone(&caller.recorder), who);
        call.trace.clone_from(&caller.trace);
        call.path = caller.session.owner().path().cloned();
        call.in_use.push(caller.in_use.clone());
        call
    }

    /// A call of somebody who was not let in; `who` is what they claimed.
    pub(in crate::flight) fn of_nobody(method: &'static str, recorder: Arc<Recorder>, who: Who) -> Self {
        Self {
            id: recorder.number(),
            recorder,
            method,
            who,
            trace: None,
            started: Instant::now(),
            began: SystemTime::now(),
            memory_before: metrics::recent_resident_bytes(),
            outcome: None,
            subject: Subject::Nothing,
            live: None,
            path: None,
            rows: 0,
            bytes: 0,
            stages: Stages::default(),
            slow_after: None,
            in_use: Vec::new(),
            key: None,
            producer: None,
            is_duplicate: false,
        }
    }

    /// Names the statement that the call is about; from now on others see that it is under way.
    pub(in crate::flight) fn statement(&mut self, sql: &str) {
        if matches!(&self.subject, Subject::Statement(known) if **known == *sql) {
            return;
        }
        let sql: Arc<str> = sql.into();
        let asked = (self.method, Arc::clone(&sql));
        let began = (self.began, self.memory_before);
        let live = self.recorder.begins(self.id, self.who.clone(), asked, began, self.trace.clone());
        self.live = Some(live);
        self.subject = Subject::Statement(sql);
    }

    /// Names the table that the call puts rows into, and how the client tells a retry.
    pub(in crate::flight) fn put(&mut self, table: String, key: Option<String>, producer: Option<String>) {
        self.subject = Subject::Put(table);
        self.key = key;
        self.producer = producer;
    }

    /// All of the put had been stored before.
    pub(in crate::flight) fn duplicate(&mut self) {
        metrics::duplicate_put();
        self.is_duplicate = true;
    }

    /// Names the action or the part of the catalog that the call is about.
    pub(in crate::flight) fn about(&mut self, subject: &str) {
        self.subject = Subject::Named(subject.to_owned());
    }

    /// Says how much of a result has been given so far.
    pub(in crate::flight) fn so_far(&self, rows: u64, bytes: u64) {
        if let Some(live) = &self.live {
            live.so_far(rows, bytes);
        }
    }

    /// Reports the call as slow, with the plan of what it ran, when it takes longer.
    pub(in crate::flight) fn slow_after(&mut self, limit: Duration) {
        self.slow_after = Some(limit);
    }

    /// Notes how long a stage took.
    pub(in crate::flight) fn stage(&mut self, name: &'static str, took: Duration) {
        metrics::stage(name, took);
        self.stages.0.push((name, took));
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

impl Drop for Call {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let dropped = || (Code::Cancelled, "the client left".to_owned());
        let (code, error) = self.outcome.take().unwrap_or_else(dropped);
        metrics::call(self.method, code_name(code), took);
        let slow = self.slow_after.is_some_and(|limit| took > limit);
        let words = self.recorder.words(&self.subject);
        let error = self.recorder.error(&words, &error);
        let memory_after = metrics::recent_resident_bytes();
        // In the macro, so that it is done only for a line that is written.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    call = self.id,
                    method = self.method,
                    what = %words.text,
                    rows = self.rows,
                    bytes = self.bytes,
                    ms = milliseconds(took),
                    stages_ms = %self.stages,
                    memory_before_mib = self.memory_before >> 20,
                    memory_mib = memory_after >> 20,
                    status = code_name(code),
                    %error,
                    slow,
                    user = %self.who,
                    peer = %self.who.peer(),
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
        if let (Subject::Statement(sql), true) = (&self.subject, slow) {
            self.recorder.explain_later(self.id, Arc::clone(sql), self.path.take());
        }
        self.recorder.ended(Ended {
            id: self.id,
            who: std::mem::take(&mut self.who),
            method: self.method,
            subject: std::mem::take(&mut self.subject),
            words,
            started: self.began,
            took,
            stages: std::mem::take(&mut self.stages),
            rows: self.rows,
            bytes: self.bytes,
            memory_before: self.memory_before,
            memory_after,
            status: code_name(code),
            error,
            trace: self.trace.take(),
            key: self.key.take(),
            producer: self.producer.take(),
            is_duplicate: self.is_duplicate,
        });
    }
}
