//! Whether a table of the server's own is there; it is made when something is to be written down for the first time.
//! Runs on: the thread that commits.
//! Never: asks the database more than once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Result;

pub(in crate::ingest) struct OwnTable(AtomicBool);

impl OwnTable {
    pub(in crate::ingest) fn new(is_there: bool) -> Self {
        Self(AtomicBool::new(is_there))
    }

    /// Takes over what was found after the database was opened anew.
    pub(in crate::ingest) fn note(&self, is_there: bool) {
        self.0.store(is_there, Ordering::Release);
    }

    pub(in crate::ingest) fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Makes it unless it is there; several may try at the same time.
    pub(in crate::ingest) fn ensure(&self, make: impl FnOnce() -> Result<()>) -> Result<()> {
        if !self.is_there() {
            make()?;
            self.note(true);
        }
        Ok(())
    }
}
