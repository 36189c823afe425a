//! `current_date`, `today()`, `current_time`, `current_localtimestamp()` and `current_localtime()`.
//! Runs on: registration when the database is opened; evaluation on DuckDB's worker threads.
//! Never: changes within a query. The engine does not show functions when the transaction began, so the
//! instant is that of the statement; `now()` is the engine's own and gives the transaction's.

use std::time::{SystemTime, UNIX_EPOCH};

use duckdb::bind_arguments::BindArguments;
use duckdb::connection::Context;
use duckdb::data_chunk::VectorCollection;
use duckdb::logical_type::LogicalTypeID as Id;
use duckdb::scalar::{ScalarBindCallbacks, ScalarCallbacks, ScalarFunctionBuilder};
use duckdb::types::{DateValue, TimeValue, TimestampValue};
use duckdb::vector::{OwnedVectorElement, Unknown, Vector};

use super::vector::{Registry, STABILITY, write_rows};
use crate::timezone::pure::calendar::split;

/// The present, in microseconds since 1970.
pub(crate) fn instant() -> i64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(passed.as_micros()).unwrap_or(i64::MAX)
}

/// The start of the present day in UTC.
pub(crate) fn midnight() -> i64 {
    let now = instant();
    now - split(now).1
}

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let date = |now| DateValue(i32::try_from(split(now).0).unwrap_or(i32::MAX));
    add(registry, &["current_date", "today"], Id::Date, date)?;
    add(registry, &["current_localtimestamp"], Id::Timestamp, TimestampValue)?;
    // `current_time` is `get_current_time()` to the engine. Its own extension gives it the zone of the connection, which
    // is UTC here and has no form in Arrow.
    add(registry, &["current_localtime", "get_current_time"], Id::Time, |now| TimeValue(split(now).1))
}

fn add<R: OwnedVectorElement + 'static>(
    registry: &Registry<'_>,
    names: &[&str],
    result: Id,
    of: impl Fn(i64) -> R + Copy + Send + Sync + 'static,
) -> duckdb::Result<()> {
    for name in names {
        ScalarFunctionBuilder::new(*name, registry.signature(&[], result)?, Now { of })
            .set_property(STABILITY)
            .with_bind()
            .register(registry.connection)?;
    }
    Ok(())
}

struct Now<F> {
    of: F,
}

impl<R: OwnedVectorElement, F: Fn(i64) -> R + Send + Sync + 'static> ScalarBindCallbacks for Now<F>
where
    Self: ScalarCallbacks<BindData = i64>,
{
    fn bind(&self, _context: &Context, _arguments: BindArguments<'_>) -> duckdb::Result<i64> {
        Ok(instant())
    }
}

impl<R: OwnedVectorElement, F: Fn(i64) -> R + Send + Sync + 'static> ScalarCallbacks for Now<F> {
    type BindData = i64;
    type InitData = ();

    fn exec(
        &self,
        now: Option<&i64>,
        _init: Option<&mut ()>,
        _context: &Context,
        arguments: &mut VectorCollection,
        output: Vector<'_, Unknown>,
    ) -> duckdb::Result<()> {
        let now = now.copied().unwrap_or_else(instant);
        write_rows(arguments.row_count()?, output, |_| Ok(Some((self.of)(now))))
    }
}
