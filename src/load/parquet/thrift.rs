//! The bytes of a footer -> every number in it with the place where it stands, before anything is made of them.
//! Runs on: the thread that opens a file; pure.
//! Never: allocates by what the bytes say, follows them deeper than a bound, or reads beyond their end.
//!
//! Source: Apache Thrift, "Thrift Compact protocol encoding".

/// Structs and lists within each other; those of a footer lie eight deep.
const DEPTH_MAX: usize = 32;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

type Walked<T = ()> = Result<T, String>;

/// Goes through one struct and calls `seen` for every whole number, with 0 for a struct and the length for a list. The
/// place is the fields' ids and the lists' indices, from the outside in.
///
/// Errors: what is wrong with the bytes, in words, and what `seen` says.
pub(super) fn walk(bytes: &[u8], seen: &mut dyn FnMut(&[i64], i64) -> Walked) -> Walked {
    let mut walker = Walker { bytes, place: Vec::with_capacity(DEPTH_MAX), seen };
    walker.fields()
}

struct Walker<'a> {
    bytes: &'a [u8],
    place: Vec<i64>,
    seen: &'a mut dyn FnMut(&[i64], i64) -> Walked,
}

impl Walker<'_> {
    fn fields(&mut self) -> Walked {
        let mut id = 0_i64;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            id = match header >> 4 {
                0 => self.signed()?,
                step => id + i64::from(step),
            };
            let kind = header & 0x0f;
            self.place.push(id);
            // A boolean field is its own header.
            if !matches!(kind, TRUE | FALSE) {
                self.value(kind)?;
            }
            self.place.pop();
        }
    }

    fn value(&mut self, kind: u8) -> Walked {
        if self.place.len() >= DEPTH_MAX {
            return Err("its parts lie too deep in each other".to_owned());
        }
        match kind {
            TRUE | FALSE | BYTE => self.pass(1),
            4..=I64 => {
                let value = self.signed()?;
                (self.seen)(&self.place, value)
            }
            DOUBLE => self.pass(8),
            UUID => self.pass(16),
            BINARY => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            LIST | SET => self.list(),
            MAP => {
                let count = self.unsigned()?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                self.check_count(count)?;
                for _ in 0..count {
                    self.value(kinds >> 4)?;
                    self.value(kinds & 0x0f)?;
                }
                Ok(())
            }
            STRUCT => {
                (self.seen)(&self.place, 0)?;
                self.fields()
            }
            other => Err(format!("it has a part of the unknown kind {other}")),
        }
    }

    fn list(&mut self) -> Walked {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => self.unsigned()?,
            count => u64::from(count),
        };
        self.check_count(count)?;
        let count = i64::try_from(count).map_err(|_| breaks_off())?;
        (self.seen)(&self.place, count)?;
        for index in 0..count {
            self.place.push(index);
            self.value(header & 0x0f)?;
            self.place.pop();
        }
        Ok(())
    }

    /// Every element takes a byte at least.
    fn check_count(&self, count: u64) -> Walked {
        if count > self.bytes.len() as u64 {
            return Err(format!("it has a list of {count} in {} bytes", self.bytes.len()));
        }
        Ok(())
    }

    fn byte(&mut self) -> Walked<u8> {
        let (first, rest) = self.bytes.split_first().ok_or_else(breaks_off)?;
        self.bytes = rest;
        Ok(*first)
    }

    fn pass(&mut self, length: u64) -> Walked {
        let rest = usize::try_from(length).ok().and_then(|length| self.bytes.get(length..));
        self.bytes = rest.ok_or_else(breaks_off)?;
        Ok(())
    }

    fn unsigned(&mut self) -> Walked<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("it has a number without an end".to_owned())
    }

    fn signed(&mut self) -> Walked<i64> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
}

fn breaks_off() -> String {
    "it breaks off".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(bytes: &[u8]) -> Walked<Vec<(Vec<i64>, i64)>> {
        let mut all = Vec::new();
        walk(bytes, &mut |place, value| {
            all.push((place.to_vec(), value));
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn numbers_come_with_their_place() {
        // 1: i32 -1, 3: list of two i64, 4: a struct with 1: i64 300, 20: true.
        let bytes = [0x15, 1, 0x29, 0x26, 2, 4, 0x1c, 0x16, 0xd8, 0x04, 0, 0x01, 40, 0];
        let expected = vec![
            (vec![1], -1),
            (vec![3], 2),
            (vec![3, 0], 1),
            (vec![3, 1], 2),
            (vec![4], 0),
            (vec![4, 1], 300),
        ];
        assert_eq!(walked(&bytes), Ok(expected));
    }

    #[test]
    fn lies_are_told_without_allocating() {
        let check = |bytes: &[u8], wrong: &str| assert_eq!(walked(bytes), Err(wrong.to_owned()));
        check(&[], "it breaks off");
        check(&[0x15], "it breaks off");
        check(&[0x18, 0xff, 0xff, 0xff, 0xff, 0x0f, 0], "it breaks off");
        check(&[0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f], "it has a list of 4294967295 in 0 bytes");
        check(&[0x1e, 0], "it has a part of the unknown kind 14");
        check(&[0x16; 3], "it breaks off");
        check(&[0x1c; 100], "its parts lie too deep in each other");
        check(
            &[0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            "it has a number without an end",
        );
    }
}
