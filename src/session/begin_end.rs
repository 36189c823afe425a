//! Begin, commit, roll back: transactions that span calls.
//! Runs on: async tasks; the engine's part on blocking threads.
//! Never: commits what is only half there; leaves a transaction half ended.

use std::sync::Arc;

use tokio::sync::{OwnedMutexGuard, oneshot};

use super::client::ClientSession;
use super::handle::{Handle, On};
use super::seat::{Seated, blocking};
use super::transaction::{Ending, NewTransaction, Transaction, settle};
use super::usage::InUse;
use crate::engine::Connection;
use crate::error::{Error, Result};

impl ClientSession {
    /// Where a prepared statement runs now that was prepared for `on`.
    ///
    /// Drivers keep a prepared statement over the end of its transaction and run it again in the next one,
    /// which they cannot name. One whose transaction was ended by the server does not run before the client has
    /// begun another one, or has said that there is none.
    pub fn now(&self, on: On) -> On {
        let holdings = self.holdings();
        match on {
            On::Transaction(handle)
                if !holdings.transactions.contains_key(&handle)
                    && (holdings.ended.is_settled() || !holdings.ended.has(handle)) =>
            {
                On::Join
            }
            _ => on,
        }
    }

    /// Opens a transaction on a connection of its own.
    ///
    /// Errors: `Exhausted` naming `session.max_transactions`.
    pub async fn begin(self: &Arc<Self>) -> Result<Handle> {
        let counted = self.share.transaction(self.limits.config.max_transactions)?;
        let place = Arc::clone(&self.limits.transactions).try_acquire_owned().map_err(|_| {
            Error::busy(
                "session.max_transactions",
                format!("{} transactions are open; end some", self.limits.config.max_transactions),
            )
        })?;
        let (mut seat, path) = {
            let holdings = self.holdings();
            // Temporary tables are visible inside the transaction that is opened on their connection.
            (holdings.idle_home().unwrap_or_default(), holdings.path.clone())
        };
        let mut seated = self.turn(Arc::clone(&seat)).await?;
        if seated.connection.as_ref().is_some_and(Connection::in_transaction) {
            // Another call of this client was faster.
            seat = Arc::default();
            seated = self.turn(Arc::clone(&seat)).await?;
        }
        let session = Arc::clone(self);
        let (tell, told) = oneshot::channel();
        blocking(move || {
            // A client that has left meanwhile is nobody to open a transaction for: it is dropped, and rolled back.
            let _ = tell.send(NewTransaction::new(&session.database, seated, path.as_ref())?);
            Ok(())
        })
        .await?;
        let opened = told.await.map_err(|_| Error::internal("a transaction was opened for nobody"))?;
        let handle = rand::random();
        let mut holdings = self.holdings();
        holdings.transactions.insert(handle, Transaction::new(seat, (place, counted)));
        holdings.ended.begin_transaction();
        opened.keep();
        Ok(handle)
    }

    /// Keeps the open transactions from being taken for idle while this lives: a call goes on beside them.
    pub fn hold_transactions(&self) -> Vec<InUse> {
        self.holdings().transactions.values().map(|transaction| transaction.usage.enter()).collect()
    }

    /// Ends a transaction: commits it or rolls it back. Whatever this returns, the transaction has ended.
    ///
    /// Errors: `NotFound` for a transaction that is not this session's, or was ended by the server; `Aborted` when it
    /// could only be rolled back, or collided with another one.
    pub async fn end(self: &Arc<Self>, handle: Handle, ending: Ending) -> Result<()> {
        let (seat, in_use) = {
            let mut holdings = self.holdings();
            if ending == Ending::Rollback
                && !holdings.transactions.contains_key(&handle)
                && holdings.ended.has(handle)
            {
                // It is what the client wants. Drivers begin the next transaction only after a rollback that worked.
                holdings.ended.settle();
                return Ok(());
            }
            holdings.seat(handle)?
        };
        let seated = self.turn(seat).await?;
        let transaction = {
            let mut holdings = self.holdings();
            holdings.transactions.remove(&handle).ok_or_else(|| holdings.ended.unknown(handle))?
        };
        let session = Arc::clone(self);
        // In a task of its own: a client that leaves now does not leave the transaction half ended.
        let ended = tokio::spawn(async move {
            let _in_use = in_use;
            session.finish(handle, &transaction, seated, ending).await
        });
        ended
            .await
            .unwrap_or_else(|error| Err(Error::internal(format!("a transaction's end failed: {error}"))))
    }

    async fn finish(
        &self,
        handle: Handle,
        transaction: &Transaction,
        seated: OwnedMutexGuard<Seated>,
        ending: Ending,
    ) -> Result<()> {
        let left = blocking(move || Ok(settle(seated, ending))).await?;
        let mut holdings = self.holdings();
        let is_home = holdings.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, &transaction.seat));
        if left.is_kept && holdings.home.is_none() {
            holdings.home = Some(Arc::clone(&transaction.seat));
        } else if is_home && !left.is_kept {
            holdings.home = None;
        }
        let Err(error) = &left.outcome else { return left.outcome };
        let why = format!("the transaction has ended: {}", error.message());
        if ending == Ending::Commit {
            // Until the client has rolled back, it may go on as if the transaction were open, to commit it again.
            holdings.ended.transaction(handle, why);
        } else {
            holdings.ended.remember(handle, why);
        }
        if left.lost_temporaries {
            let text = format!(
                "{}; the connection was closed, and the session's temporary tables are gone with it",
                error.message()
            );
            holdings.ended.lose_told(text.clone());
            return Err(error.reworded(text));
        }
        left.outcome
    }
}
