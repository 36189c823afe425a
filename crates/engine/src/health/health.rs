//! Whether the engine can still be used, and the statements that it was lost to.
//! Never: lets an engine error pass without looking whether it is a fatal one.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::culprits::Culprits;
use crate::duckdb_error::{from_duckdb, is_fatal, is_of_storage};
use crate::error::{Error, Kind, Result};

/// Told the text of a fatal error.
type Report = Box<dyn Fn(&str) + Send + Sync>;

/// What is known of a database's health.
#[derive(Default)]
pub(crate) struct Health {
    lost: AtomicBool,
    storage_failed: AtomicBool,
    on_lost: OnceLock<Report>,
    pub(crate) culprits: Culprits,
}

/// What a caller hears while a lost database is opened anew.
pub(crate) fn lost() -> Error {
    Error::new(
        Kind::Unavailable,
        "the database was lost to a fatal error and is being opened anew; try again",
    )
}

impl Health {
    /// Looks at an engine error before it is passed on: a fatal one marks the database as lost.
    pub(crate) fn note(&self, error: duckdb::Error) -> Error {
        if is_fatal(&error) && !self.lost.swap(true, Ordering::SeqCst) {
            tracing::error!(error = %error.message, "fatal engine error; the database has to be opened anew");
            self.culprits.met();
            self.storage_failed.store(is_of_storage(&error), Ordering::SeqCst);
            if let Some(report) = self.on_lost.get() {
                report(&error.message);
            }
        }
        from_duckdb(error)
    }

    /// Calls `report`, from the thread that meets it, whenever the engine has a fatal error.
    pub(crate) fn on_lost(&self, report: impl Fn(&str) + Send + Sync + 'static) {
        // A second hook is a programming error without effect on users; the first one stays.
        let _ = self.on_lost.set(Box::new(report));
    }

    /// Whether a fatal error has made the database unusable.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Whether the last fatal error came from the disk.
    pub(crate) fn has_failed_storage(&self) -> bool {
        self.storage_failed.load(Ordering::SeqCst)
    }

    /// Errors: `Unavailable` when the database is lost.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_lost() { Err(lost()) } else { Ok(()) }
    }

    /// Takes note that the database was opened anew.
    pub(crate) fn is_well_again(&self) {
        self.lost.store(false, Ordering::SeqCst);
    }
}
