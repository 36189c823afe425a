//! A default as TOML has it -> the SQL literal of its column's type, and back.
//! Runs on: any thread; pure.
//! Never: lets a value pass that the engine would refuse or change.
//!
//! Literals are written as the engine prints them, `CAST('0.0' AS DOUBLE)`, so that the default of a table can be
//! compared with the declared one as text.

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{
    DataType, Date32Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use toml::de::DeValue;

use super::DeclaredType;
use crate::error::shorten;

/// The literal of `data_type` for the default `value`.
///
/// Errors: what was expected and what was found.
pub(super) fn literal(value: &DeValue<'_>, data_type: &DeclaredType) -> Result<String, String> {
    let text = checked(value, data_type)?;
    Ok(cast(&text, &data_type.duckdb))
}

fn cast(text: &str, duckdb: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    match printed_type(duckdb) {
        None => quoted,
        Some(printed) => format!("CAST({quoted} AS {printed})"),
    }
}

/// A type as the engine prints it inside an expression; none for text, which needs no cast.
fn printed_type(duckdb: &str) -> Option<String> {
    match duckdb {
        "VARCHAR" => None,
        "JSON" => Some("\"JSON\"".to_owned()),
        decimal if decimal.starts_with("DECIMAL(") => Some(decimal.replace(',', ", ")),
        other => Some(other.to_owned()),
    }
}

/// The default in `literal` as a TOML value, or none when it is not written as [`literal()`] writes it.
pub(crate) fn toml_value(literal: &str, data_type: &DeclaredType) -> Option<String> {
    let quoted = match printed_type(&data_type.duckdb) {
        None => literal,
        Some(printed) => literal.strip_prefix("CAST(")?.strip_suffix(&format!(" AS {printed})"))?,
    };
    let text = quoted.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    let bare = match &data_type.arrow {
        DataType::Boolean => true,
        other => data_type.duckdb != "JSON" && (other.is_integer() || other.is_floating()),
    };
    let value = if bare { text } else { toml::Value::String(text).to_string() };
    // Read again: a default that somebody else gave the table may say what a declaration cannot.
    let read = DeValue::parse(&value).ok()?;
    (self::literal(read.get_ref(), data_type).ok()? == literal).then_some(value)
}

/// The default that a plain SQL literal such as `42`, `true` or `'x'` gives, as [`literal()`] writes it.
pub(crate) fn from_expression(expression: &str, data_type: &DeclaredType) -> Option<String> {
    if toml_value(expression, data_type).is_some() {
        return Some(expression.to_owned());
    }
    let value = match expression.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inside) if !inside.replace("''", "").contains('\'') => {
            toml::Value::String(inside.replace("''", "'")).to_string()
        }
        Some(_) => return None,
        None => expression.to_owned(),
    };
    literal(DeValue::parse(&value).ok()?.get_ref(), data_type).ok()
}

/// The text of `value`, in the form the type has only one of.
fn checked(value: &DeValue<'_>, data_type: &DeclaredType) -> Result<String, String> {
    let expected = |what: &str| format!("expected {what} for {}, found {}", data_type.text, shown(value));
    if data_type.is_nested() {
        return Err(format!("a column of type {} takes no default", data_type.text));
    }
    let string = value.as_str();
    if string.is_some_and(|text| text.contains('\0')) {
        return Err("the text holds a NUL".to_owned());
    }
    match data_type.duckdb.as_str() {
        "BOOLEAN" => value.as_bool().map(|flag| flag.to_string()).ok_or_else(|| expected("true or false")),
        "VARCHAR" => string.map(str::to_owned).ok_or_else(|| expected("a text in quotes")),
        "BLOB" => {
            let text = string.ok_or_else(|| expected("a text in quotes"))?;
            let length = blob_length(text).ok_or_else(|| {
                expected("a text of ASCII letters and bytes such as \\xFF (in TOML '\\xFF')")
            })?;
            match &data_type.arrow {
                DataType::FixedSizeBinary(wanted) if usize::try_from(*wanted).ok() != Some(length) => {
                    Err(expected(&format!("{wanted} bytes")))
                }
                _ => Ok(text.to_owned()),
            }
        }
        "UUID" => {
            let text = string.unwrap_or_default().to_lowercase();
            if is_uuid(&text) {
                Ok(text)
            } else {
                Err(expected("a UUID such as \"6ba7b810-9dad-11d1-80b4-00c04fd430c8\""))
            }
        }
        "JSON" => match string {
            Some(text) if serde_json::from_str::<serde_json::Value>(text).is_ok() => Ok(text.to_owned()),
            _ => Err(expected("a text in quotes that holds JSON")),
        },
        "FLOAT" | "DOUBLE" => {
            float(value, data_type.duckdb == "FLOAT").ok_or_else(|| expected("a number that fits"))
        }
        "INTERVAL" => Err(format!("a column of type {} takes no default", data_type.text)),
        decimal if decimal.starts_with("DECIMAL(") => {
            let (precision, scale) = digits(&data_type.arrow).ok_or_else(|| expected("a decimal"))?;
            let text = match value {
                DeValue::Integer(_) => integer(value).map(|number| number.to_string()),
                DeValue::Float(number) => Some(number.as_str().to_owned()),
                _ => string.map(str::to_owned),
            };
            text.and_then(|text| decimal_text(&text, precision, scale)).ok_or_else(|| {
                expected(&format!(
                    "a number of up to {} digits before and {scale} after the point",
                    precision - scale
                ))
            })
        }
        "DATE" | "TIME" | "TIME_NS" => point(value, data_type),
        time if time.starts_with("TIMESTAMP") => point(value, data_type),
        _ => match (integer(value), range(&data_type.arrow)) {
            (Some(number), Some((least, most))) if (least..=most).contains(&number) => Ok(number.to_string()),
            (_, Some((least, most))) => Err(expected(&format!("a whole number from {least} to {most}"))),
            (_, None) => Err(format!("a column of type {} takes no default", data_type.text)),
        },
    }
}

/// The value for texts.
fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(point) => point.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => format!("a TOML {}", value.type_str()),
    };
    shorten(&text, 80)
}

fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn range(arrow: &DataType) -> Option<(i128, i128)> {
    Some(match arrow {
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => (0, u8::MAX.into()),
        DataType::UInt16 => (0, u16::MAX.into()),
        DataType::UInt32 => (0, u32::MAX.into()),
        DataType::UInt64 => (0, u64::MAX.into()),
        DataType::Dictionary(_, values) => return range(values),
        DataType::RunEndEncoded(_, values) => return range(values.data_type()),
        _ => return None,
    })
}

fn digits(arrow: &DataType) -> Option<(usize, usize)> {
    match arrow {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            Some((usize::from(*precision), usize::try_from(*scale).ok()?))
        }
        DataType::Dictionary(_, values) => digits(values),
        DataType::RunEndEncoded(_, values) => digits(values.data_type()),
        _ => None,
    }
}

/// `{:?}` of a float is the shortest text that reads back as the same number.
fn float(value: &DeValue<'_>, single: bool) -> Option<String> {
    let text = match value {
        DeValue::Integer(_) => integer(value)?.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        _ => return None,
    };
    let number: f64 = text.parse().ok()?;
    // A text beyond the range is read as infinite, which only "inf" means.
    if number.is_infinite() && !text.contains("inf") {
        return None;
    }
    if !single {
        return Some(format!("{number:?}").to_lowercase());
    }
    let short: f32 = text.parse().ok()?;
    (short.is_infinite() == number.is_infinite()).then(|| format!("{short:?}").to_lowercase())
}

/// `text` with exactly `scale` digits after the point, when that changes nothing.
fn decimal_text(text: &str, precision: usize, scale: usize) -> Option<String> {
    let text = text.trim();
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let numeric = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !numeric(whole) || !numeric(fraction) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.len() > precision - scale || fraction.len() > scale {
        return None;
    }
    let sign = if whole.is_empty() && fraction.is_empty() { "" } else { sign };
    let whole = if whole.is_empty() { "0" } else { whole };
    if scale == 0 {
        Some(format!("{sign}{whole}"))
    } else {
        Some(format!("{sign}{whole}.{fraction:0<scale$}"))
    }
}

/// Bytes that the engine reads `text` as; none when it would refuse it.
fn blob_length(text: &str) -> Option<usize> {
    let mut bytes = text.bytes();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        if !byte.is_ascii() {
            return None;
        }
        if byte == b'\\' {
            let escape = [bytes.next()?, bytes.next()?, bytes.next()?];
            if escape[0] != b'x' || !escape[1..].iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
        }
        length += 1;
    }
    Some(length)
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// A date, a time of day or a point in time, from a TOML datetime or a text of the same form.
fn point(value: &DeValue<'_>, data_type: &DeclaredType) -> Result<String, String> {
    let (arrow, form) = match &data_type.arrow {
        DataType::Date32 | DataType::Date64 => (&DataType::Date32, "a date such as 2026-01-31"),
        DataType::Dictionary(_, values) => (&**values, "a date or time"),
        DataType::RunEndEncoded(_, values) => (values.data_type(), "a date or time"),
        other @ DataType::Timestamp(_, Some(_)) => {
            (other, "a time with its offset such as 2026-01-31T10:00:00Z")
        }
        other @ DataType::Timestamp(_, None) => {
            (other, "a time without an offset such as 2026-01-31T10:00:00")
        }
        other => (other, "a time of day such as 10:30:00"),
    };
    let expected = |why: &str| format!("expected {form} for {}, found {}{why}", data_type.text, shown(value));
    let text = match value {
        DeValue::Datetime(point) => point.to_string(),
        DeValue::String(text) => text.trim().to_owned(),
        _ => return Err(expected("")),
    };
    let fraction =
        text.split_once('.').map_or(0, |(_, rest)| rest.bytes().take_while(u8::is_ascii_digit).count());
    let digits_max = match arrow {
        DataType::Time32(unit) | DataType::Time64(unit) | DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 3,
            TimeUnit::Microsecond => 6,
            TimeUnit::Nanosecond => 9,
        },
        _ => 0,
    };
    if fraction > digits_max {
        return Err(expected(&format!(", which has more than {digits_max} digits after the second")));
    }
    let has_date =
        text.len() >= 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-' && text.is_ascii();
    match arrow {
        DataType::Date32 | DataType::Date64 => {
            (has_date && text.len() == 10 && Date32Type::parse(&text).is_some()).then_some(text)
        }
        DataType::Timestamp(unit, zone) if has_date => {
            let offset = text.ends_with(['Z', 'z']) || text[10..].contains(['+', '-']);
            let whole = if text.len() == 10 && zone.is_none() { format!("{text}T00:00:00") } else { text };
            let in_range = match unit {
                TimeUnit::Nanosecond => TimestampNanosecondType::parse(&whole).is_some(),
                _ => TimestampMicrosecondType::parse(&whole).is_some(),
            };
            (in_range && offset == zone.is_some()).then_some(whole)
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let of_day =
                text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte));
            (of_day && Time64NanosecondType::parse(&text).is_some()).then_some(text)
        }
        _ => None,
    }
    .ok_or_else(|| expected(""))
}

#[cfg(test)]
mod tests;
