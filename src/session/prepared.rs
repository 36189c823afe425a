//! Prepared statements of a session, and the rows bound to them.
//! Runs on: async tasks; look-ups in memory.
//! Never: knows another session's statement; keeps more bound rows than the budget allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::handle::{Handle, On, locked};
use crate::engine::{BulkInsert, Described};

/// One permit of the budget stands for this many bytes.
pub(super) const PERMIT_BYTES: usize = 1024;

/// A budget of `bytes`.
pub(super) fn budget(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((bytes / PERMIT_BYTES).clamp(1, u32::MAX as usize)))
}

/// A part of the budget for bound rows, given back when dropped.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "held for its drop")] pub(super) OwnedSemaphorePermit);

/// Rows bound to a statement's parameters.
#[derive(Debug)]
pub struct BoundRows {
    /// Schema of the rows, also when there are none.
    pub schema: SchemaRef,
    /// One batch after the other, in their plain form.
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
    pub(super) prepared: Arc<Prepared>,
    // When it was asked for last, or seen in use.
    pub(super) used: Instant,
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
