//! What a session holds for its client, and which connection a transaction is open on.
//! Runs on: async tasks; look-ups in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::ended::Ended;
use super::handle::Handle;
use super::prepared::Kept;
use super::seat::Seat;
use super::transaction::{RollBack, Transaction};
use super::usage::InUse;
use crate::engine::SchemaPath;
use crate::error::{Error, Kind, Result};

/// What a session holds.
#[derive(Default)]
pub(super) struct Holdings {
    // Counts how often all of this was given up.
    pub(super) life: u64,
    pub(super) options: BTreeMap<String, String>,
    pub(super) path: Option<SchemaPath>,
    // The connection with the session's temporary objects.
    pub(super) home: Option<Arc<Seat>>,
    pub(super) transactions: HashMap<Handle, Transaction>,
    pub(super) prepared: HashMap<Handle, Kept>,
    pub(super) ended: Ended,
}

impl Holdings {
    /// The seat of a transaction of this session, in use from now on.
    pub(super) fn seat(&self, handle: Handle) -> Result<(Arc<Seat>, InUse)> {
        match self.transactions.get(&handle) {
            Some(transaction) => Ok((Arc::clone(&transaction.seat), transaction.usage.enter())),
            None => Err(self.ended.unknown(handle)),
        }
    }

    /// The seat of the session's transaction, if it has one.
    pub(super) fn only_seat(&self) -> Result<Option<(Arc<Seat>, InUse)>> {
        if self.transactions.len() > 1 {
            return Err(Error::new(
                Kind::Conflict,
                "the session has several open transactions, and this call cannot say which one it belongs to; \
                 keep one transaction per connection",
            ));
        }
        let only = self.transactions.values().next();
        Ok(only.map(|transaction| (Arc::clone(&transaction.seat), transaction.usage.enter())))
    }

    /// A use of the transaction that is open on `seat`.
    pub(super) fn use_of(&self, seat: &Arc<Seat>) -> Option<InUse> {
        let on_seat = |transaction: &&Transaction| Arc::ptr_eq(&transaction.seat, seat);
        self.transactions.values().find(on_seat).map(|transaction| transaction.usage.enter())
    }

    /// The session's own connection, unless a transaction is open on it.
    pub(super) fn idle_home(&self) -> Option<Arc<Seat>> {
        let home = self.home.as_ref()?;
        let taken = self.transactions.values().any(|transaction| Arc::ptr_eq(&transaction.seat, home));
        (!taken).then(|| Arc::clone(home))
    }

    /// Takes out the transactions that nobody has used for `limit`; dropping them rolls them back, which takes its time.
    pub(super) fn take_idle_transactions(&mut self, limit: Duration) -> Vec<(Transaction, Option<RollBack>)> {
        let idle: Vec<Handle> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| transaction.usage.is_idle_for(limit))
            .map(|(handle, _)| *handle)
            .collect();
        let mut over = Vec::with_capacity(idle.len());
        for handle in idle {
            let Some(transaction) = self.transactions.remove(&handle) else { continue };
            let limit = humantime::format_duration(limit);
            let why = format!(
                "the transaction was idle for longer than session.transaction_idle_timeout ({limit}) and was rolled back"
            );
            self.ended.transaction(handle, why);
            // The session's own connection goes on, for the sake of its temporary tables. Nobody else has its turn now.
            let is_home = self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &transaction.seat));
            let turn = if is_home { Arc::clone(&transaction.seat).try_lock_owned().ok() } else { None };
            over.push((transaction, turn.map(RollBack)));
        }
        over
    }
}
