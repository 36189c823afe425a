//! Timestamps and intervals: sums, differences and ages by the calendar of a zone.
//! Runs on: DuckDB's worker threads; pure.
//! Never: moves an infinite timestamp; `inf + 1 day` is `inf`.

use duckdb::types::IntervalValue;

use super::calendar::{DAY, Date, add_months, is_finite, join, month_days, split};
use super::trunc::out_of_range;
use super::zone::Zone;

/// `timestamp + interval`.
///
/// Months, then days, then time; the time first when any of the three is negative, as ICU does it.
pub(crate) fn add(zone: Zone, timestamp: i64, interval: IntervalValue) -> duckdb::Result<i64> {
    if !is_finite(timestamp) {
        return Ok(timestamp);
    }
    let IntervalValue { months, days, micros } = interval;
    let move_date = |at| move_days(zone, move_months(zone, at, months.into())?, days.into());
    let moved = if months < 0 || days < 0 || micros < 0 {
        timestamp.checked_add(micros).and_then(move_date)
    } else {
        move_date(timestamp).and_then(|at| at.checked_add(micros))
    };
    moved.filter(|at| is_finite(*at) && in_range(*at)).ok_or_else(out_of_range)
}

/// `timestamp - interval`.
pub(crate) fn subtract(zone: Zone, timestamp: i64, interval: IntervalValue) -> duckdb::Result<i64> {
    add(zone, timestamp, negate(interval)?)
}

/// Whether DuckDB has the day: its dates start at 290309-12-22 BC.
pub(crate) fn in_range(timestamp: i64) -> bool {
    const FIRST_DAY: i64 = -106_751_991;
    split(timestamp).0 >= FIRST_DAY
}

fn negate(interval: IntervalValue) -> duckdb::Result<IntervalValue> {
    match (interval.months.checked_neg(), interval.days.checked_neg(), interval.micros.checked_neg()) {
        (Some(months), Some(days), Some(micros)) => Ok(IntervalValue { months, days, micros }),
        _ => Err(duckdb::Error::invalid_input("the interval is too long to be taken away")),
    }
}

/// The same time of day, `days` later; a time that does not exist there is moved as ICU moves it.
fn move_days(zone: Zone, timestamp: i64, days: i64) -> Option<i64> {
    if days == 0 {
        return Some(timestamp);
    }
    let moved = timestamp.checked_add(days.checked_mul(DAY)?)?;
    let shift = zone.offset(timestamp) - zone.offset(moved);
    // A shift of whole days is a zone that skipped one (Samoa in 2011): the day counts, not the date.
    let shift = shift % DAY;
    if shift == 0 {
        return Some(moved);
    }
    let shifted = moved.checked_add(shift)?;
    let time_of_day = |at: i64| Some(split(zone.to_local(at)?).1);
    if time_of_day(shifted)? != time_of_day(timestamp)? && shift < 0 {
        return Some(moved);
    }
    Some(shifted)
}

/// The same day of another month and the same time of day.
fn move_months(zone: Zone, timestamp: i64, months: i64) -> Option<i64> {
    if months == 0 {
        return Some(timestamp);
    }
    let (days, time) = split(zone.to_local(timestamp)?);
    zone.to_instant(join(add_months(days, months), time)?)
}

/// Whole days from `start` to `end` by the clocks of `zone`.
pub(crate) fn days_between(zone: Zone, start: i64, end: i64) -> duckdb::Result<i64> {
    // As in `trunc::elapsed`, ICU counts in milliseconds.
    let (from, to) = (start.div_euclid(1000) * 1000, end / 1000 * 1000);
    let mut days = to.checked_sub(from).ok_or_else(out_of_range)? / DAY;
    // A day with a change of clocks is longer or shorter by less than a day.
    let reached = |days| move_days(zone, from, days);
    if to >= from {
        while days > 0 && reached(days).is_none_or(|at| at > to) {
            days -= 1;
        }
        while reached(days + 1).is_some_and(|at| at <= to) {
            days += 1;
        }
    } else {
        while days < 0 && reached(days).is_none_or(|at| at < to) {
            days += 1;
        }
        while reached(days - 1).is_some_and(|at| at >= to) {
            days -= 1;
        }
    }
    Ok(days)
}

/// `end - start` in days and time.
pub(crate) fn difference(end: i64, start: i64) -> duckdb::Result<IntervalValue> {
    if !is_finite(end) || !is_finite(start) {
        return Err(duckdb::Error::invalid_input("infinite timestamps cannot be subtracted"));
    }
    if start > end {
        return negate(difference(start, end)?);
    }
    // ICU counts days in milliseconds and takes what is left of a microsecond from each end by itself. Before
    // 1970 the end is thereby rounded up: one microsecond before midnight is "1 day -00:00:00.000001" after
    // the midnight before.
    let (start_rest, mut end, mut end_rest) = (start.rem_euclid(1000), end, end % 1000);
    if end_rest >= 0 && start_rest > end_rest {
        end -= 1000;
        end_rest += 1000;
    }
    let passed = (end / 1000 * 1000).checked_sub(start - start_rest).ok_or_else(out_of_range)?;
    let days = i32::try_from(passed / DAY).map_err(|_| out_of_range())?;
    Ok(IntervalValue { months: 0, days, micros: passed % DAY + end_rest - start_rest })
}

/// `end - start` in months, days and time, field by field, as PostgreSQL counts an age.
///
/// Takes infinite timestamps for the numbers they are, as ICU does.
pub(crate) fn age(end: i64, start: i64) -> duckdb::Result<IntervalValue> {
    if start > end {
        return negate(age(start, end)?);
    }
    let ((end_days, end_time), (start_days, start_time)) = (split(end), split(start));
    let (last, first) = (Date::of(end_days), Date::of(start_days));
    let mut months = last.months() - first.months();
    let mut days = last.day - first.day;
    let mut micros = end_time - start_time;
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    if days < 0 {
        // A month that is not full is as long as the one it began in.
        days += month_days(first.year, first.month);
        months -= 1;
    }
    let narrow = |value: i64| i32::try_from(value).map_err(|_| out_of_range());
    Ok(IntervalValue { months: narrow(months)?, days: narrow(days)?, micros })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timezone::pure::calendar::{INFINITY, SECOND};
    use crate::timezone::pure::zone::UTC;

    const HOUR: i64 = 3600 * SECOND;

    fn at(year: i64, month: i64, day: i64) -> i64 {
        Date { year, month, day }.days() * DAY
    }

    fn interval(months: i32, days: i32, micros: i64) -> IntervalValue {
        IntervalValue { months, days, micros }
    }

    #[test]
    fn months_come_first() {
        assert_eq!(add(UTC, at(2020, 1, 30), interval(1, 1, 0)).expect("in range"), at(2020, 3, 1));
        assert_eq!(subtract(UTC, at(2020, 3, 31), interval(1, 1, 0)).expect("in range"), at(2020, 2, 28));
        assert_eq!(
            add(UTC, at(2020, 3, 31), interval(-1, 1, HOUR)).expect("in range"),
            at(2020, 3, 1) + HOUR
        );
        let evening = at(2019, 3, 1) - HOUR / 2;
        assert_eq!(add(UTC, evening, interval(-1, 1, HOUR)).expect("in range"), at(2019, 2, 2) + HOUR / 2);
        assert_eq!(add(UTC, evening, interval(1, 1, HOUR)).expect("in range"), at(2019, 3, 30) + HOUR / 2);
    }

    #[test]
    fn days_keep_the_time_of_day_of_their_zone() {
        let new_york = Zone::find("America/New_York").expect("a zone");
        let one_day = interval(0, 1, 0);
        // 13 March 2021 02:30 -05: the next day has no 02:30.
        let before_gap = at(2021, 3, 13) + 7 * HOUR + HOUR / 2;
        assert_eq!(add(new_york, before_gap, one_day).expect("in range"), before_gap + DAY);
        // Noon stays noon although the day has 23 hours.
        let noon = at(2021, 3, 13) + 17 * HOUR;
        assert_eq!(add(new_york, noon, one_day).expect("in range"), noon + DAY - HOUR);
        assert_eq!(days_between(new_york, noon, noon + DAY - HOUR).expect("in range"), 1);
        assert_eq!(days_between(new_york, noon, noon + DAY - HOUR - 1000).expect("in range"), 0);
    }

    #[test]
    fn infinity_and_the_ends_of_the_range() {
        let long = interval(i32::MAX, 0, 0);
        assert_eq!(add(UTC, INFINITY, long).expect("infinite"), INFINITY);
        assert!(add(UTC, 0, long).is_err());
        assert!(add(UTC, i64::MAX - 1, interval(0, 0, 1)).is_err());
        assert!(subtract(UTC, 0, interval(i32::MIN, 0, 0)).is_err());
        assert!(difference(INFINITY, 0).is_err());
    }

    #[test]
    fn ages_have_months() {
        assert_eq!(age(at(2020, 3, 1), at(2020, 1, 31)).expect("in range"), interval(1, 1, 0));
        assert_eq!(age(at(2020, 1, 31), at(2020, 3, 1)).expect("in range"), interval(-1, -1, 0));
        assert_eq!(age(at(2021, 1, 1), at(2020, 2, 29)).expect("in range"), interval(10, 1, 0));
        assert_eq!(difference(-1, -DAY).expect("in range"), interval(0, 1, -1));
        assert_eq!(difference(0, DAY + 1).expect("in range"), interval(0, -1, -1));
    }
}
