//! The prepared statements that a session keeps, and room for the rows bound to them.
//! Runs on: async tasks; look-ups in memory.
//! Never: knows another session's statement; keeps more bound rows than the budget allows.

use std::sync::Arc;
use std::time::Instant;

use super::client::ClientSession;
use super::handle::Handle;
use super::prepared::{Kept, PERMIT_BYTES, Prepared, Room};
use crate::error::{Error, Result};

impl ClientSession {
    /// Keeps a prepared statement under a new handle.
    ///
    /// Errors: `Exhausted` naming `session.max_prepared`.
    pub fn keep(&self, prepared: Prepared) -> Result<Handle> {
        let limit = self.limits.config.max_prepared;
        let mut holdings = self.holdings();
        if holdings.prepared.len() >= limit {
            return Err(Error::exhausted(
                "session.max_prepared",
                format!("{limit} prepared statements are open in this session; close some"),
            ));
        }
        let handle = rand::random();
        holdings.prepared.insert(handle, Kept { prepared: Arc::new(prepared), used: Instant::now() });
        Ok(handle)
    }

    /// The prepared statement of a handle.
    ///
    /// Errors: `NotFound` for a handle that is not this session's, was closed or has expired.
    pub fn prepared(&self, handle: Handle) -> Result<Arc<Prepared>> {
        let mut holdings = self.holdings();
        // What became of its session is the better answer to a handle that is gone with it.
        holdings.ended.check()?;
        let kept = holdings.prepared.get_mut(&handle).ok_or_else(unknown)?;
        kept.used = Instant::now();
        Ok(Arc::clone(&kept.prepared))
    }

    /// Forgets a prepared statement.
    ///
    /// Errors: as `prepared`.
    pub fn forget(&self, handle: Handle) -> Result<()> {
        self.holdings().prepared.remove(&handle).map(|_| ()).ok_or_else(unknown)
    }

    /// Bytes of rows that can be bound at one time, over all sessions.
    pub fn bound_bytes_max(&self) -> usize {
        self.limits.config.bound_memory_limit.as_usize()
    }

    /// Room for `bytes` of bound rows.
    ///
    /// Errors: `Exhausted` naming `session.bound_memory_limit`.
    pub fn room(&self, bytes: usize) -> Result<Room> {
        let permits = u32::try_from(bytes.div_ceil(PERMIT_BYTES).max(1)).unwrap_or(u32::MAX);
        Arc::clone(&self.limits.bound_bytes).try_acquire_many_owned(permits).map(Room).map_err(|_| {
            Error::busy(
                "session.bound_memory_limit",
                "too many rows are bound to prepared statements; send rows with DoPut or ingest instead, or \
                 bind fewer at a time",
            )
        })
    }
}

fn unknown() -> Error {
    Error::not_found(
        "unknown prepared statement; it was never prepared in this session, was closed, or was unused for longer than \
         session.idle_timeout",
    )
}
