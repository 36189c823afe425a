//! What became of the rows of a put, and how long it took.
//! Runs on: any thread; pure values.
//! Never: counts a row twice.

use std::time::Duration;

/// How long the stages of a put took, added up over its batches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// Waiting for room in the byte budget or the queue.
    pub queue: Duration,
    /// Bringing columns to their plain form.
    pub plain: Duration,
    /// Finding the table, or making it, and conforming the stream's columns to it.
    pub conform: Duration,
    /// INSERT statements.
    pub append: Duration,
    /// COMMIT.
    pub commit: Duration,
}

/// What became of the rows of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Rows of the stream that are dealt with: the sum of the others.
    pub rows: u64,
    /// New in the table.
    pub inserted: u64,
    /// Left out, because their key was there.
    pub ignored: u64,
    /// Put in the place of a row with their key.
    pub replaced: u64,
    /// Written to the table of rejected rows.
    pub rejected: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.rows += other.rows;
        self.inserted += other.inserted;
        self.ignored += other.ignored;
        self.replaced += other.replaced;
        self.rejected += other.rejected;
    }
}

impl Counts {
    /// Rows by what became of them, for metrics; what is in none of the others had been stored before.
    pub fn outcomes(&self) -> [(&'static str, u64); 5] {
        let Self { rows, inserted, ignored, replaced, rejected } = *self;
        let duplicate = rows.saturating_sub(inserted + ignored + replaced + rejected);
        [
            ("inserted", inserted),
            ("ignored", ignored),
            ("replaced", replaced),
            ("rejected", rejected),
            ("duplicate", duplicate),
        ]
    }

    /// Rows of the table that are there or new because of the stream.
    pub fn stored(&self) -> u64 {
        self.inserted + self.replaced
    }
}

/// What is durable of a stream so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ack {
    /// Rows, by what became of them.
    pub counts: Counts,
    /// Highest sequence number of a producer.
    pub seq: Option<u64>,
    /// Whether all of it had been applied before.
    pub duplicate: bool,
}

/// What was stored. Exists only after COMMIT has returned, or inside a transaction of the client.
#[derive(Debug, Clone, Default)]
pub struct PutSummary {
    /// Rows and sequence number.
    pub ack: Ack,
    /// Whether the rows are committed; those of a client's transaction are when the client commits it.
    pub durable: bool,
    /// Bytes of batches taken.
    pub bytes: u64,
    /// Whether this put made the table.
    pub created: bool,
    /// Whether rows that break a rule are written down instead of failing the stream.
    pub rejects: bool,
    /// Time per stage.
    pub timings: Timings,
}
