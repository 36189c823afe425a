//! A refused stream -> the row, the value and the rule that it broke.
//! Runs on: the thread of the put, after its INSERT failed; looks at the rows of that INSERT alone.
//! Never: hides the engine's own words when it cannot find the row.

use std::sync::Arc;

use arrow::array::Array;

use pintail_protocol::header::ON_CONFLICT;

use super::rows::Rows;
use crate::catalog::{Placed, ROW, quote_name, quote_text};
use crate::engine::{self, Connection, Segment, Unit};
use crate::error::{Error, Kind, Result, shorten};
use crate::ingest::engine_text::{duplicate_key, null_column};
use crate::ingest::error::PutError;
use crate::ingest::placement::{self, Placement};

/// Longest value shown, in characters.
const VALUE_CHARACTERS_MAX: usize = 60;

/// The first NULL in a column that the declaration requires.
pub(super) fn missing_value(placement: &Placement, rows: &Rows<'_>) -> Option<PutError> {
    placement.required().find_map(|(index, name)| {
        let row = first_null(&rows.units, index)?;
        Some(null_error(placement, name, rows.before + row))
    })
}

fn null_error(placement: &Placement, column: &str, row: u64) -> PutError {
    let cause = format!("row {row} of the stream: column \"{column}\" is required and the value is NULL");
    PutError::new(Kind::Conflict, &placement.shown, cause).nothing_stored()
}

/// Row of the first NULL of a column, from 1.
fn first_null(units: &[Unit], column: usize) -> Option<u64> {
    let mut before = 0;
    for batch in units.iter().flatten() {
        if batch.column(column).logical_null_count() > 0
            && let Some(nulls) = batch.column(column).logical_nulls()
            && let Some(index) = (0..nulls.len()).find(|index| nulls.is_null(*index))
        {
            return Some(before + index as u64 + 1);
        }
        before += batch.num_rows() as u64;
    }
    None
}

/// `error` of an INSERT of `units`, with the row that caused it where it can be found.
pub(super) fn explain(
    connection: &Connection,
    placement: &Placement,
    units: &[Unit],
    before: u64,
    error: Error,
) -> PutError {
    if !matches!(error.kind(), Kind::Conflict | Kind::Invalid) || placement.columns.is_empty() {
        return error.into();
    }
    // The statement's own transaction takes no more statements, so another connection looks for the row.
    let found = connection
        .database()
        .connection()
        .and_then(|connection| Search { connection: &connection, placement, units, before }.find(&error));
    match found {
        Ok(Some(found)) => found,
        Ok(None) => error.into(),
        Err(trouble) => {
            tracing::debug!(%trouble, "the row that broke a rule could not be looked for");
            error.into()
        }
    }
}

struct Search<'a> {
    connection: &'a Connection,
    placement: &'a Placement,
    units: &'a [Unit],
    before: u64,
}

impl Search<'_> {
    fn find(&self, error: &Error) -> Result<Option<PutError>> {
        if let Some(column) = null_column(error.message()) {
            let place =
                self.placement.columns.iter().position(|placed| placed.target.eq_ignore_ascii_case(column));
            let row = place.and_then(|place| first_null(self.units, place));
            return Ok(row.map(|row| null_error(self.placement, column, self.before + row)));
        }
        if let Some(key) = duplicate_key(error.message()) {
            return self.duplicate(key);
        }
        for column in &self.placement.columns {
            if let Some(misfit) = column.misfit()
                && let Some((row, value)) = self.first(&misfit, &quote_name(&column.source))?
            {
                return Ok(Some(self.misfit(column, row, &value)));
            }
        }
        Ok(None)
    }

    fn misfit(&self, column: &Placed, row: u64, value: &str) -> PutError {
        let cause = format!(
            "row {row} of the stream: column \"{}\": value {} does not fit {}",
            column.target,
            shown(value),
            column.duckdb_type
        );
        PutError::new(Kind::Invalid, &self.placement.shown, cause).nothing_stored()
    }

    /// The row whose key the engine has complained about: the second of two in the stream, else the first.
    fn duplicate(&self, key: &str) -> Result<Option<PutError>> {
        let names = if self.placement.key.is_empty() {
            let Some(table) = &self.placement.table else { return Ok(None) };
            placement::key_of(self.connection, table)?
        } else {
            self.placement.key.clone()
        };
        let placed = |name: &String| {
            self.placement.columns.iter().find(|column| column.target.eq_ignore_ascii_case(name))
        };
        let Some(columns) = names.iter().map(placed).collect::<Option<Vec<_>>>() else { return Ok(None) };
        // The engine shows a key as `a: 1, b: x` or as `1, x`, by the place where it notices.
        let texts: Vec<String> =
            columns.iter().map(|column| format!("CAST({} AS VARCHAR)", column.value_or_null(""))).collect();
        let plain = format!("concat_ws(', ', {})", texts.join(", "));
        let named: Vec<String> = columns
            .iter()
            .zip(&texts)
            .map(|(column, text)| format!("{} || {text}", quote_text(&format!("{}: ", column.target))))
            .collect();
        let named = format!("concat_ws(', ', {})", named.join(", "));
        let wanted = quote_text(key);
        let condition = format!("({plain} = {wanted} OR {named} = {wanted})");
        let rows = self.rows(&condition, &plain, 2)?;
        let shown_names = names.iter().map(|name| quote_name(name)).collect::<Vec<_>>().join(", ");
        let told = |row: u64, value: &str, rule: &str| {
            let cause = format!(
                "row {row} of the stream: duplicate key ({shown_names}) = ({}), which {rule}",
                shorten(value, VALUE_CHARACTERS_MAX)
            );
            PutError::new(Kind::Conflict, &self.placement.shown, cause)
                .nothing_stored()
                .with_advice(format!(". Send it with {ON_CONFLICT} ignore or replace to keep one of the two"))
        };
        Ok(match rows.as_slice() {
            [] => None,
            [(row, value)] => Some(told(*row, value, "is in the table or an earlier batch already")),
            [(first, _), (row, value), ..] => {
                Some(told(*row, value, &format!("is there twice in the stream, first in row {first}")))
            }
        })
    }

    fn first(&self, condition: &str, value: &str) -> Result<Option<(u64, String)>> {
        Ok(self.rows(condition, &format!("CAST({value} AS VARCHAR)"), 1)?.into_iter().next())
    }

    /// Rows for which `condition` holds, from 1 on, with `value`.
    fn rows(&self, condition: &str, value: &str, count: usize) -> Result<Vec<(u64, String)>> {
        let segment = Segment::new(Arc::clone(&self.placement.schema), self.units.to_vec());
        let found = engine::rows_of_segment(self.connection, segment, |source| {
            format!(
                "SELECT {ROW}, {value} FROM (SELECT row_number() OVER () AS {ROW}, * FROM {source}) \
                 WHERE {condition} ORDER BY {ROW} LIMIT {count}"
            )
        })?;
        Ok(found.into_iter().map(|(row, value)| (self.before + row, value)).collect())
    }
}

/// A value as an error shows it.
fn shown(value: &str) -> String {
    let short: String = value.chars().take(VALUE_CHARACTERS_MAX).collect();
    if short.len() < value.len() { format!("\"{short}…\"") } else { format!("\"{short}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(shown("ü"), "\"ü\"");
        assert_eq!(shown(&"ü".repeat(100)).chars().count(), VALUE_CHARACTERS_MAX + 3);
    }
}
