//! Memory of the whole process against its limit: what the engine may still take in one piece.
//! Runs on: any thread of the engine, for pieces of 4 MiB and more; a few atomic operations.
//! Never: refuses memory to a COMMIT or a checkpoint, whose failure in the middle the engine does not survive.
//!
//! The engine's own limit counts its buffers and not the values that it computes: a text of 4 GB is none of its business, and
//! no interrupt reaches the function that builds it. So pieces are looked at as they are asked for.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};

/// The process's limit and what is known to be taken of it.
pub(crate) struct Budget {
    limit: AtomicU64,
    // Resident bytes when the process was looked at last.
    resident: AtomicU64,
    // Large pieces taken and given back since then.
    since: AtomicI64,
    // Large pieces taken since then of which nobody tells when they are given back.
    untold: AtomicU64,
    look: OnceLock<fn() -> u64>,
    // Checkpoints under way: they work on threads of the engine's, which run statements as well.
    checkpoints: AtomicUsize,
}

/// That of this process.
pub(crate) static BUDGET: Budget = Budget::new();

thread_local! {
    static COMMITS: Cell<usize> = const { Cell::new(0) };
}

/// Who takes a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// An allocator of the engine's, which says when it gives it back.
    Told,
    /// `operator new`.
    Untold,
}

/// Sets the most that the process is to take, in bytes. `resident` asks the system what it takes now.
pub fn set_process_limit(bytes: u64, resident: fn() -> u64) {
    // Of several servers in one process, all ask in the same way.
    let _ = BUDGET.look.set(resident);
    BUDGET.limit.store(bytes, Ordering::Relaxed);
}

/// Asks the system what the process takes now, in bytes.
pub fn look_at_memory() -> u64 {
    BUDGET.look()
}

impl Budget {
    const fn new() -> Self {
        Self {
            limit: AtomicU64::new(u64::MAX),
            resident: AtomicU64::new(0),
            since: AtomicI64::new(0),
            untold: AtomicU64::new(0),
            look: OnceLock::new(),
            checkpoints: AtomicUsize::new(0),
        }
    }

    /// Whether `bytes` more may be taken; they count as taken then.
    ///
    /// Errors: the limit.
    pub(crate) fn take(&self, bytes: u64, piece: Piece) -> Result<(), u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let fits = || self.taken().saturating_add(bytes) <= limit;
        if fits()
            || COMMITS.get() > 0
            || self.checkpoints.load(Ordering::Relaxed) > 0
            || self.fits_after_all(fits)
        {
            match piece {
                Piece::Told => self.since.fetch_add(signed(bytes), Ordering::Relaxed),
                Piece::Untold => signed(self.untold.fetch_add(bytes, Ordering::Relaxed)),
            };
            return Ok(());
        }
        Err(limit)
    }

    /// What is taken now, as far as is known.
    fn taken(&self) -> u64 {
        let taken = self.resident.load(Ordering::Relaxed).saturating_add(self.untold.load(Ordering::Relaxed));
        taken.saturating_add_signed(self.since.load(Ordering::Relaxed))
    }

    /// Pieces that nobody gives back by name may be gone again: then the system is asked.
    fn fits_after_all(&self, fits: impl Fn() -> bool) -> bool {
        self.untold.load(Ordering::Relaxed) > 0 && self.look() > 0 && fits()
    }

    fn look(&self) -> u64 {
        let resident = self.look.get().map_or(0, |look| look());
        self.untold.store(0, Ordering::Relaxed);
        self.since.store(0, Ordering::Relaxed);
        self.resident.store(resident, Ordering::Relaxed);
        resident
    }

    /// `bytes` were given back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.since.fetch_sub(signed(bytes), Ordering::Relaxed);
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
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
        assert_eq!(budget.take(u64::MAX / 4, Piece::Told), Ok(()), "without a limit");
        budget.give_back(u64::MAX / 4);
        budget.limit.store(1000, Ordering::Relaxed);
        budget.resident.store(600, Ordering::Relaxed);
        assert_eq!(budget.take(300, Piece::Told), Ok(()));
        assert_eq!(budget.take(101, Piece::Told), Err(1000));
        assert_eq!(budget.take(100, Piece::Told), Ok(()), "what was refused does not count");
        budget.give_back(300);
        assert_eq!(budget.take(301, Piece::Told), Err(1000));
        {
            let _commits = Commits::begin();
            assert_eq!(budget.take(5000, Piece::Told), Ok(()));
            budget.give_back(5000);
        }
        assert_eq!(budget.take(301, Piece::Told), Err(1000));
        budget.checkpoints.store(1, Ordering::Relaxed);
        assert_eq!(budget.take(301, Piece::Told), Ok(()));
    }

    /// What is not given back by name is asked for again before anything is refused.
    #[test]
    fn pieces_that_are_gone_again_refuse_nobody() {
        let budget = Budget::new();
        budget.limit.store(1000, Ordering::Relaxed);
        budget.look.set(|| 300).unwrap();
        assert_eq!(budget.take(900, Piece::Untold), Ok(()));
        assert_eq!(budget.take(600, Piece::Untold), Ok(()), "the first one is gone");
        assert_eq!(budget.take(701, Piece::Told), Err(1000));
        assert_eq!(budget.take(700, Piece::Told), Ok(()));
        assert_eq!(budget.take(1, Piece::Untold), Err(1000), "what is told of is known without asking");
    }
}
