//! Ticket bytes <-> what to fetch. Server-made tickets are random and carry nothing.
//! Runs on: async tasks; a look-up in memory.
//! Never: puts SQL into a ticket; gives out a change twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::fetch::Fetch;
use crate::auth::Principal;
use crate::error::{Error, Kind, Result};
use crate::session::{Counted, Share};

/// First bytes of a server-made ticket. A leading NUL starts neither SQL text nor a protobuf message, so a
/// ticket is never taken for a client's own command.
const MAGIC: &[u8] = b"\0pintail\x01";
/// How long a ticket can be fetched.
pub(in crate::flight) const LIFETIME: Duration = Duration::from_secs(600);
/// A ticket nobody has fetched may have to make room for others after this long.
const UNFETCHED_MIN: Duration = Duration::from_secs(60);

struct Entry {
    // Whose it is; nobody else can use it.
    principal: Arc<Principal>,
    // `None` once something that cannot be repeated was fetched.
    fetch: Option<Arc<Fetch>>,
    issued: Instant,
    expires: Instant,
    // May make room for others at any time: it was fetched, or is one of a listing.
    spare: bool,
    // Whose it is, and its place among those that wait, until it is fetched.
    client: Weak<Share>,
    waiting: Option<Counted>,
    // The streams that fetch it now.
    streams: Vec<Weak<CancellationToken>>,
}

impl Entry {
    /// Whether it can be used by `principal`: it is theirs and has not expired.
    fn is_open_to(&self, principal: &Principal) -> bool {
        self.expires > Instant::now() && self.principal.is_same(principal)
    }

    /// Whether a stream fetches it now: that can be stopped, however long it takes.
    fn is_streaming(&self) -> bool {
        self.streams.iter().any(|stream| stream.strong_count() > 0)
    }
}

/// How a client came to be given a ticket.
#[derive(Clone, Copy)]
pub(in crate::flight) enum Asked<'a> {
    /// It asked for this very result, and it is this client's.
    ForItBy(&'a Arc<Share>),
    /// It asked for a list, of whose tickets it will fetch few: they are the first to make room.
    InListing,
}

/// Tells a stream that its ticket has been taken back.
pub(in crate::flight) struct Stop(Arc<CancellationToken>);

impl Stop {
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Whether the stream is to be stopped.
    pub(in crate::flight) fn is_told(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the stream is to be stopped.
    pub(in crate::flight) fn told(&self) -> impl Future<Output = ()> + Send + use<> {
        CancellationToken::clone(&self.0).cancelled_owned()
    }

    /// What the client of the stream hears then. Not CANCELLED: pyarrow takes that for a Ctrl-C of its own user
    /// (ARCHITECTURE.md).
    pub(in crate::flight) fn why() -> Error {
        Error::new(Kind::Aborted, "the query was cancelled by another call")
    }
}

/// Tickets given out and not yet expired.
pub(in crate::flight) struct Tickets {
    entries: Mutex<HashMap<u128, Entry>>,
    entries_max: usize,
}

/// Bytes of statements and small results that tickets may keep.
const HELD_BYTES_MAX: usize = 256 << 20;

fn unknown() -> Error {
    Error::not_found("unknown or expired ticket; call GetFlightInfo again for a new one")
}

impl Tickets {
    pub(in crate::flight) fn new(entries_max: usize) -> Self {
        Self { entries: Mutex::default(), entries_max }
    }

    /// A ticket for `fetch`.
    ///
    /// Errors: `Exhausted` naming `session.max_tickets` when too many young tickets wait to be fetched.
    pub(in crate::flight) fn issue(
        &self,
        fetch: Fetch,
        asked: Asked<'_>,
        principal: &Arc<Principal>,
    ) -> Result<Bytes> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (client, waiting) = match asked {
            Asked::InListing => (Weak::new(), None),
            Asked::ForItBy(client) => (Arc::downgrade(client), Some(self.count(&mut entries, client)?)),
        };
        let held =
            || entries.values().flat_map(|entry| &entry.fetch).map(|fetch| fetch.bytes()).sum::<usize>();
        if entries.len() >= self.entries_max || (fetch.bytes() > 4096 && held() > HELD_BYTES_MAX) {
            self.make_room(&mut entries)?;
        }
        let number: u128 = rand::random();
        let now = Instant::now();
        let entry = Entry {
            principal: Arc::clone(principal),
            fetch: Some(Arc::new(fetch)),
            issued: now,
            expires: now + LIFETIME,
            spare: waiting.is_none(),
            client,
            waiting,
            streams: Vec::new(),
        };
        entries.insert(number, entry);
        Ok(encode(number))
    }

    /// A place among the tickets that wait for this client, whose oldest ones make room for it.
    fn count(&self, entries: &mut HashMap<u128, Entry>, client: &Arc<Share>) -> Result<Counted> {
        if let Ok(counted) = client.ticket(self.entries_max) {
            return Ok(counted);
        }
        let is_old = |entry: &Entry| {
            entry.waiting.is_some()
                && entry.issued.elapsed() > UNFETCHED_MIN
                && entry.client.as_ptr() == Arc::as_ptr(client)
        };
        entries.retain(|_, entry| !is_old(entry));
        client.ticket(self.entries_max)
    }

    /// Forgets the expired and, if that is not enough, the older half of those that can be spared.
    fn make_room(&self, entries: &mut HashMap<u128, Entry>) -> Result<()> {
        let now = Instant::now();
        let before = entries.len();
        entries.retain(|_, entry| entry.expires > now || entry.is_streaming());
        if entries.len() < before {
            return Ok(());
        }
        let spare =
            |entry: &Entry| !entry.is_streaming() && (entry.spare || entry.issued.elapsed() > UNFETCHED_MIN);
        let mut issued: Vec<Instant> =
            entries.values().filter(|entry| spare(entry)).map(|entry| entry.issued).collect();
        if issued.is_empty() {
            return Err(Error::busy(
                "session.max_tickets",
                format!("{} results are waiting to be fetched", entries.len()),
            ));
        }
        let middle = issued.len() / 2;
        let (_, cut, _) = issued.select_nth_unstable(middle);
        entries.retain(|_, entry| !(spare(entry) && entry.issued <= *cut));
        Ok(())
    }

    /// What a ticket gives, and a way to be told to stop; `None` when the bytes are not a server-made ticket.
    ///
    /// Errors: `NotFound` for a ticket that was never given out, is somebody else's, has expired, or could be fetched only once.
    pub(in crate::flight) fn redeem(
        &self,
        ticket: &[u8],
        principal: &Principal,
    ) -> Result<Option<(Arc<Fetch>, Stop)>> {
        let Some(number) = decode(ticket)? else { return Ok(None) };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry =
            entries.get_mut(&number).filter(|entry| entry.is_open_to(principal)).ok_or_else(unknown)?;
        let fetch = match &entry.fetch {
            Some(fetch) if fetch.can_repeat() => Arc::clone(fetch),
            _ => entry.fetch.take().ok_or_else(unknown)?,
        };
        entry.spare = true;
        entry.waiting = None;
        entry.streams.retain(|stream| stream.strong_count() > 0);
        let stop = Stop::new();
        entry.streams.push(Arc::downgrade(&stop.0));
        Ok(Some((fetch, stop)))
    }

    /// Lets a ticket live for its whole lifetime again.
    ///
    /// Errors: as `redeem`; `NotFound` as well for bytes that are not a ticket.
    pub(in crate::flight) fn renew(&self, ticket: &[u8], principal: &Principal) -> Result<()> {
        let number = decode(ticket)?.ok_or_else(unknown)?;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry =
            entries.get_mut(&number).filter(|entry| entry.is_open_to(principal)).ok_or_else(unknown)?;
        entry.expires = Instant::now() + LIFETIME;
        Ok(())
    }

    /// Takes a ticket back and stops the streams that fetch it; false when it was not known.
    pub(in crate::flight) fn cancel(&self, ticket: &[u8], principal: &Principal) -> bool {
        let Ok(Some(number)) = decode(ticket) else { return false };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if !entries.get(&number).is_some_and(|entry| entry.principal.is_same(principal)) {
            return false;
        }
        let Some(entry) = entries.remove(&number) else { return false };
        // A stream that has ended needs no telling.
        entry.streams.iter().filter_map(Weak::upgrade).for_each(|stream| stream.cancel());
        true
    }

    /// Forgets what has expired.
    pub(in crate::flight) fn sweep(&self) {
        let now = Instant::now();
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, entry| entry.expires > now || entry.is_streaming());
    }
}

fn encode(number: u128) -> Bytes {
    let mut ticket = MAGIC.to_vec();
    ticket.extend_from_slice(&number.to_be_bytes());
    ticket.into()
}

fn decode(ticket: &[u8]) -> Result<Option<u128>> {
    let Some(number) = ticket.strip_prefix(MAGIC) else { return Ok(None) };
    number.try_into().map(|number| Some(u128::from_be_bytes(number))).map_err(|_| unknown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::engine::{Class, Described};

    fn ada() -> Arc<Principal> {
        Arc::new(Principal::new("ada", Role::Reader))
    }

    fn stored() -> Fetch {
        let schema = Described::count().schema;
        Fetch::Stored { schema, class: Class::Change, batches: Vec::new() }
    }

    #[test]
    fn tickets_are_opaque_and_can_be_taken_back() {
        let tickets = Tickets::new(10);
        let client = Share::new(1);
        let ticket = tickets.issue(stored(), Asked::ForItBy(&client), &ada()).unwrap();
        assert!(ticket.starts_with(MAGIC) && ticket.len() == MAGIC.len() + 16);
        let (_, stop) = tickets.redeem(&ticket, &ada()).unwrap().unwrap();
        assert!(!stop.is_told());
        tickets.renew(&ticket, &ada()).unwrap();
        assert!(tickets.cancel(&ticket, &ada()));
        assert!(stop.is_told(), "the stream is told");
        for gone in [&ticket[..], &encode(7), b"\0pintail\x01short"] {
            assert_eq!(tickets.redeem(gone, &ada()).err().map(|error| error.kind()), Some(Kind::NotFound));
        }
        assert!(!tickets.cancel(&ticket, &ada()));
        assert!(tickets.redeem(b"SELECT 1", &ada()).unwrap().is_none());
    }

    #[test]
    fn a_ticket_of_somebody_else_is_unknown() {
        let tickets = Tickets::new(10);
        let ticket = tickets.issue(stored(), Asked::ForItBy(&Share::new(1)), &ada()).unwrap();
        let eve = Principal::new("eve", Role::Admin);
        assert_eq!(tickets.redeem(&ticket, &eve).err().map(|error| error.kind()), Some(Kind::NotFound));
        assert_eq!(tickets.renew(&ticket, &eve).unwrap_err().kind(), Kind::NotFound);
        assert!(!tickets.cancel(&ticket, &eve));
        assert!(tickets.redeem(&ticket, &Principal::new("ada", Role::Admin)).unwrap().is_some());
    }

    /// What is being fetched does not make room: it could not be stopped any more.
    #[test]
    fn a_ticket_lives_as_long_as_its_stream() {
        let tickets = Tickets::new(2);
        let ticket = tickets.issue(stored(), Asked::ForItBy(&Share::new(1)), &ada()).unwrap();
        let (_, stop) = tickets.redeem(&ticket, &ada()).unwrap().unwrap();
        for _ in 0..10 {
            tickets.issue(stored(), Asked::InListing, &ada()).unwrap();
        }
        tickets.entries.lock().unwrap().values_mut().for_each(|entry| entry.expires = entry.issued);
        tickets.sweep();
        assert!(tickets.cancel(&ticket, &ada()));
        assert!(stop.is_told());
    }

    #[test]
    fn fetched_and_listed_tickets_make_room_and_waiting_ones_do_not() {
        let tickets = Tickets::new(10);
        let (client, other) = (Share::new(1), Share::new(1));
        for _ in 0..100 {
            tickets.issue(stored(), Asked::InListing, &ada()).unwrap();
            let ticket = tickets.issue(stored(), Asked::ForItBy(&client), &ada()).unwrap();
            drop(tickets.redeem(&ticket, &ada()).unwrap());
        }
        let tickets = Tickets::new(10);
        let issue = |client: &Arc<Share>| tickets.issue(stored(), Asked::ForItBy(client), &ada());
        let mut waiting: Vec<Bytes> = (0..5).map(|_| issue(&client).unwrap()).collect();
        let refused = issue(&client).unwrap_err().to_string();
        assert!(refused.contains("session.max_tickets") && refused.contains("this client"), "{refused}");
        waiting.extend((0..5).map(|_| issue(&other).unwrap()));
        let refused = issue(&Share::new(1)).unwrap_err();
        assert!(refused.to_string().contains("session.max_tickets"), "{refused}");
        assert!(waiting.iter().all(|ticket| tickets.redeem(ticket, &ada()).is_ok()));
        issue(&client).unwrap();
    }
}
