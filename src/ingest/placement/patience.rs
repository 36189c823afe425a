//! How long a put waits for tables that others are changing.
//! Runs on: the thread that appends. Blocks between two looks.
//! Never: gives up by a count: a slow change of another table is no reason to refuse a put.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long tables may go on changing before the client is told to send its put again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause between two looks: a change that ends is seen within it.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What is left of a put's patience.
pub(in crate::ingest) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub(in crate::ingest) fn new() -> Self {
        Self::until(Instant::now() + PATIENCE)
    }

    fn until(until: Instant) -> Self {
        Self { until, pause: Duration::from_millis(1) }
    }

    /// Pauses before the next look, each time a little longer.
    ///
    /// Errors: `Aborted` naming `table` once the patience is used up; nothing is stored.
    pub(in crate::ingest) fn pause(&mut self, table: &impl Display) -> Result<()> {
        if Instant::now() >= self.until {
            let text = format!(
                "table {table}: tables were being changed for {} s; nothing was stored, send it again",
                PATIENCE.as_secs()
            );
            return Err(Error::collided(text));
        }
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn patience_ends_by_time_and_names_the_table() {
        let mut patience = Patience::until(Instant::now() + Duration::from_millis(30));
        let started = Instant::now();
        let refused = loop {
            if let Err(refused) = patience.pause(&"wells") {
                break refused;
            }
        };
        assert!(started.elapsed() >= Duration::from_millis(30));
        assert_eq!(refused.kind(), Kind::Aborted);
        assert!(refused.to_string().contains("table wells"), "{refused}");
    }
}
