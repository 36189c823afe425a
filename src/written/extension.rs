//! Bytes of types that only DuckDB has (or Arrow names beside their storage) -> their text.
//! Runs on: anywhere; pure.
//! Never: guesses: a field without such a name holds plain bytes.

use arrow::datatypes::{Field, TimeUnit};
use parquet_variant::Variant;
use parquet_variant_json::VariantToJson;
use pintail_protocol::extension;

use super::time;

/// What the bytes of a field stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Bit,
    HugeInt,
    UHugeInt,
    TimeTz,
    Bignum,
    Uuid,
    /// Two columns of bytes: names, and the value.
    Variant,
}

impl Meaning {
    /// What `field` says of itself beside its type.
    pub(super) fn of(field: &Field) -> Option<Self> {
        let metadata = field.metadata();
        if metadata.get(extension::STANDS_FOR).is_some_and(|name| name == "bit") {
            return Some(Self::Bit);
        }
        match metadata.get(extension::NAME)?.as_str() {
            "arrow.uuid" => Some(Self::Uuid),
            "arrow.parquet.variant" => Some(Self::Variant),
            "arrow.opaque" => {
                let more = metadata.get(extension::METADATA)?;
                let more: serde_json::Value = serde_json::from_str(more).ok()?;
                match more.get("type_name")?.as_str()? {
                    "bit" => Some(Self::Bit),
                    "hugeint" => Some(Self::HugeInt),
                    "uhugeint" => Some(Self::UHugeInt),
                    "time_tz" => Some(Self::TimeTz),
                    "bignum" => Some(Self::Bignum),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether the text is a number.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::HugeInt | Self::UHugeInt | Self::Bignum)
    }

    /// The text of a value; none when the bytes are no such value.
    pub(super) fn text(self, bytes: &[u8]) -> Option<String> {
        match self {
            Self::Bit => bits(bytes),
            Self::HugeInt => Some(i128::from_le_bytes(bytes.try_into().ok()?).to_string()),
            Self::UHugeInt => Some(u128::from_le_bytes(bytes.try_into().ok()?).to_string()),
            Self::TimeTz => Some(time_tz(u64::from_le_bytes(bytes.try_into().ok()?))),
            Self::Bignum => bignum(bytes),
            Self::Uuid => uuid(bytes),
            Self::Variant => None,
        }
    }
}

/// A VARIANT as JSON, which has the same nesting.
pub(super) fn variant(metadata: &[u8], value: &[u8]) -> Result<String, String> {
    let variant = Variant::try_new(metadata, value).map_err(|error| error.to_string())?;
    variant.to_json_string().map_err(|error| error.to_string())
}

/// The first byte says how many bits of the second one are padding.
fn bits(bytes: &[u8]) -> Option<String> {
    let (padding, bytes) = bytes.split_first()?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    digits.get(usize::from(*padding)..).map(str::to_owned)
}

/// Microseconds of the day above 24 bits that hold how far the offset is below the greatest one.
fn time_tz(bits: u64) -> String {
    const OFFSET_MAX: i64 = 16 * 3_600 - 1;
    let mut text = String::new();
    time::time(&mut text, (bits >> 24) as i64, TimeUnit::Microsecond);
    time::zone_offset(&mut text, OFFSET_MAX - (bits & 0xff_ffff) as i64);
    text
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let number = u128::from_be_bytes(bytes.try_into().ok()?);
    let digits = format!("{number:032x}");
    Some([&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-"))
}

/// Three bytes of header, then the digits to base 256; all of them are inverted below zero.
fn bignum(bytes: &[u8]) -> Option<String> {
    let (header, digits) = bytes.split_at_checked(3)?;
    let is_negative = header[0] & 0x80 == 0;
    let invert = if is_negative { 0xff } else { 0 };
    // Groups of nine decimal digits, the lowest first.
    const GROUP: u64 = 1_000_000_000;
    let mut groups: Vec<u64> = vec![0];
    for digit in digits {
        let mut carry = u64::from(digit ^ invert);
        for group in &mut groups {
            carry += *group << 8;
            *group = carry % GROUP;
            carry /= GROUP;
        }
        if carry != 0 {
            groups.push(carry);
        }
    }
    let mut text = if is_negative { "-".to_owned() } else { String::new() };
    text += &groups.pop()?.to_string();
    for group in groups.iter().rev() {
        text += &format!("{group:09}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_the_engine_means_them() {
        assert_eq!(Meaning::Bit.text(&[3, 0b1111_0101]).unwrap(), "10101");
        assert_eq!(Meaning::Bit.text(&[0, 0b1010_0101, 1]).unwrap(), "1010010100000001");
        assert_eq!(Meaning::UHugeInt.text(&[0xff; 16]).unwrap(), u128::MAX.to_string());
        assert_eq!(Meaning::Uuid.text(&[0x11; 16]).unwrap(), "11111111-1111-1111-1111-111111111111");
        assert_eq!(Meaning::Bignum.text(&[0x80, 0, 1, 0]).unwrap(), "0");
        assert_eq!(Meaning::Bignum.text(&[0x7f, 0xff, 0xfe, !7]).unwrap(), "-7");
        let power = [&[0x80, 0, 9, 1][..], &[0; 8]].concat();
        assert_eq!(Meaning::Bignum.text(&power).unwrap(), (1_u128 << 64).to_string());
        let noon = (12 * 3_600_000_000_u64) << 24 | (16 * 3_600 - 1 - 19_800);
        assert_eq!(Meaning::TimeTz.text(&noon.to_le_bytes()).unwrap(), "12:00:00+05:30");
    }

    #[test]
    fn bytes_that_are_no_value_have_no_text() {
        for meaning in [Meaning::Bit, Meaning::HugeInt, Meaning::TimeTz, Meaning::Bignum, Meaning::Uuid] {
            assert_eq!(meaning.text(&[]), None, "{meaning:?}");
        }
        assert_eq!(Meaning::Bit.text(&[9, 0]), None);
        assert!(variant(&[0xff], &[0xff]).is_err());
    }
}
