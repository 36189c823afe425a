//! Damaged bytes by the thousand, sent to the real program by a client that checks nothing: every call ends in rows or a status
//! that says what was wrong, the server goes on, others are answered, and memory stays where it is.
//!
//! `streams` damages put streams message by message, `calls` everything else that has bytes of a client's; `raw` sends them,
//! `watch` looks at the server meanwhile. `PINTAIL_MUTATE_MESSAGES` says how many messages (3,000), `PINTAIL_MUTATE_SEED` repeats a
//! run's choices. What is damaged stands in `tests/corpus`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a failed unwrap is a failed test")]
#![allow(unreachable_pub, reason = "modules of one test program")]

mod calls;
#[path = "../support/damaged.rs"]
mod damaged;
mod raw;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod watch;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn setting(name: &str) -> Option<u64> {
    std::env::var(format!("PINTAIL_MUTATE_{name}")).ok().map(|text| text.parse().unwrap())
}

/// Messages to damage.
fn messages() -> u64 {
    setting("MESSAGES").unwrap_or(3000)
}

/// Where a run's choices come from.
struct Choices(TestRunner);

impl Choices {
    /// One for each worker of a run; the run's seed is printed.
    fn seeded(count: u64) -> Vec<Self> {
        let seed = setting("SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
        println!("  seed {seed} (PINTAIL_MUTATE_SEED)");
        let of = |worker: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..16].copy_from_slice(&worker.to_le_bytes());
            let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
            Self(TestRunner::new_with_rng(Config::default(), random))
        };
        (0..count).map(of).collect()
    }

    fn next<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }
}
