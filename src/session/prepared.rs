//! Prepared statements of a session, and the rows bound to them.
//! Runs on: async tasks; look-ups in memory.
//! Never: knows another session's statement; keeps more bound rows than the budget allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{ClientSession, Handle, On, locked};
use crate::engine::{BulkInsert, Described};
use crate::error::{Error, Result};

/// One permit of the budget stands for this many bytes.
const PERMIT_BYTES: usize = 1024;

/// A budget of `bytes`.
pub(super) fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / PERMIT_BYTES).clamp(1, u32::MAX as usize)))
}

/// A part of the budget for bound rows, given back when dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// Rows bound to a statement's parameters.
#[derive(Debug)]
pub struct BoundRows {
    /// Schema of the rows, also when there are none.
    pub schema: SchemaRef,
    /// The rows.
    pub batches: Vec<RecordBatch>,
    /// Their places in the budget.
    pub room: Vec<Room>,
}

/// A prepared statement.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub sql: String,
    /// What it does, takes and returns.
    pub described: Described,
    /// Where it runs.
    pub on: On,
    /// The same statement over whole batches, if it is an INSERT that can.
    pub bulk: Option<BulkInsert>,
    bound: Mutex<Option<Arc<BoundRows>>>,
}

impl Prepared {
    /// A statement without rows bound to it.
    pub fn new(sql: String, described: Described, on: On, bulk: Option<BulkInsert>) -> Self {
        Self { sql, described, on, bulk, bound: Mutex::new(None) }
    }

    /// Binds rows, in place of those bound before.
    pub fn bind(&self, rows: BoundRows) {
        *locked(&self.bound) = Some(Arc::new(rows));
    }

    /// The rows bound last.
    pub fn bound(&self) -> Option<Arc<BoundRows>> {
        locked(&self.bound).clone()
    }
}

/// A prepared statement in its session.
pub(super) struct Kept {
    prepared: Arc<Prepared>,
    // When it was asked for last, or seen in use.
    used: Instant,
}

/// Forgets the statements that nobody has used for `limit`. One that runs, or that a ticket stands for, is in use.
pub(super) fn sweep(statements: &mut HashMap<Handle, Kept>, limit: Duration) {
    statements.retain(|_, kept| {
        if Arc::strong_count(&kept.prepared) > 1 {
            kept.used = Instant::now();
        }
        kept.used.elapsed() < limit
    });
}

impl ClientSession {
    /// Keeps a prepared statement under a new handle.
    ///
    /// Errors: `Exhausted` naming `session.max_prepared`.
    pub fn keep(&self, prepared: Prepared) -> Result<Handle> {
        let limit = self.limits.config.max_prepared;
        let mut state = self.state();
        if state.prepared.len() >= limit {
            return Err(Error::exhausted(
                "session.max_prepared",
                format!("{limit} prepared statements are open in this session; close some"),
            ));
        }
        let handle = rand::random();
        state.prepared.insert(handle, Kept { prepared: Arc::new(prepared), used: Instant::now() });
        Ok(handle)
    }

    /// The prepared statement of a handle.
    ///
    /// Errors: `NotFound` for a handle that is not this session's, was closed or has expired.
    pub fn prepared(&self, handle: Handle) -> Result<Arc<Prepared>> {
        let mut state = self.state();
        // What became of its session is the better answer to a handle that is gone with it.
        state.ended.check()?;
        let kept = state.prepared.get_mut(&handle).ok_or_else(unknown)?;
        kept.used = Instant::now();
        Ok(Arc::clone(&kept.prepared))
    }

    /// Forgets a prepared statement.
    ///
    /// Errors: as `prepared`.
    pub fn forget(&self, handle: Handle) -> Result<()> {
        self.state().prepared.remove(&handle).map(|_| ()).ok_or_else(unknown)
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
            Error::exhausted(
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
