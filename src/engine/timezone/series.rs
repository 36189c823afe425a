//! `range` and `generate_series` over TIMESTAMP WITH TIME ZONE: as a list, and as a table.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: counts towards infinity.

use std::sync::Mutex;

use duckdb::DuckDBType;
use duckdb::bind_arguments::BindArgument;
use duckdb::connection::Context;
use duckdb::data_chunk::{DataChunkRef, VectorCollection};
use duckdb::scalar::{ScalarCallbacks, ScalarFunctionBuilder};
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::table_function::{
    BindFunctionHandle, ExecColumnInfo, InitColumnData, TableFunctionBuilder, TableFunctionCallbacks,
};
use duckdb::types::{IntervalValue, List, TimestampTzValue};
use duckdb::value::Value;
use duckdb::vector::{Unknown, Vector};

use super::calendar::is_finite;
use super::interval::add;
use super::vector::{Registry, STABILITY, make_readable};
use super::zone::UTC;
use crate::engine::ffi;

/// Rows written to an output chunk at a time: DuckDB's vector size.
const CHUNK_ROWS: usize = 2048;

type Stamp = TimestampTzValue;

pub(super) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let connection = registry.connection;
    for (name, inclusive) in [("range", false), ("generate_series", true)] {
        let signature = || {
            SignatureBuilder::new()
                .param(FunctionParameter::new::<Stamp>("start"))
                .param(FunctionParameter::new::<Stamp>("stop"))
                .param(FunctionParameter::new::<IntervalValue>("step"))
        };
        let list = signature().return_type(List::<Stamp>::logical_type(connection)?);
        ScalarFunctionBuilder::new(name, list, SeriesList { inclusive })
            .set_property(STABILITY)
            .register(connection)?;
        TableFunctionBuilder::new(name, signature(), SeriesTable { name, inclusive }).register(connection)?;
    }
    Ok(())
}

/// The timestamps from `next` in steps; each is made from the one before it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Series {
    next: Option<i64>,
    stop: i64,
    step: IntervalValue,
    inclusive: bool,
    falls: bool,
}

impl Series {
    fn new(start: i64, stop: i64, step: IntervalValue, inclusive: bool) -> duckdb::Result<Self> {
        let rises = step.months > 0 || step.days > 0 || step.micros > 0;
        let falls = step.months < 0 || step.days < 0 || step.micros < 0;
        if rises && falls {
            return Err(duckdb::Error::invalid_input(
                "the step of a series must not have both positive and negative parts",
            ));
        }
        let stands = !rises && !falls;
        let is_endless = !is_finite(start) || !is_finite(stop);
        if is_endless && !stands {
            return Err(duckdb::Error::invalid_input("a series cannot begin or end at infinity"));
        }
        Ok(Self { next: (!stands).then_some(start), stop, step, inclusive, falls })
    }
}

impl Iterator for Series {
    type Item = duckdb::Result<i64>;

    fn next(&mut self) -> Option<duckdb::Result<i64>> {
        let at = self.next?;
        let is_past = if self.falls { at < self.stop } else { at > self.stop };
        if is_past || (at == self.stop && !self.inclusive) {
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
    inclusive: bool,
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
        let mut rows = Vec::with_capacity(arguments.row_count()?);
        for row in 0..arguments.row_count()? {
            rows.push(match (starts.get(row)?, stops.get(row)?, steps.get(row)?) {
                (Some(start), Some(stop), Some(step)) => {
                    let series = Series::new(start.0, stop.0, *step, self.inclusive)?;
                    Some(series.map(|at| at.map(TimestampTzValue)).collect::<duckdb::Result<Vec<_>>>()?)
                }
                _ => None,
            });
        }
        ffi::write_lists(output.cast()?, rows)
    }
}

struct SeriesTable {
    name: &'static str,
    inclusive: bool,
}

impl TableFunctionCallbacks for SeriesTable {
    type BindData = Option<Series>;
    type GlobalState = Mutex<Option<Series>>;
    type LocalState = ();

    fn bind(
        &self,
        context: &Context,
        arguments: Vec<BindArgument>,
        output: BindFunctionHandle<'_>,
    ) -> duckdb::Result<Option<Series>> {
        output.add_result_column(self.name, &Stamp::logical_type(context)?)?;
        let value = |index: usize| arguments.get(index).and_then(|argument| argument.value.as_ref());
        let stamp = |index| value(index).map(Value::get::<Stamp>).transpose().map(Option::flatten);
        let step = value(2).map(Value::get::<IntervalValue>).transpose()?.flatten();
        match (stamp(0)?, stamp(1)?, step) {
            (Some(start), Some(stop), Some(step)) => {
                if step == (IntervalValue { months: 0, days: 0, micros: 0 }) {
                    return Err(duckdb::Error::invalid_input("the step of a series must not be 0"));
                }
                Series::new(start.0, stop.0, step, self.inclusive).map(Some)
            }
            // As the engine does it for other types: NULL gives no rows.
            _ => Ok(None),
        }
    }

    fn init_global_state(
        &self,
        series: &Option<Series>,
        _context: &Context,
        _columns: InitColumnData<'_>,
    ) -> duckdb::Result<(Option<Mutex<Option<Series>>>, Option<usize>)> {
        Ok((Some(Mutex::new(*series)), Some(1)))
    }

    fn exec(
        &self,
        _bind: &Option<Series>,
        series: Option<&Mutex<Option<Series>>>,
        _local: Option<&mut ()>,
        _context: &Context,
        mut output: DataChunkRef<'_>,
        _columns: ExecColumnInfo<'_>,
    ) -> duckdb::Result<()> {
        let Some(series) = series else {
            return Err(duckdb::Error::api_error("a series runs without its state"));
        };
        let mut series = series.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(series) = series.as_mut() else { return Ok(()) };
        let chunk: Vec<i64> = series.take(CHUNK_ROWS).collect::<duckdb::Result<_>>()?;
        let mut column = output.get_vector_at_mut::<Stamp>(0)?;
        column.set_size(chunk.len())?;
        let mut writer = column.writer()?;
        for (row, at) in chunk.into_iter().enumerate() {
            writer.set(row, Some(TimestampTzValue(at)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::timezone::calendar::{DAY, Date, INFINITY};

    fn series(start: i64, stop: i64, months: i32, days: i32, inclusive: bool) -> Vec<i64> {
        Series::new(start, stop, IntervalValue { months, days, micros: 0 }, inclusive)
            .expect("a series")
            .collect::<duckdb::Result<_>>()
            .expect("in range")
    }

    #[test]
    fn series_stop_where_they_should() {
        assert_eq!(series(0, 2 * DAY, 0, 1, false), [0, DAY]);
        assert_eq!(series(0, 2 * DAY, 0, 1, true), [0, DAY, 2 * DAY]);
        assert_eq!(series(DAY, 0, 0, -1, true), [DAY, 0]);
        assert!(series(DAY, 0, 0, 1, true).is_empty());
        assert!(series(0, DAY, 0, 0, true).is_empty());
        let day = |month, day| Date { year: 2020, month, day }.days() * DAY;
        assert_eq!(series(day(1, 30), day(4, 1), 1, 0, false), [day(1, 30), day(2, 29), day(3, 29)]);
    }

    #[test]
    fn endless_and_mixed_series_are_refused() {
        let step = |months, days| IntervalValue { months, days, micros: 0 };
        assert!(Series::new(0, INFINITY, step(1, 0), false).is_err());
        assert!(Series::new(0, DAY, step(1, -1), false).is_err());
    }
}
