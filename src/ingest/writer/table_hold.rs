//! What a put holds of its table until it ends: that it uses it, and the table's turn when it replaces it.
//! Runs on: the writer thread.
//! Never: removes a table that others use.

use pintail_protocol::header::Mode;

use crate::engine::Connection;
use crate::error::Result;
use crate::ingest::job::Job;
use crate::ingest::placement::{self, Transaction};
use crate::ingest::request::PutTarget;
use crate::ingest::tables::{TableTurn, User};

/// What a put holds of its table until it ends.
pub(super) struct TableHold {
    pub(super) user: Option<User>,
    /// The table's turn, for a put that replaces it.
    pub(super) turn: Option<TableTurn>,
    /// Whether the put made the table, in a transaction of its own.
    pub(super) made_table: bool,
}

impl TableHold {
    pub(super) fn enter(job: &Job, transaction: Transaction) -> Result<Self> {
        let PutTarget::Table { table, shown, mode } = &job.target else {
            return Ok(Self { user: None, turn: None, made_table: false });
        };
        let tables = &job.shared.tables;
        let replaces =
            transaction == Transaction::Own && matches!(mode, Mode::Replace | Mode::ReplaceExisting);
        let turn = replaces.then(|| tables.turn(table, shown)).transpose()?;
        Ok(Self { user: Some(tables.enter(table)), turn, made_table: false })
    }

    /// Takes back the table that the put made, if nobody uses it.
    pub(super) fn remove_table(&self, job: &Job, connection: &mut Connection) {
        if let (true, Some(user), PutTarget::Table { table, .. }) = (self.made_table, &self.user, &job.target)
        {
            placement::remove_if_empty(&job.shared, connection, table, user);
        }
    }
}
