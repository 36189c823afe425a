//! The statements that run or wait for a place, for those who look at them and may stop one.
//! Runs on: any thread; look-ups in memory.
//! Never: keeps one that has ended; says of a change that it was stopped when it was made.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::statement::{RunOptions, Statement};
use crate::auth::Principal;
use crate::engine::{Interrupt, Progress};
use crate::error::{Error, Kind, Result, shorten};
use crate::running::INTERRUPT_EVERY;

/// How much of a statement is kept.
const SQL_BYTES_MAX: usize = 2_000;

/// The statements of a server.
#[derive(Default)]
pub(super) struct Listing {
    next: AtomicU64,
    statements: Mutex<HashMap<u64, Arc<Listed>>>,
}

/// A statement that runs or waits.
pub struct Listed {
    /// Its number, in the order of their beginnings.
    pub id: u64,
    /// Its text, cut where it is long.
    pub sql: String,
    /// Whose it is, where that is known.
    pub who: Option<Arc<Principal>>,
    started: Instant,
    progress: Option<Arc<OnceLock<Progress>>>,
    pub(super) interrupt: Arc<OnceLock<Interrupt>>,
    cancelled: CancellationToken,
}

impl Listed {
    /// How long it has been there.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it has a connection.
    pub fn is_running(&self) -> bool {
        self.interrupt.get().is_some()
    }

    /// Share done, 0 to 1, where the engine has an estimate and its caller wanted one.
    pub fn progress(&self) -> Option<f64> {
        self.progress.as_ref()?.get()?.share()
    }

    /// What its caller hears.
    pub(super) fn explain(&self, error: Error) -> Error {
        if error.kind() == Kind::Cancelled && self.cancelled.is_cancelled() { cancelled() } else { error }
    }

    /// Completes when somebody has stopped it.
    pub(super) fn told(&self) -> impl Future<Output = ()> + Send + 'static {
        self.cancelled.clone().cancelled_owned()
    }
}

/// What the caller of a statement hears that somebody stopped.
pub(super) fn cancelled() -> Error {
    Error::new(Kind::Aborted, "the query was cancelled by another call")
}

/// Leaves the listing when dropped.
pub(super) struct Entry {
    listing: Arc<Listing>,
    pub(super) listed: Arc<Listed>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.listing.locked().remove(&self.listed.id);
    }
}

impl Listing {
    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Arc<Listed>>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a statement.
    pub(super) fn enter(self: &Arc<Self>, statement: &Statement, options: &RunOptions) -> Entry {
        let sql = match statement {
            Statement::Text(sql) | Statement::Script(sql) => sql,
            Statement::Bound(bound, _) => bound.sql(),
        };
        let listed = Arc::new(Listed {
            id: self.next.fetch_add(1, Ordering::Relaxed) + 1,
            sql: shorten(sql, SQL_BYTES_MAX),
            who: options.who.clone(),
            started: Instant::now(),
            progress: options.progress.clone(),
            interrupt: Arc::default(),
            cancelled: CancellationToken::new(),
        });
        self.locked().insert(listed.id, Arc::clone(&listed));
        Entry { listing: Arc::clone(self), listed }
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Listed>> {
        let mut all: Vec<_> = self.locked().values().cloned().collect();
        all.sort_by_key(|listed| listed.id);
        all
    }

    /// Stops a statement. It is interrupted until it ends, because an interrupt between two of its steps is lost.
    ///
    /// Errors: `NotFound`.
    pub(super) fn cancel(self: &Arc<Self>, id: u64, may: impl Fn(&Listed) -> bool) -> Result<()> {
        let found = self.locked().get(&id).filter(|listed| may(listed)).cloned();
        let listed = found.ok_or_else(|| {
            Error::not_found(format!("no statement {id} runs, or it is not there for you; it may have ended"))
        })?;
        listed.cancelled.cancel();
        let listing = Arc::downgrade(self);
        tokio::spawn(async move {
            while listing.upgrade().is_some_and(|listing| listing.locked().contains_key(&id)) {
                if let Some(interrupt) = listed.interrupt.get() {
                    interrupt.interrupt();
                }
                tokio::time::sleep(INTERRUPT_EVERY).await;
            }
        });
        Ok(())
    }
}
