//! `+` and `-` with intervals, differences, `age`, `time_bucket`, `make_timestamptz`.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: computes; `interval` and `bucket` do.

use duckdb::data_chunk::VectorCollection;
use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::types::{IntervalValue, TimestampTzNsValue, TimestampTzValue};
use duckdb::vector::{Unknown, Vector};

use super::instant::Instant;
use super::now;
use super::vector::{Registry, binary, ternary, unary, write_rows};
use crate::timezone::pure::bucket::Width;
use crate::timezone::pure::calendar::{DAY, Date, SECOND, is_finite, join};
use crate::timezone::pure::interval::{add, age, difference, in_range, subtract};
use crate::timezone::pure::trunc::out_of_range;
use crate::timezone::pure::zone::{Finder, UTC, Zone};

type Stamp = TimestampTzValue;

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let stamp = |at: duckdb::Result<i64>| at.map(|at| Some(TimestampTzValue(at)));
    registry.scalar(
        &["+"],
        &[Id::TimestampTz, Id::Interval],
        Id::TimestampTz,
        move |arguments, output| {
            binary::<Stamp, IntervalValue, Stamp>(arguments, output, |at, by| stamp(add(UTC, at.0, *by)))
        },
    )?;
    registry.scalar(
        &["+"],
        &[Id::Interval, Id::TimestampTz],
        Id::TimestampTz,
        move |arguments, output| {
            binary::<IntervalValue, Stamp, Stamp>(arguments, output, |by, at| stamp(add(UTC, at.0, *by)))
        },
    )?;
    registry.scalar(
        &["-"],
        &[Id::TimestampTz, Id::Interval],
        Id::TimestampTz,
        move |arguments, output| {
            binary::<Stamp, IntervalValue, Stamp>(arguments, output, |at, by| stamp(subtract(UTC, at.0, *by)))
        },
    )?;
    differences::<Stamp>(registry)?;
    differences::<TimestampTzNsValue>(registry)?;
    buckets::<Stamp>(registry)?;
    buckets::<TimestampTzNsValue>(registry)?;
    makers(registry)
}

/// Intervals count in microseconds.
fn differences<S: Instant>(registry: &Registry<'_>) -> duckdb::Result<()> {
    let two = [S::TYPE_ID, S::TYPE_ID];
    registry.scalar(&["-"], &two, Id::Interval, |arguments, output| {
        binary::<S, S, IntervalValue>(arguments, output, |end, start| {
            difference(S::micros(end), S::micros(start)).map(Some)
        })
    })?;
    registry.scalar(&["age"], &two, Id::Interval, |arguments, output| {
        binary::<S, S, IntervalValue>(arguments, output, |end, start| {
            age(S::micros(end), S::micros(start)).map(Some)
        })
    })?;
    registry.scalar(&["age"], &[S::TYPE_ID], Id::Interval, |arguments, output| {
        // As for timestamps without a zone: up to the last midnight.
        let midnight = now::midnight();
        unary::<S, IntervalValue>(arguments, output, |start| age(midnight, S::micros(start)).map(Some))
    })
}

fn buckets<S: Instant>(registry: &Registry<'_>) -> duckdb::Result<()> {
    let name = ["time_bucket"];
    let with = |last: Option<Id>| {
        let mut parameters = vec![Id::Interval, S::TYPE_ID];
        parameters.extend(last);
        parameters
    };
    registry.scalar(&name, &with(None), Id::TimestampTz, |arguments, output| {
        binary::<IntervalValue, S, Stamp>(arguments, output, |width, at| {
            let width = Width::of(*width)?;
            width.start(UTC, S::micros(at), width.origin(UTC)?).map(|start| Some(TimestampTzValue(start)))
        })
    })?;
    registry.scalar(&name, &with(Some(Id::Interval)), Id::TimestampTz, |arguments, output| {
        ternary::<IntervalValue, S, IntervalValue, Stamp>(arguments, output, |width, at, offset| {
            let width = Width::of(*width)?;
            let start = width.start(UTC, subtract(UTC, S::micros(at), *offset)?, width.origin(UTC)?)?;
            add(UTC, start, *offset).map(|start| Some(TimestampTzValue(start)))
        })
    })?;
    registry.scalar(&name, &with(Some(S::TYPE_ID)), Id::TimestampTz, |arguments, output| {
        ternary::<IntervalValue, S, S, Stamp>(arguments, output, |width, at, origin| {
            let origin = S::micros(origin);
            if !is_finite(origin) {
                return Ok(None);
            }
            let start = Width::of(*width)?.start(UTC, S::micros(at), origin)?;
            Ok(Some(TimestampTzValue(start)))
        })
    })?;
    registry.scalar(&name, &with(Some(Id::Varchar)), Id::TimestampTz, |arguments, output| {
        let mut zones = Finder::default();
        ternary::<IntervalValue, S, String, Stamp>(arguments, output, |width, at, zone| {
            let (width, zone) = (Width::of(*width)?, zones.find(zone)?);
            width.start(zone, S::micros(at), width.origin(zone)?).map(|start| Some(TimestampTzValue(start)))
        })
    })
}

fn makers(registry: &Registry<'_>) -> duckdb::Result<()> {
    let name = ["make_timestamptz"];
    registry.scalar(&name, &[Id::BigInt], Id::TimestampTz, |arguments, output| {
        unary::<i64, Stamp>(arguments, output, |micros| Ok(Some(TimestampTzValue(*micros))))
    })?;
    let mut parameters = vec![Id::BigInt; 5];
    parameters.push(Id::Double);
    registry.scalar(&name, &parameters, Id::TimestampTz, |arguments, output| {
        make(arguments, output, |_| Ok(Some(UTC)))
    })?;
    parameters.push(Id::Varchar);
    registry.scalar(&name, &parameters, Id::TimestampTz, |arguments, output| {
        let mut zones = Finder::default();
        let names = arguments.get_vector_at::<String>(6)?.reader()?;
        make(arguments, output, |row| names.get(row)?.map(|name| zones.find(name)).transpose())
    })
}

/// Timestamps of year, month, day, hour, minute and second; fields beyond their ranges run over.
fn make(
    arguments: &VectorCollection,
    output: Vector<'_, Unknown>,
    mut zone: impl FnMut(usize) -> duckdb::Result<Option<Zone>>,
) -> duckdb::Result<()> {
    let field = |index| arguments.get_vector_at::<i64>(index)?.reader();
    let (years, months, days) = (field(0)?, field(1)?, field(2)?);
    let (hours, minutes) = (field(3)?, field(4)?);
    let seconds = arguments.get_vector_at::<f64>(5)?.reader()?;
    write_rows::<Stamp>(arguments.row_count()?, output, |row| {
        let (Some(year), Some(month), Some(day)) = (years.get(row)?, months.get(row)?, days.get(row)?) else {
            return Ok(None);
        };
        let (Some(hour), Some(minute), Some(seconds)) =
            (hours.get(row)?, minutes.get(row)?, seconds.get(row)?)
        else {
            return Ok(None);
        };
        let Some(zone) = zone(row)? else { return Ok(None) };
        // The engine's fields are 32 bits wide.
        let narrow = |value: i64| i32::try_from(value).map(i64::from).map_err(|_| out_of_range());
        // There is no year 0: -1 is 1 BC, which is the year 0 of the calendar, as is 0 itself.
        let year = narrow(*year + i64::from(*year < 0))?;
        let date = Date { year, month: narrow(*month)?, day: narrow(*day)? };
        if !seconds.is_finite() || seconds.abs() > f64::from(i32::MAX) {
            return Err(out_of_range());
        }
        let time = (narrow(*hour)? * 3600 + narrow(*minute)? * 60) * SECOND
            + (seconds * SECOND as f64).round() as i64;
        let local = join(date.days() + time.div_euclid(DAY), time.rem_euclid(DAY));
        let instant = local.and_then(|local| zone.to_instant(local)).filter(|instant| in_range(*instant));
        Ok(Some(TimestampTzValue(instant.ok_or_else(out_of_range)?)))
    })
}
