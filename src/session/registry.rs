//! A cookie, a token, a connection -> the client's session.
//! Runs on: async tasks; look-ups in memory.
//! Never: keeps more sessions than `session.max_sessions` of each kind; forgets one in silence whose client may come
//! back for what it left there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::client::{ClientSession, Lifetime, Limits, Owner};
use super::handle::{Handle, locked};
use super::prepared;
use super::share::Share;
use crate::auth::{Grants, Principal};
use crate::config;
use crate::engine::Database;
use crate::error::{Error, Result};

/// Cookies and tokens of sessions that their clients have closed, remembered at most.
const CLOSED_MAX: usize = 1024;

/// All sessions of the server.
pub struct Sessions {
    database: Arc<Database>,
    limits: Arc<Limits>,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    // Every session alive, to look for idle ones.
    all: Vec<Weak<ClientSession>>,
    // Cookies given out; one that came back keeps its session.
    cookies: HashMap<Handle, (Weak<ClientSession>, Option<Arc<ClientSession>>)>,
    // Bearer tokens given out.
    bearers: HashMap<Handle, Login>,
    closed: VecDeque<Handle>,
}

/// What a bearer token stands for.
struct Login {
    session: Arc<ClientSession>,
    since: Instant,
}

impl Login {
    /// Whether it is for somebody who has to log in again.
    fn has_expired(&self, lifetime: Duration) -> bool {
        self.session.principal().is_known() && self.since.elapsed() > lifetime
    }
}

impl Sessions {
    /// No sessions yet. `seat_wait` is how long a statement waits for its turn on a session's connection.
    /// `grants` say what statements are held to.
    pub fn new(
        database: Arc<Database>,
        grants: Arc<Grants>,
        config: &config::Session,
        seat_wait: Duration,
    ) -> Arc<Self> {
        let limits = Limits {
            config: config.clone(),
            seat_wait,
            transactions: Arc::new(Semaphore::new(config.max_transactions)),
            bound_bytes: prepared::budget(config.bound_memory_limit.as_usize()),
            grants,
        };
        Arc::new(Self { database, limits: Arc::new(limits), registry: Mutex::default() })
    }

    /// A session of `principal` that lives as long as somebody holds it: that of a TCP connection. The sessions of one
    /// user have one share of the server, whatever their tokens.
    pub fn open(&self, principal: &Arc<Principal>) -> Arc<ClientSession> {
        let mut registry = locked(&self.registry);
        registry.all.retain(|session| session.strong_count() > 0);
        let of_user = (!principal.is_anonymous()).then_some(&registry.all).into_iter().flatten();
        let known = of_user
            .filter_map(Weak::upgrade)
            .find(|session| session.principal().name == principal.name)
            .map(|session| Arc::clone(&session.share));
        let share = known.unwrap_or_else(|| Share::new(self.limits.config.max_queries));
        let session = self.new_session(Lifetime::Client, Arc::clone(principal), share);
        registry.all.push(Arc::downgrade(&session));
        session
    }

    /// A session for one call, which looks names up where `other` does.
    pub fn scratch(&self, other: &ClientSession) -> Arc<ClientSession> {
        let session = self.new_session(Lifetime::OneCall, other.principal(), Arc::clone(&other.share));
        session.use_path_of(other);
        session
    }

    fn new_session(
        &self,
        lifetime: Lifetime,
        principal: Arc<Principal>,
        share: Arc<Share>,
    ) -> Arc<ClientSession> {
        ClientSession::new(Arc::clone(&self.database), Arc::clone(&self.limits), lifetime, principal, share)
    }

    /// The session that `owner` stands for. When it has ended, what needs nothing of it goes on in a fresh one.
    ///
    /// Errors: `NotFound` when the session had a transaction or temporary objects and has ended since.
    pub fn of(&self, owner: &Owner) -> Result<Arc<ClientSession>> {
        let session = owner.session.upgrade();
        let is_same = session.as_ref().is_some_and(|session| session.holdings().life == owner.life);
        if owner.needs_session && !is_same {
            return Err(Error::not_found(
                "the session that this ticket was made in has ended, and with it the transaction or the temporary \
                 tables that were there; ask for the result again with GetFlightInfo",
            ));
        }
        Ok(session.unwrap_or_else(|| self.open(&owner.principal)))
    }

    /// The session of a cookie; `None` when the cookie is not one of ours, is somebody else's, or was forgotten.
    pub fn by_cookie(&self, cookie: Handle, principal: &Principal) -> Option<Arc<ClientSession>> {
        let mut registry = locked(&self.registry);
        let (known, kept) = registry.cookies.get_mut(&cookie)?;
        let session = known.upgrade().filter(|session| session.principal().is_same(principal))?;
        // A client that returns its cookie may come back on another connection.
        *kept = Some(Arc::clone(&session));
        Some(session)
    }

    /// The cookie of a session.
    ///
    /// Errors: `Exhausted` naming `session.max_sessions`.
    pub fn cookie(&self, session: &Arc<ClientSession>) -> Result<Handle> {
        let mut registry = locked(&self.registry);
        let cookies = &mut registry.cookies;
        // It is the session's own handle, which nobody else has.
        if cookies.contains_key(&session.handle) {
            return Ok(session.handle);
        }
        cookies.retain(|_, (known, _)| known.strong_count() > 0);
        self.make_room(cookies, session, |(known, _)| known.upgrade())?;
        cookies.insert(session.handle, (Arc::downgrade(session), None));
        Ok(session.handle)
    }

    /// The session of a bearer token; `None` when the token is not one of ours, or was forgotten. A token that stands for
    /// a login ends when nobody has used it for `session.idle_timeout`, and after `session.login_lifetime` in any case.
    pub fn by_bearer(&self, token: Handle) -> Option<Arc<ClientSession>> {
        let lifetime = self.limits.config.login_lifetime.0;
        let registry = locked(&self.registry);
        let login = registry.bearers.get(&token).filter(|login| !login.has_expired(lifetime))?;
        let session = Arc::clone(&login.session);
        drop(registry);
        (!session.principal().is_known() || !session.is_over()).then_some(session)
    }

    /// A new token of `principal` with a session of its own.
    ///
    /// Errors: `Exhausted` naming `session.max_sessions`.
    pub fn bearer(&self, principal: &Arc<Principal>) -> Result<Handle> {
        let session = self.open(principal);
        let mut registry = locked(&self.registry);
        self.make_room(&mut registry.bearers, &session, |login| Some(Arc::clone(&login.session)))?;
        let token = rand::random();
        registry.bearers.insert(token, Login { session, since: Instant::now() });
        Ok(token)
    }

    /// Ends the logins of a user: the tokens that stand for their password.
    pub fn log_out(&self, user: &str) {
        locked(&self.registry).bearers.retain(|_, login| *login.session.principal().name != *user);
    }

    /// `session` stands in for that of a cookie or token which came with a call and is not known. What its client set
    /// there is gone, and the client hears of it, unless it has closed that session itself.
    pub fn stand_in(&self, session: &ClientSession, token: Handle) {
        if !locked(&self.registry).closed.contains(&token) {
            session.holdings().ended.miss(token);
        }
    }

    /// Room for one more: of those that nobody has used for too long, the one unused longest is forgotten.
    fn make_room<T>(
        &self,
        sessions: &mut HashMap<Handle, T>,
        of: &ClientSession,
        session: impl Fn(&T) -> Option<Arc<ClientSession>>,
    ) -> Result<()> {
        let count = sessions.len();
        let has_expired = |one: &T| session(one).is_none_or(|session| session.is_over());
        if !of.principal().is_anonymous() {
            let is_own = |one: &&T| session(one).is_some_and(|one| Arc::ptr_eq(&one.share, &of.share));
            let own = sessions.values().filter(is_own).filter(|one| !has_expired(one)).count();
            of.share.check_sessions(own, self.limits.config.max_sessions)?;
        }
        if count < self.limits.config.max_sessions {
            return Ok(());
        }
        let over = sessions.iter().filter_map(|(handle, one)| {
            let session = session(one).filter(|session| session.is_over())?;
            Some((session.usage.idle()?, *handle))
        });
        let Some((_, oldest)) = over.max() else {
            return Err(Error::busy(
                "session.max_sessions",
                format!("{count} sessions are open; close some"),
            ));
        };
        sessions.remove(&oldest);
        Ok(())
    }

    /// Ends what has been idle for too long. To be called every second or so.
    pub fn sweep(&self) {
        let sessions: Vec<Arc<ClientSession>> = {
            let mut registry = locked(&self.registry);
            let lifetime = self.limits.config.login_lifetime.0;
            registry.bearers.retain(|_, login| !login.has_expired(lifetime));
            registry.cookies.retain(|_, (known, _)| known.strong_count() > 0);
            registry.all.retain(|session| session.strong_count() > 0);
            registry.all.iter().filter_map(Weak::upgrade).collect()
        };
        for session in sessions {
            session.sweep();
        }
    }

    /// Gives up what every session holds, because the database they are on is lost.
    pub fn lose_all(&self) {
        let all: Vec<_> = locked(&self.registry).all.iter().filter_map(Weak::upgrade).collect();
        for session in all {
            session.lose();
        }
    }

    /// Ends a session for good: its cookie and token are forgotten, and what it holds is given up.
    pub fn close(&self, session: &Arc<ClientSession>) {
        {
            let mut registry = locked(&self.registry);
            let Registry { cookies, bearers, closed, .. } = &mut *registry;
            let ends = |handle: &Handle, is_it: bool| {
                if is_it {
                    closed.push_back(*handle);
                }
                !is_it
            };
            let mut ends = ends;
            cookies.retain(|handle, (known, _)| ends(handle, known.as_ptr() == Arc::as_ptr(session)));
            bearers.retain(|handle, known| ends(handle, Arc::ptr_eq(&known.session, session)));
            let forgotten = closed.len().saturating_sub(CLOSED_MAX);
            closed.drain(..forgotten);
        }
        session.close();
    }

    /// Open transactions.
    pub fn transactions_open(&self) -> u64 {
        (self.limits.config.max_transactions - self.limits.transactions.available_permits()) as u64
    }

    /// Prepared statements that sessions keep.
    pub fn prepared_open(&self) -> u64 {
        let sessions: Vec<_> = locked(&self.registry).all.iter().filter_map(Weak::upgrade).collect();
        sessions.iter().map(|session| session.holdings().prepared.len() as u64).sum()
    }

    /// Sessions that somebody uses, or has used not too long ago.
    pub fn sessions_open(&self) -> u64 {
        let registry = locked(&self.registry);
        registry.all.iter().filter_map(Weak::upgrade).filter(|session| !session.is_over()).count() as u64
    }
}
