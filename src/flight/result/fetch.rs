//! What a ticket stands for.
//! Never: lives in a ticket's bytes.

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::OnceCell;

use crate::engine::{Bound, Class, Described};
use crate::flight::metadata::Metadata;
use crate::query::{ResultStream, SharedResult};
use crate::session::{BoundRows, On, Owner, Prepared};

/// Bytes of bound rows that a fetched ticket may keep for another fetch.
const REPEATED_BYTES_MAX: usize = 64 << 10;
/// What a ticket gives. The owner is the session that asked for the ticket.
pub(in crate::flight) enum Fetch {
    /// A statement to run.
    Statement { sql: String, on: On, owner: Owner },
    /// A prepared statement to run over its bound rows, which keep their place in the budget meanwhile.
    Bound {
        prepared: Arc<Prepared>,
        bound: Bound,
        rows: Option<Arc<BoundRows>>,
        described: Described,
        owner: Owner,
    },
    /// A look into the catalog.
    Metadata { metadata: Metadata, owner: Owner },
    /// The result of a change that has been made.
    Stored { schema: SchemaRef, class: Class, batches: Vec<RecordBatch> },
    /// One endpoint of a result that has several. To be fetched once.
    Part(Arc<Parts>),
    /// A result that has begun. To be fetched once.
    Begun(Mutex<Option<Box<ResultStream>>>),
}

impl Fetch {
    /// A result that has begun.
    pub(in crate::flight) fn begun(result: ResultStream) -> Self {
        Fetch::Begun(Mutex::new(Some(Box::new(result))))
    }

    /// The statement it runs, if it is one.
    pub(super) fn sql(&self) -> Option<&str> {
        match self {
            Fetch::Statement { sql, .. } => Some(sql),
            Fetch::Bound { bound, .. } => Some(bound.sql()),
            Fetch::Metadata { .. } | Fetch::Stored { .. } | Fetch::Part(_) | Fetch::Begun(_) => None,
        }
    }

    /// Whether it may be fetched again. What holds much memory is given up with the first fetch.
    pub(in crate::flight) fn can_repeat(&self) -> bool {
        match self {
            Fetch::Begun(_) | Fetch::Part(_) => false,
            Fetch::Bound { rows, .. } => {
                let batches = rows.iter().flat_map(|rows| &rows.batches);
                batches.map(RecordBatch::get_array_memory_size).sum::<usize>() <= REPEATED_BYTES_MAX
            }
            Fetch::Statement { .. } | Fetch::Metadata { .. } | Fetch::Stored { .. } => true,
        }
    }

    /// Bytes that it keeps in memory.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Fetch::Statement { sql, .. } => sql.len(),
            Fetch::Bound { bound, .. } => bound.sql().len(),
            Fetch::Part(parts) => parts.fetch.bytes(),
            Fetch::Stored { batches, .. } => batches.iter().map(RecordBatch::get_array_memory_size).sum(),
            Fetch::Metadata { .. } | Fetch::Begun(_) => 0,
        }
    }
}

/// One result in several endpoints: one run over one snapshot, whose batches go to whichever endpoint asks for the next.
/// Endpoints that are still to be fetched keep it, and calls that read from it; without them it is stopped.
pub(in crate::flight) struct Parts {
    pub(super) fetch: Fetch,
    /// Once the first endpoint is fetched.
    pub(super) opened: OnceCell<SharedResult>,
}

impl Parts {
    /// `count` endpoints of what `fetch` stands for.
    pub(in crate::flight) fn of(fetch: Fetch, count: usize) -> Vec<Fetch> {
        let parts = Arc::new(Self { fetch, opened: OnceCell::new() });
        (0..count).map(|_| Fetch::Part(Arc::clone(&parts))).collect()
    }
}
