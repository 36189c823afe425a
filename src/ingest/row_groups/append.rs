//! Units of a stream -> rows of its table, by the rules of its placement, and what became of each of them.
//! Runs on: the thread that owns the transaction.
//! Never: loses count of a row.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::row::{RowConverter, SortField};
use pintail_protocol::header::OnConflict;

use super::dead_letters::{append_or_reject, may_reject};
use super::offending_row;
use super::rows::{Rows, count};
use crate::engine::{self, Connection, Segment, Unit};
use crate::error::Result;
use crate::ingest::counts::Counts;
use crate::ingest::error::PutError;
use crate::ingest::placement::Placement;

/// Appends rows. After an error the transaction is to be rolled back.
///
/// Errors: what the engine says, with the row that broke the rule where it can be found.
pub(in crate::ingest) fn append(
    connection: &Connection,
    placement: &Placement,
    rows: Rows<'_>,
) -> Result<Counts, PutError> {
    if let Some(misfit) = offending_row::missing_value(placement, &rows)
        && placement.rejected.is_none()
    {
        return Err(misfit);
    }
    let kept = rows.units.clone();
    let before = rows.before;
    let appended = match &placement.rejected {
        Some(_) if may_reject(placement, &rows.units) => append_or_reject(connection, placement, rows),
        _ if placement.is_one_by_one => return append_each(connection, placement, &rows),
        _ => append_whole(connection, placement, rows),
    };
    appended.map_err(|error| offending_row::explain(connection, placement, &kept, before, error))
}

/// Appends rows so that each sees what those before it did: as many in a statement as have different keys.
fn append_each(connection: &Connection, placement: &Placement, rows: &Rows<'_>) -> Result<Counts, PutError> {
    let mut counts = Counts::default();
    for batch in rows.units.iter().flatten() {
        let mut from = 0;
        for count in runs(placement.conflict_key.as_deref(), batch)? {
            // An interrupt between two statements is lost to the engine.
            connection.check_interrupt()?;
            let before = rows.before + counts.rows;
            let run: Vec<Unit> = vec![[batch.slice(from, count)].into()];
            let part = Rows { units: run.clone(), before, producer: rows.producer };
            let done = append_whole(connection, placement, part)
                .map_err(|error| offending_row::explain(connection, placement, &run, before, error))?;
            counts.rows += done.rows;
            counts.inserted += done.inserted;
            from += count;
        }
    }
    Ok(counts)
}

/// The lengths of runs of rows with different keys, none of them NULL; without a key every row is alone.
fn runs(key: Option<&[usize]>, batch: &RecordBatch) -> Result<Vec<usize>> {
    let Some(key) = key else { return Ok(vec![1; batch.num_rows()]) };
    let columns: Vec<ArrayRef> = key.iter().map(|index| Arc::clone(batch.column(*index))).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&columns)?;
    let mut lengths = Vec::new();
    let mut seen = HashSet::new();
    for (row, key) in keys.iter().enumerate() {
        let is_null = columns.iter().any(|column| column.is_null(row));
        if !seen.insert(key) || is_null || lengths.is_empty() {
            seen.clear();
            // After a NULL comes a new run as well.
            if !is_null {
                seen.insert(key);
            }
            lengths.push(0);
        }
        if let Some(length) = lengths.last_mut() {
            *length += 1;
        }
        if is_null && row + 1 < batch.num_rows() {
            seen.clear();
            lengths.push(0);
        }
    }
    lengths.retain(|length| *length > 0);
    Ok(lengths)
}

fn append_whole(connection: &Connection, placement: &Placement, rows: Rows<'_>) -> Result<Counts> {
    let segment = Segment::new(placement.schema.clone(), rows.units);
    let total = segment.rows() as u64;
    let rows_before =
        if placement.on_conflict == OnConflict::Replace { count(connection, placement)? } else { 0 };
    let changed = engine::append(connection, &placement.insert, segment)?;
    let mut counts = Counts { rows: total, ..Counts::default() };
    match placement.on_conflict {
        OnConflict::Error => counts.inserted = changed,
        OnConflict::Ignore => {
            counts.inserted = changed;
            counts.ignored = total.saturating_sub(changed);
        }
        OnConflict::Replace => {
            counts.inserted = count(connection, placement)?.saturating_sub(rows_before);
            counts.replaced = total.saturating_sub(counts.inserted);
        }
    }
    Ok(counts)
}
