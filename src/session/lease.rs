//! A session's claim -> the connection that one statement runs on.
//! Runs on: async tasks wait for a turn; the connection is opened and used on a blocking thread.
//! Never: lets two statements use one connection at a time; waits for a turn without end.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Weak};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::client::{ClientSession, Owner};
use super::handle::{On, locked};
use super::seat::{Seat, Seated, blocking};
use super::share::Share;
use super::temporaries::Temporaries;
use super::usage::InUse;
use crate::engine::{self, Access, Database, SchemaPath};
use crate::error::{Error, Kind, Result};

/// Whether a statement is known to make temporary objects before it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Makes {
    Unknown,
    Temporaries,
}

impl Makes {
    fn of(on: On) -> Self {
        if on == On::Own { Self::Temporaries } else { Self::Unknown }
    }
}

/// The right to run one statement, to be opened on the thread that runs it.
pub struct Lease {
    place: Place,
    path: Option<SchemaPath>,
    // What its client may do; `None` for admins and the server itself.
    access: Option<Arc<Access>>,
    uses: Vec<InUse>,
    // Of the client; nobody has none.
    share: Option<Arc<Share>>,
}

enum Place {
    Pool(Arc<Database>, Weak<ClientSession>),
    Seat(OwnedMutexGuard<Seated>),
}

/// A connection for one statement. Dropping it gives the connection back to where it belongs.
pub struct Open {
    place: Connected,
    // Of the session and its transaction: neither is idle while this statement runs and its result is read.
    _uses: Vec<InUse>,
}

enum Connected {
    // `None` only once the session has kept the connection.
    Pooled(Option<Box<engine::Connection>>, Weak<ClientSession>),
    Seated(OwnedMutexGuard<Seated>),
}

impl Lease {
    /// A pooled connection on behalf of nobody.
    pub fn pooled(database: Arc<Database>) -> Self {
        Self {
            place: Place::Pool(database, Weak::new()),
            path: None,
            access: None,
            uses: Vec::new(),
            share: None,
        }
    }

    /// Whether the connection is one of the pool, on which nothing of the client is open.
    pub fn is_pooled(&self) -> bool {
        matches!(self.place, Place::Pool(..))
    }

    /// What the client has of what all share.
    pub fn share(&self) -> Option<&Arc<Share>> {
        self.share.as_ref()
    }

    /// The right to store rows that were held to the grants already: what the server looks up and runs for them is its own.
    pub fn of_the_server(self) -> Self {
        Self { access: None, ..self }
    }

    /// More of the same uses, for a result that is read when its connection is free again.
    pub fn in_use(&self) -> Vec<InUse> {
        self.uses.clone()
    }

    /// Opens the connection. Blocks.
    ///
    /// Errors: `Aborted` when the transaction it belongs to can only be rolled back; `NotFound` when the
    /// session's schema is gone.
    pub fn open(self) -> Result<Open> {
        let place = match self.place {
            Place::Pool(database, owner) => Connected::Pooled(Some(Box::new(database.connection()?)), owner),
            Place::Seat(seated) => {
                if let Some(why) = &seated.broken {
                    return Err(Error::new(
                        Kind::Aborted,
                        format!("the transaction can only be rolled back: {why}"),
                    ));
                }
                Connected::Seated(seated)
            }
        };
        let mut open = Open { place, _uses: self.uses };
        open.hold_to(self.access);
        open.use_path(self.path.as_ref())?;
        Ok(open)
    }
}

impl Open {
    /// Whether what runs here belongs to a transaction that the client will end.
    pub fn joins_transaction(&self) -> bool {
        matches!(self.place, Connected::Seated(_)) && self.in_transaction()
    }

    /// The client's transaction can no longer be committed, because half of something is in it.
    pub fn break_transaction(&mut self, why: &str) {
        if let Connected::Seated(seated) = &mut self.place {
            seated.broken = Some(why.to_owned());
        }
    }

    /// `error` as the client may read it, with what became of its transaction.
    pub fn explain(&self, error: Error) -> Error {
        let error = self.told(error);
        if !self.joins_transaction() {
            return error;
        }
        let state = if self.is_aborted() {
            "the transaction is aborted and can only be rolled back"
        } else {
            "the transaction is still open"
        };
        error.reworded(format!("{} ({state})", error.message()))
    }

    /// Before `sql` runs, which may make temporary objects: its connection never goes back to the pool, whatever
    /// becomes of the statement.
    ///
    /// Errors: `Unsupported` on a connection that ends with its call.
    pub fn expect_temporaries(&mut self, sql: &str) -> Result<()> {
        let made = Temporaries::of(sql);
        let is_fleeting = match &self.place {
            Connected::Pooled(_, owner) => owner.upgrade().is_none_or(|owner| owner.is_fleeting),
            Connected::Seated(seated) => seated.is_fleeting,
        };
        if made == Temporaries::Named && is_fleeting {
            return Err(Error::unsupported(
                "a temporary object would be gone with the connection of this call (DoExchange has one of its own); \
                 make it with a statement of its own",
            ));
        }
        match (&mut self.place, made) {
            // A type that nobody can name does no harm on the client's own connection.
            (_, Temporaries::None) | (Connected::Seated(_), Temporaries::Nameless) => {}
            (Connected::Seated(seated), Temporaries::Named) => seated.expect_temporaries(),
            (Connected::Pooled(connection, _), _) => {
                if let Some(connection) = connection {
                    connection.spoil();
                    connection.expect_temporaries();
                }
            }
        }
        Ok(())
    }

    /// After `sql` has run: the temporary objects it made stay with the client's session. The lease is over then.
    ///
    /// Errors: `Conflict` when the session has got a connection of its own meanwhile.
    pub fn keep_temporaries(mut self, sql: &str) -> Result<()> {
        let Connected::Pooled(connection, owner) = &mut self.place else { return Ok(()) };
        let Some(open) = connection else { return Ok(()) };
        if Temporaries::of(sql) != Temporaries::Named || !open.has_temporaries()? {
            return Ok(());
        }
        let Some(owner) = owner.upgrade() else {
            return Err(Error::new(
                Kind::Conflict,
                "the session has ended, and its temporary objects are gone",
            ));
        };
        let mut holdings = locked(&owner.holdings);
        if holdings.home.is_none() {
            open.disarm();
            let seated = Seated {
                connection: connection.take().map(|open| *open),
                temporary: true,
                ..Seated::default()
            };
            holdings.home = Some(Arc::new(Mutex::new(seated)));
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            "the session's own connection was busy, so the temporary object was not made; try again",
        ))
    }
}

impl Deref for Open {
    type Target = engine::Connection;

    fn deref(&self) -> &engine::Connection {
        let connection = match &self.place {
            Connected::Pooled(connection, _) => connection.as_deref(),
            Connected::Seated(seated) => seated.connection.as_ref(),
        };
        connection
            .expect("a lease is opened with a connection, and keeping it is the last thing done with it")
    }
}

impl DerefMut for Open {
    fn deref_mut(&mut self) -> &mut engine::Connection {
        let connection = match &mut self.place {
            Connected::Pooled(connection, _) => connection.as_deref_mut(),
            Connected::Seated(seated) => seated.connection.as_mut(),
        };
        connection
            .expect("a lease is opened with a connection, and keeping it is the last thing done with it")
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // The connection goes on; what would stop this statement must not stop the next one.
        if let Connected::Seated(seated) = &self.place
            && let Some(connection) = &seated.connection
        {
            connection.disarm();
        }
    }
}

impl ClientSession {
    /// The right to run one statement where `on` says.
    ///
    /// Errors: `NotFound` for a transaction that is not this session's or has ended; `Aborted` when the statement may
    /// rely on what the server has ended; `Exhausted` when the connection stays busy (`query.queue_timeout`).
    pub async fn lease(self: &Arc<Self>, on: On) -> Result<Lease> {
        let path = self.holdings().path.clone();
        self.lease_in(on, path, Makes::of(on)).await
    }

    /// As [`Self::lease`], for a statement that makes a temporary table, wherever it runs.
    pub async fn lease_for_temporaries(self: &Arc<Self>, on: On) -> Result<Lease> {
        let on = if on == On::Rows { On::Own } else { on };
        let path = self.holdings().path.clone();
        self.lease_in(on, path, Makes::Temporaries).await
    }

    /// As [`Self::lease`], for what was asked for when `owner` was taken: names are looked up where they were then.
    pub async fn lease_of(self: &Arc<Self>, owner: &Owner, on: On) -> Result<Lease> {
        self.lease_in(on, owner.path.clone(), Makes::of(on)).await
    }

    async fn lease_in(self: &Arc<Self>, on: On, path: Option<SchemaPath>, makes: Makes) -> Result<Lease> {
        let mut uses = vec![self.enter()];
        let seat = {
            let mut holdings = self.holdings();
            holdings.ended.check_on(on)?;
            let taken = match on {
                On::Transaction(handle) => Some(holdings.seat(handle)?),
                On::Auto => None,
                On::Join | On::Own | On::Rows => holdings.only_seat()?,
            };
            match (taken, on) {
                (Some((seat, in_use)), _) => {
                    uses.push(in_use);
                    Some(seat)
                }
                (None, On::Own) => {
                    let seated = Seated { is_fleeting: self.is_fleeting, ..Seated::default() };
                    Some(Arc::clone(holdings.home.get_or_insert_with(|| Arc::new(Seat::new(seated)))))
                }
                (None, On::Rows) => None,
                (None, _) => holdings.idle_home(),
            }
        };
        let place = match seat {
            None => Place::Pool(Arc::clone(&self.database), Arc::downgrade(self)),
            Some(seat) => {
                let mut seated = self.turn(Arc::clone(&seat)).await?;
                if seated.connection.is_none() {
                    let database = Arc::clone(&self.database);
                    seated.connection = Some(blocking(move || database.connection()).await?);
                }
                let in_transaction =
                    seated.connection.as_ref().is_some_and(engine::Connection::in_transaction);
                match on {
                    // A transaction was begun on it while this statement waited.
                    On::Auto if in_transaction => {
                        Place::Pool(Arc::clone(&self.database), Arc::downgrade(self))
                    }
                    // Or has ended.
                    On::Transaction(handle) if !in_transaction => {
                        return Err(self.holdings().ended.unknown(handle));
                    }
                    _ => {
                        if uses.len() == 1 {
                            uses.extend(self.holdings().use_of(&seat));
                        }
                        if makes == Makes::Temporaries {
                            seated.expect_temporaries();
                        }
                        Place::Seat(seated)
                    }
                }
            }
        };
        Ok(Lease { place, path, access: self.access(), uses, share: Some(Arc::clone(&self.share)) })
    }

    /// Waits for a seat's turn.
    pub(super) async fn turn(&self, seat: Arc<Seat>) -> Result<OwnedMutexGuard<Seated>> {
        let wait = self.limits.seat_wait;
        tokio::time::timeout(wait, seat.lock_owned()).await.map_err(|_| {
            Error::busy(
                "query.queue_timeout",
                "the session's connection is busy with another statement or a result that has not been read \
                 to its end; read or cancel that first",
            )
        })
    }
}
