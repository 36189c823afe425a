//! The two types of a timestamp with a zone, as one to the functions that count in microseconds.
//! Runs on: DuckDB's worker threads.
//! Never: rounds up: what happened before midnight stays in its day.

use duckdb::types::{TimestampTzNsValue, TimestampTzValue};
use duckdb::vector::VectorElement;

use crate::timezone::pure::calendar::is_finite;

/// A timestamp with a zone.
pub(crate) trait Instant: VectorElement + 'static {
    /// The last whole microsecond that is not after it; infinity stays infinity.
    fn micros(value: Self::Ref<'_>) -> i64;
}

impl Instant for TimestampTzValue {
    fn micros(value: Self::Ref<'_>) -> i64 {
        value.0
    }
}

impl Instant for TimestampTzNsValue {
    fn micros(value: Self::Ref<'_>) -> i64 {
        micros_of(value.0)
    }
}

pub(crate) fn micros_of(nanos: i64) -> i64 {
    if is_finite(nanos) { nanos.div_euclid(1000) } else { nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timezone::pure::calendar::INFINITY;

    #[test]
    fn nanoseconds_are_cut_off_and_never_rounded() {
        for (nanos, micros) in
            [(999, 0), (-1, -1), (-1000, -1), (-1001, -2), (INFINITY, INFINITY), (-INFINITY, -INFINITY)]
        {
            assert_eq!(micros_of(nanos), micros, "{nanos}");
        }
    }
}
