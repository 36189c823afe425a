//! A backup -> the database file of a server that is not running.
//! Runs on: the calling thread; blocks for a copy and one read of every row.
//! Never: puts a file in place that does not open and read to its end; changes the backup; takes a database from
//! under a server.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::inventory::{Inventory, to_sql};
use crate::catalog::quote_name;
use crate::connection::Connection;
use crate::database::{Database, Options, remove_files, sync_folder, with_ending};
use crate::error::{Error, Kind, Result};
use crate::internal::INTERNAL_SCHEMA;
use crate::ledgers::{find_loads, read_ledger};
use crate::read::query;

/// Bytes copied at a time.
const STEP_BYTES: usize = 4 << 20;

/// What was put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Tables in it, views apart.
    pub tables: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What becomes of a database that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and the backup is not restored.
    Keep,
    /// The backup takes its place.
    Replace,
}

/// Copies the backup `from` to the database file that `options` names, reads all of the copy, and puts it in place.
/// `progress` is told the bytes copied so far.
///
/// Errors: `NotFound` for a backup that is not there; `Exists` for a database that is there, unless it is to be replaced;
/// `Conflict` for one that is open; `Invalid` for a backup that does not open or read. The database is as it was
/// then.
pub fn restore(
    from: &Path,
    options: &Options,
    existing: Existing,
    progress: &mut dyn FnMut(u64),
) -> Result<Restored> {
    let to = Path::new(&options.path);
    if options.path == ":memory:" {
        return Err(Error::invalid("expected a database file to restore to, found :memory:"));
    }
    if !from.is_file() {
        return Err(Error::not_found(format!("there is no backup file {}", from.display())));
    }
    if with_ending(from, "wal").exists() {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "{0} has a log beside it ({0}.wal), so it is a database in use and not a backup; make one with \
                 `pintail backup`",
                from.display()
            ),
        ));
    }
    if let (Ok(one), Ok(other)) = (from.canonicalize(), to.canonicalize())
        && one == other
    {
        return Err(Error::invalid("the backup and the database are the same file"));
    }
    if existing == Existing::Keep && (to.exists() || with_ending(to, "wal").exists()) {
        return Err(Error::new(
            Kind::Exists,
            format!(
                "{} is there already; give another path, or --force to put the backup in its place",
                to.display()
            ),
        ));
    }
    check_not_open(options)?;
    let partial = with_ending(to, "restore");
    let done = copy(from, &partial, progress)
        .and_then(|bytes| {
            // The engine writes paths out in full.
            let path = std::path::absolute(&partial).unwrap_or_else(|_| partial.clone());
            let opened = Options { path: path.display().to_string(), ..options.clone() };
            let (tables, rows) = read_all(&opened).map_err(|error| {
                let text = error.message().replace(&opened.path, "its copy");
                match error.kind() {
                    Kind::Exhausted => Error::new(Kind::Exhausted, text).context(from.display()),
                    _ => Error::invalid(format!("{} is not a whole backup: {text}", from.display())),
                }
            })?;
            Ok(Restored { tables, rows, bytes })
        })
        .and_then(|restored| {
            // A server may have been started since.
            check_not_open(options)?;
            put_in_place(&partial, to)?;
            Ok(restored)
        });
    if done.is_err() {
        // The error that counts is the first one.
        let _ = remove_files(&partial);
    }
    done
}

/// Opens the database that is to be replaced, to see whether somebody else has it open, and closes it again.
fn check_not_open(options: &Options) -> Result<()> {
    if !Path::new(&options.path).exists() {
        return Ok(());
    }
    match Database::open(options.clone()) {
        Err(error) if error.message().contains("it is locked") => {
            Err(Error::new(Kind::Conflict, error.message().to_owned()))
        }
        // One that is broken may be replaced all the more.
        Ok(_) | Err(_) => Ok(()),
    }
}

fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64)) -> Result<u64> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => {
            Error::new(Kind::Exhausted, format!("no space left on the disk of {}", to.display()))
        }
        std::io::ErrorKind::NotFound => {
            Error::not_found(format!("the folder of {} is not there; make it first", to.display()))
        }
        _ => Error::invalid(format!("cannot copy {} to {}: {error}", from.display(), to.display())),
    };
    remove_files(to).map_err(failed)?;
    let mut source = File::open(from).map_err(failed)?;
    let mut target = File::create_new(to).map_err(failed)?;
    let mut step = vec![0; STEP_BYTES];
    let mut bytes = 0;
    loop {
        let read = source.read(&mut step).map_err(failed)?;
        if read == 0 {
            break;
        }
        target.write_all(&step[..read]).map_err(failed)?;
        bytes += read as u64;
        progress(bytes);
    }
    target.sync_all().map_err(failed)?;
    Ok(bytes)
}

/// Reads every block of every table: each has a checksum, which the engine checks. Gives tables and rows.
fn read_all(options: &Options) -> Result<(u64, u64)> {
    let database = Database::open(options.clone())?;
    let connection = database.connection()?;
    read_ledger(&connection, &mut |_| {})?;
    find_loads(&connection)?;
    let tables = Inventory::read(&connection)?.tables;
    let mut rows = 0;
    let own = |path: &Vec<String>| path.first().is_some_and(|schema| schema == INTERNAL_SCHEMA);
    for path in &tables {
        let count = read_table(&connection, &to_sql(&connection, path))
            .map_err(|error| error.context(format!("table {}", path.join("."))))?;
        rows += if own(path) { 0 } else { count };
    }
    Ok((tables.iter().filter(|path| !own(path)).count() as u64, rows))
}

fn read_table(connection: &Connection, table: &str) -> Result<u64> {
    // An alias that is no column's name, so that it means the whole row.
    let row = quote_name("pintail row");
    let sql = format!("SELECT count(*), bit_xor(hash({row})) FROM {table} AS {row}");
    let batches = query(connection, &sql)?;
    let count = batches.first().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0));
    count.and_then(|count| u64::try_from(count).ok()).ok_or_else(|| Error::internal("a count gave no number"))
}

fn put_in_place(partial: &Path, to: &Path) -> Result<()> {
    let failed =
        |error: std::io::Error| Error::internal(format!("cannot put {} in place: {error}", to.display()));
    if with_ending(partial, "wal").exists() {
        return Err(Error::internal("opening the copy changed it; nothing was put in place"));
    }
    // The old database's log must not be taken for the new one's.
    for ending in ["wal", "wal.checkpoint", "wal.recovery"] {
        match std::fs::remove_file(with_ending(to, ending)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    std::fs::rename(partial, to).map_err(failed)?;
    sync_folder(to).map_err(failed)
}
