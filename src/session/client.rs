//! One client, from its first call to its last.
//! Runs on: async tasks; what touches the engine goes to blocking threads.
//! Never: outlives its client for longer than its idle timeout; gives up in silence what its client relies on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::ended::Ended;
use super::handle::{Handle, On, locked};
use super::holdings::Holdings;
use super::prepared;
use super::seat::{blocking, drop_aside};
use super::share::Share;
use super::usage::{InUse, Usage};
use crate::auth::{Grants, Principal};
use crate::config;
use crate::engine::{Access, Database, INTERNAL_SCHEMA, SchemaPath};
use crate::error::{Error, Kind, Result};

/// The bounds that sessions share.
pub(super) struct Limits {
    pub(super) config: config::Session,
    pub(super) seat_wait: Duration,
    pub(super) transactions: Arc<Semaphore>,
    pub(super) bound_bytes: Arc<Semaphore>,
    pub(super) grants: Arc<Grants>,
}

/// A session as something that outlives it may know it: a ticket must not keep a transaction open.
#[derive(Debug, Clone)]
pub struct Owner {
    pub(super) session: Weak<ClientSession>,
    // Which of the lives of the session it was.
    pub(super) life: u64,
    // Whether it had temporary objects or a transaction, which nothing can stand in for.
    pub(super) needs_session: bool,
    pub(super) path: Option<SchemaPath>,
    pub(super) principal: Arc<Principal>,
}

impl Owner {
    /// Where names were looked up.
    pub fn path(&self) -> Option<&SchemaPath> {
        self.path.as_ref()
    }

    /// Whose session it is.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }
}

/// How long a session is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// Until its client leaves, or has not been heard of for too long.
    Client,
    /// One call, which sets it up and leaves nothing behind.
    OneCall,
}

/// One client, from its first call to its last.
pub struct ClientSession {
    pub(super) handle: Handle,
    pub(super) database: Arc<Database>,
    pub(super) limits: Arc<Limits>,
    pub(super) usage: Arc<Usage>,
    pub(super) share: Arc<Share>,
    // Nobody has used it for too long, and what it held was given up.
    is_over: AtomicBool,
    // It is there for one call.
    pub(super) is_fleeting: bool,
    pub(super) holdings: Mutex<Holdings>,
    // Whose it is, as they were at their last call.
    principal: Mutex<Arc<Principal>>,
}

impl ClientSession {
    pub(super) fn new(
        database: Arc<Database>,
        limits: Arc<Limits>,
        lifetime: Lifetime,
        principal: Arc<Principal>,
        share: Arc<Share>,
    ) -> Arc<Self> {
        let is_fleeting = lifetime == Lifetime::OneCall;
        let holdings = Mutex::default();
        let (usage, is_over) = (Usage::new(), AtomicBool::new(false));
        let principal = Mutex::new(principal);
        Arc::new(Self {
            handle: rand::random(),
            database,
            limits,
            usage,
            share,
            is_over,
            is_fleeting,
            holdings,
            principal,
        })
    }

    /// Whose session it is. Nobody else gets to it.
    pub fn principal(&self) -> Arc<Principal> {
        Arc::clone(&locked(&self.principal))
    }

    /// The same user makes a call, perhaps in another role than before.
    pub fn belongs_to(&self, principal: &Arc<Principal>) {
        let mut owner = locked(&self.principal);
        if !Arc::ptr_eq(&owner, principal) && owner.is_same(principal) {
            *owner = Arc::clone(principal);
        }
    }

    /// What its statements are held to from now on; `None` for an admin.
    pub fn access(&self) -> Option<Arc<Access>> {
        self.limits.grants.access(&self.principal())
    }

    pub(super) fn holdings(&self) -> MutexGuard<'_, Holdings> {
        locked(&self.holdings)
    }

    /// The session is in use while this lives: to be held for the length of a call, and of the stream it began.
    pub fn enter(&self) -> InUse {
        self.is_over.store(false, Ordering::Relaxed);
        self.usage.enter()
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// What its client has of what all share.
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// This session, for something that may outlive it.
    pub fn owner(self: &Arc<Self>) -> Owner {
        let holdings = self.holdings();
        Owner {
            session: Arc::downgrade(self),
            life: holdings.life,
            needs_session: holdings.home.is_some() || !holdings.transactions.is_empty(),
            path: holdings.path.clone(),
            principal: self.principal(),
        }
    }

    /// Refuses to go on while the client has not heard, and dealt with, that the server ended its session.
    ///
    /// Errors: `Aborted`.
    pub fn check(&self) -> Result<()> {
        self.holdings().ended.check()
    }

    /// The client sets its session up again after what it has lost.
    pub fn begin_anew(&self) {
        self.holdings().ended.begin_anew();
    }

    /// A session option's value, if it was set.
    pub fn option(&self, name: &str) -> Option<String> {
        self.holdings().options.get(name).cloned()
    }

    /// The options that were set.
    pub fn options(&self) -> BTreeMap<String, String> {
        self.holdings().options.clone()
    }

    /// Sets an option, or forgets it. Values are checked by the caller.
    pub fn set_option(&self, name: &str, value: Option<String>) {
        let mut holdings = self.holdings();
        match value {
            Some(value) => holdings.options.insert(name.to_owned(), value),
            None => holdings.options.remove(name),
        };
    }

    /// Name of the database, the one catalog besides that of temporary tables.
    pub fn catalog(&self) -> &str {
        self.database.catalog()
    }

    /// Where unqualified names are looked up.
    pub fn path(&self) -> SchemaPath {
        self.holdings().path.clone().unwrap_or_else(|| self.usual_path())
    }

    fn usual_path(&self) -> SchemaPath {
        SchemaPath { catalog: self.database.catalog().to_owned(), schema: "main".to_owned() }
    }

    /// Changes where unqualified names are looked up, from the next statement on.
    ///
    /// Errors: `NotFound` when there is no such schema; `Denied` for the server's own, whose tables a statement could name
    /// by a text alone, unseen, if names were looked up there.
    pub async fn set_path(self: &Arc<Self>, path: SchemaPath) -> Result<()> {
        if path.schema.eq_ignore_ascii_case(INTERNAL_SCHEMA) {
            return Err(Error::new(
                Kind::Denied,
                format!("schema {INTERNAL_SCHEMA} is the server's own; name its tables in full to read them"),
            ));
        }
        if self.access().is_some_and(|access| !access.sees_schema(&path.schema)) {
            return Err(Error::not_found(format!(
                "schema {}.{} cannot be used: it is not there",
                path.catalog, path.schema
            )));
        }
        let lease = self.lease(On::Join).await?;
        let wanted = path.clone();
        blocking(move || {
            let mut session = lease.open()?;
            session.use_path(Some(&wanted))
        })
        .await?;
        // What is as it would be anyway is nothing to lose.
        self.holdings().path = Some(path).filter(|path| *path != self.usual_path());
        Ok(())
    }

    /// Looks names up where `other` does.
    pub fn use_path_of(&self, other: &ClientSession) {
        let path = other.holdings().path.clone();
        self.holdings().path = path;
    }

    /// Ends what nobody has used for too long.
    pub(super) fn sweep(&self) {
        let config = &self.limits.config;
        let mut holdings = self.holdings();
        prepared::sweep(&mut holdings.prepared, config.idle_timeout.0);
        let over = holdings.take_idle_transactions(config.transaction_idle_timeout.0);
        for transaction in over {
            tracing::warn!("a transaction was idle for too long and is rolled back");
            drop_aside(transaction);
        }
        // Looked at under the lock: a call that begins now finds the session as it was, or hears that it is over.
        if !self.is_over() && self.usage.is_idle_for(config.idle_timeout.0) {
            self.is_over.store(true, Ordering::Relaxed);
            let idle = humantime::format_duration(config.idle_timeout.0);
            let over =
                format!("the session was idle for longer than session.idle_timeout ({idle}) and was ended");
            self.expire(&mut holdings, &over);
        }
    }

    /// Gives up what the session holds because the database it is on was lost.
    pub(super) fn lose(&self) {
        self.expire(
            &mut self.holdings(),
            "the database was opened anew after a fatal error, which ended the session",
        );
    }

    /// Gives up what the session holds without its client's asking, and notes what the client has to hear: that the
    /// session is `over`.
    fn expire(&self, holdings: &mut Holdings, over: &str) {
        let mut lost = Vec::new();
        if !holdings.options.is_empty() || holdings.path.is_some() {
            lost.push("options");
        }
        if holdings.home.is_some() {
            lost.push("temporary tables");
        }
        let open: Vec<Handle> = holdings.transactions.keys().copied().collect();
        self.give_up(holdings);
        for handle in open {
            holdings.ended.transaction(handle, format!("{over}, and its open transaction was rolled back"));
        }
        if !lost.is_empty() {
            holdings.ended.lose(format!("{over}: its {} are gone", lost.join(" and ")));
        }
    }

    /// Ends the session because its client wants it to.
    pub(super) fn close(&self) {
        let mut holdings = self.holdings();
        self.give_up(&mut holdings);
        holdings.ended = Ended::default();
    }

    /// Rolls back open transactions and drops temporary objects and prepared statements.
    fn give_up(&self, holdings: &mut Holdings) {
        let Holdings { life, options, path, home, transactions, prepared, .. } = holdings;
        if home.is_some() || !transactions.is_empty() || !options.is_empty() || path.is_some() {
            *life += 1;
        }
        prepared.clear();
        options.clear();
        *path = None;
        drop_aside((home.take(), std::mem::take(transactions)));
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
        let mut holdings = std::mem::take(&mut *self.holdings());
        self.give_up(&mut holdings);
    }
}
