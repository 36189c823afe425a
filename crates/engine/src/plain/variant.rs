//! A value in the Variant binary encoding -> what is wrong with it, if anything.
//! Runs on: the task that decodes a stream; only for columns of arrow.parquet.variant. Pure.
//! Never: follows more values than there are bytes, or deeper than a bound: offsets may point anywhere.
//!
//! Source: Apache Parquet, "Variant Binary Encoding". The engine decodes by recursion.

use super::ranges;

/// Values within values; the engine's decoder uses the stack of its thread.
const DEPTH_MAX: usize = 256;

type Checked<T = ()> = Result<T, String>;

/// What is wrong with the pair of `metadata` and `value`.
pub(super) fn variant(metadata: &[u8], value: &[u8]) -> Option<String> {
    let names = match names(metadata) {
        Ok(names) => names,
        Err(wrong) => return Some(format!("variant metadata {wrong}")),
    };
    let mut seen = 0;
    Reader { names, bytes: value }.value(0, 0, &mut seen).err()
}

fn number(bytes: &[u8], at: usize, width: usize) -> Checked<usize> {
    let part = at.checked_add(width).and_then(|end| bytes.get(at..end)).ok_or_else(breaks_off)?;
    Ok(part.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
}

fn breaks_off() -> String {
    "that breaks off".to_owned()
}

/// Checks the dictionary of names and counts them.
fn names(bytes: &[u8]) -> Checked<usize> {
    let header = *bytes.first().ok_or_else(breaks_off)?;
    if header & 0x0f != 1 {
        return Err(format!("of version {}, where only 1 is known", header & 0x0f));
    }
    let width = usize::from(header >> 6) + 1;
    let count = number(bytes, 1, width)?;
    let strings =
        1 + width + count.checked_add(1).and_then(|count| count.checked_mul(width)).ok_or_else(breaks_off)?;
    let text = bytes.get(strings..).ok_or_else(breaks_off)?;
    let mut before = 0;
    for index in 0..=count {
        let offset = number(bytes, 1 + width + index * width, width)?;
        if offset < before || offset > text.len() || (index == 0 && offset != 0) {
            return Err("whose offsets do not fit its strings".to_owned());
        }
        if std::str::from_utf8(&text[before..offset]).is_err() {
            return Err("with a name that is not UTF-8".to_owned());
        }
        before = offset;
    }
    Ok(count)
}

struct Reader<'a> {
    names: usize,
    bytes: &'a [u8],
}

/// How an object or an array is laid out.
struct Layout {
    /// Its count has four bytes instead of one.
    is_large: bool,
    offset_width: usize,
    /// Bytes of the number of a field; none in an array.
    id_width: Option<usize>,
}

impl Reader<'_> {
    fn part(&self, at: usize, length: usize) -> Checked<&[u8]> {
        let end = at.checked_add(length);
        end.and_then(|end| self.bytes.get(at..end))
            .ok_or_else(|| "a variant value that breaks off".to_owned())
    }

    fn value(&self, at: usize, depth: usize, seen: &mut usize) -> Checked {
        // Every value has at least one byte of its own, so more values than bytes lie over each other.
        *seen += 1;
        if *seen > self.bytes.len().max(1) {
            return Err("variant values that lie over each other".to_owned());
        }
        if depth > DEPTH_MAX {
            return Err(format!("a variant nested deeper than {DEPTH_MAX} levels"));
        }
        let header = self.part(at, 1)?[0];
        let kind = header >> 2;
        match header & 3 {
            0 => self.primitive(kind, at + 1),
            1 => self.text(at + 1, usize::from(kind)),
            2 => {
                let (offset_width, id_width) = (usize::from(kind & 3) + 1, usize::from(kind >> 2 & 3) + 1);
                let id_width = Some(id_width);
                let layout = Layout { is_large: kind >> 4 & 1 == 1, offset_width, id_width };
                self.children(at + 1, layout, depth, seen)
            }
            _ => {
                let offset_width = usize::from(kind & 3) + 1;
                let layout = Layout { is_large: kind >> 2 & 1 == 1, offset_width, id_width: None };
                self.children(at + 1, layout, depth, seen)
            }
        }
    }

    fn children(&self, at: usize, layout: Layout, depth: usize, seen: &mut usize) -> Checked {
        let Layout { is_large, offset_width, id_width } = layout;
        let count_width = if is_large { 4 } else { 1 };
        self.part(at, count_width)?;
        let count = number(self.bytes, at, count_width)?;
        let ids = at + count_width;
        let ids_length = count.saturating_mul(id_width.unwrap_or_default());
        self.part(ids, ids_length)?;
        let offsets = ids + ids_length;
        let offsets_length = count.saturating_add(1).saturating_mul(offset_width);
        self.part(offsets, offsets_length)?;
        let values = offsets + offsets_length;
        let mut ids_seen = std::collections::HashSet::new();
        for index in 0..count {
            if let Some(width) = id_width {
                let id = number(self.bytes, ids + index * width, width)?;
                if id >= self.names {
                    return Err(format!("a variant object with field {id} of {} names", self.names));
                }
                if !ids_seen.insert(id) {
                    return Err("a variant object with one field twice".to_owned());
                }
            }
            let offset = number(self.bytes, offsets + index * offset_width, offset_width)?;
            self.value(values.saturating_add(offset), depth + 1, seen)?;
        }
        Ok(())
    }

    fn text(&self, at: usize, length: usize) -> Checked {
        match std::str::from_utf8(self.part(at, length)?) {
            Ok(_) => Ok(()),
            Err(_) => Err("variant text that is not UTF-8".to_owned()),
        }
    }

    fn integer(&self, at: usize, width: usize) -> Checked<i128> {
        let mut bytes = [0; 16];
        let part = self.part(at, width)?;
        bytes[16 - width..].copy_from_slice(part);
        Ok(i128::from_le_bytes(bytes) >> (128 - 8 * width))
    }

    fn decimal(&self, at: usize, width: usize, digits: u32) -> Checked {
        let scale = self.part(at, 1)?[0];
        let value = self.integer(at + 1, width)?;
        if scale > 38 || value.unsigned_abs() >= 10_u128.pow(digits) {
            return Err(format!("a variant decimal of more than {digits} digits, or a scale above 38"));
        }
        Ok(())
    }

    fn primitive(&self, kind: u8, at: usize) -> Checked {
        let within = |value: i128, range: Option<String>| match range {
            None => Ok(()),
            Some(rule) => Err(format!("a variant with {value}, {rule}")),
        };
        match kind {
            0..=2 => Ok(()),
            3 => self.part(at, 1).map(drop),
            4 => self.part(at, 2).map(drop),
            5 | 14 => self.part(at, 4).map(drop),
            6 | 7 => self.part(at, 8).map(drop),
            8 => self.decimal(at, 4, 9),
            9 => self.decimal(at, 8, 18),
            10 => self.decimal(at, 16, 38),
            11 => {
                let days = self.integer(at, 4)?;
                within(days, ranges::date(days))
            }
            12 | 13 => {
                let micros = self.integer(at, 8)?;
                within(micros, ranges::micros(micros))
            }
            17 => {
                let micros = self.integer(at, 8)?;
                within(micros, ranges::time_micros(micros))
            }
            18 | 19 => {
                let nanos = self.integer(at, 8)?;
                within(nanos, ranges::nanos(nanos))
            }
            15 | 16 => {
                let length = usize::try_from(self.integer(at, 4)? & 0xffff_ffff).unwrap_or(usize::MAX);
                if kind == 16 { self.text(at + 4, length) } else { self.part(at + 4, length).map(drop) }
            }
            20 => self.part(at, 16).map(drop),
            other => Err(format!("a variant of the unknown type {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::variant;

    const NONE: &[u8] = &[1, 0, 0];

    #[test]
    fn values_as_the_encoding_has_them_pass() {
        // One name, "a".
        let names: &[u8] = &[1, 1, 0, 1, b'a'];
        // null, int8 7, "hi", [1], {"a": 1}, decimal4 1.5, timestamp 0.
        for value in [
            &[0][..],
            &[3 << 2, 7],
            &[2 << 2 | 1, b'h', b'i'],
            &[3, 1, 0, 2, 3 << 2, 1],
            &[2, 1, 0, 0, 2, 3 << 2, 1],
            &[8 << 2, 1, 15, 0, 0, 0],
            &[12 << 2, 0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(variant(names, value), None, "{value:?}");
        }
    }

    #[test]
    fn values_that_are_not_whole_are_refused() {
        for (metadata, value, part) in [
            (&[][..], &[0][..], "breaks off"),
            (&[2, 0, 0], &[0], "version 2"),
            (&[1, 1, 0, 9, b'a'], &[0], "offsets"),
            (NONE, &[], "breaks off"),
            (NONE, &[3 << 2], "breaks off"),
            (NONE, &[2 << 2 | 1, 0xff, 0xfe], "UTF-8"),
            (NONE, &[2, 1, 0, 0, 2, 3 << 2, 1], "field 0 of 0 names"),
            (NONE, &[3, 2, 0, 1, 2, 0], "breaks off"),
            (NONE, &[63 << 2], "unknown type 63"),
            (NONE, &[17 << 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "time of day"),
        ] {
            let found = variant(metadata, value);
            assert!(found.as_ref().is_some_and(|found| found.contains(part)), "{value:?}: {found:?}");
        }
    }

    /// Two elements at one place, several times over, would be read 2^n times.
    #[test]
    fn values_over_each_other_are_refused() {
        let mut value = vec![0];
        for _ in 0..30 {
            // An array of two: both elements begin where the rest begins.
            value = [vec![3, 2, 0, 0, 0], value].concat();
        }
        assert!(variant(NONE, &value).unwrap().contains("lie over each other"));
        let mut deep = vec![0];
        for _ in 0..1000 {
            deep = [vec![3, 1, 0, 0], deep].concat();
        }
        assert!(variant(NONE, &deep).unwrap().contains("deeper than 256"));
    }
}
