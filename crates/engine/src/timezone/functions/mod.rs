//! The functions, casts and setting as the engine knows them: each over whole vectors.

mod arithmetic;
mod at_time_zone;
mod casts;
mod extract;
mod instant;
mod nanos;
mod now;
mod series;
mod setting;
mod vector;

use duckdb::connection::Connection as DuckDBConnection;

use vector::Registry;

/// Registers everything for all connections of the instance behind `connection`.
pub(crate) fn register(connection: &DuckDBConnection) -> duckdb::Result<()> {
    let registry = Registry { connection };
    setting::register(&registry)?;
    extract::register(&registry)?;
    arithmetic::register(&registry)?;
    at_time_zone::register(&registry)?;
    now::register(&registry)?;
    series::register(&registry)?;
    casts::register(&registry)?;
    nanos::register(&registry)
}
