//! The one table of types: Arrow's, as pyarrow prints them, beside DuckDB's, as the engine prints them.
//! Runs on: any thread; pure.
//! Never: guesses. A type that one side cannot say is refused with its name.
//!
//! Both readers, [`parse`] for pyarrow's text and [`from_duckdb`] for the engine's, put types together with the
//! functions of this file, so there is one place that knows what belongs to what.

mod arrow;
mod engine;
mod keywords;
mod meant;
mod nested;
mod shape;
mod text;

use std::collections::HashMap;
use std::sync::Arc;

use ::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

pub use self::arrow::from_arrow;
pub use engine::from_duckdb;
pub use meant::TypeError;
pub(super) use meant::closest;
pub(super) use shape::{comes_back, is_exported_as, unquote};
pub use text::parse;

use nested::{Child, fixed_size_list, list, map, structure, tuple, union};

use super::declaration::DeclaredType;
use pintail_protocol::extension;

use super::{quote_name, quote_text};

/// Most digits of a DuckDB decimal.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// A type without parameters.
struct Scalar {
    /// Spellings; the first one is pyarrow's.
    spellings: &'static [&'static str],
    arrow: DataType,
    duckdb: &'static str,
}

const fn scalar(spellings: &'static [&'static str], arrow: DataType, duckdb: &'static str) -> Scalar {
    Scalar { spellings, arrow, duckdb }
}

/// Types without parameters. Where several become one DuckDB type, the first is what that type is shown as.
static SCALARS: &[Scalar] = &[
    scalar(&["bool", "boolean"], DataType::Boolean, "BOOLEAN"),
    scalar(&["int8"], DataType::Int8, "TINYINT"),
    scalar(&["int16"], DataType::Int16, "SMALLINT"),
    scalar(&["int32"], DataType::Int32, "INTEGER"),
    scalar(&["int64"], DataType::Int64, "BIGINT"),
    scalar(&["uint8"], DataType::UInt8, "UTINYINT"),
    scalar(&["uint16"], DataType::UInt16, "USMALLINT"),
    scalar(&["uint32"], DataType::UInt32, "UINTEGER"),
    scalar(&["uint64"], DataType::UInt64, "UBIGINT"),
    scalar(&["float", "float32"], DataType::Float32, "FLOAT"),
    // DuckDB has no half floats; every one of them is a float.
    scalar(&["halffloat", "float16"], DataType::Float16, "FLOAT"),
    scalar(&["double", "float64"], DataType::Float64, "DOUBLE"),
    scalar(&["string", "utf8"], DataType::Utf8, "VARCHAR"),
    scalar(&["large_string", "large_utf8"], DataType::LargeUtf8, "VARCHAR"),
    scalar(&["string_view", "utf8_view"], DataType::Utf8View, "VARCHAR"),
    scalar(&["binary"], DataType::Binary, "BLOB"),
    scalar(&["large_binary"], DataType::LargeBinary, "BLOB"),
    scalar(&["binary_view"], DataType::BinaryView, "BLOB"),
    scalar(&["date32[day]", "date32"], DataType::Date32, "DATE"),
    scalar(&["date64[ms]", "date64"], DataType::Date64, "DATE"),
    scalar(&["time64[us]"], DataType::Time64(TimeUnit::Microsecond), "TIME"),
    scalar(&["time64[ns]"], DataType::Time64(TimeUnit::Nanosecond), "TIME_NS"),
    scalar(&["time32[s]"], DataType::Time32(TimeUnit::Second), "TIME"),
    scalar(&["time32[ms]"], DataType::Time32(TimeUnit::Millisecond), "TIME"),
    scalar(&["timestamp[s]"], DataType::Timestamp(TimeUnit::Second, None), "TIMESTAMP_S"),
    scalar(&["timestamp[ms]"], DataType::Timestamp(TimeUnit::Millisecond, None), "TIMESTAMP_MS"),
    scalar(&["timestamp[us]"], DataType::Timestamp(TimeUnit::Microsecond, None), "TIMESTAMP"),
    scalar(&["timestamp[ns]"], DataType::Timestamp(TimeUnit::Nanosecond, None), "TIMESTAMP_NS"),
    scalar(
        &["month_day_nano_interval", "interval"],
        DataType::Interval(IntervalUnit::MonthDayNano),
        "INTERVAL",
    ),
    scalar(&["month_interval"], DataType::Interval(IntervalUnit::YearMonth), "INTERVAL"),
    scalar(&["day_time_interval"], DataType::Interval(IntervalUnit::DayTime), "INTERVAL"),
    scalar(&["duration[s]"], DataType::Duration(TimeUnit::Second), "INTERVAL"),
    scalar(&["duration[ms]"], DataType::Duration(TimeUnit::Millisecond), "INTERVAL"),
    scalar(&["duration[us]"], DataType::Duration(TimeUnit::Microsecond), "INTERVAL"),
    scalar(&["duration[ns]"], DataType::Duration(TimeUnit::Nanosecond), "INTERVAL"),
    scalar(&["extension<arrow.uuid>", "uuid"], DataType::FixedSizeBinary(16), "UUID"),
    scalar(&["extension<arrow.json>", "json"], DataType::Utf8, "JSON"),
    scalar(
        &[
            "extension<arrow.opaque[storage_type=fixed_size_binary[16], type_name=hugeint, vendor_name=DuckDB]>",
            "hugeint",
        ],
        DataType::FixedSizeBinary(16),
        "HUGEINT",
    ),
    scalar(
        &[
            "extension<arrow.opaque[storage_type=fixed_size_binary[16], type_name=uhugeint, vendor_name=DuckDB]>",
            "uhugeint",
        ],
        DataType::FixedSizeBinary(16),
        "UHUGEINT",
    ),
    scalar(
        &[
            "extension<arrow.opaque[storage_type=fixed_size_binary[8], type_name=time_tz, vendor_name=DuckDB]>",
            "time_tz",
        ],
        DataType::FixedSizeBinary(8),
        "TIME WITH TIME ZONE",
    ),
    scalar(
        &["extension<arrow.opaque[storage_type=binary, type_name=bit, vendor_name=DuckDB]>", "bit"],
        DataType::Binary,
        "BIT",
    ),
    scalar(
        &["extension<arrow.opaque[storage_type=binary, type_name=bignum, vendor_name=DuckDB]>", "bignum"],
        DataType::Binary,
        "BIGNUM",
    ),
    // pyarrow knows the storage of these two only.
    scalar(&["extension<geoarrow.wkb>", "geometry"], DataType::Binary, "GEOMETRY"),
];

/// The storage of VARIANT.
fn variant() -> DeclaredType {
    let fields =
        vec![Field::new("metadata", DataType::Binary, false), Field::new("value", DataType::Binary, true)];
    DeclaredType::new(VARIANT, DataType::Struct(fields.into()), "VARIANT")
}

const VARIANT: &str = "extension<arrow.parquet.variant>";

/// Types with parameters, as a person would write them; for texts.
const PARAMETRIC: &[&str] = &[
    "decimal128(p, s)",
    "timestamp[unit, tz=Zone]",
    "fixed_size_binary[n]",
    "list<item: T>",
    "large_list<item: T>",
    "list_view<item: T>",
    "large_list_view<item: T>",
    "fixed_size_list<item: T>[n]",
    "struct<a: T, b: T not null>",
    "map<K, V>",
    "dictionary<values=T, indices=int32, ordered=0>",
    "run_end_encoded<run_ends: int32, values: T>",
    "decimal32(p, s)",
    "decimal64(p, s)",
    "decimal256(p, s)",
    "sparse_union<a: T=0, b: T=1>",
    "dense_union<a: T=0, b: T=1>",
    VARIANT,
    // DuckDB's own, for which pyarrow has no word.
    "extension<geoarrow.wkb[crs=OGC:CRS84]>",
    "enum<\"a\", \"b\">",
    "tuple<T, T>",
];

/// Every accepted spelling, pyarrow's own first; other spellings follow in the second list.
pub fn spellings() -> (Vec<&'static str>, Vec<&'static str>) {
    let own = SCALARS.iter().map(|one| one.spellings[0]).chain(PARAMETRIC.iter().copied()).collect();
    let others = SCALARS.iter().flat_map(|one| one.spellings[1..].iter().copied());
    (own, others.chain(["decimal(p, s)"]).collect())
}

impl DeclaredType {
    fn new(text: impl Into<String>, arrow: DataType, duckdb: impl Into<String>) -> Self {
        Self { text: text.into(), arrow, duckdb: duckdb.into() }
    }

    fn of(scalar: &Scalar) -> Self {
        Self::new(scalar.spellings[0], scalar.arrow.clone(), scalar.duckdb)
    }

    /// The Arrow field of a column of this type, which says what Arrow knows as an extension.
    pub fn field(&self, name: &str, nullable: bool) -> Field {
        let field = Field::new(name, self.arrow.clone(), nullable);
        let opaque = |name: &str| format!("{{\"type_name\":\"{name}\",\"vendor_name\":\"DuckDB\"}}");
        let (extension, metadata) = match self.duckdb.as_str() {
            "UUID" => ("arrow.uuid", String::new()),
            "JSON" => ("arrow.json", String::new()),
            "VARIANT" => ("arrow.parquet.variant", String::new()),
            "HUGEINT" => ("arrow.opaque", opaque("hugeint")),
            "UHUGEINT" => ("arrow.opaque", opaque("uhugeint")),
            "TIME WITH TIME ZONE" => ("arrow.opaque", opaque("time_tz")),
            "BIT" => ("arrow.opaque", opaque("bit")),
            "BIGNUM" => ("arrow.opaque", opaque("bignum")),
            "GEOMETRY" => ("geoarrow.wkb", "{}".to_owned()),
            other => match other.strip_prefix("GEOMETRY('").and_then(|rest| rest.strip_suffix("')")) {
                Some(system) => ("geoarrow.wkb", format!("{{\"crs\":\"{system}\"}}")),
                None => return field,
            },
        };
        field.with_metadata(HashMap::from([
            (extension::NAME.to_owned(), extension.to_owned()),
            (extension::METADATA.to_owned(), metadata),
        ]))
    }

    /// Whether values have parts of their own: lists, structs, maps.
    pub fn is_nested(&self) -> bool {
        const NESTED: [&str; 4] = ["STRUCT(", "MAP(", "UNION(", "TUPLE("];
        self.duckdb.ends_with(']') || NESTED.iter().any(|start| self.duckdb.starts_with(start))
    }

    /// Whether DuckDB's index takes the type as a key.
    pub fn is_indexable(&self) -> bool {
        !self.is_nested() && !matches!(self.duckdb.as_str(), "INTERVAL" | "VARIANT")
    }
}

fn by_spelling(text: &str) -> Option<DeclaredType> {
    if matches!(text, VARIANT | "variant") {
        return Some(variant());
    }
    if let Some(system) =
        text.strip_prefix("extension<geoarrow.wkb[crs=").and_then(|rest| rest.strip_suffix("]>"))
    {
        return geometry(system).ok();
    }
    SCALARS.iter().find(|one| one.spellings.contains(&text)).map(DeclaredType::of)
}

fn by_engine_name(text: &str) -> Option<DeclaredType> {
    if text == "VARIANT" {
        return Some(variant());
    }
    SCALARS.iter().find(|one| one.duckdb == text).map(DeclaredType::of)
}

/// The decimals of Arrow, which are one for DuckDB.
fn decimal(bits: u16, precision: u8, scale: u8) -> Result<DeclaredType, String> {
    let digits_max = match bits {
        32 => 9,
        64 => 18,
        _ => DECIMAL_DIGITS_MAX,
    };
    if precision == 0 || precision > digits_max || scale > precision {
        return Err(format!(
            "decimal{bits} takes a precision from 1 to {digits_max} and a scale from 0 to the precision, \
             found ({precision}, {scale})"
        ));
    }
    // Below 39, so it fits.
    let arrow_scale = i8::try_from(scale).unwrap_or(i8::MAX);
    let arrow = match bits {
        32 => DataType::Decimal32(precision, arrow_scale),
        64 => DataType::Decimal64(precision, arrow_scale),
        256 => DataType::Decimal256(precision, arrow_scale),
        _ => DataType::Decimal128(precision, arrow_scale),
    };
    let duckdb = format!("DECIMAL({precision},{scale})");
    Ok(DeclaredType::new(format!("decimal{bits}({precision}, {scale})"), arrow, duckdb))
}

/// A point in time; the zone is how it is shown, DuckDB keeps UTC.
fn zoned(unit: TimeUnit, zone: &str) -> DeclaredType {
    // Seconds and milliseconds are brought to microseconds by the engine's importer.
    let (short, duckdb) = match unit {
        TimeUnit::Second => ("s", "TIMESTAMP WITH TIME ZONE"),
        TimeUnit::Millisecond => ("ms", "TIMESTAMP WITH TIME ZONE"),
        TimeUnit::Microsecond => ("us", "TIMESTAMP WITH TIME ZONE"),
        TimeUnit::Nanosecond => ("ns", "TIMESTAMPTZ_NS"),
    };
    let arrow = DataType::Timestamp(unit, Some(zone.into()));
    DeclaredType::new(format!("timestamp[{short}, tz={zone}]"), arrow, duckdb)
}

fn fixed_size_binary(length: i32) -> Result<DeclaredType, String> {
    if length < 1 {
        return Err(format!("fixed_size_binary takes a length of at least 1, found {length}"));
    }
    let arrow = DataType::FixedSizeBinary(length);
    Ok(DeclaredType::new(format!("fixed_size_binary[{length}]"), arrow, "BLOB"))
}

fn dictionary(values: &DeclaredType, indices: &DeclaredType, ordered: bool) -> Result<DeclaredType, String> {
    if !indices.arrow.is_integer() {
        return Err(format!("the indices of a dictionary are of an integer type, found {}", indices.text));
    }
    plain_values("a dictionary", values)?;
    Ok(DeclaredType::new(
        format!(
            "dictionary<values={}, indices={}, ordered={}>",
            values.text,
            indices.text,
            u8::from(ordered)
        ),
        DataType::Dictionary(Box::new(indices.arrow.clone()), Box::new(values.arrow.clone())),
        values.duckdb.clone(),
    ))
}

fn run_end_encoded(run_ends: &DeclaredType, values: &DeclaredType) -> Result<DeclaredType, String> {
    if !matches!(run_ends.arrow, DataType::Int16 | DataType::Int32 | DataType::Int64) {
        return Err(format!("run ends are int16, int32 or int64, found {}", run_ends.text));
    }
    plain_values("a run-end encoded column", values)?;
    Ok(DeclaredType::new(
        format!("run_end_encoded<run_ends: {}, values: {}>", run_ends.text, values.text),
        DataType::RunEndEncoded(
            Arc::new(Field::new("run_ends", run_ends.arrow.clone(), false)),
            Arc::new(Field::new("values", values.arrow.clone(), true)),
        ),
        values.duckdb.clone(),
    ))
}

/// A geometry in a coordinate reference system that has a short name.
fn geometry(system: &str) -> Result<DeclaredType, String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, ':' | '.' | '-' | '_');
    if system.is_empty() || !system.chars().all(is_plain) {
        return Err("a coordinate reference system is written as a short name such as OGC:CRS84".to_owned());
    }
    Ok(DeclaredType::new(
        format!("extension<geoarrow.wkb[crs={system}]>"),
        DataType::Binary,
        format!("GEOMETRY('{system}')"),
    ))
}

/// A text out of a list of texts.
fn enumeration(values: &[String]) -> Result<DeclaredType, String> {
    if values.is_empty() {
        return Err("an enum needs at least one value".to_owned());
    }
    let mut seen = std::collections::HashSet::new();
    if let Some(twice) = values.iter().find(|value| !seen.insert(value.as_str())) {
        return Err(format!("the enum has the value \"{twice}\" twice"));
    }
    let index = match values.len() {
        0..=0xff => DataType::UInt8,
        0x100..=0xffff => DataType::UInt16,
        _ => DataType::UInt32,
    };
    let texts: Vec<String> = values.iter().map(|value| quote_name(value)).collect();
    let duckdb: Vec<String> = values.iter().map(|value| quote_text(value)).collect();
    Ok(DeclaredType::new(
        format!("enum<{}>", texts.join(", ")),
        DataType::Dictionary(Box::new(index), Box::new(DataType::Utf8)),
        format!("ENUM({})", duckdb.join(", ")),
    ))
}

/// Encodings say nothing of what they hold, so what they hold has to speak for itself.
fn plain_values(what: &str, values: &DeclaredType) -> Result<(), String> {
    let encoded = matches!(values.arrow, DataType::Dictionary(..) | DataType::RunEndEncoded(..));
    if values.is_nested() || encoded || !values.field("", true).metadata().is_empty() {
        return Err(format!("the values of {what} are of a plain type, found {}", values.text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
