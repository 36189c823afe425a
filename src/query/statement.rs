//! What is to be run, and how its caller wants the result.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::auth::Principal;
use crate::engine::{Bound, Described, Progress};

/// How one call wants its result.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Upper bound of rows per batch.
    pub batch_rows_max: Option<usize>,
    /// When the caller stops waiting; the server's own limit holds as well.
    pub deadline: Option<Instant>,
    /// Who runs it, for those who look at what runs.
    pub who: Option<Arc<Principal>>,
    /// Filled when the statement has started, for a caller who wants to know how far it is.
    pub progress: Option<Arc<OnceLock<Progress>>>,
    /// The statement was taken for a query before: it is refused if it is not one any more.
    pub only_reads: bool,
    /// Several calls are to read the result, so that none of it is to be waited for by the first one.
    pub is_shared: bool,
    /// Bytes that the rows which a change gives back may take, for a caller who keeps them.
    pub returned_bytes_max: Option<u64>,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub enum Statement {
    /// One statement.
    Text(String),
    /// Statements one after the other, all or nothing; the result is the count of changed rows.
    Script(String),
    /// A prepared statement, once for each row bound to it.
    Bound(Bound, Described),
}
