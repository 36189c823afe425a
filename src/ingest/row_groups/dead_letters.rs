//! Dead letters: rows that break a rule go to `<table>__rejected` with the reason, the others into the table.
//! Runs on: the thread that owns the transaction.
//! Never: stores a row that breaks a rule, or loses one.

use arrow::array::{Array, RecordBatch};
use pintail_protocol::header::OnConflict;

use super::rows::{Rows, count};
use crate::catalog::{self, Cast, Placed, ROW, TableName, quote_name, quote_text};
use crate::engine::{self, Connection, Segment, Unit};
use crate::error::{Error, Result};
use crate::ingest::counts::Counts;
use crate::ingest::placement::Placement;

/// Whether a row of these could break a rule: most streams need no second look.
pub(super) fn may_reject(placement: &Placement, units: &[Unit]) -> bool {
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
pub(super) fn append_or_reject(
    connection: &Connection,
    placement: &Placement,
    rows: Rows<'_>,
) -> Result<Counts> {
    let (Some(table), Some(rejected)) = (&placement.table, &placement.rejected) else {
        return Err(Error::internal("rows are to be rejected by a table that keeps none of them"));
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
    let head = catalog::insert_head(table, &placement.columns);
    let rows_before =
        if placement.on_conflict == OnConflict::Replace { count(connection, placement)? } else { 0 };
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
            counts.inserted = count(connection, placement)?.saturating_sub(rows_before);
            counts.replaced = kept.saturating_sub(counts.inserted);
        }
    }
    Ok(counts)
}

/// `WHEN … THEN …` for a value of the column that breaks a rule.
fn reason(column: &Placed) -> Option<String> {
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
fn find_collisions(connection: &Connection, placement: &Placement, table: &TableName) -> Result<()> {
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
