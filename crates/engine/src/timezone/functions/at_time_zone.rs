//! `timezone(zone, timestamp)`, which is what `AT TIME ZONE` calls.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: guesses a zone; an unknown name is an error.

use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::types::{TimeTzValue, TimestampNsValue, TimestampTzNsValue, TimestampTzValue, TimestampValue};

use super::now;
use super::vector::{Registry, binary};
use crate::timezone::pure::calendar::{DAY, SECOND, is_finite};
use crate::timezone::pure::trunc::out_of_range;
use crate::timezone::pure::zone::{Finder, Zone};

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let name = ["timezone"];
    registry.scalar(&name, &[Id::Varchar, Id::TimestampTz], Id::Timestamp, |arguments, output| {
        let mut zones = Finder::default();
        binary::<String, TimestampTzValue, TimestampValue>(arguments, output, |zone, at| {
            let local = zones.find(zone)?.to_local(at.0).ok_or_else(out_of_range)?;
            Ok(Some(TimestampValue(local)))
        })
    })?;
    registry.scalar(&name, &[Id::Varchar, Id::Timestamp], Id::TimestampTz, |arguments, output| {
        let mut zones = Finder::default();
        binary::<String, TimestampValue, TimestampTzValue>(arguments, output, |zone, local| {
            let at = zones.find(zone)?.to_instant(local.0).ok_or_else(out_of_range)?;
            Ok(Some(TimestampTzValue(at)))
        })
    })?;
    registry.scalar(&name, &[Id::Varchar, Id::TimestampTzNs], Id::TimestampNs, |arguments, output| {
        let mut zones = Finder::default();
        binary::<String, TimestampTzNsValue, TimestampNsValue>(arguments, output, |zone, at| {
            Ok(Some(TimestampNsValue(nanos(zones.find(zone)?, at.0, Zone::to_local)?)))
        })
    })?;
    registry.scalar(&name, &[Id::Varchar, Id::TimestampNs], Id::TimestampTzNs, |arguments, output| {
        let mut zones = Finder::default();
        binary::<String, TimestampNsValue, TimestampTzNsValue>(arguments, output, |zone, local| {
            Ok(Some(TimestampTzNsValue(nanos(zones.find(zone)?, local.0, Zone::to_instant)?)))
        })
    })?;
    registry.scalar(&name, &[Id::Varchar, Id::TimeTz], Id::TimeTz, |arguments, output| {
        // A time of day has no date; the zone's present offset holds, as in ICU.
        let now = now::instant();
        let mut zones = Finder::default();
        binary::<String, TimeTzValue, TimeTzValue>(arguments, output, |zone, time| {
            let offset = zones.find(zone)?.offset(now);
            let utc = time.micros() - i64::from(time.offset_seconds()) * SECOND;
            let seconds = i32::try_from(offset / SECOND).map_err(|_| out_of_range())?;
            Ok(Some(TimeTzValue::new((utc + offset).rem_euclid(DAY), seconds)))
        })
    })
}

/// Moves a timestamp in nanoseconds by way of microseconds: offsets are whole seconds.
fn nanos(zone: Zone, value: i64, moved: impl Fn(Zone, i64) -> Option<i64>) -> duckdb::Result<i64> {
    if !is_finite(value) {
        return Ok(value);
    }
    moved(zone, value.div_euclid(1000))
        .and_then(|micros| micros.checked_mul(1000)?.checked_add(value.rem_euclid(1000)))
        .filter(|nanos| is_finite(*nanos))
        .ok_or_else(out_of_range)
}
