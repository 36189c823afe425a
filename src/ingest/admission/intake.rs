//! What a stream is given room by: its part of the budget, and the dictionaries that it keeps from beginning to end.
//! Runs on: the task of the call.
//! Never: decodes.

use std::collections::HashMap;
use std::sync::Arc;

use pintail_protocol::decode::Need;

use super::permit::Permit;
use super::stream::{Kept, StreamBudget};
use crate::error::Result;

/// A stream's place, and what it keeps from its beginning to its end.
pub struct Intake {
    budget: Arc<StreamBudget>,
    dictionaries: HashMap<i64, Kept>,
}

impl Intake {
    pub(in crate::ingest) fn new(budget: Arc<StreamBudget>) -> Self {
        Self { budget, dictionaries: HashMap::new() }
    }

    /// Room for a batch, if there is some at once.
    pub fn try_room(&self, need: Need) -> Option<Permit> {
        self.budget.try_acquire(need)
    }

    /// Waits for room for a batch.
    pub async fn room(&self, need: Need) -> Permit {
        match self.budget.try_acquire(need) {
            Some(permit) => permit,
            None => self.budget.acquire(need).await,
        }
    }

    /// Waits for room for a dictionary, in the place of the one before.
    ///
    /// Errors: `Exhausted` naming `ingest.memory_limit` when those of all streams would take too much of it.
    pub async fn dictionary(&mut self, id: i64, bytes: usize) -> Result<()> {
        // The one before stays until the new one is decoded; the next batch is not far.
        let kept = self.budget.keep(bytes).await?;
        self.dictionaries.insert(id, kept);
        Ok(())
    }
}
