//! What one client has of what all share: places for queries, seats in their queue, tickets that wait to be fetched,
//! transactions, put streams, sessions.
//! Runs on: async tasks; a look into memory.
//! Never: lets one client take all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Kind, Result};

/// One client's part.
pub struct Share {
    queries: Arc<Semaphore>,
    queries_max: usize,
    queued: Arc<AtomicUsize>,
    tickets: Arc<AtomicUsize>,
    transactions: Arc<AtomicUsize>,
    streams: Arc<AtomicUsize>,
    bodies: Arc<AtomicUsize>,
}

/// One of what is counted; given back when dropped.
pub struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn below(limit: usize, count: &Arc<AtomicUsize>) -> std::result::Result<Self, usize> {
        let taken = count.fetch_add(1, Ordering::Relaxed);
        let counted = Self(Arc::clone(count));
        if taken < limit { Ok(counted) } else { Err(taken) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client's part of a queue or a store that all clients share.
fn part(all: usize) -> usize {
    all.div_ceil(2)
}

impl Share {
    /// The part of a client that may run `queries_max` queries at one time.
    pub fn new(queries_max: usize) -> Arc<Self> {
        Arc::new(Self {
            queries: Arc::new(Semaphore::new(queries_max)),
            queries_max,
            queued: Arc::default(),
            tickets: Arc::default(),
            transactions: Arc::default(),
            streams: Arc::default(),
            bodies: Arc::default(),
        })
    }

    /// Queries that it may run at one time.
    pub fn queries_max(&self) -> usize {
        self.queries_max
    }

    /// Whether it runs as many queries as it may.
    pub fn is_used_up(&self) -> bool {
        self.queries.available_permits() == 0
    }

    /// The right to run one more query, if it has one.
    pub fn try_query(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.queries).try_acquire_owned().ok()
    }

    /// Waits for the right to run one more query.
    pub async fn query(&self) -> Result<OwnedSemaphorePermit> {
        let own = Arc::clone(&self.queries).acquire_owned().await;
        own.map_err(|_| Error::internal("the places of a client were closed"))
    }

    /// A seat in the queue of queries, which has `seats` for all clients.
    ///
    /// Errors: `Exhausted` naming `query.max_queued` when it has taken half of them.
    pub fn queue(&self, seats: usize) -> Result<Counted> {
        Counted::below(part(seats), &self.queued).map_err(|taken| {
            Error::busy(
                "query.max_queued",
                format!("{taken} queries of this client are waiting, half of all that may"),
            )
        })
    }

    /// Counts an open transaction; the server has room for `transactions`.
    ///
    /// Errors: `Exhausted` naming `session.max_transactions` when it has half of them.
    pub fn transaction(&self, transactions: usize) -> Result<Counted> {
        Counted::below(part(transactions), &self.transactions).map_err(|taken| {
            Error::busy(
                "session.max_transactions",
                format!("{taken} transactions of this client are open, half of all that may; end some"),
            )
        })
    }

    /// Counts a put stream; the server has room for `streams`.
    ///
    /// Errors: `Exhausted` naming `ingest.max_streams` when it has half of them.
    pub fn stream(&self, streams: usize) -> Result<Counted> {
        Counted::below(part(streams), &self.streams).map_err(|taken| {
            Error::busy(
                "ingest.max_streams",
                format!("{taken} put streams of this client are open, half of all that may"),
            )
        })
    }

    /// Counts a body of the HTTP port that is being read; there is room for `bodies`.
    ///
    /// Errors: `Exhausted` when it has half of it.
    pub fn body(&self, bodies: usize) -> Result<Counted> {
        Counted::below(part(bodies), &self.bodies).map_err(|taken| {
            Error::new(
                Kind::Exhausted,
                format!(
                    "{taken} bodies of this user are being read, half of all that may; send fewer at one time"
                ),
            )
        })
    }

    /// Checks that it may have one more session than `open`; the server has room for `sessions` of each kind.
    ///
    /// Errors: `Exhausted` naming `session.max_sessions` when it has half of them.
    pub(super) fn check_sessions(&self, open: usize, sessions: usize) -> Result<()> {
        if open < part(sessions) {
            return Ok(());
        }
        Err(Error::busy(
            "session.max_sessions",
            format!("{open} sessions of this user are open, half of all that may be; close some"),
        ))
    }

    /// Counts a ticket that waits to be fetched; the server keeps `tickets` of them.
    ///
    /// Errors: `Exhausted` naming `session.max_tickets` when it has half of them.
    pub fn ticket(&self, tickets: usize) -> Result<Counted> {
        Counted::below(part(tickets), &self.tickets).map_err(|taken| {
            Error::busy(
                "session.max_tickets",
                format!("{taken} results of this client are waiting to be fetched, half of all that may"),
            )
        })
    }
}
