//! Zone names -> offsets from UTC at any time, from the IANA database that is compiled in.
//! Runs on: DuckDB's worker threads; pure.
//! Never: reads the machine's zone files or its own zone.

use std::collections::HashMap;
use std::sync::LazyLock;

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{TZ_VARIANTS, Tz};

use super::calendar::{DAY, Date, SECOND, is_finite};

/// From here on the compiled database knows no transitions (it ends with 2099): see [`known_seconds`].
const FUTURE_SECONDS: i64 = 3_786_912_000; // 2090-01-01

/// Before every transition: all zones have their local mean time here.
const PAST_SECONDS: i64 = -8_000_000_000_000;

/// Short names that ICU knows and the IANA database does not.
const SHORT_NAMES: &[(&str, Tz)] = &[
    ("ACT", Tz::Australia__Darwin),
    ("AET", Tz::Australia__Sydney),
    ("AGT", Tz::America__Argentina__Buenos_Aires),
    ("ART", Tz::Africa__Cairo),
    ("AST", Tz::America__Anchorage),
    ("BET", Tz::America__Sao_Paulo),
    ("BST", Tz::Asia__Dhaka),
    ("CAT", Tz::Africa__Maputo),
    ("CNT", Tz::America__St_Johns),
    ("CST", Tz::America__Chicago),
    ("CTT", Tz::Asia__Shanghai),
    ("EAT", Tz::Africa__Nairobi),
    ("ECT", Tz::Europe__Paris),
    ("IET", Tz::America__Indiana__Indianapolis),
    ("IST", Tz::Asia__Kolkata),
    ("JST", Tz::Asia__Tokyo),
    ("MIT", Tz::Pacific__Apia),
    ("NET", Tz::Asia__Yerevan),
    ("NST", Tz::Pacific__Auckland),
    ("PLT", Tz::Asia__Karachi),
    ("PNT", Tz::America__Phoenix),
    ("PRT", Tz::America__Puerto_Rico),
    ("PST", Tz::America__Los_Angeles),
    ("SST", Tz::Pacific__Guadalcanal),
    ("VST", Tz::Asia__Ho_Chi_Minh),
    ("Canada/East-Saskatchewan", Tz::America__Regina),
    ("US/Pacific-New", Tz::America__Los_Angeles),
    ("Factory", Tz::UTC),
];

/// Every name in lower case: names are found whatever their case.
static ZONES: LazyLock<HashMap<String, Tz>> = LazyLock::new(|| {
    let listed = TZ_VARIANTS.iter().map(|zone| (zone.name(), *zone));
    listed.chain(SHORT_NAMES.iter().copied()).map(|(name, zone)| (name.to_ascii_lowercase(), zone)).collect()
});

/// A time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// Always this many seconds east of UTC.
    Fixed(i64),
    /// By the IANA database.
    Named(Tz),
}

/// Coordinated universal time.
pub(crate) const UTC: Zone = Zone::Fixed(0);

impl Zone {
    /// The zone called `name`: an IANA name in any case, one of ICU's short names, or `GMT+3`, `UTC-03:30`.
    pub(crate) fn find(name: &str) -> duckdb::Result<Self> {
        let lower = name.to_ascii_lowercase();
        if lower == "utc" {
            return Ok(UTC);
        }
        if let Some(zone) = ZONES.get(&lower) {
            return Ok(Self::Named(*zone));
        }
        lower
            .strip_prefix("gmt")
            .or_else(|| lower.strip_prefix("utc"))
            .and_then(fixed_offset)
            .map(Self::Fixed)
            .ok_or_else(|| duckdb::Error::invalid_input(format!("unknown time zone \"{name}\"")))
    }

    /// Microseconds east of UTC at a point in time.
    pub(crate) fn offset(self, instant: i64) -> i64 {
        match self {
            Self::Fixed(seconds) => seconds * SECOND,
            Self::Named(zone) => {
                let seconds = known_seconds(instant.div_euclid(SECOND)).max(PAST_SECONDS);
                let at = DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc();
                i64::from(zone.offset_from_utc_datetime(&at).fix().local_minus_utc()) * SECOND
            }
        }
    }

    /// What clocks show at a point in time; an infinite one stays what it is.
    pub(crate) fn to_local(self, instant: i64) -> Option<i64> {
        if !is_finite(instant) {
            return Some(instant);
        }
        instant.checked_add(self.offset(instant)).filter(|local| is_finite(*local))
    }

    /// The point in time at which clocks show `local`.
    ///
    /// As ICU does it: a time shown twice is the later one; a time that is skipped is counted on from before
    /// the gap, so that 02:30 becomes 03:30.
    pub(crate) fn to_instant(self, local: i64) -> Option<i64> {
        if !is_finite(local) {
            return Some(local);
        }
        if let Self::Fixed(seconds) = self {
            return local.checked_sub(seconds * SECOND).filter(|instant| is_finite(*instant));
        }
        // Offsets before and after any transition near `local`: no zone is a day away from UTC.
        let before = self.offset(local.saturating_sub(DAY));
        let after = self.offset(local.saturating_add(DAY));
        let shown = |offset: i64| {
            let instant = local.checked_sub(offset)?;
            (self.offset(instant) == offset).then_some(instant)
        };
        match (shown(before), shown(after)) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other).or_else(|| local.checked_sub(before)),
        }
        .filter(|instant| is_finite(*instant))
    }
}

/// The same moment of a year with the same rules that the database covers.
///
/// Zones that change their clocks do so by weekday and month, and a year of the same length that starts on the
/// same weekday comes within 28 years.
fn known_seconds(seconds: i64) -> i64 {
    if seconds < FUTURE_SECONDS {
        return seconds;
    }
    let start = |year| Date { year, month: 1, day: 1 }.days();
    let year = Date::of(seconds.div_euclid(86_400)).year;
    let alike = |other: &i64| {
        start(*other + 1) - start(*other) == start(year + 1) - start(year)
            && (start(*other) - start(year)).rem_euclid(7) == 0
    };
    let twin = (2050..2078).find(alike).unwrap_or(2050);
    seconds + (start(twin) - start(year)) * 86_400
}

/// Seconds of `+3`, `-03:30`, `+0330` or `+03:30:15`.
fn fixed_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let number = |digits: &str| {
        let all_digits = matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let fields: Vec<&str> = if rest.contains(':') {
        rest.split(':').collect()
    } else if rest.is_ascii() && rest.len() <= 6 {
        // Pairs of digits from the right: +330 is three hours and a half.
        let (head, tail) = if rest.len() <= 2 { (rest, "") } else { rest.split_at(2 - rest.len() % 2) };
        let pairs = (0..tail.len() / 2).map(|pair| &tail[pair * 2..pair * 2 + 2]);
        std::iter::once(head).chain(pairs).collect()
    } else {
        return None;
    };
    let mut values = [0; 3];
    if fields.len() > values.len() || fields.iter().skip(1).any(|field| field.len() != 2) {
        return None;
    }
    for (value, field) in values.iter_mut().zip(fields) {
        *value = number(field)?;
    }
    let [hours, minutes, seconds] = values;
    (hours < 24 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// Zones by name for a column of names: the last one is kept, because columns repeat themselves.
#[derive(Default)]
pub(crate) struct Finder {
    last: Option<(String, Zone)>,
}

impl Finder {
    pub(crate) fn find(&mut self, name: &str) -> duckdb::Result<Zone> {
        if let Some((last, zone)) = &self.last
            && last == name
        {
            return Ok(*zone);
        }
        let zone = Zone::find(name)?;
        self.last = Some((name.to_owned(), zone));
        Ok(zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: i64, month: i64, day: i64, minutes: i64) -> i64 {
        Date { year, month, day }.days() * DAY + minutes * 60 * SECOND
    }

    fn zone(name: &str) -> Zone {
        Zone::find(name).expect("a known zone")
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(zone("utc"), UTC);
        assert_eq!(zone("europe/berlin"), zone("Europe/Berlin"));
        assert_eq!(zone("PST"), zone("America/Los_Angeles"));
        assert_eq!(zone("GMT+3"), Zone::Fixed(3 * 3600));
        assert_eq!(zone("UTC-0330"), Zone::Fixed(-(3 * 3600 + 30 * 60)));
        assert_eq!(zone("GMT+330"), Zone::Fixed(3 * 3600 + 30 * 60));
        for unknown in ["", "nowhere", "+03:00", "GMT+24", "GMT+1:2:3:4", " UTC", "GMT+é"] {
            assert!(Zone::find(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn skipped_and_repeated_times_are_read_as_icu_reads_them() {
        let new_york = zone("America/New_York");
        assert_eq!(new_york.to_instant(at(2021, 3, 14, 150)), Some(at(2021, 3, 14, 450)));
        assert_eq!(new_york.to_instant(at(2021, 11, 7, 90)), Some(at(2021, 11, 7, 390)));
        let lord_howe = zone("Australia/Lord_Howe");
        assert_eq!(lord_howe.to_local(at(2021, 1, 1, 0)), Some(at(2021, 1, 1, 11 * 60)));
        assert_eq!(lord_howe.to_local(at(2021, 7, 1, 0)), Some(at(2021, 7, 1, 10 * 60 + 30)));
    }

    #[test]
    fn summer_time_goes_on_beyond_the_database() {
        let berlin = zone("Europe/Berlin");
        assert_eq!(berlin.offset(at(2150, 7, 1, 0)), 7200 * SECOND);
        assert_eq!(berlin.offset(at(2150, 1, 1, 0)), 3600 * SECOND);
        assert_eq!(berlin.offset(at(200_000, 7, 1, 0)), 7200 * SECOND);
        assert_eq!(berlin.offset(at(-200_000, 7, 1, 0)), berlin.offset(at(1800, 1, 1, 0)));
    }

    #[test]
    fn infinity_stays_infinite() {
        for infinite in [i64::MAX, -i64::MAX] {
            assert_eq!(zone("Asia/Kathmandu").to_local(infinite), Some(infinite));
            assert_eq!(zone("Asia/Kathmandu").to_instant(infinite), Some(infinite));
        }
    }
}
