//! Units of a stream -> rows of its table, by the rules of its placement, and what became of each of them.
//! Runs on: the thread that owns the transaction.
//! Never: stores a row that breaks a rule, or loses count of one.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::row::{RowConverter, SortField};

use super::blame;
use super::placement::Placement;
use super::{Counts, OnConflict};
use crate::catalog::{Cast, ROW, quote_name, quote_text};
use crate::engine::{self, Connection, Segment, Unit};
use crate::error::{Error, Result};

/// What the rows of a stream have in front of them, for texts and for the record of rejected rows.
pub(super) struct Rows<'a> {
    pub(super) units: Vec<Unit>,
    /// Rows of the stream before these.
    pub(super) before: u64,
    pub(super) producer: Option<&'a str>,
}

/// Appends rows. After an error the transaction is to be rolled back.
///
/// Errors: what the engine says, with the row that broke the rule where it can be found.
pub(super) fn append(connection: &Connection, placement: &Placement, rows: Rows<'_>) -> Result<Counts> {
    if let Some(misfit) = blame::missing_value(placement, &rows)
        && placement.rejected.is_none()
    {
        return Err(misfit);
    }
    let kept = rows.units.clone();
    let before = rows.before;
    let appended = match &placement.rejected {
        Some(_) if needs_sifting(placement, &rows.units) => sift(connection, placement, rows),
        _ if placement.is_one_by_one => return append_each(connection, placement, &rows),
        _ => append_whole(connection, placement, rows),
    };
    appended.map_err(|error| blame::explain(connection, placement, &kept, before, error))
}

/// Appends rows so that each sees what those before it did: as many in a statement as have different keys.
fn append_each(connection: &Connection, placement: &Placement, rows: &Rows<'_>) -> Result<Counts> {
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
                .map_err(|error| blame::explain(connection, placement, &run, before, error))?;
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
    let known = if placement.on_conflict == OnConflict::Replace { count(connection, placement)? } else { 0 };
    let changed = engine::append(connection, &placement.insert, segment)?;
    let mut counts = Counts { rows: total, ..Counts::default() };
    match placement.on_conflict {
        OnConflict::Error => counts.inserted = changed,
        OnConflict::Ignore => {
            counts.inserted = changed;
            counts.ignored = total.saturating_sub(changed);
        }
        OnConflict::Replace => {
            counts.inserted = count(connection, placement)?.saturating_sub(known);
            counts.replaced = total.saturating_sub(counts.inserted);
        }
    }
    Ok(counts)
}

/// Rows in the table, as this transaction sees it. The engine answers from its row groups, not by a scan.
fn count(connection: &Connection, placement: &Placement) -> Result<u64> {
    let Some(table) = &placement.table else { return Ok(0) };
    engine::count_rows(connection, table)
}

/// Whether a row of these could break a rule: most streams need no second look.
fn needs_sifting(placement: &Placement, units: &[Unit]) -> bool {
    let may_collide = placement.on_conflict == OnConflict::Error && !placement.key.is_empty();
    let may_misfit = placement.columns.iter().any(|column| column.cast != Cast::None);
    let has_null = |batch: &RecordBatch| {
        placement.required().any(|(index, _)| batch.column(index).logical_null_count() > 0)
    };
    may_collide || may_misfit || units.iter().flatten().any(has_null)
}

/// The stage's column that says what is wrong with a row.
const REASON: &str = "\"pintail reason\"";

/// Appends the rows that keep all rules, and writes down the others with the reason.
///
/// The rows are staged in a temporary table, which spills to disk: rules are looked at by the engine, all rows at
/// once.
fn sift(connection: &Connection, placement: &Placement, rows: Rows<'_>) -> Result<Counts> {
    let (Some(table), Some(rejected)) = (&placement.table, &placement.rejected) else {
        return Err(Error::internal("rows are sifted for a table that rejects none"));
    };
    let segment = Segment::new(placement.schema.clone(), rows.units);
    let total = segment.rows() as u64;
    let reasons: Vec<String> = placement.columns.iter().filter_map(reason).collect();
    let reason = match reasons.as_slice() {
        [] => "NULL::VARCHAR".to_owned(),
        reasons => format!("CASE {} END", reasons.join(" ")),
    };
    let stage = |source: &str| {
        format!(
            "CREATE OR REPLACE TEMP TABLE pintail_stage AS SELECT *, {reason} AS {REASON} \
             FROM (SELECT row_number() OVER () + {} AS {ROW}, * FROM {source})",
            rows.before
        )
    };
    engine::over_segment(connection, segment, stage)?;
    if placement.on_conflict == OnConflict::Error && !placement.key.is_empty() {
        find_collisions(connection, placement, table)?;
    }
    let head = crate::catalog::insert_head(table, &placement.columns);
    let known = if placement.on_conflict == OnConflict::Replace { count(connection, placement)? } else { 0 };
    let turn = (placement.on_conflict == OnConflict::Replace).then(|| connection.deletes());
    let good = connection.execute(&format!(
        "{head}(FROM pintail_stage WHERE {REASON} IS NULL {} ORDER BY {ROW}){}",
        placement.last_of_key.as_deref().unwrap_or_default(),
        placement.conflict
    ))?;
    drop(turn);
    let row: Vec<String> =
        placement.columns.iter().map(|column| format!("{0} := {0}", quote_name(&column.source))).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let bad = connection.execute(&format!(
        "INSERT INTO {} SELECT make_timestamp({}), {ROW}, {REASON}, {}, to_json(struct_pack({})) \
         FROM pintail_stage WHERE {REASON} IS NOT NULL ORDER BY {ROW}",
        rejected.to_sql(),
        now.as_micros(),
        rows.producer.map_or_else(|| "NULL".to_owned(), quote_text),
        row.join(", "),
    ))?;
    connection.execute("DROP TABLE temp.pintail_stage")?;
    let kept = total.saturating_sub(bad);
    let mut counts = Counts { rows: total, rejected: bad, inserted: good, ..Counts::default() };
    match placement.on_conflict {
        OnConflict::Error => {}
        OnConflict::Ignore => counts.ignored = kept.saturating_sub(good),
        OnConflict::Replace => {
            counts.inserted = count(connection, placement)?.saturating_sub(known);
            counts.replaced = kept.saturating_sub(counts.inserted);
        }
    }
    Ok(counts)
}

/// `WHEN … THEN …` for a value of the column that breaks a rule.
fn reason(column: &crate::catalog::Placed) -> Option<String> {
    let (source, target) = (quote_name(&column.source), quote_name(&column.target));
    let missing = column.is_required.then(|| {
        let text = quote_text(&format!("column {target} is required and the value is NULL"));
        format!("WHEN {source} IS NULL THEN {text}")
    });
    let misfit = column.misfit().map(|misfit| {
        let before = quote_text(&format!("column {target}: value "));
        let after = quote_text(&format!(" does not fit {}", column.duckdb_type));
        format!("WHEN {misfit} THEN {before} || left(CAST({source} AS VARCHAR), 60) || {after}")
    });
    let both: Vec<String> = missing.into_iter().chain(misfit).collect();
    (!both.is_empty()).then(|| both.join(" "))
}

/// Marks staged rows whose key is in the table, or in a row before them.
fn find_collisions(
    connection: &Connection,
    placement: &Placement,
    table: &crate::catalog::TableName,
) -> Result<()> {
    let column =
        |key: &String| placement.columns.iter().find(|column| column.target.eq_ignore_ascii_case(key));
    // A key column that the stream does not bring gets its default; the engine looks at those.
    let Some(columns) = placement.key.iter().map(column).collect::<Option<Vec<_>>>() else {
        return Ok(());
    };
    let values: Vec<String> = columns.iter().map(|column| column.value_or_null("staged.")).collect();
    let equal: Vec<String> = columns
        .iter()
        .zip(&values)
        .map(|(column, value)| format!("known.{} = {value}", quote_name(&column.target)))
        .collect();
    let names: Vec<String> = columns.iter().map(|column| quote_name(&column.target)).collect();
    let key = values.iter().map(|value| format!("CAST({value} AS VARCHAR)")).collect::<Vec<_>>().join(", ");
    let text = |rule: &str| {
        format!(
            "{} || left(concat_ws(', ', {key}), 60) || {}",
            quote_text(&format!("key ({}) = (", names.join(", "))),
            quote_text(&format!(") {rule}"))
        )
    };
    connection.execute(&format!(
        "UPDATE pintail_stage AS staged SET {REASON} = {} WHERE {REASON} IS NULL \
         AND EXISTS (SELECT 1 FROM {} AS known WHERE {})",
        text("is in the table already"),
        table.to_sql(),
        equal.join(" AND ")
    ))?;
    connection.execute(&format!(
        "UPDATE pintail_stage AS staged SET {REASON} = {} WHERE {REASON} IS NULL AND {ROW} NOT IN \
         (SELECT min({ROW}) FROM pintail_stage AS staged WHERE {REASON} IS NULL GROUP BY {})",
        text("is in an earlier row of the stream"),
        values.join(", ")
    ))?;
    Ok(())
}
