//! Sizes and counts, written for people.
//! Runs on: any thread; pure.

use pintail::config::Bytes;

/// A size to three digits, for reading, not for computing.
pub(super) fn rounded(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            return format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift));
        }
    }
    Bytes(bytes).to_string()
}

/// A count with its thousands apart: 6,001,215.
pub(super) fn grouped(count: i64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
