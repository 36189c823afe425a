//! What lasts between calls: who is asking, and what they hold (options, a connection of their own,
//! transactions, prepared statements).
//! Runs on: async tasks; what touches the engine goes to blocking threads.
//! Never: outlives its client for longer than its idle timeout, or holds more than its named limits.
//!
//! A client is known by its cookie, else by its bearer token, else by its TCP connection. Most calls need
//! nothing of this and run on a pooled connection; a [`Lease`] is what they get either way.

mod lease;
mod prepared;
mod transaction;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

pub use lease::{Lease, On, Open};
pub use prepared::{BoundRows, Prepared, Room};

use lease::Seat;
use transaction::Transaction;

use crate::config;
use crate::engine::{Database, SchemaPath};
use crate::error::{Error, Result};

/// An unguessable name of a session, transaction or prepared statement.
pub type Handle = u128;

/// All sessions of the server.
pub struct Sessions {
    database: Arc<Database>,
    limits: Arc<Limits>,
    state: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    // Every session alive, to look for idle ones.
    all: Vec<Weak<ClientSession>>,
    // Cookies given out; one that came back keeps its session alive.
    cookies: HashMap<Handle, (Weak<ClientSession>, Option<Arc<ClientSession>>)>,
    // Bearer tokens given out.
    bearers: HashMap<Handle, Arc<ClientSession>>,
}

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
    path: Option<SchemaPath>,
}

/// One client, from its first call to its last.
pub struct ClientSession {
    handle: Handle,
    database: Arc<Database>,
    limits: Arc<Limits>,
    state: Mutex<State>,
}

struct State {
    used: Instant,
    options: BTreeMap<String, String>,
    path: Option<SchemaPath>,
    // The connection with the session's temporary objects.
    home: Option<Arc<Seat>>,
    transactions: HashMap<Handle, Transaction>,
    // Those rolled back for being idle: what was prepared for them must not run outside of them.
    expired: VecDeque<Handle>,
    prepared: HashMap<Handle, (Arc<Prepared>, Instant)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// No sessions yet. `seat_wait` is how long a statement waits for its turn on a session's connection.
    pub fn new(database: Arc<Database>, config: &config::Session, seat_wait: Duration) -> Arc<Self> {
        let limits = Limits {
            config: config.clone(),
            seat_wait,
            transactions: Arc::new(Semaphore::new(config.max_transactions)),
            bound_bytes: prepared::budget(config.bound_memory_limit.as_usize()),
        };
        Arc::new(Self { database, limits: Arc::new(limits), state: Mutex::default() })
    }

    /// Gives up what every session holds, because the database it is on is lost: transactions, temporary tables,
    /// prepared statements, options.
    pub fn give_up_all(&self) {
        let all: Vec<_> = locked(&self.state).all.iter().filter_map(Weak::upgrade).collect();
        for session in all {
            session.give_up();
        }
    }

    /// A session that lives as long as somebody holds it: that of a TCP connection.
    pub fn open(&self) -> Arc<ClientSession> {
        let session = Arc::new(ClientSession {
            handle: rand::random(),
            database: Arc::clone(&self.database),
            limits: Arc::clone(&self.limits),
            state: Mutex::new(State {
                used: Instant::now(),
                options: BTreeMap::new(),
                path: None,
                home: None,
                transactions: HashMap::new(),
                expired: VecDeque::new(),
                prepared: HashMap::new(),
            }),
        });
        let mut registry = locked(&self.state);
        registry.all.retain(|session| session.strong_count() > 0);
        registry.all.push(Arc::downgrade(&session));
        session
    }

    /// The session that `owner` stands for. When it has ended, a fresh one that looks names up in the same
    /// place: what needs nothing else of the session goes on.
    pub fn of(&self, owner: &Owner) -> Arc<ClientSession> {
        owner.session.upgrade().unwrap_or_else(|| {
            let session = self.open();
            session.state().path.clone_from(&owner.path);
            session
        })
    }

    /// The session of a cookie; `None` when the cookie is not one of ours or has expired.
    pub fn by_cookie(&self, cookie: Handle) -> Option<Arc<ClientSession>> {
        let mut registry = locked(&self.state);
        let (known, kept) = registry.cookies.get_mut(&cookie)?;
        let session = known.upgrade()?;
        // A client that returns its cookie may come back on another connection.
        *kept = Some(Arc::clone(&session));
        Some(session)
    }

    /// The cookie of a session.
    ///
    /// Errors: `Exhausted` naming `session.max_sessions`.
    pub fn cookie(&self, session: &Arc<ClientSession>) -> Result<Handle> {
        let mut registry = locked(&self.state);
        registry.cookies.retain(|_, (known, _)| known.strong_count() > 0);
        if let Some((cookie, _)) =
            registry.cookies.iter().find(|(_, (known, _))| known.as_ptr() == Arc::as_ptr(session))
        {
            return Ok(*cookie);
        }
        self.has_room(registry.cookies.len())?;
        registry.cookies.insert(session.handle, (Arc::downgrade(session), None));
        Ok(session.handle)
    }

    /// The session of a bearer token; `None` when the token is not one of ours or has expired.
    pub fn by_bearer(&self, token: Handle) -> Option<Arc<ClientSession>> {
        locked(&self.state).bearers.get(&token).cloned()
    }

    /// A new token with a session of its own.
    ///
    /// Errors: `Exhausted` naming `session.max_sessions`.
    pub fn bearer(&self) -> Result<Handle> {
        let session = self.open();
        let mut registry = locked(&self.state);
        self.has_room(registry.bearers.len())?;
        let token = rand::random();
        registry.bearers.insert(token, session);
        Ok(token)
    }

    fn has_room(&self, sessions: usize) -> Result<()> {
        if sessions < self.limits.config.max_sessions {
            return Ok(());
        }
        Err(Error::exhausted("session.max_sessions", format!("{sessions} sessions are open; close some")))
    }

    /// Ends what has been idle for too long. To be called every second or so.
    pub fn sweep(&self) {
        let idle = self.limits.config.idle_timeout.0;
        let sessions: Vec<Arc<ClientSession>> = {
            let mut registry = locked(&self.state);
            let expired = |session: &Arc<ClientSession>| session.idle() > idle;
            registry.bearers.retain(|_, session| !expired(session));
            for (_, kept) in registry.cookies.values_mut() {
                if kept.as_ref().is_some_and(expired) {
                    *kept = None;
                }
            }
            registry.cookies.retain(|_, (known, _)| known.strong_count() > 0);
            registry.all.retain(|session| session.strong_count() > 0);
            registry.all.iter().filter_map(Weak::upgrade).collect()
        };
        for session in sessions {
            session.sweep();
        }
    }

    /// Ends a session for good: its cookie and token are forgotten, and what it holds is given up.
    pub fn close(&self, session: &Arc<ClientSession>) {
        {
            let mut registry = locked(&self.state);
            registry.cookies.retain(|_, (known, _)| known.as_ptr() != Arc::as_ptr(session));
            registry.bearers.retain(|_, known| !Arc::ptr_eq(known, session));
        }
        session.give_up();
    }

    /// Open transactions.
    pub fn transactions_open(&self) -> u64 {
        (self.limits.config.max_transactions - self.limits.transactions.available_permits()) as u64
    }

    /// Sessions alive.
    pub fn sessions_open(&self) -> u64 {
        locked(&self.state).all.iter().filter(|session| session.strong_count() > 0).count() as u64
    }
}

impl ClientSession {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = locked(&self.state);
        state.used = Instant::now();
        state
    }

    fn idle(&self) -> Duration {
        locked(&self.state).used.elapsed()
    }

    /// This session, for something that may outlive it.
    pub fn owner(self: &Arc<Self>) -> Owner {
        Owner { session: Arc::downgrade(self), path: self.state().path.clone() }
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

    /// Where unqualified names are looked up.
    pub fn path(&self) -> SchemaPath {
        self.state().path.clone().unwrap_or_else(|| SchemaPath {
            catalog: self.database.catalog().to_owned(),
            schema: "main".to_owned(),
        })
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
        self.state().path = Some(path);
        Ok(())
    }

    /// Looks names up where `other` does.
    pub fn look_where(&self, other: &ClientSession) {
        let path = other.state().path.clone();
        self.state().path = path;
    }

    fn sweep(self: &Arc<Self>) {
        let config = &self.limits.config;
        let mut state = locked(&self.state);
        state.prepared.retain(|_, (_, used)| used.elapsed() < config.idle_timeout.0);
        let idle = state.used.elapsed() > config.idle_timeout.0;
        let over: Vec<Transaction> = transaction::expired(&mut state, config.transaction_idle_timeout.0);
        drop(state);
        for transaction in over {
            tracing::warn!("a transaction was idle for too long and is rolled back");
            lease::drop_aside(transaction);
        }
        if idle {
            self.give_up();
        }
    }

    /// Rolls back open transactions and drops temporary objects and prepared statements.
    fn give_up(&self) {
        let mut state = locked(&self.state);
        let held = (state.home.take(), std::mem::take(&mut state.transactions));
        state.prepared.clear();
        state.options.clear();
        state.path = None;
        drop(state);
        lease::drop_aside(held);
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
        self.give_up();
    }
}
