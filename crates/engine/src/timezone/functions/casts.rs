//! TIMESTAMP WITH TIME ZONE -> DATE, and texts that name a zone -> TIMESTAMP WITH TIME ZONE.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: reads dates and times itself: the engine's own cast to TIMESTAMP does, for a whole vector; what is
//! read here is the zone or offset behind the time. What the engine casts by itself is left to it: a cast of ours
//! cannot be the key of an index, because the engine evaluates keys without the context that it needs.

use duckdb::cast::{CastFunctionBuilder, CastFunctionCallbacks, CastMode};
use duckdb::connection::Context;
use duckdb::data_chunk::DataChunk;
use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::types::{DateValue, TimestampTzValue, TimestampValue};
use duckdb::vector::{StorageKind, Vector};

use super::vector::Registry;
use crate::timezone::pure::calendar::{SECOND, is_finite, split};
use crate::timezone::pure::trunc::out_of_range;
use crate::timezone::pure::zone::Finder;

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let stamp = || registry.logical_type(Id::TimestampTz);
    CastFunctionBuilder::new(stamp()?, registry.logical_type(Id::Date)?, ToDate)
        .register(registry.connection)?;
    CastFunctionBuilder::new(registry.logical_type(Id::Varchar)?, stamp()?, FromText)
        .register(registry.connection)
}

/// The date in UTC.
struct ToDate;

impl CastFunctionCallbacks for ToDate {
    type InputType = TimestampTzValue;
    type OutputType = DateValue;

    fn exec(
        &self,
        _context: &Context,
        _mode: CastMode,
        mut input: Vector<'_, TimestampTzValue>,
        mut output: Vector<'_, DateValue>,
    ) -> duckdb::Result<()> {
        if input.storage_kind() == StorageKind::Other {
            input.flatten()?;
        }
        output.set_size(input.len())?;
        let stamps = input.reader()?;
        let mut writer = output.writer()?;
        for row in 0..stamps.len() {
            let days = stamps.get(row)?.map(|at| date_of(at.0)).transpose()?;
            writer.set(row, days.map(DateValue))?;
        }
        Ok(())
    }
}

pub(crate) fn date_of(at: i64) -> duckdb::Result<i32> {
    if !is_finite(at) {
        return Ok(if at > 0 { i32::MAX } else { -i32::MAX });
    }
    i32::try_from(split(at).0).map_err(|_| out_of_range())
}

/// `2020-01-01 12:00:00+02`, `2020-01-01 12:00 Europe/Berlin`, and everything the engine takes for a TIMESTAMP.
struct FromText;

impl CastFunctionCallbacks for FromText {
    type InputType = String;
    type OutputType = TimestampTzValue;

    fn exec(
        &self,
        context: &Context,
        mode: CastMode,
        mut input: Vector<'_, String>,
        mut output: Vector<'_, TimestampTzValue>,
    ) -> duckdb::Result<()> {
        if input.storage_kind() == StorageKind::Other {
            input.flatten()?;
        }
        let types = [duckdb::logical_type::LogicalType::from_text(context, "TIMESTAMP")?];
        let mut chunk = DataChunk::create(context, types, true)?;
        let wall_clock = chunk.get_vector_at_mut::<TimestampValue>(0)?;
        let (wall_clock, failure) = match mode {
            CastMode::Normal => (wall_clock.cast_rows(&input, context)?, None),
            CastMode::Try => wall_clock.try_cast_rows(&input, context)?,
        };
        let rows = input.len();
        output.set_size(rows)?;
        let (texts, wall_clock) = (input.reader()?, wall_clock.reader()?);
        let mut writer = output.writer()?;
        let mut zones = Finder::default();
        let mut failure = failure;
        for row in 0..rows {
            let value = match (texts.get(row)?, wall_clock.get(row)?) {
                (Some(text), Some(local)) => match instant(text, local.0, &mut zones) {
                    Ok(instant) => Some(TimestampTzValue(instant)),
                    Err(error) if mode == CastMode::Normal => return Err(error),
                    Err(error) => {
                        failure = Some(error);
                        None
                    }
                },
                _ => None,
            };
            writer.set(row, value)?;
        }
        // In a TRY_CAST the engine keeps the rows written and only notes that some of them failed.
        failure.map_or(Ok(()), Err)
    }
}

/// The instant of a text whose date and time are `local`.
fn instant(text: &str, local: i64, zones: &mut Finder) -> duckdb::Result<i64> {
    if !is_finite(local) {
        return Ok(local);
    }
    let instant = match suffix(text) {
        Suffix::None => Some(local),
        Suffix::Offset(offset) => local.checked_sub(seconds(offset).ok_or_else(out_of_range)? * SECOND),
        Suffix::Name(name) => zones.find(name)?.to_instant(local),
    };
    instant.filter(|instant| is_finite(*instant)).ok_or_else(out_of_range)
}

/// What follows the time of day.
#[derive(Debug, PartialEq)]
enum Suffix<'a> {
    None,
    Offset(&'a str),
    Name(&'a str),
}

/// The engine has read everything before the suffix and knows it to be well formed.
fn suffix(text: &str) -> Suffix<'_> {
    let Some(colon) = text.find(':') else { return Suffix::None };
    let rest = text[colon..].trim_start_matches(|c: char| c.is_ascii_digit() || c == ':' || c == '.');
    match (rest.trim_end(), rest.strip_prefix(' ').map(str::trim_end)) {
        ("" | "Z", _) => Suffix::None,
        (_, Some(name)) => Suffix::Name(name),
        (offset, None) => Suffix::Offset(offset),
    }
}

/// Seconds of `+02`, `-03:30` or `+05:53:28`.
fn seconds(offset: &str) -> Option<i64> {
    let (sign, fields) = match offset.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, offset.strip_prefix('+')?),
    };
    let mut total = 0;
    for (field, unit) in fields.split(':').zip([3600, 60, 1]) {
        total += field.trim().parse::<i64>().ok()? * unit;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_offsets_follow_the_time() {
        for (text, expected) in [
            ("2020-01-01", Suffix::None),
            ("2020-01-01 12:00:00 ", Suffix::None),
            ("2020-01-01T12:00:00.123456Z", Suffix::None),
            ("2020-01-01 12:00+02", Suffix::Offset("+02")),
            ("2020-01-01 12:00:00.5-03:30 ", Suffix::Offset("-03:30")),
            ("2020-01-01 12:00:00.5 -03:30", Suffix::Name("-03:30")),
            ("0044-03-15 (BC) 12:00:00 Europe/Berlin ", Suffix::Name("Europe/Berlin")),
            ("infinity", Suffix::None),
        ] {
            assert_eq!(suffix(text), expected, "{text}");
        }
        assert_eq!(seconds("+05:53:28"), Some(21_208));
        assert_eq!(seconds("-03:30"), Some(-12_600));
        assert_eq!(seconds("+x"), None);
    }

    #[test]
    fn dates_of_infinity_are_infinite() {
        assert_eq!(date_of(i64::MAX).expect("infinite"), i32::MAX);
        assert_eq!(date_of(-i64::MAX).expect("infinite"), -i32::MAX);
        assert_eq!(date_of(-1).expect("in range"), -1);
    }
}
