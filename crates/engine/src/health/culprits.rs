//! Statements that ended in fatal engine errors: counted, logged, and refused the third time.
//! Runs on: any thread; a hash and a look-up.
//! Never: keeps the text of a statement, which may hold data.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Kind, Result};

/// Fatal errors after which a statement is refused.
const CHANCES: u32 = 2;
/// Statements remembered at most.
const REMEMBERED_MAX: usize = 1024;

/// What is known of the statements that the database was lost to.
#[derive(Default)]
pub(crate) struct Culprits(Mutex<FatalErrors>);

#[derive(Default)]
struct FatalErrors {
    // The thread that met the fatal error, until it says what it ran.
    met_by: Option<ThreadId>,
    counts: HashMap<u64, u32>,
}

/// The same for statements that differ in space and case alone.
fn fingerprint(sql: &str) -> u64 {
    let words: Vec<String> = sql.split_whitespace().map(str::to_ascii_lowercase).collect();
    xxh3_64(words.join(" ").trim_end_matches([';', ' ']).as_bytes())
}

impl Culprits {
    fn errors(&self) -> MutexGuard<'_, FatalErrors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This thread has met a fatal error.
    pub(crate) fn met(&self) {
        self.errors().met_by = Some(std::thread::current().id());
    }

    /// `sql` failed on this thread; if the database was lost to it, it counts.
    pub(crate) fn failed(&self, sql: &str) {
        let mut errors = self.errors();
        if errors.met_by != Some(std::thread::current().id()) {
            return;
        }
        errors.met_by = None;
        let fingerprint = fingerprint(sql);
        if errors.counts.len() >= REMEMBERED_MAX && !errors.counts.contains_key(&fingerprint) {
            return;
        }
        let times = errors.counts.entry(fingerprint).or_default();
        *times += 1;
        tracing::error!(
            fingerprint = %format!("{fingerprint:016x}"),
            times = *times,
            statement = %crate::error::shorten(sql, 300),
            "a statement ended in a fatal engine error"
        );
    }

    /// Errors: `Denied` for a statement that has had its chances.
    pub(crate) fn check(&self, sql: &str) -> Result<()> {
        let errors = self.errors();
        if errors.counts.is_empty() {
            return Ok(());
        }
        let fingerprint = fingerprint(sql);
        match errors.counts.get(&fingerprint) {
            Some(times) if *times >= CHANCES => Err(Error::new(
                Kind::Denied,
                format!(
                    "this statement (fingerprint {fingerprint:016x}) ended in a fatal engine error {times} times and is \
                     refused until the server is started again; write it in another way"
                ),
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_two_chances() {
        let culprits = Culprits::default();
        culprits.failed("SELECT 1");
        culprits.check("SELECT 1").unwrap();
        for _ in 0..CHANCES {
            culprits.check("SELECT 1").unwrap();
            culprits.met();
            culprits.failed("SELECT 1");
        }
        let refused = culprits.check("select  1 ;").unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied);
        assert!(refused.message().contains("2 times"), "{refused}");
        culprits.check("SELECT 2").unwrap();
    }

    /// Only the thread that met the error knows what it ran.
    #[test]
    fn another_threads_statement_is_not_blamed() {
        let culprits = Culprits::default();
        culprits.met();
        std::thread::scope(|scope| {
            scope.spawn(|| culprits.failed("SELECT 1"));
        });
        assert!(culprits.errors().counts.is_empty());
    }
}
