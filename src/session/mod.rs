//! What lasts between calls: who is asking, and what they hold (options, a connection of their own,
//! transactions, prepared statements).
//! Runs on: async tasks; what touches the engine goes to blocking threads.
//! Never: outlives its client for longer than its idle timeout, or holds more than its named limits.
//!
//! A client is known by its cookie, else by its bearer token, else by its TCP connection. Most calls need
//! nothing of this and run on a pooled connection; a [`Lease`] is what they get either way.

mod ended;
mod lease;
mod prepared;
mod registry;
mod temporaries;
mod transaction;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use lease::{Lease, On, Open};
pub use prepared::{BoundRows, Prepared, Room};
pub use registry::Sessions;
pub use usage::InUse;

use ended::Ended;
use lease::Seat;
use prepared::Kept;
use transaction::Transaction;
use usage::Usage;

use crate::config;
use crate::engine::{Database, SchemaPath};
use crate::error::Result;

/// An unguessable name of a session, transaction or prepared statement.
pub type Handle = u128;

/// The bounds that sessions share.
struct Limits {
    config: config::Session,
    seat_wait: Duration,
    transactions: Arc<Semaphore>,
    bound_bytes: Arc<Semaphore>,
}

/// A session as something that outlives it may know it: a ticket must not keep a transaction open.
#[derive(Debug, Clone)]
pub struct Owner {
    session: Weak<ClientSession>,
    // Which of the lives of the session it was.
    life: u64,
    // Whether it had temporary objects or a transaction, which nothing can stand in for.
    needs_session: bool,
    path: Option<SchemaPath>,
}

/// One client, from its first call to its last.
pub struct ClientSession {
    handle: Handle,
    database: Arc<Database>,
    limits: Arc<Limits>,
    usage: Arc<Usage>,
    // Nobody has used it for too long, and what it held was given up.
    is_over: AtomicBool,
    // It is there for one call.
    is_fleeting: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    // Counts how often all of this was given up.
    life: u64,
    options: BTreeMap<String, String>,
    path: Option<SchemaPath>,
    // The connection with the session's temporary objects.
    home: Option<Arc<Seat>>,
    transactions: HashMap<Handle, Transaction>,
    prepared: HashMap<Handle, Kept>,
    ended: Ended,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientSession {
    fn new(database: Arc<Database>, limits: Arc<Limits>, is_fleeting: bool) -> Arc<Self> {
        let state = Mutex::default();
        let (usage, is_over) = (Usage::new(), AtomicBool::new(false));
        Arc::new(Self { handle: rand::random(), database, limits, usage, is_over, is_fleeting, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The session is in use while this lives: to be held for the length of a call, and of the stream it began.
    pub fn enter(&self) -> InUse {
        self.is_over.store(false, Ordering::Relaxed);
        self.usage.enter()
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// This session, for something that may outlive it.
    pub fn owner(self: &Arc<Self>) -> Owner {
        let state = self.state();
        Owner {
            session: Arc::downgrade(self),
            life: state.life,
            needs_session: state.home.is_some() || !state.transactions.is_empty(),
            path: state.path.clone(),
        }
    }

    /// Refuses to go on while the client has not heard, and dealt with, that the server ended its session.
    ///
    /// Errors: `Aborted`.
    pub fn check(&self) -> Result<()> {
        self.state().ended.check()
    }

    /// The client sets its session up again after what it has lost.
    pub fn begin_anew(&self) {
        self.state().ended.begin_anew();
    }

    /// A session option's value, if it was set.
    pub fn option(&self, name: &str) -> Option<String> {
        self.state().options.get(name).cloned()
    }

    /// The options that were set.
    pub fn options(&self) -> BTreeMap<String, String> {
        self.state().options.clone()
    }

    /// Sets an option, or forgets it. Values are checked by the caller.
    pub fn set_option(&self, name: &str, value: Option<String>) {
        let mut state = self.state();
        match value {
            Some(value) => state.options.insert(name.to_owned(), value),
            None => state.options.remove(name),
        };
    }

    /// Name of the database, the one catalog besides that of temporary tables.
    pub fn catalog(&self) -> &str {
        self.database.catalog()
    }

    /// Where unqualified names are looked up.
    pub fn path(&self) -> SchemaPath {
        self.state().path.clone().unwrap_or_else(|| self.usual_path())
    }

    fn usual_path(&self) -> SchemaPath {
        SchemaPath { catalog: self.database.catalog().to_owned(), schema: "main".to_owned() }
    }

    /// Changes where unqualified names are looked up, from the next statement on.
    ///
    /// Errors: `NotFound` when there is no such schema.
    pub async fn set_path(self: &Arc<Self>, path: SchemaPath) -> Result<()> {
        let lease = self.lease(On::Join).await?;
        let wanted = path.clone();
        lease::blocking(move || {
            let mut session = lease.open()?;
            session.use_path(Some(&wanted))
        })
        .await?;
        // What is as it would be anyway is nothing to lose.
        self.state().path = Some(path).filter(|path| *path != self.usual_path());
        Ok(())
    }

    /// Looks names up where `other` does.
    pub fn look_where(&self, other: &ClientSession) {
        let path = other.state().path.clone();
        self.state().path = path;
    }

    /// Ends what nobody has used for too long.
    fn sweep(&self) {
        let config = &self.limits.config;
        let mut state = self.state();
        prepared::sweep(&mut state.prepared, config.idle_timeout.0);
        let over = transaction::expired(&mut state, config.transaction_idle_timeout.0);
        for transaction in over {
            tracing::warn!("a transaction was idle for too long and is rolled back");
            lease::drop_aside(transaction);
        }
        // Looked at under the lock: a call that begins now finds the session as it was, or hears that it is over.
        if !self.is_over() && self.usage.is_idle_for(config.idle_timeout.0) {
            self.is_over.store(true, Ordering::Relaxed);
            let idle = humantime::format_duration(config.idle_timeout.0);
            let over =
                format!("the session was idle for longer than session.idle_timeout ({idle}) and was ended");
            self.expire(&mut state, &over);
        }
    }

    /// Gives up what the session holds because the database it is on was lost.
    fn lose(&self) {
        self.expire(
            &mut self.state(),
            "the database was opened anew after a fatal error, which ended the session",
        );
    }

    /// Gives up what the session holds without its client's asking, and notes what the client has to hear: that the
    /// session is `over`.
    fn expire(&self, state: &mut State, over: &str) {
        let mut lost = Vec::new();
        if !state.options.is_empty() || state.path.is_some() {
            lost.push("options");
        }
        if state.home.is_some() {
            lost.push("temporary tables");
        }
        let open: Vec<Handle> = state.transactions.keys().copied().collect();
        self.give_up(state);
        for handle in open {
            state.ended.transaction(handle, format!("{over}, and its open transaction was rolled back"));
        }
        if !lost.is_empty() {
            state.ended.lose(format!("{over}: its {} are gone", lost.join(" and ")));
        }
    }

    /// Ends the session because its client wants it to.
    fn close(&self) {
        let mut state = self.state();
        self.give_up(&mut state);
        state.ended = Ended::default();
    }

    /// Rolls back open transactions and drops temporary objects and prepared statements.
    fn give_up(&self, state: &mut State) {
        let State { life, options, path, home, transactions, prepared, .. } = state;
        if home.is_some() || !transactions.is_empty() || !options.is_empty() || path.is_some() {
            *life += 1;
        }
        prepared.clear();
        options.clear();
        *path = None;
        lease::drop_aside((home.take(), std::mem::take(transactions)));
    }
}

impl std::fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The handle is a secret.
        f.write_str("ClientSession")
    }
}

impl Drop for ClientSession {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state());
        self.give_up(&mut state);
    }
}
