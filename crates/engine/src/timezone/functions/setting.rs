//! The setting `TimeZone`, which says UTC.
//! Runs on: registration when the database is opened; the callback on the thread of a SET.
//! Never: takes another zone, because the engine itself writes and reads timestamps in UTC.

use duckdb::connection::{Context, SettingScope};
use duckdb::custom_option::{CustomOptionBuilder, CustomOptionCallbacks};
use duckdb::value::Value;
use duckdb::{DuckDBType, ToValue};

use super::vector::Registry;

pub(crate) fn register(registry: &Registry<'_>) -> duckdb::Result<()> {
    let connection = registry.connection;
    CustomOptionBuilder::new(
        "TimeZone",
        "The time zone of sessions: always UTC",
        String::logical_type(connection)?,
        AlwaysUtc,
    )
    .default_value("UTC".value(connection)?)
    .register(connection)
}

struct AlwaysUtc;

impl CustomOptionCallbacks for AlwaysUtc {
    fn update(
        &self,
        context: &Context,
        value: Value,
        _scope: SettingScope,
        _is_reset: bool,
    ) -> duckdb::Result<Value> {
        let zone = value.get::<String>()?.unwrap_or_default();
        if !zone.eq_ignore_ascii_case("utc") {
            return Err(duckdb::Error::invalid_input(format!(
                "the time zone of sessions is UTC and cannot become \"{zone}\"; use AT TIME ZONE"
            )));
        }
        "UTC".value(context)
    }
}
