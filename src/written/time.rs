//! Days, times, instants and intervals -> the text DuckDB writes for them, for any number that a column can hold.
//! Runs on: anywhere; pure.
//! Never: goes through a calendar library, whose years end before DuckDB's do (chrono's at 262,142).

use std::fmt::Write;

use arrow::array::timezone::Tz;
use arrow::datatypes::TimeUnit;
use chrono::{DateTime, Offset, TimeZone};

const DAY_SECONDS: i64 = 86_400;
/// 400 years are a whole number of weeks, after which the calendar repeats.
const CYCLE_SECONDS: i64 = 146_097 * DAY_SECONDS;

/// Units of a second, and the digits that a fraction of one takes.
pub(super) fn unit(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

/// A day, counted from 1970-01-01.
pub(super) fn date(out: &mut String, days: i32) {
    match days {
        i32::MAX => out.push_str("infinity"),
        days if days == -i32::MAX => out.push_str("-infinity"),
        days => civil(out, days.into()),
    }
}

/// The day in the Gregorian calendar, by the rule of eras of 400 years that begin in March.
fn civil(out: &mut String, days: i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // Writing into a String does not fail.
    let _ = match year {
        1.. => write!(out, "{year:04}-{month:02}-{day:02}"),
        // There is no year 0 in this calendar.
        _ => write!(out, "{:04}-{month:02}-{day:02} (BC)", 1 - year),
    };
}

/// A time of day, or a span of hours, minutes and seconds that may be longer than a day.
pub(super) fn time(out: &mut String, value: i64, of: TimeUnit) {
    let (per_second, digits) = unit(of);
    let (seconds, fraction) =
        (value.unsigned_abs() / per_second as u64, value.unsigned_abs() % per_second as u64);
    let sign = if value < 0 { "-" } else { "" };
    let _ = write!(out, "{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        let fraction = format!("{fraction:0digits$}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
}

/// A point in time, without a zone or shown in one.
pub(super) fn timestamp(out: &mut String, value: i64, of: TimeUnit, zone: Option<&Tz>) {
    match value {
        i64::MAX => return out.push_str("infinity"),
        value if value == -i64::MAX => return out.push_str("-infinity"),
        _ => {}
    }
    let (per_second, _) = unit(of);
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let offset = zone.map(|zone| offset_seconds(seconds, zone));
    // Seconds of the finest unit are far from the ends of i64; those of whole seconds may be at them.
    let local = seconds.saturating_add(offset.unwrap_or_default());
    civil(out, local.div_euclid(DAY_SECONDS));
    out.push(' ');
    time(out, local.rem_euclid(DAY_SECONDS) * per_second + fraction, of);
    if let Some(offset) = offset {
        zone_offset(out, offset);
    }
}

/// What a clock in `zone` is ahead of UTC. An instant beyond the library's years takes that of the nearest year with
/// the same calendar; the offset is written beside the time, so the instant is exact all the same.
fn offset_seconds(seconds: i64, zone: &Tz) -> i64 {
    let at = |seconds| DateTime::from_timestamp(seconds, 0).map(|instant| instant.naive_utc());
    let mut within = seconds;
    while at(within).is_none() {
        let cycles = (within / CYCLE_SECONDS).abs().max(655) - 654;
        within -= within.signum() * cycles * CYCLE_SECONDS;
    }
    at(within).map_or(0, |instant| zone.offset_from_utc_datetime(&instant).fix().local_minus_utc().into())
}

/// `+05:30`: hours, and minutes and seconds where there are any.
pub(super) fn zone_offset(out: &mut String, seconds: i64) {
    let sign = if seconds < 0 { '-' } else { '+' };
    let seconds = seconds.unsigned_abs();
    let _ = write!(out, "{sign}{:02}", seconds / 3_600);
    if !seconds.is_multiple_of(3_600) {
        let _ = write!(out, ":{:02}", seconds / 60 % 60);
    }
    if !seconds.is_multiple_of(60) {
        let _ = write!(out, ":{:02}", seconds % 60);
    }
}

/// Months, days and nanoseconds, none of which is a number of another.
pub(super) fn interval(out: &mut String, months: i32, days: i32, nanoseconds: i64) {
    let begin = out.len();
    for (count, name) in [(months / 12, "year"), (months % 12, "month"), (days, "day")] {
        if count != 0 {
            let apart = if out.len() > begin { " " } else { "" };
            let plural = if count.abs() == 1 { "" } else { "s" };
            let _ = write!(out, "{apart}{count} {name}{plural}");
        }
    }
    if nanoseconds != 0 || out.len() == begin {
        if out.len() > begin {
            out.push(' ');
        }
        time(out, nanoseconds, TimeUnit::Nanosecond);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn days_are_written_over_the_whole_range() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (19_782, "2024-02-29"),
            (-719_162, "0001-01-01"),
            (-719_163, "0001-12-31 (BC)"),
            (-719_528, "0001-01-01 (BC)"),
            (i32::MAX, "infinity"),
            (-i32::MAX, "-infinity"),
            // The last and first days DuckDB has.
            (2_147_483_646, "5881580-07-10"),
            (-2_147_483_646, "5877642-06-25 (BC)"),
        ] {
            assert_eq!(text(|out| date(out, days)), expected, "{days}");
        }
    }

    /// Every day of twelve hundred years, against the calendar of another library.
    #[test]
    fn days_agree_with_chrono() {
        for days in -300_000..140_000 {
            let expected = DateTime::from_timestamp(i64::from(days) * DAY_SECONDS, 0).unwrap();
            assert_eq!(text(|out| date(out, days)), expected.format("%Y-%m-%d").to_string());
        }
    }

    #[test]
    fn instants_and_times_are_written_at_their_extremes() {
        let stamp = |value, of, zone: Option<&str>| {
            let zone = zone.map(|zone| zone.parse::<Tz>().unwrap());
            text(|out| timestamp(out, value, of, zone.as_ref()))
        };
        use TimeUnit::{Microsecond, Nanosecond, Second};
        assert_eq!(stamp(-1, Microsecond, None), "1969-12-31 23:59:59.999999");
        assert_eq!(stamp(9_223_372_036_854_775_806, Microsecond, None), "294247-01-10 04:00:54.775806");
        assert_eq!(stamp(-9_223_372_022_400_000_000, Microsecond, None), "290309-12-22 (BC) 00:00:00");
        assert_eq!(
            stamp(9_223_372_036_854_775_806, Microsecond, Some("Europe/Berlin")),
            "294247-01-10 05:00:54.775806+01"
        );
        assert_eq!(stamp(i64::MAX, Second, None), "infinity");
        assert_eq!(stamp(-i64::MAX, Nanosecond, Some("UTC")), "-infinity");
        assert_eq!(
            stamp(1_720_000_000_500_000_000, Nanosecond, Some("+05:30")),
            "2024-07-03 15:16:40.5+05:30"
        );
        assert_eq!(stamp(-3_000_000_000, Second, Some("Europe/Berlin")), "1874-12-07 19:33:28+00:53:28");
        assert_eq!(text(|out| time(out, 86_400_000_000, Microsecond)), "24:00:00");
        assert_eq!(text(|out| time(out, i64::MIN, Nanosecond)), "-2562047:47:16.854775808");
    }

    #[test]
    fn intervals_name_their_parts() {
        for (months, days, nanoseconds, expected) in [
            (0, 0, 0, "00:00:00"),
            (14, 3, 14_706_789_000_000, "1 year 2 months 3 days 04:05:06.789"),
            (-13, -1, -1_000, "-1 year -1 month -1 day -00:00:00.000001"),
            (24, 0, 0, "2 years"),
            (0, 0, 360_000_000_000_000, "100:00:00"),
        ] {
            assert_eq!(text(|out| interval(out, months, days, nanoseconds)), expected);
        }
    }
}
