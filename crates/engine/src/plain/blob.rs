//! Bytes that stand for a value of DuckDB -> what is wrong with them, if anything.
//! Runs on: the task that decodes a stream; only for columns of such types. Pure.
//! Never: recurses over what a client sent without a bound.
//!
//! The engine stores these bytes as they come and reads them in later statements, where bytes of another form are
//! an error of the whole statement, or of the database.

/// BIT: the number of padding bits, then the bits, padded with ones at the front.
///
/// Source: DuckDB's `Bit::Verify`.
pub(super) fn bit(bytes: &[u8]) -> Option<String> {
    let [padding, first, ..] = bytes else {
        return Some(format!("{} bytes, where a BIT has at least 2", bytes.len()));
    };
    if *padding > 7 {
        return Some(format!(
            "a first byte of {padding}, where a BIT has its number of padding bits, 0 to 7"
        ));
    }
    let mask = !(0xff_u8 >> *padding);
    (first & mask != mask).then(|| "padding bits that are not all 1".to_owned())
}

/// BIGNUM: three bytes of sign and length, then the digits, all inverted when it is negative.
///
/// Source: DuckDB's `Bignum::Verify`.
pub(super) fn bignum(bytes: &[u8]) -> Option<String> {
    let [a, b, c, first, ..] = bytes else {
        return Some(format!("{} bytes, where a BIGNUM has at least 4", bytes.len()));
    };
    let is_negative = a & 0x80 == 0;
    let plain = |byte: &u8| if is_negative { !byte } else { *byte };
    let length = usize::from(plain(a) & 0x7f) << 16 | usize::from(plain(b)) << 8 | usize::from(plain(c));
    if length != bytes.len() - 3 {
        return Some(format!("a header of {length} bytes over {} bytes of a BIGNUM", bytes.len() - 3));
    }
    let is_zero = plain(first) == 0;
    if is_zero && length > 1 {
        return Some("a BIGNUM with a leading zero".to_owned());
    }
    (is_zero && is_negative).then(|| "a BIGNUM of -0".to_owned())
}

/// Collections within collections that the engine follows (`Geometry::MAX_RECURSION_DEPTH`).
const GEOMETRY_DEPTH_MAX: usize = 16;

/// GEOMETRY: well-known binary, also in PostGIS's extended form.
///
/// Source: DuckDB's `AnalyzeWKB`.
pub(super) fn geometry(bytes: &[u8]) -> Option<String> {
    Wkb { bytes, at: 0 }.whole().err()
}

struct Wkb<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Wkb<'_> {
    fn skip(&mut self, length: u64) -> Result<usize, String> {
        let from = self.at;
        let end = usize::try_from(length).ok().and_then(|length| from.checked_add(length));
        match end.filter(|end| *end <= self.bytes.len()) {
            Some(end) => {
                self.at = end;
                Ok(from)
            }
            None => Err(format!("well-known binary that breaks off after {} bytes", self.bytes.len())),
        }
    }

    fn number(&mut self, is_little: bool) -> Result<u32, String> {
        let from = self.skip(4)?;
        let bytes: [u8; 4] = self.bytes[from..from + 4].try_into().unwrap_or_default();
        Ok(if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn whole(&mut self) -> Result<(), String> {
        // Parts that are still to come, and the type they have to be of; 0 for any.
        let mut open: Vec<(u32, u32)> = Vec::new();
        let mut dimensions = None;
        loop {
            let from = self.skip(1)?;
            let is_little = match self.bytes[from] {
                0 => false,
                1 => true,
                other => return Err(format!("a byte order of {other} in well-known binary")),
            };
            let meta = self.number(is_little)?;
            let (kind, flags) = ((meta & 0xffff) % 1000, (meta & 0xffff) / 1000);
            if flags > 3 {
                return Err(format!("the geometry type {meta} in well-known binary"));
            }
            let has_z = flags & 1 != 0 || meta & 0x8000_0000 != 0;
            let has_m = flags & 2 != 0 || meta & 0x4000_0000 != 0;
            if *dimensions.get_or_insert((has_z, has_m)) != (has_z, has_m) {
                return Err("parts with and without Z or M in one geometry".to_owned());
            }
            if let Some((_, required)) = open.last()
                && *required != 0
                && *required != kind
            {
                return Err(format!("a part of type {kind} in a collection of type {}", required + 3));
            }
            if meta & 0x2000_0000 != 0 {
                self.skip(4)?;
            }
            let vertex = 8 * (2 + u64::from(has_z) + u64::from(has_m));
            match kind {
                1 => drop(self.skip(vertex)?),
                2 => {
                    let vertices = self.number(is_little)?;
                    self.skip(u64::from(vertices) * vertex)?;
                }
                3 => {
                    for _ in 0..self.number(is_little)? {
                        let vertices = self.number(is_little)?;
                        self.skip(u64::from(vertices) * vertex)?;
                    }
                }
                4..=7 => {
                    let parts = self.number(is_little)?;
                    open.push((parts, if kind == 7 { 0 } else { kind - 3 }));
                }
                other => return Err(format!("the geometry type {other} in well-known binary")),
            }
            while open.last().is_some_and(|(parts, _)| *parts == 0) {
                open.pop();
            }
            match open.last_mut() {
                Some((parts, _)) => *parts -= 1,
                None if self.at == self.bytes.len() => return Ok(()),
                None => return Err(format!("{} bytes behind the geometry", self.bytes.len() - self.at)),
            }
            if open.len() >= GEOMETRY_DEPTH_MAX {
                return Err(format!("collections deeper than {GEOMETRY_DEPTH_MAX} levels"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_have_their_padding() {
        // '10101' and '1', as the engine writes them.
        for good in [&[3, 0b1111_0101][..], &[7, 0xff], &[0, 0, 1]] {
            assert_eq!(bit(good), None, "{good:?}");
        }
        for bad in [&[][..], &[0], &[8, 0xff], &[3, 0b0111_0101]] {
            assert!(bit(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn bignums_have_their_length() {
        // 0, 1, -1 and 256, as the engine writes them.
        for good in [&[0x80, 0, 1, 0][..], &[0x80, 0, 1, 1], &[0x7f, 0xff, 0xfe, 0xfe], &[0x80, 0, 2, 1, 0]] {
            assert_eq!(bignum(good), None, "{good:?}");
        }
        for bad in [
            &[][..],
            &[0x80, 0, 1],
            &[0x80, 0, 2, 1],
            &[0x80, 0, 2, 0, 1],
            &[0x7f, 0xff, 0xfe, 0xff],
            &[0x7f, 0xff, 0xfe, 0xfe, 0xfe],
        ] {
            assert!(bignum(bad).is_some(), "{bad:?}");
        }
    }

    /// A geometry of `kind`, little-endian.
    fn wkb(kind: u32, rest: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![1];
        bytes.extend(kind.to_le_bytes());
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn geometries_are_whole() {
        let point = wkb(1, &[&[0; 16]]);
        let mut nested = point.clone();
        for _ in 0..10 {
            nested = wkb(7, &[&1_u32.to_le_bytes(), &nested]);
        }
        let empty = wkb(7, &[&0_u32.to_le_bytes()]);
        let line = wkb(2, &[&1_u32.to_le_bytes(), &[0; 16]]);
        let points = wkb(4, &[&2_u32.to_le_bytes(), &point, &point]);
        let with_id = wkb(0x2000_0001, &[&4326_u32.to_le_bytes(), &[0; 16]]);
        for good in [&point, &nested, &empty, &line, &points, &with_id] {
            assert_eq!(geometry(good), None, "{good:?}");
        }
        let mut deep = point.clone();
        for _ in 0..40 {
            deep = wkb(7, &[&1_u32.to_le_bytes(), &deep]);
        }
        let broken = wkb(2, &[&u32::MAX.to_le_bytes(), &[0; 16]]);
        let mixed = wkb(4, &[&1_u32.to_le_bytes(), &line]);
        let longer = [point.clone(), vec![0]].concat();
        for bad in [&deep, &broken, &mixed, &longer, &vec![], &wkb(99, &[]), &vec![7; 21]] {
            assert!(geometry(bad).is_some(), "{bad:?}");
        }
    }
}
