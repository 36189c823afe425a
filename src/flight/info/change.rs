//! A change that a client asks a FlightInfo for -> made at once, its result kept for a fetch.
//! Runs on: the task of the call.
//! Never: makes a change twice; leaves it to a fetch that may never come.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use futures::StreamExt;

use crate::engine::{self, Class};
use crate::error::Result;
use crate::flight::put::{Puts, change_in_bulk};
use crate::flight::request::Call;
use crate::flight::result::{Fetch, changed_rows};
use crate::query::{ResultStream, RunOptions};

/// Bytes that the result of a change (its RETURNING rows) may take; they wait in memory until fetched.
const RETURNING_BYTES_MAX: u64 = 64 << 20;

/// What a change did.
pub(super) struct Changed {
    pub(super) rows: u64,
    pub(super) schema: Arc<Schema>,
    pub(super) fetch: Fetch,
}

/// Makes a change and keeps its result for a fetch.
///
/// Errors: `Exhausted` when RETURNING gives more rows than can wait; the change is rolled back then.
pub(super) async fn change(
    puts: &Puts,
    fetch: Fetch,
    options: RunOptions,
    call: &mut Call,
) -> Result<Changed> {
    if let Some(rows) = change_in_bulk(puts, &fetch, call).await? {
        let batches = vec![engine::count_batch(rows)?];
        let schema = batches[0].schema();
        let fetch = Fetch::Stored { schema: Arc::clone(&schema), class: Class::Change, batches };
        return Ok(Changed { rows, schema, fetch });
    }
    let options = RunOptions { returned_bytes_max: Some(RETURNING_BYTES_MAX), ..options };
    let mut result = puts.results.open(&fetch, options, call).await?;
    let (rows, batches) = run_to_end(&mut result).await?;
    call.rows = rows;
    let (schema, class) = (Arc::clone(result.schema()), result.class());
    let fetch = Fetch::Stored { schema: Arc::clone(&schema), class, batches };
    Ok(Changed { rows, schema, fetch })
}

/// Runs a change to its end: rows changed, and what it returns.
async fn run_to_end(result: &mut ResultStream) -> Result<(u64, Vec<RecordBatch>)> {
    let mut rows = 0;
    let mut batches = Vec::new();
    while let Some(batch) = result.next().await {
        let batch = batch?;
        rows += changed_rows(&batch, result.class());
        batches.push(batch);
    }
    Ok((rows, batches))
}
