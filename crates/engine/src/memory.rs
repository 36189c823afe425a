//! Memory of the whole process against its limit: what the engine may still take in one piece.
//! Runs on: any thread of the engine, for pieces of 4 MiB and more; a few atomic operations.
//! Never: refuses memory to a COMMIT or a checkpoint, whose failure in the middle the engine does not survive.
//!
//! The engine's own limit counts its buffers and not the values that it computes: a text of 4 GB is none of its business, and
//! no interrupt reaches the function that builds it. So pieces are looked at as they are asked for.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// The process's limit and what is known to be taken of it.
pub(crate) struct Budget {
    limit: AtomicU64,
    // Resident bytes when the process was looked at last.
    resident: AtomicU64,
    // Large pieces taken and given back since then.
    since: AtomicI64,
    // Checkpoints under way: they work on threads of the engine's, which run statements as well.
    checkpoints: AtomicUsize,
}

/// That of this process.
pub(crate) static BUDGET: Budget = Budget::new();

thread_local! {
    static COMMITS: Cell<usize> = const { Cell::new(0) };
}

/// Sets the most that the process is to take, in bytes.
pub fn set_process_limit(bytes: u64) {
    BUDGET.limit.store(bytes, Ordering::Relaxed);
}

/// Notes what the process takes now, in bytes.
pub fn note_resident(bytes: u64) {
    BUDGET.since.store(0, Ordering::Relaxed);
    BUDGET.resident.store(bytes, Ordering::Relaxed);
}

impl Budget {
    const fn new() -> Self {
        Self {
            limit: AtomicU64::new(u64::MAX),
            resident: AtomicU64::new(0),
            since: AtomicI64::new(0),
            checkpoints: AtomicUsize::new(0),
        }
    }

    /// Whether `bytes` more may be taken; they count as taken then.
    ///
    /// Errors: the limit.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let step = i64::try_from(bytes).unwrap_or(i64::MAX);
        let before = self.since.fetch_add(step, Ordering::Relaxed);
        let taken = self.resident.load(Ordering::Relaxed).saturating_add_signed(before).saturating_add(bytes);
        if taken <= limit || COMMITS.get() > 0 || self.checkpoints.load(Ordering::Relaxed) > 0 {
            return Ok(());
        }
        self.since.fetch_sub(step, Ordering::Relaxed);
        Err(limit)
    }

    /// `bytes` were given back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.since.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

/// While it lives, this thread commits.
pub(crate) struct Commits(PhantomData<*const ()>);

impl Commits {
    pub(crate) fn begin() -> Self {
        COMMITS.set(COMMITS.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        COMMITS.set(COMMITS.get().saturating_sub(1));
    }
}

/// While it lives, a checkpoint is under way.
pub(crate) struct Checkpoints(());

impl Checkpoints {
    pub(crate) fn begin() -> Self {
        BUDGET.checkpoints.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        BUDGET.checkpoints.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_refused_that_do_not_fit_and_never_to_a_commit() {
        let budget = Budget::new();
        assert_eq!(budget.take(u64::MAX / 4), Ok(()), "without a limit");
        budget.give_back(u64::MAX / 4);
        budget.limit.store(1000, Ordering::Relaxed);
        budget.resident.store(600, Ordering::Relaxed);
        assert_eq!(budget.take(300), Ok(()));
        assert_eq!(budget.take(101), Err(1000));
        assert_eq!(budget.take(100), Ok(()), "what was refused does not count");
        budget.give_back(300);
        assert_eq!(budget.take(301), Err(1000));
        {
            let _commits = Commits::begin();
            assert_eq!(budget.take(5000), Ok(()));
            budget.give_back(5000);
        }
        assert_eq!(budget.take(301), Err(1000));
        budget.checkpoints.store(1, Ordering::Relaxed);
        assert_eq!(budget.take(301), Ok(()));
    }
}
