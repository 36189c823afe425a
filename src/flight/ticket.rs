//! Ticket bytes <-> the statement to fetch. Server-made tickets are random and carry nothing.
//! Runs on: async tasks; a look-up in memory.
//! Never: puts SQL into a ticket; gives out a change twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::Class;
use crate::error::{Error, Result};

/// First bytes of a server-made ticket. A leading NUL starts neither SQL text nor a protobuf message, so a
/// ticket is never taken for a client's own command.
const MAGIC: &[u8] = b"\0pintail\x01";
/// How long a ticket can be fetched.
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Tickets alive at one time.
const TICKETS_MAX: usize = 10_000;

struct Entry {
    sql: String,
    class: Class,
    expires: Instant,
}

/// Tickets given out and not yet expired.
#[derive(Default)]
pub(super) struct Tickets(Mutex<State>);

#[derive(Default)]
struct State {
    entries: HashMap<u128, Entry>,
    // Tickets of whole tables, so that listing flights again and again does not fill the store.
    tables: HashMap<String, u128>,
}

impl Tickets {
    /// A ticket for `sql`. Queries may be fetched any number of times, changes once.
    ///
    /// Errors: `Exhausted` when too many tickets are alive.
    pub(super) fn issue(&self, sql: String, class: Class) -> Result<Bytes> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.insert(sql, class).map(encode)
    }

    /// The ticket of a whole table; the same one while it lives.
    pub(super) fn issue_table(&self, sql: String) -> Result<Bytes> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + LIFETIME;
        if let Some(number) = state.tables.get(&sql).copied()
            && let Some(entry) = state.entries.get_mut(&number)
        {
            entry.expires = until;
            return Ok(encode(number));
        }
        let number = state.insert(sql.clone(), Class::Query)?;
        state.tables.insert(sql, number);
        Ok(encode(number))
    }

    /// The statement of a ticket; `None` when the bytes are not a server-made ticket.
    ///
    /// Errors: `NotFound` for a ticket that was never given out, has expired, or was a change already run.
    pub(super) fn redeem(&self, ticket: &[u8]) -> Result<Option<String>> {
        let Some(number) = ticket.strip_prefix(MAGIC) else { return Ok(None) };
        let unknown =
            || Error::not_found("unknown or expired ticket; call GetFlightInfo again for a new one");
        let number = u128::from_be_bytes(number.try_into().map_err(|_| unknown())?);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry =
            state.entries.get(&number).filter(|entry| entry.expires > Instant::now()).ok_or_else(unknown)?;
        let (sql, class) = (entry.sql.clone(), entry.class);
        if class != Class::Query {
            state.entries.remove(&number);
        }
        Ok(Some(sql))
    }
}

impl State {
    fn insert(&mut self, sql: String, class: Class) -> Result<u128> {
        if self.entries.len() >= TICKETS_MAX {
            let now = Instant::now();
            self.entries.retain(|_, entry| entry.expires > now);
            let State { entries, tables } = self;
            tables.retain(|_, number| entries.contains_key(number));
        }
        if self.entries.len() >= TICKETS_MAX {
            return Err(Error::exhausted("10,000 tickets", "too many tickets wait to be fetched"));
        }
        let number = rand::random();
        self.entries.insert(number, Entry { sql, class, expires: Instant::now() + LIFETIME });
        Ok(number)
    }
}

fn encode(number: u128) -> Bytes {
    [MAGIC, &number.to_be_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_fetched_again_changes_once_and_strangers_never() {
        let tickets = Tickets::default();
        let query = tickets.issue("SELECT 1".into(), Class::Query).unwrap();
        for _ in 0..2 {
            assert_eq!(tickets.redeem(&query).unwrap().as_deref(), Some("SELECT 1"));
        }
        let change = tickets.issue("DELETE FROM t".into(), Class::Change).unwrap();
        assert!(tickets.redeem(&change).unwrap().is_some());
        assert!(tickets.redeem(&change).is_err());
        assert!(tickets.redeem(&encode(7)).is_err());
        assert!(tickets.redeem(b"\0pintail\x01short").is_err());
        assert!(tickets.redeem(b"SELECT 1").unwrap().is_none());
        assert!(!query.windows(6).any(|part| part == b"SELECT"));
    }

    #[test]
    fn listing_again_gives_the_same_ticket() {
        let tickets = Tickets::default();
        let sql = || "SELECT * FROM t".to_owned();
        assert_eq!(tickets.issue_table(sql()).unwrap(), tickets.issue_table(sql()).unwrap());
    }

    #[test]
    fn the_store_is_bounded() {
        let tickets = Tickets::default();
        let refused = (0..=TICKETS_MAX).find_map(|_| tickets.issue("SELECT 1".into(), Class::Query).err());
        assert!(refused.is_some());
    }
}
