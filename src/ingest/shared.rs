//! What every put works on: the database, its declarations, and what is remembered of earlier puts.
//! Runs on: any thread.
//! Never: holds anything of a single put.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::exactly_once::{Ledger, Loads};
use super::tables::Tables;
use crate::catalog::{Declaration, Declarations, TableName};
use crate::engine::Database;

/// What every put works on.
pub(super) struct Shared {
    pub(super) database: Arc<Database>,
    pub(super) declarations: Arc<Declarations>,
    pub(super) ledger: Ledger,
    pub(super) loads: Loads,
    pub(super) tables: Arc<Tables>,
    /// Held by a put that makes a table, so that two do not make the same one.
    pub(super) creating: Mutex<()>,
    pub(super) idle_timeout: Duration,
}

impl Shared {
    /// The declaration of a table, if it is one of the server's own database.
    pub(super) fn declared(&self, table: &TableName) -> Option<Arc<Declaration>> {
        let own = table
            .catalog
            .as_deref()
            .is_none_or(|catalog| catalog.eq_ignore_ascii_case(self.database.catalog()));
        if own { self.declarations.find(table) } else { None }
    }
}
