//! What earlier loads have stored, piece by piece.
//! Runs on: the task of the command asks the server; threads that read look up.
//! Never: takes one piece for another; believes what is said of a table that is gone.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::partition::Marks;
use crate::catalog::{TableName, quote_text};
use crate::client::Client;
use crate::error::{Error, Kind, Result};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, UInt64Type};
use futures::StreamExt;
use xxhash_rust::xxh3::xxh3_128;

/// The pieces that the server has, by file, and how often: a file can have equal row groups.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<u128, OfFile>>);

/// How a piece that is there was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its checksum, as it is remembered.
    pub(super) checksum: u64,
    /// With the same columns of folders as it would be loaded now.
    pub(super) is_alike: bool,
}

/// The pieces of a file.
#[derive(Default)]
struct OfFile {
    pieces: HashMap<u64, Count>,
    /// How many are stored, or on their way.
    stored: u64,
}

/// One piece of a file.
#[derive(Default, Clone, Copy)]
struct Count {
    /// How often it is stored and was not met in the file yet.
    left: u64,
    /// How often it is stored, or on its way.
    stored: u64,
}

impl Known {
    /// Asks for the pieces of `table`.
    pub(super) async fn of(client: &mut Client, table: &TableName) -> Result<Self> {
        let sql = format!(
            "SELECT file, piece, count(*) FROM pintail_internal.load_ledger WHERE table_name = {} GROUP BY ALL",
            quote_text(&table.in_ledger())
        );
        let mut known = HashMap::new();
        let mut rows = match client.query(&sql, &[]).await {
            Ok(rows) => rows,
            Err(error) if error.kind() == Kind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        while let Some(batch) = rows.batches.next().await {
            let batch = batch?;
            let files = batch.column(0).as_string::<i32>();
            let pieces = batch.column(1).as_primitive::<UInt64Type>();
            let counts = batch.column(2).as_primitive::<Int64Type>();
            for row in 0..batch.num_rows() {
                let count = u64::try_from(counts.value(row)).unwrap_or_default();
                let of_file: &mut OfFile = known.entry(name(files.value(row))).or_default();
                of_file.pieces.insert(pieces.value(row), Count { left: count, stored: count });
                of_file.stored += count;
            }
        }
        Ok(Self(Mutex::new(known)))
    }

    /// How many pieces of these files the server has by now.
    pub(super) async fn count(client: &mut Client, table: &TableName, files: &[&str]) -> Result<u64> {
        let names: Vec<String> = files.iter().map(|file| quote_text(file)).collect();
        if names.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "SELECT count(*) FROM pintail_internal.load_ledger WHERE table_name = {} AND file IN ({})",
            quote_text(&table.in_ledger()),
            names.join(", ")
        );
        Ok(number(client, &sql).await?.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// The file and the piece that were stored last.
    pub(super) async fn last(client: &mut Client, table: &TableName) -> Result<Option<(String, u64)>> {
        let sql = format!(
            "SELECT file, piece FROM pintail_internal.load_ledger WHERE table_name = {} ORDER BY \"at\" DESC LIMIT 1",
            quote_text(&table.in_ledger())
        );
        let mut rows = client.query(&sql, &[]).await?;
        let mut last = None;
        while let Some(batch) = rows.batches.next().await {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let piece = batch.column(1).as_primitive::<UInt64Type>().value(0);
                last = Some((batch.column(0).as_string::<i32>().value(0).to_owned(), piece));
            }
        }
        Ok(last)
    }

    /// How many pieces of these files are stored, or on their way, as far as this load knows.
    pub(super) fn stored(&self, files: &[&str]) -> u64 {
        let known = self.lock();
        files.iter().filter_map(|file| known.get(&name(file))).map(|file| file.stored).sum()
    }

    /// The checksums of what is stored of a file, as the file's reader makes them.
    pub(super) fn of_file(&self, file: &str, marks: Marks) -> HashSet<u64> {
        let files = self.lock();
        let Some(known) = files.get(&name(file)) else { return HashSet::new() };
        let stored = known.pieces.iter().filter(|(_, count)| count.stored > 0).map(|(piece, _)| *piece);
        stored.flat_map(|piece| [Some(piece), marks.plain(piece)]).flatten().collect()
    }

    /// How many pieces of a file are stored and were not met in it: those of other content, which it had before.
    pub(super) fn left(&self, file: &str) -> u64 {
        self.lock().get(&name(file)).map_or(0, |known| known.pieces.values().map(|count| count.left).sum())
    }

    /// Whether one more piece of this file with this checksum of its content is there, with the columns of folders or without.
    pub(super) fn take_any(&self, file: &str, checksum: u64, marks: Marks) -> Option<Stored> {
        let now = marks.now(checksum);
        if self.take(file, now) {
            return Some(Stored { checksum: now, is_alike: true });
        }
        let other = marks.otherwise(checksum).filter(|other| self.take(file, *other))?;
        Some(Stored { checksum: other, is_alike: false })
    }

    /// Whether one more piece of this file with this checksum is there; each that is there is found once.
    pub(super) fn take(&self, file: &str, piece: u64) -> bool {
        match self.lock().get_mut(&name(file)).and_then(|known| known.pieces.get_mut(&piece)) {
            Some(count) if count.left > 0 => {
                count.left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Takes a [`Known::take`] back.
    pub(super) fn give_back(&self, file: &str, piece: u64) {
        self.lock().entry(name(file)).or_default().pieces.entry(piece).or_default().left += 1;
    }

    /// A piece is on its way; how often it is stored without it, and how many pieces of the file, as far as this load
    /// knows.
    pub(super) fn send(&self, file: &str, piece: u64) -> (u64, u64) {
        let mut known = self.lock();
        let of_file = known.entry(name(file)).or_default();
        let count = of_file.pieces.entry(piece).or_default();
        count.stored += 1;
        of_file.stored += 1;
        (count.stored - 1, of_file.stored - 1)
    }

    /// A [`Known::send`] that did not arrive.
    pub(super) fn lose(&self, file: &str, piece: u64) {
        if let Some(of_file) = self.lock().get_mut(&name(file)) {
            of_file.stored = of_file.stored.saturating_sub(1);
            if let Some(count) = of_file.pieces.get_mut(&piece) {
                count.stored = count.stored.saturating_sub(1);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u128, OfFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn name(file: &str) -> u128 {
    xxh3_128(file.as_bytes())
}

/// Refuses to go on where a version of Pintail that remembered files in another way has loaded this table.
pub(super) async fn check_earlier_version(client: &mut Client, table: &TableName) -> Result<()> {
    let name = quote_text(&table.in_ledger());
    let sql = format!(
        "SELECT count(*) FROM pintail_internal.ingest_ledger WHERE key LIKE 'load:%' AND table_name = {name}"
    );
    match number(client, &sql).await {
        Ok(count) if count.unwrap_or(0) > 0 => {}
        // The keys of puts are for admins; what such a version has stored is theirs to take care of.
        Err(error) if error.kind() != Kind::Denied => return Err(error),
        _ => return Ok(()),
    }
    let sql = format!("SELECT count(*) FROM pintail_internal.load_ledger WHERE table_name = {name}");
    if number(client, &sql).await?.unwrap_or(0) > 0 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        format!(
            "table {table} holds files that an earlier version loaded, which remembered them in another way; load only \
             new files with --again, which takes what it is given, or make the table anew with --mode replace"
        ),
    ))
}

/// The first number of a result; `None` when there is no row, or no such table.
pub(super) async fn number(client: &mut Client, sql: &str) -> Result<Option<i64>> {
    let mut rows = match client.query(sql, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    while let Some(batch) = rows.batches.next().await {
        let batch = batch?;
        if batch.num_rows() > 0 {
            return Ok(Some(batch.column(0).as_primitive::<Int64Type>().value(0)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::found::{FoundFile, Place};

    #[test]
    fn each_piece_is_found_as_often_as_it_is_there() {
        let known = Known::default();
        assert!(!known.take("a", 1));
        known.give_back("a", 1);
        known.give_back("a", 1);
        assert!(!known.take("a", 2));
        assert!(!known.take("b", 1));
        assert!(known.take("a", 1) && known.take("a", 1) && !known.take("a", 1));
        known.give_back("a", 1);
        assert!(known.take("a", 1));
    }

    /// Equal pieces of one file on their way at once do not look like those of another load.
    #[test]
    fn what_is_on_its_way_is_counted() {
        let known = Known::default();
        assert_eq!((known.send("a", 1), known.send("a", 1), known.send("b", 1)), ((0, 0), (1, 1), (0, 0)));
        known.lose("a", 1);
        assert_eq!((known.send("a", 1), known.send("a", 2)), ((1, 1), (0, 2)));
        assert_eq!(known.of_file("a", marks("a", true)), HashSet::from([1, 2]));
    }

    fn marks(name: &str, hive: bool) -> Marks {
        let partitions = if hive { vec![("n".to_owned(), Some("1".to_owned()))] } else { Vec::new() };
        Marks::new(&FoundFile {
            place: Place::Path(name.into()),
            name: name.into(),
            shown: name.into(),
            partitions,
        })
    }

    /// A piece that was stored without the columns of its folders is there, but not alike, and the other way round.
    #[test]
    fn pieces_are_told_apart_by_the_columns_of_their_folders() {
        let file = "/d/n=1/a";
        for (first, second) in [(true, false), (false, true)] {
            let known = Known::default();
            let (first, second) = (marks(file, first), marks(file, second));
            known.give_back(file, first.now(7));
            known.send(file, first.now(7));
            assert_eq!((known.stored(&[file, "other"]), known.left(file)), (1, 1));
            assert!(known.of_file(file, second).contains(&7));
            assert_eq!(known.take_any(file, 8, second), None);
            let stored = known.take_any(file, 7, second).unwrap();
            assert_eq!(stored, Stored { checksum: first.now(7), is_alike: false });
            assert_eq!((known.left(file), known.take_any(file, 7, second)), (0, None));
            known.give_back(file, stored.checksum);
            assert!(known.take_any(file, 7, first).unwrap().is_alike);
        }
        let plain = marks("/d/a", false);
        assert_eq!((plain.now(7), plain.otherwise(7)), (7, None));
    }
}
