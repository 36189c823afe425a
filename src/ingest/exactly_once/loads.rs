//! Which pieces of files are stored in which table: asked, written down in the rows' own transaction, forgotten.
//! Runs on: the thread that commits; blocks.
//! Never: holds what was stored in memory, or lets two streams look and store for one table at the same time.

use std::sync::Arc;

use pintail_protocol::header::Sources;

use super::own_table::OwnTable;
use super::sources::Declared;
use crate::catalog::TableName;
use crate::engine::{self, Connection, Database};
use crate::error::{Error, Result, shorten};

/// Bytes of a file's name in an error.
const SHOWN_BYTES: usize = 300;

/// What a stream has loaded.
pub(in crate::ingest) struct StreamLoad {
    pub(in crate::ingest) sources: Sources,
    pub(in crate::ingest) declared: Declared,
    /// Rows that arrived.
    pub(in crate::ingest) received: u64,
    /// Whether the transaction has made the table or replaced its rows, and so forgotten what was stored before.
    pub(in crate::ingest) is_clean: bool,
}

/// What was loaded, kept in a table of the database.
pub(in crate::ingest) struct Loads(OwnTable);

impl Loads {
    /// Looks whether its table is there.
    ///
    /// Errors: `Invalid` when its table is not as the server made it.
    pub(in crate::ingest) fn open(database: &Arc<Database>) -> Result<Self> {
        Ok(Self(OwnTable::new(engine::find_loads(&database.connection()?)?)))
    }

    /// Looks for its table again, after the database was opened anew.
    pub(in crate::ingest) fn reload(&self, database: &Arc<Database>) -> Result<()> {
        self.0.note(engine::find_loads(&database.connection()?)?);
        Ok(())
    }

    /// Makes its table, before the transaction that will write into it.
    pub(in crate::ingest) fn prepare(&self, connection: &Connection) -> Result<()> {
        self.0.ensure(|| engine::create_loads(connection))
    }

    /// The statement that forgets what was stored in `table`, for the transaction that makes the table or replaces its
    /// rows; nothing where nothing is remembered of it.
    pub(in crate::ingest) fn forgetting(&self, connection: &Connection, table: &TableName) -> Option<String> {
        let catalog = connection.database().catalog();
        let is_own = table.catalog.as_deref().is_none_or(|other| other.eq_ignore_ascii_case(catalog));
        (is_own && self.0.is_there()).then(|| engine::forget_loads_sql(connection, &table.in_ledger()))
    }

    /// Writes the pieces of a stream down in its open transaction. The caller has the table's turn, from before this until
    /// COMMIT has returned. `Sources::Anew` holds for a table that has no rows yet.
    ///
    /// Errors: `Invalid` unless the pieces have as many rows as were received; `Aborted` when one of them has been stored
    /// meanwhile.
    pub(in crate::ingest) fn record(
        &self,
        connection: &Connection,
        table: &TableName,
        load: StreamLoad,
    ) -> Result<()> {
        let StreamLoad { sources, declared, received, is_clean } = load;
        let is_empty = declared.is_empty();
        let pieces = declared.finish(received)?;
        let name = table.in_ledger();
        // The transaction's own snapshot may be older than the last commit.
        let later = || connection.database().connection();
        // Two loads may have found the table empty, and the other one was first.
        let sources = match sources {
            Sources::Anew if !is_clean && engine::has_rows(&later()?, table)? => Sources::Once,
            other => other,
        };
        if sources == Sources::Anew {
            let _turn = connection.deletes();
            engine::forget_loads(connection, &name)?;
        }
        if is_empty {
            return Ok(());
        }
        if sources == Sources::Once && !is_clean {
            let stored = engine::stored_loads(&later()?, &name, &pieces)?;
            if let Some(refused) = refused(&stored) {
                return Err(refused);
            }
        }
        engine::append_loads(connection, &name, &pieces)
    }

    /// Forgets what was stored in `table`, in a transaction of its own, and gives the number of pieces. The caller has the
    /// table's turn.
    pub(in crate::ingest) fn forget(&self, database: &Arc<Database>, table: &TableName) -> Result<u64> {
        if !self.0.is_there() {
            return Ok(0);
        }
        let mut connection = database.connection()?;
        connection.begin()?;
        let forgotten = {
            let _turn = connection.deletes();
            engine::forget_loads(&connection, &table.in_ledger())?
        };
        connection.commit()?;
        Ok(forgotten)
    }
}

fn refused(stored: &[(u64, String)]) -> Option<Error> {
    let ((count, file), others) = stored.split_first()?;
    let others = match others.len() {
        0 => String::new(),
        1 => " and some of another file".to_owned(),
        files => format!(" and some of {files} more files"),
    };
    Some(Error::collided(format!(
        "another load has stored {count} of these pieces of file {}{others}; run it again: it will leave them out \
             (nothing of this stream was stored)",
        shorten(file, SHOWN_BYTES)
    )))
}
