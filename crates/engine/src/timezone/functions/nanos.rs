//! TIMESTAMPTZ_NS: what keeps its nanoseconds, and what the engine has no form of. What counts in microseconds is
//! registered for both types of timestamps with a zone, by `Instant`.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: rounds, but in a cast that asks for microseconds, as the engine's own casts do.
//!
//! The engine compares and combines two types by casting one of them. The cast from microseconds is registered as
//! one that may go unsaid, and the one back, which the engine has, may not: so nanoseconds are compared with
//! microseconds as they are.

use duckdb::DuckDBType;
use duckdb::cast::{CastFunctionBuilder, CastFunctionCallbacks, CastMode};
use duckdb::connection::Context;
use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::types::{DateValue, IntervalValue, TimestampTzNsValue, TimestampTzValue, TimestampValue};
use duckdb::vector::{OwnedVectorElement, StorageKind, Vector, VectorElement};

use super::casts::date_of;
use super::instant::micros_of;
use super::vector::{Registry, binary, unary};
use crate::timezone::pure::calendar::is_finite;
use crate::timezone::pure::interval::{add, subtract};
use crate::timezone::pure::trunc::out_of_range;
use crate::timezone::pure::zone::UTC;

type Nanos = TimestampTzNsValue;

/// Less than the way over any other type, and more than none.
const WIDENING_COST: i64 = 110;

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let moved = |at: i64, by: IntervalValue| moved(at, by, add).map(|at| Some(TimestampTzNsValue(at)));
    let name = ["+"];
    registry.scalar(
        &name,
        &[Id::TimestampTzNs, Id::Interval],
        Id::TimestampTzNs,
        move |arguments, output| {
            binary::<Nanos, IntervalValue, Nanos>(arguments, output, |at, by| moved(at.0, *by))
        },
    )?;
    registry.scalar(
        &name,
        &[Id::Interval, Id::TimestampTzNs],
        Id::TimestampTzNs,
        move |arguments, output| {
            binary::<IntervalValue, Nanos, Nanos>(arguments, output, |by, at| moved(at.0, *by))
        },
    )?;
    registry.scalar(&["-"], &[Id::TimestampTzNs, Id::Interval], Id::TimestampTzNs, |arguments, output| {
        binary::<Nanos, IntervalValue, Nanos>(arguments, output, |at, by| {
            self::moved(at.0, *by, subtract).map(|at| Some(TimestampTzNsValue(at)))
        })
    })?;
    for (name, divisor) in [("epoch_us", 1), ("epoch_ms", 1000)] {
        registry.scalar(&[name], &[Id::TimestampTzNs], Id::BigInt, move |arguments, output| {
            unary::<Nanos, i64>(arguments, output, |at| {
                Ok(is_finite(at.0).then(|| micros_of(at.0).div_euclid(divisor)))
            })
        })?;
    }
    for (name, finite) in [("isfinite", true), ("isinf", false)] {
        registry.scalar(&[name], &[Id::TimestampTzNs], Id::Boolean, move |arguments, output| {
            unary::<Nanos, bool>(arguments, output, |at| Ok(Some(is_finite(at.0) == finite)))
        })?;
    }
    let connection = registry.connection;
    let nanos = || registry.logical_type(Id::TimestampTzNs);
    CastFunctionBuilder::new(registry.logical_type(Id::TimestampTz)?, nanos()?, Cast(widened))
        .implicit_cast_cost(WIDENING_COST)
        .register(connection)?;
    CastFunctionBuilder::new(nanos()?, DateValue::logical_type(connection)?, Cast(date))
        .register(connection)?;
    CastFunctionBuilder::new(nanos()?, TimestampValue::logical_type(connection)?, Cast(rounded))
        .register(connection)
}

/// The instant moved by an interval, which has no nanoseconds of its own.
fn moved(
    at: i64,
    by: IntervalValue,
    how: fn(crate::timezone::pure::zone::Zone, i64, IntervalValue) -> duckdb::Result<i64>,
) -> duckdb::Result<i64> {
    if !is_finite(at) {
        return Ok(at);
    }
    let micros = how(UTC, micros_of(at), by)?;
    let nanos = micros.checked_mul(1000).and_then(|nanos| nanos.checked_add(at.rem_euclid(1000)));
    nanos.filter(|nanos| is_finite(*nanos)).ok_or_else(out_of_range)
}

fn widened(at: &TimestampTzValue) -> duckdb::Result<TimestampTzNsValue> {
    if !is_finite(at.0) {
        return Ok(TimestampTzNsValue(at.0));
    }
    let nanos = at.0.checked_mul(1000).filter(|nanos| is_finite(*nanos));
    nanos.map(TimestampTzNsValue).ok_or_else(|| {
        duckdb::Error::invalid_input(
            "a timestamp lies outside of the years 1677 to 2262, and nanoseconds reach no further; cast the other \
             side to TIMESTAMPTZ",
        )
    })
}

fn date(at: &TimestampTzNsValue) -> duckdb::Result<DateValue> {
    date_of(micros_of(at.0)).map(DateValue)
}

/// The nearest microsecond, and of two the one further from 1970.
fn rounded(at: &TimestampTzNsValue) -> duckdb::Result<TimestampValue> {
    if !is_finite(at.0) {
        return Ok(TimestampValue(at.0));
    }
    let halves = at.0 / 500;
    Ok(TimestampValue((halves + halves.signum()) / 2))
}

/// A cast of one value after the other.
struct Cast<I, O>(fn(&I) -> duckdb::Result<O>);

impl<I, O> CastFunctionCallbacks for Cast<I, O>
where
    I: for<'a> VectorElement<Ref<'a> = &'a I> + 'static,
    O: OwnedVectorElement + 'static,
{
    type InputType = I;
    type OutputType = O;

    fn exec(
        &self,
        _context: &Context,
        mode: CastMode,
        mut input: Vector<'_, I>,
        mut output: Vector<'_, O>,
    ) -> duckdb::Result<()> {
        if input.storage_kind() == StorageKind::Other {
            input.flatten()?;
        }
        output.set_size(input.len())?;
        let values = input.reader()?;
        let mut writer = output.writer()?;
        let mut failure = None;
        for row in 0..values.len() {
            let value = match values.get(row)?.map(self.0).transpose() {
                Err(error) if mode == CastMode::Normal => return Err(error),
                // In a TRY_CAST the engine keeps the rows written and only notes that some of them failed.
                Err(error) => {
                    failure = Some(error);
                    None
                }
                Ok(value) => value,
            };
            writer.set_ref(row, value.as_ref())?;
        }
        failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nanoseconds_stay_where_they_are_moved() {
        let day = IntervalValue { months: 0, days: 1, micros: 0 };
        assert_eq!(moved(123, day, add).expect("in range"), 86_400_000_000_123);
        assert_eq!(moved(-1, day, add).expect("in range"), 86_399_999_999_999);
        assert_eq!(moved(86_400_000_000_001, day, subtract).expect("in range"), 1);
        assert!(moved(i64::MAX - 1, day, add).is_err());
        assert_eq!(moved(i64::MAX, day, add).expect("infinite"), i64::MAX);
    }

    #[test]
    fn casts_to_microseconds_round_as_the_engine_does() {
        for (nanos, micros) in
            [(0, 0), (499, 0), (500, 1), (999, 1), (1499, 1), (1500, 2), (-499, 0), (-500, -1), (-1499, -1)]
        {
            assert_eq!(rounded(&TimestampTzNsValue(nanos)).expect("in range").0, micros, "{nanos}");
        }
        assert!(widened(&TimestampTzValue(i64::MAX / 2)).is_err());
        assert_eq!(widened(&TimestampTzValue(-1)).expect("in range").0, -1000);
    }
}
