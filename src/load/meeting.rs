//! Another load that stores the same files in the same table -> waited for, and what it has stored is left out.
//! Runs on: the task of the load.
//! Never: takes a load of other files for one; waits without a bound, or for rows that nobody stores.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::files::Opened;
use super::known::Known;
use super::plan::Part;
use crate::catalog::TableName;
use crate::client::Client;
use crate::error::Result;

/// Files whose pieces are counted to see whether another load goes on.
const FILES_LOOKED_AT: usize = 64;
/// How often they are counted.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a load that goes on is waited for; then this one tries again.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// The shortest time without a new piece after which another load is taken for ended.
const QUIET_MIN: Duration = Duration::from_millis(500);
/// The longest one.
const QUIET_MAX: Duration = Duration::from_secs(60);

/// What is known of other loads of the same files.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    /// Pieces that this load has stored: file and checksum.
    own: Vec<(usize, u64)>,
    /// How often another load was met.
    times: u32,
    /// The longest time that a part took: another load stores one in about as long.
    part_took: Duration,
}

impl Meeting {
    /// This load has stored a piece.
    pub(super) fn stored(&mut self, file: usize, checksum: u64) {
        self.own.push((file, checksum));
    }

    /// A part was sent, whatever became of it.
    pub(super) fn took(&mut self, time: Duration) {
        self.part_took = self.part_took.max(time);
    }

    /// Another load was met; whether for the first time.
    pub(super) fn met(&mut self) -> bool {
        self.times += 1;
        self.times == 1
    }

    /// Whether the piece is of this load.
    pub(super) fn is_own(&self, checksum: u64, is_named: impl Fn(usize) -> bool) -> bool {
        self.own.iter().any(|(file, own)| *own == checksum && is_named(*file))
    }

    /// How long nothing new is waited for: longer than a part takes, and each time more apart, so that not all that wait go on
    /// at once. `chance` is below 1.
    pub(super) fn quiet(&self, chance: f64) -> Duration {
        let spread = 1.5 + chance * 1.5 * f64::from(self.times.min(8));
        self.part_took.mul_f64(spread).clamp(QUIET_MIN, QUIET_MAX)
    }
}

/// The first and last files that are still to be sent.
pub(super) fn ahead(parts: &VecDeque<(Part, u32)>) -> Vec<usize> {
    let half = FILES_LOOKED_AT / 2;
    let mut files: Vec<usize> =
        parts.iter().take(half).flat_map(|(part, _)| part.files()).take(half).collect();
    let last = parts.iter().rev().take(half).flat_map(|(part, _)| part.files().into_iter().rev());
    files.extend(last.take(half));
    files.sort_unstable();
    files.dedup();
    files
}

/// Whether pieces of the part's files were stored that this load does not know of.
pub(super) async fn is_overtaken(
    client: &mut Client,
    table: &TableName,
    known: &Known,
    part: &Part,
    files: &Opened,
) -> Result<bool> {
    let numbers = part.files();
    let names: Vec<&str> =
        numbers.iter().take(FILES_LOOKED_AT).map(|file| files.files[*file].data.file.name.as_str()).collect();
    Ok(Known::count(client, table, &names).await? != known.stored(&names))
}

/// Returns when no piece of these files was stored for `quiet`, or all of their pieces are there.
pub(super) async fn wait(
    client: &mut Client,
    table: &TableName,
    numbers: &[usize],
    files: &Opened,
    quiet: Duration,
) -> Result<()> {
    let names: Vec<&str> = numbers.iter().map(|file| files.files[*file].data.file.name.as_str()).collect();
    let contents = numbers.iter().filter_map(|file| files.content(*file).ok());
    let all: usize = contents.map(|content| content.pieces.len()).sum();
    let begun = Instant::now();
    let (mut seen, mut since) = (Known::count(client, table, &names).await?, begun);
    while seen < all as u64 && since.elapsed() < quiet && begun.elapsed() < WAIT_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Known::count(client, table, &names).await?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::plan::Place;
    use super::*;

    /// Whoever waits does so for longer than a part takes, and not as long as others that wait.
    #[test]
    fn loads_that_wait_do_not_go_on_at_once() {
        let mut load = Meeting::default();
        assert_eq!(load.quiet(0.0), QUIET_MIN);
        load.took(Duration::from_secs(2));
        load.took(Duration::from_secs(1));
        assert!(load.met() && !load.met());
        assert!(load.quiet(0.0) >= Duration::from_secs(3));
        assert!(load.quiet(0.9) > load.quiet(0.1) + Duration::from_secs(2));
        load.took(Duration::from_secs(100));
        assert_eq!(load.quiet(0.9), QUIET_MAX);
    }

    #[test]
    fn a_load_knows_its_own_pieces() {
        let mut load = Meeting::default();
        load.stored(3, 7);
        assert!(load.is_own(7, |file| file == 3));
        assert!(!load.is_own(7, |file| file == 2) && !load.is_own(8, |file| file == 3));
    }

    #[test]
    fn both_ends_are_looked_at() {
        let part = |file| (Part { pieces: vec![Place { file, piece: 0 }, Place { file, piece: 1 }] }, 0);
        assert_eq!(ahead(&(0..3).map(part).collect()), [0, 1, 2]);
        let some = ahead(&(0..500).map(part).collect());
        assert_eq!((some.len(), some[0], some[63]), (FILES_LOOKED_AT, 0, 499));
        assert!(ahead(&VecDeque::new()).is_empty());
    }
}
