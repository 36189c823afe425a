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
    /// Pieces that this load has stored.
    own: u64,
    /// Pieces that others have stored meanwhile.
    others: u64,
    /// How often one was met.
    times: u32,
    /// The longest time that a part took: another load stores one in about as long.
    part_took: Duration,
}

impl Meeting {
    /// This load has stored so many pieces, in a part that took so long.
    pub(super) fn stored(&mut self, pieces: u64) {
        self.own += pieces;
    }

    /// A part was sent, whatever became of it.
    pub(super) fn took(&mut self, time: Duration) {
        self.part_took = self.part_took.max(time);
    }

    /// Others have stored so many pieces; whether this is the first time.
    pub(super) fn met(&mut self, pieces: u64) -> bool {
        self.others += pieces;
        self.times += 1;
        self.times == 1
    }

    /// Of loads that are in each other's way, the one that has stored more than all others goes on. `chance` is below 1.
    pub(super) fn quiet(&self, chance: f64) -> Option<Duration> {
        if self.own > self.others {
            return None;
        }
        // Longer than a part takes, and each time more apart, so that not all go on at once.
        let spread = 2.0 + chance * 2.0 * f64::from(self.times.min(8));
        Some(self.part_took.mul_f64(spread).clamp(QUIET_MIN, QUIET_MAX))
    }
}

/// Names of the first and last files that are still to be sent.
pub(super) fn names_of<'a>(parts: &VecDeque<(Part, u32)>, files: &'a Opened) -> Vec<&'a str> {
    let half = FILES_LOOKED_AT / 2;
    let mut numbers: Vec<usize> =
        parts.iter().take(half).flat_map(|(part, _)| part.files()).take(half).collect();
    let last = parts.iter().rev().take(half).flat_map(|(part, _)| part.files().into_iter().rev());
    numbers.extend(last.take(half));
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().map(|file| files.files[file].data.file.name.as_str()).collect()
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

/// Returns when no piece of these files was stored for `quiet`.
pub(super) async fn wait(
    client: &mut Client,
    table: &TableName,
    names: &[&str],
    quiet: Duration,
) -> Result<()> {
    let begun = Instant::now();
    let (mut seen, mut since) = (Known::count(client, table, names).await?, begun);
    while since.elapsed() < quiet && begun.elapsed() < WAIT_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = Known::count(client, table, names).await?;
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load that has stored most goes on; the others wait for longer than a part takes, and not equally long.
    #[test]
    fn one_of_two_loads_goes_on() {
        let mut first = Meeting::default();
        let mut second = Meeting::default();
        for load in [&mut first, &mut second] {
            load.took(Duration::from_secs(2));
            load.took(Duration::from_secs(1));
        }
        first.stored(3);
        second.stored(2);
        assert!(first.met(2) && second.met(3));
        assert_eq!(first.quiet(0.5), None);
        assert!(second.quiet(0.0).unwrap() >= Duration::from_secs(4));
        assert!(second.quiet(0.9).unwrap() > second.quiet(0.1).unwrap());
        // Where all have stored equally much, all wait.
        assert!(!first.met(1) && first.quiet(0.0).is_some());
        let fresh = Meeting::default();
        assert_eq!(fresh.quiet(0.0), Some(QUIET_MIN));
        first.took(Duration::from_secs(100));
        assert_eq!(first.quiet(0.9), Some(QUIET_MAX));
    }
}
