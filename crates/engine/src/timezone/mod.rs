//! TIMESTAMP WITH TIME ZONE without the engine's ICU extension: its functions, casts and setting.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: replaces a function the engine has; every registration is a further overload.
//!
//! The zone of a connection is UTC and stays UTC: so the engine itself converts timestamps with a zone to text,
//! and a second zone would contradict it. Other zones come in by name, with AT TIME ZONE and its like.
//! Results equal those of the extension with `TimeZone = 'UTC'`; `tests/python/test_timezones.py` compares them.

mod arithmetic;
mod bucket;
mod calendar;
mod casts;
mod instant;
mod interval;
mod nanos;
mod now;
mod part;
mod parts;
mod series;
mod setting;
mod trunc;
mod vector;
mod zone;
mod zones;

use duckdb::connection::Connection as DuckDBConnection;

use vector::Registry;

/// Registers everything for all connections of the instance behind `connection`.
pub(super) fn register(connection: &DuckDBConnection) -> duckdb::Result<()> {
    let registry = Registry { connection };
    setting::register(&registry)?;
    parts::register(&registry)?;
    arithmetic::register(&registry)?;
    zones::register(&registry)?;
    now::register(&registry)?;
    series::register(&registry)?;
    casts::register(&registry)?;
    nanos::register(&registry)
}
