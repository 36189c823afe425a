//! Names of date parts, and their values in a timestamp.
//! Runs on: DuckDB's worker threads; pure.
//! Never: sees an infinite timestamp; those have no parts.

use super::calendar::{Date, SECOND, iso_week, split, weekday};

/// A part of a date or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Year,
    Month,
    Day,
    Decade,
    Century,
    Millennium,
    Microseconds,
    Milliseconds,
    Second,
    Minute,
    Hour,
    DayOfWeek,
    IsoDayOfWeek,
    Week,
    IsoYear,
    Quarter,
    DayOfYear,
    YearWeek,
    Era,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
    Epoch,
    Julian,
}

/// The value of a part: whole, or with a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extract {
    Whole(i64),
    Fraction(f64),
}

impl Extract {
    pub(crate) fn as_double(self) -> f64 {
        match self {
            Self::Whole(value) => value as f64,
            Self::Fraction(value) => value,
        }
    }
}

impl Part {
    /// The part DuckDB means by `name`.
    pub(crate) fn parse(name: &str) -> duckdb::Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "year" | "yr" | "y" | "years" | "yrs" => Self::Year,
            "month" | "mon" | "months" | "mons" => Self::Month,
            "day" | "days" | "d" | "dayofmonth" => Self::Day,
            "decade" | "dec" | "decades" | "decs" => Self::Decade,
            "century" | "cent" | "centuries" | "c" => Self::Century,
            "millennium" | "mil" | "millenniums" | "millennia" | "mils" | "millenium" => Self::Millennium,
            "microseconds" | "microsecond" | "us" | "usec" | "usecs" | "usecond" | "useconds" => {
                Self::Microseconds
            }
            "milliseconds" | "millisecond" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => {
                Self::Milliseconds
            }
            "second" | "sec" | "seconds" | "secs" | "s" => Self::Second,
            "minute" | "min" | "minutes" | "mins" | "m" => Self::Minute,
            "hour" | "hr" | "hours" | "hrs" | "h" => Self::Hour,
            "epoch" => Self::Epoch,
            "dow" | "dayofweek" | "weekday" => Self::DayOfWeek,
            "isodow" => Self::IsoDayOfWeek,
            "week" | "weeks" | "w" | "weekofyear" => Self::Week,
            "doy" | "dayofyear" => Self::DayOfYear,
            "quarter" | "quarters" => Self::Quarter,
            "yearweek" => Self::YearWeek,
            "isoyear" => Self::IsoYear,
            "era" => Self::Era,
            "timezone" => Self::Timezone,
            "timezone_hour" => Self::TimezoneHour,
            "timezone_minute" => Self::TimezoneMinute,
            "julian" | "jd" => Self::Julian,
            _ => {
                return Err(duckdb::Error::invalid_input(format!(
                    "\"{name}\" is not a date part; expected one such as \"year\", \"month\", \"day\" or \"hour\""
                )));
            }
        })
    }

    /// Whether the part has a fraction and is a DOUBLE.
    pub(crate) fn is_fraction(self) -> bool {
        matches!(self, Self::Epoch | Self::Julian)
    }

    /// The part of a finite timestamp in UTC.
    pub(crate) fn extract(self, micros: i64) -> Extract {
        let (days, time) = split(micros);
        let date = Date::of(days);
        // Centuries and millennia start with their year 1, and count backwards before Christ.
        let count_of = |years: i64| {
            let count = (date.year_of_era() - 1) / years + 1;
            if date.year > 0 { count } else { -count }
        };
        Extract::Whole(match self {
            Self::Year => date.year_of_era(),
            Self::Month => date.month,
            Self::Day => date.day,
            Self::Decade => date.year_of_era() / 10,
            Self::Century => count_of(100),
            Self::Millennium => count_of(1000),
            Self::Microseconds => time % (60 * SECOND),
            Self::Milliseconds => time % (60 * SECOND) / 1000,
            Self::Second => time / SECOND % 60,
            Self::Minute => time / (60 * SECOND) % 60,
            Self::Hour => time / (3600 * SECOND),
            Self::DayOfWeek => weekday(days),
            Self::IsoDayOfWeek => (weekday(days) + 6) % 7 + 1,
            Self::Week => iso_week(days).1,
            Self::IsoYear => iso_week(days).0,
            Self::Quarter => (date.month - 1) / 3 + 1,
            Self::DayOfYear => days - Date { year: date.year, month: 1, day: 1 }.days() + 1,
            Self::YearWeek => {
                let (year, week) = iso_week(days);
                year * 100 + if year > 0 { week } else { -week }
            }
            Self::Era => date.era(),
            Self::Timezone | Self::TimezoneHour | Self::TimezoneMinute => 0,
            Self::Epoch => {
                // ICU counts in milliseconds; adding the rest in this order gives the same double.
                let millis = micros.div_euclid(1000) as f64 / 1000.0;
                return Extract::Fraction(millis + micros.rem_euclid(1000) as f64 / 1e6);
            }
            Self::Julian => {
                const DAYS_BEFORE_1970: i64 = 2_440_588;
                return Extract::Fraction(time as f64 / 86_400e6 + (days + DAYS_BEFORE_1970) as f64);
            }
        })
    }
}

/// The English name of a month, from 1.
pub(crate) fn month_name(month: i64) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    usize::try_from(month - 1).ok().and_then(|index| NAMES.get(index)).copied().unwrap_or_default()
}

/// The English name of a weekday, Sunday being 0.
pub(crate) fn day_name(weekday: i64) -> &'static str {
    const NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
    usize::try_from(weekday).ok().and_then(|index| NAMES.get(index)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timezone::pure::calendar::DAY;

    fn whole(part: &str, micros: i64) -> i64 {
        match Part::parse(part).expect("a part").extract(micros) {
            Extract::Whole(value) => value,
            Extract::Fraction(value) => panic!("{part} is {value}"),
        }
    }

    #[test]
    fn parts_before_christ_count_as_icu_counts_them() {
        // 15 March 44 BC
        let ides = Date { year: -43, month: 3, day: 15 }.days() * DAY;
        let expected =
            [("year", 44), ("era", 0), ("century", -1), ("decade", 4), ("isoyear", -43), ("yearweek", -4311)];
        for (part, value) in expected {
            assert_eq!(whole(part, ides), value, "{part}");
        }
    }

    #[test]
    fn parts_before_1970_are_not_negative() {
        assert_eq!(whole("hour", -1), 23);
        assert_eq!(whole("microseconds", -1), 59_999_999);
        assert_eq!(whole("dow", -1), 3);
    }

    #[test]
    fn an_unknown_part_is_named() {
        let error = Part::parse("fortnight").expect_err("no such part");
        assert!(error.message.contains("fortnight"), "{}", error.message);
    }
}
