//! Placements that held for the groups before, until a table changes its shape.
//! Runs on: the thread of the table's queue.
//! Never: keeps one that makes or changes its table: that holds once.

use std::sync::Arc;

use crate::error::Result;
use crate::ingest::job::Job;
use crate::ingest::placement::Placement;

/// Placements that a table's thread remembers at most.
const CACHED_MAX: usize = 16;

/// Placements that held for the groups before, until a table changes.
#[derive(Default)]
pub(super) struct PlacementCache {
    /// Version of the tables' shapes that the placements are from.
    shape: Option<u64>,
    /// The newest first.
    placements: Vec<Arc<Placement>>,
}

impl PlacementCache {
    /// Forgets what may no longer hold; everything for `None`, while the tables are not known to be at rest.
    pub(super) fn refresh(&mut self, shape: Option<u64>) {
        if shape.is_none() || shape != self.shape {
            *self = Self { shape, placements: Vec::new() };
        }
    }

    /// The placement of puts like `job`, from the cache or looked up by `place`.
    pub(super) fn find(
        &mut self,
        job: &Job,
        place: impl FnOnce() -> Result<Placement>,
    ) -> Result<Arc<Placement>> {
        let holds = |placement: &&Arc<Placement>| {
            placement.shown == job.shown
                && placement.on_conflict == job.terms.on_conflict
                && placement.schema.fields() == job.schema.fields()
        };
        if let Some(cached) = self.placements.iter().find(holds) {
            return Ok(Arc::clone(cached));
        }
        let placement = Arc::new(place()?);
        // One that makes or changes the table holds once.
        if placement.first.is_empty() && !placement.created {
            self.placements.truncate(CACHED_MAX - 1);
            self.placements.insert(0, Arc::clone(&placement));
        }
        Ok(placement)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.placements.is_empty()
    }
}
