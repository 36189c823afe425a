//! Which differences of type are taken, and by which cast.
//! Runs on: any thread; pure.
//! Never: allows a cast that changes a value or makes it NULL.

use arrow::datatypes::DataType;

use super::columns::{Cast, Contract, Offered};
use crate::{Column, DeclaredField, Strictness, comes_back, is_exported_as, join_types, open};

pub(super) const WIDENING: &str = "only lossless widening is done, so cast it before sending";
const STRICT: &str = "the table is declared strict, so cast it before sending";
pub(super) const LENIENT: &str = "no lossless cast leads there, so cast it before sending";

/// The cast by which a declared column takes what is offered, or the type it expects and the rule that says so.
pub(super) fn declared_cast(
    mode: Strictness,
    field: &DeclaredField,
    contract: Contract<'_>,
    target: &Column,
    offered: &Offered,
) -> Result<Cast, (String, &'static str)> {
    let same = |field: &DeclaredField| {
        // What a SELECT of the column gives goes back into it.
        (offered.duckdb_type == field.data_type.duckdb
            || comes_back(&offered.duckdb_type, &field.data_type.duckdb))
            && is_same_width(&field.data_type.arrow, &offered.arrow)
    };
    // So do bytes of a declared width, which leave as bytes of any.
    if let DataType::FixedSizeBinary(width) = &field.data_type.arrow
        && matches!(&offered.arrow, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
        && offered.duckdb_type == "BLOB"
        && field.data_type.duckdb == "BLOB"
        && target.duckdb_type == "BLOB"
    {
        return Ok(Cast::Width(*width));
    }
    let expected = |rule| (field.data_type.text.clone(), rule);
    match mode {
        Strictness::Strict => {
            let earlier = || {
                let mut versions = contract.earlier.iter().filter_map(|version| version.field(&field.name));
                versions.any(&same)
            };
            // Rows without a value have no type of their own; pandas sends such a column as `null`.
            if offered.duckdb_type == open::NULL || same(field) || earlier() {
                // An earlier type has only ever been widened, so the plain rules cover it.
                plain_cast(target, offered).ok_or_else(|| expected(STRICT))
            } else {
                Err(expected(STRICT))
            }
        }
        Strictness::Lenient => {
            if !is_same_width(&field.data_type.arrow, &offered.arrow) {
                return Err(expected(LENIENT));
            }
            plain_cast(target, offered)
                .or_else(|| {
                    is_narrowing(&offered.duckdb_type, &target.duckdb_type)
                        .then(|| Cast::Exact { from: offered.duckdb_type.clone() })
                })
                .ok_or_else(|| expected(LENIENT))
        }
    }
}

/// DuckDB has one type for binaries of every width; the declaration tells them apart.
fn is_same_width(declared: &DataType, offered: &DataType) -> bool {
    match (declared, offered) {
        (DataType::FixedSizeBinary(width), DataType::FixedSizeBinary(other)) => width == other,
        // UUIDs arrive as text, too; those are no binaries.
        (DataType::FixedSizeBinary(_), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            false
        }
        _ => true,
    }
}

pub(super) fn plain_cast(target: &Column, offered: &Offered) -> Option<Cast> {
    let (from, to) = (&offered.duckdb_type, &target.duckdb_type);
    if from == to {
        Some(Cast::None)
    } else if is_allowed(from, to) {
        Some(Cast::Plain)
    } else {
        // Most clients send nanoseconds because it is their only unit, and few have any.
        let is_exact = is_whole_micros(from, to) || is_exported_as(to, from);
        is_exact.then(|| Cast::Exact { from: from.clone() })
    }
}

/// Whether a column of microseconds is offered nanoseconds, of which those fit that are whole microseconds.
fn is_whole_micros(from: &str, to: &str) -> bool {
    matches!((from, to), ("TIMESTAMP_NS", "TIMESTAMP") | ("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE"))
}

/// Whether values of `from` that fit `to` can be told from those that do not by casting them there and back.
fn is_narrowing(from: &str, to: &str) -> bool {
    const INTEGERS: [&str; 9] = [
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
    ];
    const TIMESTAMPS: [&str; 4] = ["TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"];
    let both = |family: &[&str]| family.contains(&from) && family.contains(&to);
    both(&INTEGERS) || both(&TIMESTAMPS) || (decimal(from).is_some() && decimal(to).is_some())
}

/// Whether a cast keeps every value, or fails loudly for those it cannot keep.
pub(super) fn is_allowed(from: &str, to: &str) -> bool {
    // What is open fits wherever the rest is the same. What leaves for a type comes back, as text or in another form:
    // the engine refuses what does not parse.
    if join_types(from, to).is_some_and(|joined| joined == to) || comes_back(from, to) {
        return true;
    }
    if let (Some((precision, scale)), Some((to_precision, to_scale))) = (decimal(from), decimal(to)) {
        return to_scale >= scale && to_precision - to_scale >= precision - scale;
    }
    // The cast checks the range.
    if to == "HUGEINT" && decimal(from).is_some_and(|(_, scale)| scale == 0) {
        return true;
    }
    let wider: &[&str] = match from {
        "TINYINT" => &["SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "SMALLINT" => &["INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "INTEGER" => &["BIGINT", "HUGEINT", "DOUBLE"],
        "BIGINT" => &["HUGEINT"],
        "UTINYINT" => &[
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "HUGEINT",
            "FLOAT",
            "DOUBLE",
        ],
        "USMALLINT" => &["UINTEGER", "UBIGINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "UINTEGER" => &["UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"],
        "UBIGINT" => &["HUGEINT", "UHUGEINT"],
        "FLOAT" => &["DOUBLE"],
        "DATE" => &["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"],
        // To a finer unit; the engine refuses a time that leaves the range.
        "TIMESTAMP_S" => &["TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"],
        "TIMESTAMP_MS" => &["TIMESTAMP", "TIMESTAMP_NS"],
        "TIMESTAMP" => &["TIMESTAMP_NS"],
        "TIMESTAMP WITH TIME ZONE" => &["TIMESTAMPTZ_NS"],
        _ => &[],
    };
    wider.contains(&to)
}

fn decimal(text: &str) -> Option<(i32, i32)> {
    let inner = text.strip_prefix("DECIMAL(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}
