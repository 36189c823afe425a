//! What a text may mean: its class, for inference, and its value in a given type.
//! Runs on: any thread. Never: changes a value; takes a text for a number, date or time when a digit of it would be lost.
//!
//! Text whenever in doubt. Not taken for numbers: leading zeros (`007`), a plus sign, `-0`, digits beyond what the type
//! holds, `1e5` (a code as often as a number; writers of numbers write `1e+05` or `1.0E5`).

use chrono::NaiveDate;

/// What a single text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Boolean,
    /// Of 64 bits; `exact` when a double holds it as well.
    Integer {
        exact: bool,
    },
    /// With a point or an exponent, and no digit that a double loses.
    Double,
    /// `NaN`, `inf` and such: numbers only beside other doubles.
    NotANumber,
    Date,
    /// Without a zone; `nanos` when microseconds do not hold it.
    Timestamp {
        nanos: bool,
    },
    /// With a zone.
    Instant,
    Text,
}

pub(super) fn classify(text: &str) -> Class {
    let bytes = text.as_bytes();
    let Some(first) = bytes.first() else { return Class::Text };
    match first {
        b't' | b'T' | b'f' | b'F' if boolean_word(text).is_some() => Class::Boolean,
        b'n' | b'N' | b'i' | b'I' => not_a_number(text),
        b'-' if matches!(bytes.get(1), Some(b'i' | b'I')) => not_a_number(text),
        b'0'..=b'9' | b'-' | b'.' => {
            if bytes.len() >= 10 && bytes[4] == b'-' {
                return moment(text);
            }
            number(text)
        }
        _ => Class::Text,
    }
}

fn boolean_word(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn not_a_number(text: &str) -> Class {
    match text {
        "NaN" | "nan" | "inf" | "-inf" | "Inf" | "-Inf" | "Infinity" | "-Infinity" => Class::NotANumber,
        _ => Class::Text,
    }
}

/// Also tells numbers of JSON apart.
pub(super) fn number(text: &str) -> Class {
    let Some(parts) = Number::of(text) else { return Class::Text };
    let negative_zero = parts.negative && parts.whole == "0";
    match (parts.fraction, parts.exponent) {
        (None, None) if negative_zero => Class::Text,
        (None, None) => match text.parse::<i64>() {
            Ok(_) => Class::Integer { exact: keeps_digits(text) },
            Err(_) => Class::Text,
        },
        (None, Some(exponent)) if !exponent.starts_with(['+', '-']) => Class::Text,
        _ if keeps_digits(text) => Class::Double,
        _ => Class::Text,
    }
}

struct Number<'a> {
    negative: bool,
    whole: &'a str,
    fraction: Option<&'a str>,
    exponent: Option<&'a str>,
}

impl<'a> Number<'a> {
    /// The parts of a number as writers of numbers write it: no leading zeros, no plus sign, digits at both sides of a
    /// point.
    fn of(text: &'a str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let plain = digits(whole)
            && (whole.len() == 1 || !whole.starts_with('0'))
            && fraction.is_none_or(digits)
            && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)));
        plain.then_some(Self { negative, whole, fraction, exponent })
    }
}

/// Whether a double has all the digits of the number `text`, so that it can be written again as it was.
pub(super) fn keeps_digits(text: &str) -> bool {
    let Ok(value) = text.parse::<f64>() else { return false };
    value.is_finite() && significant(text) == significant(&format!("{value:e}"))
}

/// Digits from the first to the last that is not zero, and the power of ten of the last one.
fn significant(text: &str) -> (String, i64) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let mut power: i64 = exponent.parse().unwrap_or(i64::MAX / 2);
    let mut digits = String::with_capacity(mantissa.len());
    let mut after_point = false;
    for byte in mantissa.bytes() {
        match byte {
            b'.' => after_point = true,
            b'0'..=b'9' => {
                digits.push(char::from(byte));
                power -= i64::from(after_point);
            }
            _ => {}
        }
    }
    let kept = digits.trim_end_matches('0').len();
    power += (digits.len() - kept) as i64;
    let digits = digits[..kept].trim_start_matches('0').to_owned();
    if digits.is_empty() { (digits, 0) } else { (digits, power) }
}

fn moment(text: &str) -> Class {
    if text.len() == 10 {
        return if date(text).is_some() { Class::Date } else { Class::Text };
    }
    // Only whole seconds: hours and minutes alone may be anything.
    if text.len() < 19 {
        return Class::Text;
    }
    match parse_moment(text) {
        Some(Moment { zoned: true, nanos, .. }) if nanos % 1_000 == 0 => Class::Instant,
        Some(Moment { zoned: false, nanos, seconds }) => {
            let fits = seconds.checked_mul(1_000_000_000).is_some();
            match nanos % 1_000 == 0 {
                true => Class::Timestamp { nanos: false },
                false if fits => Class::Timestamp { nanos: true },
                false => Class::Text,
            }
        }
        _ => Class::Text,
    }
}

pub(super) fn date(text: &str) -> Option<i32> {
    let shape =
        text.len() == 10 && text.is_ascii() && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    let date = if shape { NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()? } else { return None };
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

/// A moment in seconds since 1970, in UTC when it has a zone, and the nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
    pub(super) zoned: bool,
}

/// `YYYY-MM-DD`, then `T` or a blank, `HH:MM` with `:SS` and up to nine digits more, then `Z` or an offset.
pub(super) fn parse_moment(text: &str) -> Option<Moment> {
    if !text.is_ascii() {
        return None;
    }
    if text.len() == 10 {
        let days = date(text)?;
        return Some(Moment { seconds: i64::from(days) * 86_400, nanos: 0, zoned: false });
    }
    let (day, rest) = text.split_at_checked(11)?;
    let day = day.strip_suffix(['T', ' '])?;
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone_at);
    let days = date(day)?;
    let time = clock_time(clock.trim_end_matches(' '))?;
    let seconds = i64::from(days) * 86_400 + time.0;
    let offset = if zone.is_empty() { None } else { Some(offset_seconds(zone)?) };
    Some(Moment { seconds: seconds - offset.unwrap_or(0), nanos: time.1, zoned: offset.is_some() })
}

/// Seconds of the day and nanoseconds. Neither 24:00 nor a 60th second, which no type holds.
pub(super) fn clock_time(text: &str) -> Option<(i64, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let two = |from: usize| -> Option<i64> {
        let part = whole.get(from..from + 2)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let colons = whole.as_bytes().get(2) == Some(&b':')
        && (whole.len() == 5 || whole.as_bytes().get(5) == Some(&b':'));
    if !colons || !matches!(whole.len(), 5 | 8) || (whole.len() == 5 && text.contains('.')) {
        return None;
    }
    let seconds = if whole.len() == 8 { two(6)? } else { 0 };
    let (hours, minutes) = (two(0)?, two(3)?);
    let digits = fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if hours > 23 || minutes > 59 || seconds > 59 || !digits || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let nanos = if fraction.is_empty() { 0 } else { format!("{fraction:0<9}").parse().ok()? };
    Some((hours * 3_600 + minutes * 60 + seconds, nanos))
}

/// `Z`, `+01`, `+0130`, `+01:30`.
fn offset_seconds(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.get(1..)?.chars().filter(|letter| *letter != ':').collect();
    let colon_fits = !text.contains(':') || (text.len() == 6 && text.as_bytes()[3] == b':');
    if !colon_fits || !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours <= 15 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// A boolean in the words that tables take.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// An integer of any width; leading zeros and a plus sign are taken when the type is known to be one.
pub(super) fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The number times ten to the power of `scale`, when it has no more digits after the point than that.
pub(super) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let scale = usize::try_from(scale).ok()?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > scale {
        return None;
    }
    let joined = format!("{whole}{fraction:0<scale$}");
    let joined = joined.trim_start_matches('0');
    if joined.len() > usize::from(precision) {
        return None;
    }
    let value: i128 = if joined.is_empty() { 0 } else { joined.parse().ok()? };
    Some(if negative { -value } else { value })
}

/// A double; words for infinity and NaN as numeric writers spell them.
pub(super) fn double(text: &str) -> Option<f64> {
    let hidden = text.bytes().any(|byte| byte.is_ascii_alphabetic() && !matches!(byte, b'e' | b'E'));
    if hidden && not_a_number(text) != Class::NotANumber {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    // A number too large for the type is not infinite.
    (hidden || value.is_finite()).then_some(value)
}

#[cfg(test)]
mod tests;
