//! `range` and `generate_series` over TIMESTAMP WITH TIME ZONE as a list. As a table the engine's
//! own counts in UTC: `sql::series`.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: counts towards infinity, or further than fits into memory.

use duckdb::DuckDBType;
use duckdb::connection::Context;
use duckdb::data_chunk::VectorCollection;
use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::scalar::{ScalarCallbacks, ScalarFunctionBuilder};
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::types::{IntervalValue, List, TimestampTzValue, TimestampValue};
use duckdb::vector::{Unknown, Vector};

use super::vector::{Registry, STABILITY, make_readable, unary};
use crate::ffi;
use crate::sql::UTC_FUNCTION;
use crate::timezone::pure::calendar::{DAY, is_finite};
use crate::timezone::pure::interval::add;
use crate::timezone::pure::zone::UTC;

/// Timestamps that the lists of one vector may hold together: half a gibibyte. They are made in memory that the
/// engine's limit does not know of.
const LISTED_MAX: usize = 1 << 26;

type Stamp = TimestampTzValue;

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let connection = registry.connection;
    registry.scalar(&[UTC_FUNCTION], &[Id::TimestampTz], Id::Timestamp, |arguments, output| {
        unary::<Stamp, TimestampValue>(arguments, output, |at| Ok(Some(TimestampValue(at.0))))
    })?;
    for (name, stop) in [("range", Stop::Excluded), ("generate_series", Stop::Included)] {
        let list = SignatureBuilder::new()
            .param(FunctionParameter::new::<Stamp>("start"))
            .param(FunctionParameter::new::<Stamp>("stop"))
            .param(FunctionParameter::new::<IntervalValue>("step"))
            .return_type(List::<Stamp>::logical_type(connection)?);
        ScalarFunctionBuilder::new(name, list, SeriesList { stop })
            .set_property(STABILITY)
            .register(connection)?;
    }
    Ok(())
}

/// Whether the end of a series belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Excluded,
    Included,
}

/// The timestamps from `next` in steps; each is made from the one before it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    next: Option<i64>,
    end: i64,
    stop: Stop,
    step: IntervalValue,
    falls: bool,
}

impl Series {
    fn new(start: i64, end: i64, step: IntervalValue, stop: Stop) -> duckdb::Result<Self> {
        let rises = step.months > 0 || step.days > 0 || step.micros > 0;
        let falls = step.months < 0 || step.days < 0 || step.micros < 0;
        if rises && falls {
            return Err(duckdb::Error::invalid_input(
                "the step of a series must not have both positive and negative parts",
            ));
        }
        let stands = !rises && !falls;
        let is_endless = !is_finite(start) || !is_finite(end);
        if is_endless && !stands {
            return Err(duckdb::Error::invalid_input("a series cannot begin or end at infinity"));
        }
        Ok(Self { next: (!stands).then_some(start), end, stop, step, falls })
    }

    /// How many timestamps there are at least, without counting them.
    fn count_min(&self) -> i128 {
        let IntervalValue { months, days, micros } = self.step;
        let month = 31 * i128::from(DAY);
        let step = i128::from(months) * month + i128::from(days) * i128::from(DAY) + i128::from(micros);
        let span = i128::from(self.end) - i128::from(self.next.unwrap_or(self.end));
        if step == 0 { 0 } else { span / step }
    }
}

impl Iterator for Series {
    type Item = duckdb::Result<i64>;

    fn next(&mut self) -> Option<duckdb::Result<i64>> {
        let at = self.next?;
        let is_past = if self.falls { at < self.end } else { at > self.end };
        if is_past || (at == self.end && self.stop == Stop::Excluded) {
            self.next = None;
            return None;
        }
        match add(UTC, at, self.step) {
            Ok(next) => {
                self.next = Some(next);
                Some(Ok(at))
            }
            Err(error) => {
                self.next = None;
                Some(Err(error))
            }
        }
    }
}

struct SeriesList {
    stop: Stop,
}

impl ScalarCallbacks for SeriesList {
    type BindData = ();
    type InitData = ();

    fn exec(
        &self,
        _bind: Option<&()>,
        _init: Option<&mut ()>,
        _context: &Context,
        arguments: &mut VectorCollection,
        output: Vector<'_, Unknown>,
    ) -> duckdb::Result<()> {
        make_readable(arguments)?;
        let starts = arguments.get_vector_at::<Stamp>(0)?.reader()?;
        let stops = arguments.get_vector_at::<Stamp>(1)?.reader()?;
        let steps = arguments.get_vector_at::<IntervalValue>(2)?.reader()?;
        let mut left = LISTED_MAX;
        let mut rows = Vec::with_capacity(arguments.row_count()?);
        for row in 0..arguments.row_count()? {
            rows.push(match (starts.get(row)?, stops.get(row)?, steps.get(row)?) {
                (Some(start), Some(stop), Some(step)) => {
                    let series = Series::new(start.0, stop.0, *step, self.stop)?;
                    if series.count_min() > left as i128 {
                        return Err(too_many());
                    }
                    let list = series
                        .take(left + 1)
                        .map(|at| at.map(TimestampTzValue))
                        .collect::<duckdb::Result<Vec<_>>>()?;
                    left = left.checked_sub(list.len()).ok_or_else(too_many)?;
                    Some(list)
                }
                _ => None,
            });
        }
        ffi::write_lists(output.cast()?, rows)
    }
}

fn too_many() -> duckdb::Error {
    duckdb::Error::invalid_input(format!(
        "a list of more than {LISTED_MAX} timestamps was asked for; read them as a table, with FROM"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timezone::pure::calendar::{Date, INFINITY};

    fn series(start: i64, end: i64, months: i32, days: i32, stop: Stop) -> Vec<i64> {
        Series::new(start, end, IntervalValue { months, days, micros: 0 }, stop)
            .expect("a series")
            .collect::<duckdb::Result<_>>()
            .expect("in range")
    }

    #[test]
    fn series_stop_where_they_should() {
        assert_eq!(series(0, 2 * DAY, 0, 1, Stop::Excluded), [0, DAY]);
        assert_eq!(series(0, 2 * DAY, 0, 1, Stop::Included), [0, DAY, 2 * DAY]);
        assert_eq!(series(DAY, 0, 0, -1, Stop::Included), [DAY, 0]);
        assert!(series(DAY, 0, 0, 1, Stop::Included).is_empty());
        assert!(series(0, DAY, 0, 0, Stop::Included).is_empty());
        let day = |month, day| Date { year: 2020, month, day }.days() * DAY;
        assert_eq!(series(day(1, 30), day(4, 1), 1, 0, Stop::Excluded), [day(1, 30), day(2, 29), day(3, 29)]);
    }

    #[test]
    fn the_length_of_a_series_is_known_beforehand() {
        let step = |months, days| IntervalValue { months, days, micros: 0 };
        for (start, stop, step, least) in [
            (0, 10 * DAY, step(0, 1), 10),
            (10 * DAY, 0, step(0, -1), 10),
            (10 * DAY, 0, step(0, 1), -10),
            (0, 62 * DAY, step(1, 0), 2),
            (0, DAY, step(0, 0), 0),
        ] {
            assert_eq!(Series::new(start, stop, step, Stop::Excluded).expect("a series").count_min(), least);
        }
    }

    #[test]
    fn endless_and_mixed_series_are_refused() {
        let step = |months, days| IntervalValue { months, days, micros: 0 };
        assert!(Series::new(0, INFINITY, step(1, 0), Stop::Excluded).is_err());
        assert!(Series::new(0, DAY, step(1, -1), Stop::Excluded).is_err());
    }
}
