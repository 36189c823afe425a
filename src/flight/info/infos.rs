//! What the calls that describe results work on.

use std::sync::Arc;

use crate::flight::put::Puts;
use crate::flight::result::{Results, Tickets};

/// What the calls that describe results work on: statements, changes that are made at once, and tickets for both.
#[derive(Clone)]
pub(in crate::flight) struct Infos {
    pub(in crate::flight) puts: Puts,
    pub(in crate::flight) tickets: Arc<Tickets>,
}

impl Infos {
    /// Runs what tickets stand for.
    pub(in crate::flight) fn results(&self) -> &Results {
        &self.puts.results
    }
}
