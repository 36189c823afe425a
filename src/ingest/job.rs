//! A put as the thread that commits it sees it: what is to be done, and the messages that bring its rows.
//! Runs on: made by the task of the call, used by the thread that commits.
//! Never: outlives its put.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pintail_protocol::header::Mode;

use super::admission::{Permit, StreamBudget};
use super::exactly_once::{ClaimKind, Declared};
use super::placement::{Transaction, Wanted};
use super::request::{PutTarget, Terms};
use super::shared::Shared;
use crate::catalog;

/// What the async side sends.
pub(super) enum Message {
    /// The next batch, plain, in the stream's schema, and its number in a producer's stream.
    Batch(RecordBatch, Permit, Option<u64>),
    /// A batch as it came, whose plain form is larger than its room; it is made plain in slices.
    Large(RecordBatch, Permit, Option<u64>),
    /// The stream is complete, and has declared these pieces of files: append the rest and commit.
    Finish(Option<Box<Declared>>),
}

/// What a writer needs to know about its stream.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    /// Set when nobody waits for the put any more.
    pub(super) left: Arc<AtomicBool>,
    /// The table as the client names it, for error texts.
    pub(super) shown: String,
    pub(super) target: PutTarget,
    pub(super) schema: SchemaRef,
    pub(super) terms: Terms,
    pub(super) budget: Arc<StreamBudget>,
}

impl Job {
    /// Whether the table may be made by this put, with columns whose type its first batch decides. A producer that has
    /// been replaced is shut out by its writer, so that one does not wait.
    pub(super) fn waits_for_values(&self) -> bool {
        let makes = matches!(self.target, PutTarget::Table { mode, .. } if mode != Mode::Append);
        let claims = self.terms.claim.as_ref().map(|claim| &claim.0);
        makes && !matches!(claims, Some(ClaimKind::Producer(_))) && catalog::depends_on_values(&self.schema)
    }

    /// The place that its rows want.
    pub(super) fn wanted<'a>(&'a self, begun: &'a [RecordBatch], transaction: Transaction) -> Wanted<'a> {
        Wanted {
            shared: &self.shared,
            target: &self.target,
            schema: &self.schema,
            begun,
            on_conflict: self.terms.on_conflict,
            transaction,
        }
    }
}
