//! The whole database -> a new database file, as it is at one moment, while others read and write.
//! Runs on: the thread of the connection; blocks as long as the copy takes. Writers go on.
//! Never: leaves a file of the final name that is not whole; writes over a file; takes the server down when only
//! the disk of the copy is full.
//!
//! The copy is `COPY FROM DATABASE` into a second, hidden database of the same instance, in one transaction: the
//! snapshot that every reader gets, and with it tables, keys, indexes, views, macros, sequences, comments and the
//! ingest ledger. Triggers it leaves out; they are made in the copy afterwards, so that they do not fire for its rows.
//! Then the copy is opened, and gets its name only when it holds all that the database held at that moment.
//! Copying the file itself would be faster, but needs a checkpoint, which waits for a moment without writers; and
//! closing a second handle on the file would give up the lock that keeps other programs out.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use duckdb::Parameters;
use duckdb::environment::StorageLocation;
use duckdb::error::DuckDBError;
use duckdb::instance::AttachBuilder;

use super::inventory::{Inventory, Trigger, first_of};
use crate::catalog::quote_name;
use crate::connection::Connection;
use crate::database::{BackupTarget, Database, Options, remove_files, sync_folder, with_ending};
use crate::duckdb_error::from_duckdb;
use crate::error::{Error, Kind, Result};

/// Memory that the look at a finished copy may take: catalog queries and counts.
const LOOK_MEMORY_BYTES: u64 = 256 << 20;

/// Writes the copy and gives its size in bytes. Blocks; `connection.interrupt()` stops it, and `cancelled` says that
/// nobody wants it any more.
///
/// Errors: `Aborted` while another copy is being written, `Exhausted` when the disk is full, `Cancelled`; nothing
/// is left behind then. A process that is killed leaves a `.partial` file, which the next copy of that name
/// replaces.
pub fn backup(connection: &mut Connection, target: &BackupTarget, cancelled: &AtomicBool) -> Result<u64> {
    // An interrupt can hit the ROLLBACK as well; a connection that is closed afterwards has nothing open.
    connection.spoil();
    let database = Arc::clone(connection.database());
    let _alone = Alone::enter(&database, target)?;
    target.check_free()?;
    remove_partial(target)?;
    let check = || match cancelled.load(Ordering::SeqCst) {
        true => Err(Error::new(Kind::Cancelled, "the backup was cancelled")),
        false => Ok(()),
    };
    let written = write(connection, target).and_then(|whole| {
        check()?;
        complete(&database, target, &whole)?;
        check()?;
        put_in_place(target)
    });
    if written.is_err()
        && let Err(error) = remove_partial(target)
    {
        tracing::warn!(%error, "the remains of a failed backup are still there");
    }
    written.map_err(|error| error.reworded(target.hide(error.message())))?;
    Ok(target.bytes_written())
}

/// One copy at a time: two would compete for the disk, and could be meant for one file.
struct Alone<'a>(&'a Database);

impl<'a> Alone<'a> {
    fn enter(database: &'a Database, target: &BackupTarget) -> Result<Self> {
        let mut copying = database.copying.lock().unwrap_or_else(PoisonError::into_inner);
        if copying.is_some() {
            return Err(Error::collided("another backup is being written; try again when it is done")
                .again_after(Duration::from_secs(5)));
        }
        *copying = Some(target.clone());
        Ok(Self(database))
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        *self.0.copying.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Copies, and gives what is to be in the copy.
fn write(connection: &Connection, target: &BackupTarget) -> Result<Inventory> {
    let instance = connection.database().instance()?;
    let path = target.partial().display().to_string();
    // In no list of databases, and under a name that nobody can guess, so that no statement reaches it.
    let alias = format!("pintail_backup_{:032x}", rand::random::<u128>());
    // Attaching by the API is the host's right where SQL has none to files; it allows this one path.
    let copy = AttachBuilder::new(StorageLocation::OnDisk(path)).alias(&alias).option("hidden", "true");
    instance.attach(copy).map_err(copy_error)?;
    let copied = copy_all(connection, &alias);
    // Writes what is in the copy's log into its file, and closes it.
    let detached = instance.detach(&alias).map(|_| ()).map_err(copy_error);
    copied.and_then(|whole| detached.map(|()| whole))
}

fn copy_all(connection: &Connection, alias: &str) -> Result<Inventory> {
    // Not `Connection::execute`: a fatal error of the copy is not one of the database, and must not stop the server.
    let execute =
        |sql: &str| connection.duckdb().execute(sql, Parameters::None).map(|_| ()).map_err(copy_error);
    execute("BEGIN TRANSACTION")?;
    let copy = || {
        let whole = Inventory::read(connection)?;
        let nested = whole.nested_indexes();
        if !nested.is_empty() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the engine cannot copy indexes in nested schemas: {}; drop them, or move their tables to a \
                     schema of the first level",
                    first_of(&nested)
                ),
            ));
        }
        let from = quote_name(connection.database().catalog());
        execute(&format!("COPY FROM DATABASE {from} TO {}", quote_name(alias)))?;
        Ok(whole)
    };
    let copied = copy();
    if copied.is_ok() {
        execute("COMMIT")?;
    } else {
        // The error that counts is the first one; a failed transaction is gone either way.
        let _ = execute("ROLLBACK");
    }
    copied
}

/// Makes in the copy what the engine left out, and compares it with what was to be in it.
///
/// Errors: `Conflict` naming what is missing.
fn complete(database: &Database, target: &BackupTarget, whole: &Inventory) -> Result<()> {
    let options = Options {
        path: target.partial().display().to_string(),
        memory_limit_bytes: database.options().memory_limit_bytes.min(LOOK_MEMORY_BYTES),
        temp_directory: None,
        ..database.options().clone()
    };
    let copy = Database::open(options)?;
    let connection = copy.connection()?;
    let mut refused = Vec::new();
    for trigger in &whole.triggers {
        if let Err(error) = make_trigger(&connection, trigger) {
            refused.push(format!("trigger {} ({error})", trigger.name));
        }
    }
    if !refused.is_empty() {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "the backup would not be whole, so it was given up: {}; a trigger names tables without the database's \
                 name: make it again like that, or drop it",
                first_of(&refused)
            ),
        ));
    }
    let missing = whole.missing_in(&Inventory::read(&connection)?);
    if !missing.is_empty() {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "the backup would not be whole, so it was given up: {}; drop what the engine cannot copy, or make it \
                 again in another form",
                first_of(&missing)
            ),
        ));
    }
    // What was made is in a log of the copy, which must be a file alone.
    connection.execute("CHECKPOINT").map(|_| ())
}

/// A trigger's statement names its tables as they were named when it was made, from wherever that was: from its own
/// schema, or from `main`.
fn make_trigger(connection: &Connection, trigger: &Trigger) -> Result<()> {
    let catalog = connection.database().catalog();
    let use_schema = |path: &[String]| {
        let parts = [catalog].into_iter().chain(path.iter().map(String::as_str));
        connection.execute(&format!("USE {}", parts.map(quote_name).collect::<Vec<_>>().join(".")))
    };
    let made = use_schema(&trigger.schema).and_then(|_| connection.execute(&trigger.sql));
    use_schema(&["main".to_owned()])?;
    if made.is_err() && trigger.schema != ["main"] {
        return connection.execute(&trigger.sql).map(|_| ());
    }
    made.map(|_| ())
}

/// An error of the copy, as something the caller can act on.
fn copy_error(error: duckdb::Error) -> Error {
    let text = error.message.lines().next().unwrap_or_default().to_owned();
    if text.contains("No space left") {
        return Error::new(
            Kind::Exhausted,
            "no space left on the disk of the backup; free some, or set database.backup_directory to another",
        );
    }
    if text.contains("Attempting to write to database") {
        return Error::new(
            Kind::Conflict,
            "a default or other expression names this database itself, such as nextval('db.main.s'), and would \
             not work in a copy; write it without the database's name",
        );
    }
    if error.code == DuckDBError::DatabaseConstraint
        && text.starts_with("Constraint Error: Violates foreign key constraint")
    {
        return Error::new(
            Kind::Conflict,
            "the engine cannot copy a table whose rows refer to rows of the same table by a foreign key; make the \
             table again without that key",
        );
    }
    if text.contains("has been invalidated") {
        return Error::internal(text);
    }
    from_duckdb(error)
}

/// Makes the whole file durable under its own name.
fn put_in_place(target: &BackupTarget) -> Result<()> {
    let partial = target.partial();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Error::new(Kind::Exhausted, "no space left on the disk of the backup")
        }
        std::io::ErrorKind::AlreadyExists => {
            Error::new(Kind::Exists, format!("\"{}\": there is such a file by now", target.shown))
        }
        _ => Error::internal(format!("\"{}\" cannot be put in place: {error}", target.shown)),
    };
    if with_ending(&partial, "wal").exists() {
        return Err(Error::internal("the engine left a log beside the backup, so it is not whole"));
    }
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    // A link, unlike a rename, never takes the place of a file that came meanwhile.
    match std::fs::hard_link(&partial, &target.path) {
        Ok(()) => std::fs::remove_file(&partial).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
        // Some file systems have no links.
        Err(_) => {
            target.check_free()?;
            std::fs::rename(&partial, &target.path).map_err(failed)?;
        }
    }
    sync_folder(&target.path).map_err(failed)
}

fn remove_partial(target: &BackupTarget) -> Result<()> {
    remove_files(&target.partial()).map_err(|error| {
        Error::internal(format!(
            "the remains of an earlier backup to \"{}\" cannot be removed: {error}",
            target.shown
        ))
    })
}
