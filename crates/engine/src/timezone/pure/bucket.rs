//! `time_bucket`: timestamp -> start of the bucket of a given width that it lies in.
//! Runs on: DuckDB's worker threads; pure.
//! Never: accepts a width that mixes months, days and time: such buckets have no common length.

use duckdb::types::IntervalValue;

use super::calendar::{DAY, is_finite};
use super::date_part::Part;
use super::interval::{add, days_between};
use super::trunc::{months, out_of_range, truncate};
use super::zone::Zone;

/// 3 January 2000, a Monday: where buckets of days and shorter ones start by default.
pub(crate) const ORIGIN_OF_DAYS: i64 = 10_959 * DAY;

/// 1 January 2000: where buckets of months start by default.
pub(crate) const ORIGIN_OF_MONTHS: i64 = 10_957 * DAY;

/// The width of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    Micros(i64),
    Days(i64),
    Months(i64),
}

impl Width {
    pub(crate) fn of(interval: IntervalValue) -> duckdb::Result<Self> {
        let IntervalValue { months, days, micros } = interval;
        let width = match (months, days, micros) {
            (0, 0, micros) => Self::Micros(micros),
            (0, days, 0) => Self::Days(days.into()),
            (months, 0, 0) => Self::Months(months.into()),
            _ => {
                return Err(duckdb::Error::invalid_input(
                    "the width of a bucket must be in months, in days or in time, not a mixture",
                ));
            }
        };
        match width {
            Self::Micros(count) | Self::Days(count) | Self::Months(count) if count <= 0 => {
                Err(duckdb::Error::invalid_input("the width of a bucket must be greater than 0"))
            }
            width => Ok(width),
        }
    }

    /// Where buckets of this width start by default, by the clocks of `zone`.
    pub(crate) fn origin(self, zone: Zone) -> duckdb::Result<i64> {
        let local = match self {
            Self::Micros(_) | Self::Days(_) => ORIGIN_OF_DAYS,
            Self::Months(_) => ORIGIN_OF_MONTHS,
        };
        zone.to_instant(local).ok_or_else(out_of_range)
    }

    /// The start of the bucket around `timestamp`, counted from `origin`.
    pub(crate) fn start(self, zone: Zone, timestamp: i64, origin: i64) -> duckdb::Result<i64> {
        if !is_finite(timestamp) {
            return Ok(timestamp);
        }
        let step = |from, months, days, micros| {
            let narrow = |count| i32::try_from(count).map_err(|_| out_of_range());
            add(zone, from, IntervalValue { months: narrow(months)?, days: narrow(days)?, micros })
        };
        match self {
            Self::Micros(width) => {
                let passed = timestamp.checked_sub(origin).ok_or_else(out_of_range)?;
                let start = passed.checked_sub(passed.rem_euclid(width)).ok_or_else(out_of_range)?;
                step(origin, 0, 0, start)
            }
            Self::Days(width) => {
                let passed = days_between(zone, origin, timestamp)?;
                let start = step(origin, 0, passed / width * width, 0)?;
                // Before the origin the count is rounded towards it.
                if timestamp < start { step(start, 0, -width, 0) } else { Ok(start) }
            }
            Self::Months(width) => {
                let month_of = |at: i64| {
                    let local = zone.to_local(at).ok_or_else(out_of_range)?;
                    truncate(Part::Month, local)
                };
                let (month, origin) = (month_of(timestamp)?, month_of(origin)?);
                let passed = months(origin, month);
                let first = zone.to_instant(origin).ok_or_else(out_of_range)?;
                step(first, passed - passed.rem_euclid(width), 0, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timezone::pure::calendar::{Date, SECOND};
    use crate::timezone::pure::zone::UTC;

    fn start(zone: Zone, months: i32, days: i32, micros: i64, timestamp: i64) -> i64 {
        let width = Width::of(IntervalValue { months, days, micros }).expect("a width");
        width.start(zone, timestamp, width.origin(zone).expect("in range")).expect("in range")
    }

    #[test]
    fn buckets_start_at_or_before_their_timestamps() {
        let day = |year, month, day| Date { year, month, day }.days() * DAY;
        assert_eq!(start(UTC, 0, 7, 0, day(2024, 5, 15) + 5), day(2024, 5, 13));
        assert_eq!(start(UTC, 0, 7, 0, day(1969, 5, 15) + 5), day(1969, 5, 12));
        assert_eq!(start(UTC, 3, 0, 0, day(1969, 5, 15)), day(1969, 4, 1));
        assert_eq!(start(UTC, 0, 0, 900 * SECOND, day(2024, 5, 15) + 1), day(2024, 5, 15));
        let berlin = Zone::find("Europe/Berlin").expect("a zone");
        assert_eq!(start(berlin, 0, 1, 0, day(2024, 7, 15)), day(2024, 7, 14) + 22 * 3600 * SECOND);
        assert_eq!(start(berlin, 1, 0, 0, day(2024, 7, 15)), day(2024, 6, 30) + 22 * 3600 * SECOND);
    }

    #[test]
    fn mixed_and_empty_widths_are_refused() {
        for (months, days, micros) in [(1, 1, 0), (0, 1, 1), (0, 0, 0), (-1, 0, 0), (0, -1, 0)] {
            assert!(Width::of(IntervalValue { months, days, micros }).is_err());
        }
    }
}
