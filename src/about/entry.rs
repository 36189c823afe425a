//! A call: who made it, what it is about, and how it went.
//! Runs on: any thread; pure values.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::words::{Subject, Words};
use crate::auth::Principal;

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// The user; for a login that was refused, the name that was claimed.
    pub user: String,
    /// The API token that they came by.
    pub token: Option<String>,
    /// Their role, if they have come in.
    pub role: Option<&'static str>,
    /// Where they call from.
    pub peer: Option<SocketAddr>,
}

impl Who {
    /// A principal, calling from an address.
    pub fn of(principal: &Principal, peer: Option<SocketAddr>) -> Self {
        Self {
            user: principal.name.to_string(),
            token: principal.scope.as_ref().map(|scope| scope.token.to_string()),
            role: Some(principal.role.as_str()),
            peer,
        }
    }

    /// The peer as text; empty for a call within the process.
    pub fn peer(&self) -> String {
        self.peer.map(|peer| peer.to_string()).unwrap_or_default()
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        match &self.token {
            Some(token) => write!(f, " (token {token})"),
            None => Ok(()),
        }
    }
}

/// Names of stages and how long each took.
#[derive(Debug, Clone, Default)]
pub struct Stages(pub Vec<(&'static str, Duration)>);

/// Milliseconds to the microsecond.
pub(super) fn milliseconds(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

impl Stages {
    /// Milliseconds of one stage, if there was one of that name.
    pub fn milliseconds(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(stage, _)| *stage == name).map(|(_, took)| milliseconds(*took))
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, span)) in self.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            write!(f, "{space}{name}={}", milliseconds(*span))?;
        }
        Ok(())
    }
}

/// A statement under way, as others see it.
#[derive(Debug)]
pub struct Live {
    pub(super) id: u64,
    pub(super) who: Who,
    pub(super) method: &'static str,
    pub(super) sql: Arc<str>,
    pub(super) started: SystemTime,
    pub(super) memory_before: u64,
    pub(super) trace: Option<String>,
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Live {
    pub(super) fn new(
        id: u64,
        who: Who,
        method: &'static str,
        sql: Arc<str>,
        (started, memory_before): (SystemTime, u64),
        trace: Option<String>,
    ) -> Self {
        let (rows, bytes) = Default::default();
        Self { id, who, method, sql, started, memory_before, trace, rows, bytes }
    }

    /// Takes note of how much has been given so far.
    pub fn so_far(&self, rows: u64, bytes: u64) {
        self.rows.store(rows, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// A call that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its number; they are given out one by one from 1.
    pub id: u64,
    /// Who made it.
    pub who: Who,
    /// The Flight call.
    pub method: &'static str,
    /// What it was about.
    pub subject: Subject,
    /// What of that may be shown.
    pub words: Arc<Words>,
    /// When it began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// How long each stage took.
    pub stages: Stages,
    /// Rows sent or stored.
    pub rows: u64,
    /// Arrow bytes sent or taken.
    pub bytes: u64,
    /// Resident memory of the process before.
    pub memory_before: u64,
    /// And after.
    pub memory_after: u64,
    /// Name of its gRPC code.
    pub status: &'static str,
    /// Why it failed, without values.
    pub error: String,
    /// The `trace-id` of its W3C context.
    pub trace: Option<String>,
    /// The idempotency key of a put.
    pub key: Option<String>,
    /// The producer of a put.
    pub producer: Option<String>,
    /// Whether a put was known before.
    pub is_duplicate: bool,
}

/// Where a producer stands with one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerLine {
    /// Its name.
    pub producer: String,
    /// The newest epoch seen.
    pub epoch: u64,
    /// `schema.table`.
    pub table: String,
    /// Highest durable sequence number.
    pub seq: u64,
    /// Durable rows.
    pub rows: u64,
}
