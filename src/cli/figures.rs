//! Sizes and counts, written for people.
//! Runs on: any thread; pure.

use pintail::config::Bytes;
pub(super) use pintail::load::grouped;

/// A size to three digits, for reading, not for computing.
pub(super) fn rounded(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            return format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift));
        }
    }
    Bytes(bytes).to_string()
}
