//! Microseconds since 1970 <-> years, months, days, weeks of the proleptic Gregorian calendar.
//! Runs on: any thread; pure arithmetic over DuckDB's whole range, 290309 BC to 294247 AD.
//! Never: knows a time zone (`zone`), or an infinite timestamp (callers look first).

/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;

/// DuckDB's `infinity`; its negation is `-infinity`.
pub(crate) const INFINITY: i64 = i64::MAX;

/// Whether the timestamp is a point in time.
pub(crate) fn is_finite(micros: i64) -> bool {
    micros != INFINITY && micros != -INFINITY
}

/// A day of the calendar. Years are astronomical: 0 is 1 BC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
}

impl Date {
    /// The date of a day number (1970-01-01 is 0).
    pub(crate) fn of(days: i64) -> Self {
        // Years counted from March, in eras of 400 years: the leap day is the last day of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// The day number; `month` and `day` may be out of their ranges and then run over.
    pub(crate) fn days(self) -> i64 {
        let months = self.year * 12 + self.month - 1;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let march_year = year - i64::from(month <= 2);
        let era = march_year.div_euclid(400);
        let year_of_era = march_year.rem_euclid(400);
        let march_month = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * march_month + 2) / 5;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468 + self.day - 1
    }

    /// Whether the year is after the birth of Christ (era 1) or before it (era 0).
    pub(crate) fn era(self) -> i64 {
        i64::from(self.year > 0)
    }

    /// The year as people count it within its era, from 1.
    pub(crate) fn year_of_era(self) -> i64 {
        if self.year > 0 { self.year } else { 1 - self.year }
    }

    /// Months since the year 0.
    pub(crate) fn months(self) -> i64 {
        self.year * 12 + self.month - 1
    }
}

/// Splits a timestamp into its day number and the microseconds of the day.
pub(crate) fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY), micros.rem_euclid(DAY))
}

/// The timestamp of a day number and the microseconds of the day; `None` when it is out of range.
pub(crate) fn join(days: i64, micros: i64) -> Option<i64> {
    let joined = i128::from(days) * i128::from(DAY) + i128::from(micros);
    i64::try_from(joined).ok().filter(|micros| is_finite(*micros) && *micros != i64::MIN)
}

/// 28 to 31.
pub(crate) fn month_days(year: i64, month: i64) -> i64 {
    let first = |month| Date { year, month, day: 1 }.days();
    first(month + 1) - first(month)
}

/// The day number `months` later; a day that the month does not have becomes its last one.
pub(crate) fn add_months(days: i64, months: i64) -> i64 {
    let date = Date::of(days);
    let total = date.months() + months;
    let (year, month) = (total.div_euclid(12), total.rem_euclid(12) + 1);
    Date { year, month, day: date.day.min(month_days(year, month)) }.days()
}

/// 0 is Sunday, 6 is Saturday.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// The Monday on or before the day.
pub(crate) fn monday(days: i64) -> i64 {
    days - (weekday(days) + 6) % 7
}

/// The Monday of week 1 of an ISO year: the week with 4 January.
pub(crate) fn iso_year_start(iso_year: i64) -> i64 {
    monday(Date { year: iso_year, month: 1, day: 4 }.days())
}

/// The ISO year and the week in it, 1 to 53.
pub(crate) fn iso_week(days: i64) -> (i64, i64) {
    // The Thursday of a week lies in the year the week belongs to.
    let year = Date::of(monday(days) + 3).year;
    (year, (days - iso_year_start(year)) / 7 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_survive_the_way_to_day_numbers_and_back() {
        for days in (-106_751_991..106_751_991).step_by(9_973).chain(-800..800) {
            assert_eq!(Date::of(days).days(), days);
        }
        assert_eq!(Date::of(0), Date { year: 1970, month: 1, day: 1 });
        assert_eq!(Date::of(-719_528), Date { year: 0, month: 1, day: 1 });
        assert_eq!(
            Date { year: 2020, month: 14, day: 30 }.days(),
            Date { year: 2021, month: 3, day: 2 }.days()
        );
    }

    #[test]
    fn months_clip_at_their_end() {
        let day = |year, month, day| Date { year, month, day }.days();
        assert_eq!(add_months(day(2020, 1, 31), 1), day(2020, 2, 29));
        assert_eq!(add_months(day(2021, 1, 31), 1), day(2021, 2, 28));
        assert_eq!(add_months(day(2020, 2, 29), -12), day(2019, 2, 28));
        assert_eq!(add_months(day(1, 1, 31), -2), day(0, 11, 30));
    }

    #[test]
    fn weeks_follow_iso_8601() {
        let week = |year, month, day| iso_week(Date { year, month, day }.days());
        assert_eq!(week(2021, 1, 3), (2020, 53));
        assert_eq!(week(2021, 1, 4), (2021, 1));
        assert_eq!(week(2024, 12, 30), (2025, 1));
        assert_eq!(weekday(Date { year: 2026, month: 11, day: 24 }.days()), 2);
    }

    #[test]
    fn what_is_out_of_range_is_said() {
        assert_eq!(join(106_751_991, DAY), None);
        assert_eq!(join(-200_000_000, 0), None);
        assert_eq!(join(1, -1), Some(DAY - 1));
    }
}
