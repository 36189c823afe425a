//! Timestamp -> start of its hour, week, quarter, era; and the count of such starts between two timestamps.
//! Runs on: DuckDB's worker threads; pure.
//! Never: sees an infinite timestamp.

use super::calendar::{
    DAY, Date, SECOND, add_months, is_finite, iso_week, iso_year_start, join, monday, month_days, split,
};
use super::date_part::Part;

/// The start of the `part` that the finite wall-clock time `micros` lies in.
pub(crate) fn truncate(part: Part, micros: i64) -> duckdb::Result<i64> {
    let (days, time) = split(micros);
    let date = Date::of(days);
    let first_of = |year, month| Date { year, month, day: 1 }.days();
    // Decades and longer are cut in the years of the era, as ICU does: those before Christ end towards us.
    let cut_years = |years: i64| {
        let year = date.year_of_era() / years * years;
        first_of(if date.year > 0 { year } else { 1 - year }, 1)
    };
    let unit = |size: i64| micros - micros.rem_euclid(size);
    let days = match part {
        Part::Microseconds => return Ok(micros),
        Part::Milliseconds => return Ok(unit(1000)),
        Part::Second | Part::Epoch => return Ok(unit(SECOND)),
        Part::Minute => return Ok(unit(60 * SECOND)),
        Part::Hour => return Ok(micros - time + time - time % (3600 * SECOND)),
        Part::Day | Part::DayOfWeek | Part::IsoDayOfWeek | Part::DayOfYear | Part::Julian => days,
        Part::Week | Part::YearWeek => monday(days),
        Part::Month => first_of(date.year, date.month),
        Part::Quarter => first_of(date.year, (date.month - 1) / 3 * 3 + 1),
        Part::Year => first_of(date.year, 1),
        Part::IsoYear => iso_year_start(iso_week(days).0),
        Part::Decade => cut_years(10),
        Part::Century => cut_years(100),
        Part::Millennium => cut_years(1000),
        Part::Era => first_of(1 - date.era(), 1),
        Part::Timezone | Part::TimezoneHour | Part::TimezoneMinute => {
            return Err(duckdb::Error::invalid_input("time zone parts cannot be truncated to"));
        }
    };
    // Years at the very start of the range begin before it.
    join(days, 0).ok_or_else(out_of_range)
}

pub(crate) fn out_of_range() -> duckdb::Error {
    duckdb::Error::invalid_input("the result lies outside the range of timestamps, 290309 BC to 294247 AD")
}

/// Whole `part`s from `start` to `end`, negative when `end` is earlier.
pub(crate) fn elapsed(part: Part, start: i64, end: i64) -> duckdb::Result<i64> {
    debug_assert!(is_finite(start) && is_finite(end));
    let exact = || end.checked_sub(start).ok_or_else(out_of_range);
    // ICU counts the longer parts in milliseconds, rounding the two ends as it does here.
    let (from, to) = (start.div_euclid(1000) * 1000, end / 1000 * 1000);
    let whole = || to.checked_sub(from).ok_or_else(out_of_range);
    Ok(match part {
        Part::Microseconds => exact()?,
        Part::Milliseconds => exact()? / 1000,
        Part::Second | Part::Epoch => exact()? / SECOND,
        Part::Minute => exact()? / (60 * SECOND),
        Part::Hour => whole()? / (3600 * SECOND),
        Part::Day | Part::DayOfWeek | Part::IsoDayOfWeek | Part::DayOfYear | Part::Julian => whole()? / DAY,
        Part::Week | Part::YearWeek => whole()? / (7 * DAY),
        Part::Month => months(from, to),
        Part::Quarter => months(from, to) / 3,
        Part::Year => months(from, to) / 12,
        Part::Decade => months(from, to) / 120,
        Part::Century => months(from, to) / 1200,
        Part::Millennium => months(from, to) / 12_000,
        Part::IsoYear => iso_years(from, to),
        Part::Era => eras(from, to),
        Part::Timezone | Part::TimezoneHour | Part::TimezoneMinute => {
            return Err(duckdb::Error::invalid_input("time zone parts cannot be counted between timestamps"));
        }
    })
}

/// Starts of `part`s passed from `start` to `end`.
pub(crate) fn boundaries(part: Part, start: i64, end: i64) -> duckdb::Result<i64> {
    let era_of = |at| Date::of(split(at).0).era();
    let unit = match part {
        // Eras start in each other's years (see `truncate`), so their starts cannot be counted.
        Part::Era => return Ok(era_of(end) - era_of(start)),
        // Weeks are counted from day to day, not from Monday to Monday.
        Part::Week => Part::Day,
        part => part,
    };
    elapsed(part, truncate(unit, start)?, truncate(unit, end)?)
}

/// Whole months, clipped at month ends: 31 January to 29 February is one.
pub(crate) fn months(start: i64, end: i64) -> i64 {
    let ((start_days, time), (end_days, _)) = (split(start), split(end));
    let count = Date::of(end_days).months() - Date::of(start_days).months();
    step_back(count, end, start <= end, |count| join(add_months(start_days, count), time))
}

/// The number nearest to `count` that does not overshoot `end`, where `reached` grows with the number.
fn step_back(count: i64, end: i64, forward: bool, reached: impl Fn(i64) -> Option<i64>) -> i64 {
    let fits = |count| reached(count).is_some_and(|at| if forward { at <= end } else { at >= end });
    let step = if forward { 1 } else { -1 };
    let mut count = count;
    while count != 0 && !fits(count) {
        count -= step;
    }
    while fits(count + step) {
        count += step;
    }
    count
}

/// Whole ISO years: the same week and weekday of another year; a week 53 that it does not have runs over.
///
/// From 29 February ICU goes to 28 February of years that have no such day.
fn iso_years(start: i64, end: i64) -> i64 {
    let ((start_days, time), (end_days, _)) = (split(start), split(end));
    let (year, _) = iso_week(start_days);
    let day_of_year = start_days - iso_year_start(year);
    let count = iso_week(end_days).0 - year;
    let date = Date::of(start_days);
    let is_leap_day = (date.month, date.day) == (2, 29);
    step_back(count, end, start <= end, |count| {
        if is_leap_day && month_days(date.year + count, 2) == 28 {
            return join(Date { year: date.year + count, month: 2, day: 28 }.days(), time);
        }
        join(iso_year_start(year + count) + day_of_year, time)
    })
}

/// Whole eras: the same date with the same year of the other era.
fn eras(start: i64, end: i64) -> i64 {
    let ((start_days, time), (end_days, _)) = (split(start), split(end));
    let date = Date::of(start_days);
    let count = Date::of(end_days).era() - date.era();
    let Some(flipped) = join(Date { year: 1 - date.year, ..date }.days(), time) else { return 0 };
    let fits = if count > 0 { flipped <= end } else { flipped >= end };
    if fits { count } else { 0 }
}

/// The last day of the month, as a day number.
pub(crate) fn last_day(days: i64) -> i64 {
    let date = Date::of(days);
    Date { day: month_days(date.year, date.month), ..date }.days()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: i64, day: i64) -> i64 {
        Date { year, month, day }.days() * DAY
    }

    #[test]
    fn parts_start_where_they_start() {
        let ides = at(-43, 3, 15) + 1;
        for (part, start) in [
            (Part::Decade, at(-39, 1, 1)),
            (Part::Century, at(1, 1, 1)),
            (Part::IsoYear, at(-44, 12, 31)),
            (Part::Week, at(-43, 3, 11)),
            (Part::Era, at(1, 1, 1)),
        ] {
            assert_eq!(truncate(part, ides).expect("in range"), start, "{part:?}");
        }
        assert_eq!(truncate(Part::Hour, -1).expect("in range"), -3600 * SECOND);
        assert!(truncate(Part::Timezone, 0).is_err());
        assert!(truncate(Part::Year, i64::MIN + 2).is_err());
    }

    #[test]
    fn months_between_month_ends() {
        assert_eq!(months(at(2020, 1, 31), at(2020, 2, 29)), 1);
        assert_eq!(months(at(2020, 1, 31), at(2020, 2, 28)), 0);
        assert_eq!(months(at(2020, 3, 31), at(2020, 2, 29)), -1);
        assert_eq!(months(at(2020, 2, 29), at(2020, 1, 31)), 0);
        assert_eq!(elapsed(Part::Year, at(2020, 2, 29), at(2021, 2, 28)).expect("in range"), 1);
    }

    #[test]
    fn boundaries_are_counted_not_time() {
        let (evening, morning) = (at(2020, 1, 1) - 1, at(2020, 1, 1));
        for part in [Part::Year, Part::Month, Part::Day, Part::Hour, Part::Second, Part::Decade] {
            assert_eq!(boundaries(part, evening, morning).expect("in range"), 1, "{part:?}");
            assert_eq!(boundaries(part, morning, evening).expect("in range"), -1, "{part:?}");
        }
        let (sunday, monday) = (at(2021, 1, 3), at(2021, 1, 4));
        assert_eq!(boundaries(Part::Week, sunday, monday).expect("in range"), 0);
        assert_eq!(boundaries(Part::YearWeek, sunday, monday).expect("in range"), 1);
        assert_eq!(boundaries(Part::Era, at(-43, 3, 15), at(1, 1, 1)).expect("in range"), 1);
        assert_eq!(elapsed(Part::Era, at(-43, 3, 15), at(1, 1, 1)).expect("in range"), 0);
        assert_eq!(elapsed(Part::IsoYear, at(2021, 1, 1), at(1970, 1, 1)).expect("in range"), -51);
    }
}
