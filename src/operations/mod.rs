//! What an operator asks of the database while it serves: checkpoints and backups.
//! Runs on: async tasks; the work is on blocking threads.
//! Never: takes a place from queries.

mod backup;

use std::sync::Arc;

use crate::engine::{BackupTarget, Database};
use crate::error::{Error, Result};
use crate::running::Running;

/// Checkpoints and backups of one database.
pub struct Operations {
    database: Arc<Database>,
    running: Arc<Running>,
}

impl Operations {
    /// Operations on `database`. What can be interrupted is entered in `running`.
    pub fn new(database: Arc<Database>, running: Arc<Running>) -> Self {
        Self { database, running }
    }

    /// Writes the log into the database file.
    ///
    /// Errors: as `Database::checkpoint`; `Unavailable` while the database is lost.
    pub async fn checkpoint(&self) -> Result<()> {
        let database = Arc::clone(&self.database);
        #[expect(clippy::disallowed_methods, reason = "this is a bridge: the engine blocks")]
        let done = tokio::task::spawn_blocking(move || {
            // A database that is lost gives no connection, and is not to be asked for a checkpoint.
            let connection = database.connection()?;
            connection.database().checkpoint().map(|_| ())
        });
        done.await
            .unwrap_or_else(|error| Err(Error::internal(format!("the checkpoint's thread failed: {error}"))))
    }

    /// Writes a copy of the database, as it is now, and gives its size in bytes. Dropping this stops the copy, and
    /// leaves nothing behind.
    ///
    /// Errors: as `engine::backup`; `Unavailable` when the server stops.
    pub async fn backup(&self, target: BackupTarget) -> Result<u64> {
        backup::backup(Arc::clone(&self.database), Arc::clone(&self.running), target).await
    }
}
