//! What the server has ended of a session by itself -> what the client hears until it begins anew.
//! Runs on: async tasks; a look into memory.
//! Never: lets a statement run as if nothing had been lost: it would commit the rest of a transaction on its own, or
//! go to a table of another schema.

use std::collections::VecDeque;

use super::handle::{Handle, On};
use crate::error::{Error, Kind, Result};

/// Transactions remembered per session.
const TRANSACTIONS_MAX: usize = 256;

/// Things ended without the client's doing.
#[derive(Default)]
pub(super) struct Ended {
    // Transactions, and why they ended; the newest last.
    transactions: VecDeque<(Handle, String)>,
    // Why nothing joins a transaction: the client may believe that one is open.
    unsettled: Option<String>,
    // Why nothing runs at all: options or temporary tables are gone.
    lost: Option<Lost>,
    // The cookie or token that came last without being known.
    missed: Option<Handle>,
}

struct Lost {
    why: String,
    heard: bool,
}

impl Ended {
    /// A transaction has ended, and this is why; the client may believe that it is open.
    pub(super) fn transaction(&mut self, handle: Handle, why: String) {
        self.unsettled = Some(why.clone());
        self.remember(handle, why);
    }

    /// A transaction has ended, and this is why; the client knows that it has.
    pub(super) fn remember(&mut self, handle: Handle, why: String) {
        if self.transactions.len() == TRANSACTIONS_MAX {
            self.transactions.pop_front();
        }
        self.transactions.push_back((handle, why));
    }

    /// Whether the transaction has ended without the client's doing.
    pub(super) fn has(&self, handle: Handle) -> bool {
        self.transactions.iter().any(|(ended, _)| *ended == handle)
    }

    /// What somebody hears who names a transaction that is not open.
    pub(super) fn unknown(&self, handle: Handle) -> Error {
        match self.transactions.iter().find(|(ended, _)| *ended == handle) {
            Some((_, why)) => Error::not_found(format!("{why}; begin a new one")),
            None => Error::not_found("unknown transaction; it was never begun in this session, or has ended"),
        }
    }

    /// The client knows that no transaction is open: it said so.
    pub(super) fn settle(&mut self) {
        self.unsettled = None;
    }

    /// Whether nothing is open that the client may believe to be.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    /// Things are gone that statements may rely on.
    pub(super) fn lose(&mut self, why: String) {
        self.lost = Some(Lost { why, heard: false });
    }

    /// As `lose`, for things the client is being told of.
    pub(super) fn lose_told(&mut self, why: String) {
        self.lost = Some(Lost { why, heard: true });
    }

    /// A cookie or token came that is not known (any more).
    pub(super) fn miss(&mut self, token: Handle) {
        if self.missed == Some(token) {
            return;
        }
        self.missed = Some(token);
        self.lose(
            "the session of this cookie or token is not known: it ended long ago, or the server was started again"
                .to_owned(),
        );
    }

    /// The client sets its session up again, or gives it up.
    pub(super) fn begin_anew(&mut self) {
        self.lost = None;
    }

    /// The client begins a transaction. Drivers do so by themselves, so that is a new beginning only for what the
    /// client has heard of.
    pub(super) fn begin_transaction(&mut self) {
        self.settle();
        self.lost.take_if(|lost| lost.heard);
    }

    /// Refuses every statement while the client may rely on what is gone.
    pub(super) fn check(&mut self) -> Result<()> {
        let Some(lost) = &mut self.lost else { return Ok(()) };
        lost.heard = true;
        Err(Error::new(
            Kind::Aborted,
            format!("{}; set the session's options again, begin a transaction, or connect again", lost.why),
        ))
    }

    /// Refuses as well what would join a transaction that the client may believe to be open.
    pub(super) fn check_on(&mut self, on: On) -> Result<()> {
        self.check()?;
        match (&self.unsettled, on) {
            (Some(why), On::Join | On::Own | On::Rows) => Err(Error::new(
                Kind::Aborted,
                format!("{why}; begin a new one, or roll back to go on without one"),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_transaction_is_told_until_the_client_settles_it() {
        let mut ended = Ended::default();
        ended.transaction(7, "the transaction was idle".to_owned());
        for on in [On::Join, On::Own, On::Rows] {
            assert_eq!(ended.check_on(on).unwrap_err().kind(), Kind::Aborted);
        }
        ended.check_on(On::Auto).unwrap();
        assert!(ended.unknown(7).message().contains("was idle"));
        assert!(ended.unknown(8).message().contains("never begun"));
        ended.begin_transaction();
        ended.check_on(On::Join).unwrap();
        assert!(ended.has(7), "its name stays known");
    }

    #[test]
    fn what_is_lost_is_told_until_the_client_begins_anew() {
        let mut ended = Ended::default();
        ended.lose("the session was idle".to_owned());
        ended.begin_transaction();
        assert_eq!(ended.check_on(On::Auto).unwrap_err().kind(), Kind::Aborted, "nobody has heard of it yet");
        ended.begin_transaction();
        ended.check_on(On::Auto).unwrap();
        ended.miss(1);
        ended.check().unwrap_err();
        ended.begin_anew();
        ended.miss(1);
        ended.check().unwrap();
        ended.miss(2);
        ended.check().unwrap_err();
    }

    #[test]
    fn the_newest_transactions_are_remembered() {
        let mut ended = Ended::default();
        for handle in 0..=TRANSACTIONS_MAX as Handle {
            ended.transaction(handle, "over".to_owned());
        }
        assert!(!ended.has(0) && ended.has(1) && ended.has(TRANSACTIONS_MAX as Handle));
    }
}
