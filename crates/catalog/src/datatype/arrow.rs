//! An Arrow field -> the DuckDB type that its values are stored as.
//! Runs on: any thread; pure.
//! Never: guesses. A type without a form in DuckDB is refused with its name.

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use pintail_protocol::extension;

use super::super::declaration::DeclaredType;
use super::{
    Child, DECIMAL_DIGITS_MAX, SCALARS, by_engine_name, decimal, fixed_size_binary, fixed_size_list,
    geometry, list, map, structure, union, zoned,
};
use crate::open::NULL;

/// Longest ARRAY of DuckDB; what is shorter than one value or longer than this is a LIST.
const ARRAY_LENGTH_MAX: i32 = 100_000;

/// Reads the type of a field, its extension included; encodings count as the values they hold.
///
/// Errors: the part that has no form in DuckDB.
pub fn from_arrow(field: &Field) -> Result<DeclaredType, String> {
    if let Some(known) = extension(field)? {
        return Ok(known);
    }
    let data_type = field.data_type();
    let no_form = || format!("{data_type} has no form in DuckDB");
    Ok(match data_type {
        DataType::Null => DeclaredType::new("null", DataType::Null, NULL),
        DataType::Dictionary(_, values) => from_arrow(&Field::new(field.name(), (**values).clone(), true))?,
        DataType::RunEndEncoded(_, values) => from_arrow(values)?,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            let digits = if *scale < 0 {
                precision.saturating_add(scale.unsigned_abs())
            } else if matches!(data_type, DataType::Decimal256(..)) {
                // Its values decide whether they fit.
                (*precision).min(DECIMAL_DIGITS_MAX)
            } else {
                *precision
            };
            decimal(128, digits, u8::try_from(*scale).unwrap_or_default()).map_err(|_| no_form())?
        }
        DataType::Timestamp(unit, Some(zone)) => zoned(*unit, zone),
        DataType::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime) | DataType::Duration(_) => {
            by_engine_name("INTERVAL").ok_or_else(no_form)?
        }
        DataType::FixedSizeBinary(width) => fixed_size_binary((*width).max(1))?,
        DataType::FixedSizeList(item, length) if (1..=ARRAY_LENGTH_MAX).contains(length) => {
            fixed_size_list(&child(item)?, *length)?
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => list("list", &child(item)?),
        DataType::Struct(fields) => structure(&fields.iter().map(child).collect::<Result<Vec<_>, _>>()?)?,
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                map(from_arrow(&pair[0])?, from_arrow(&pair[1])?, true, false)
            }
            _ => return Err(no_form()),
        },
        DataType::Union(members, _) => {
            let members: Vec<Child> =
                members.iter().map(|(_, member)| child(member)).collect::<Result<_, _>>()?;
            union("sparse_union", (0..).zip(members).collect())?
        }
        other => {
            let scalar = SCALARS.iter().find(|one| one.arrow == *other);
            DeclaredType::of(scalar.ok_or_else(no_form)?)
        }
    })
}

fn child(field: &FieldRef) -> Result<Child, String> {
    Ok(Child { name: field.name().clone(), data_type: from_arrow(field)?, nullable: field.is_nullable() })
}

/// What a field says of itself beside its type; `None` for a name that DuckDB does not know.
fn extension(field: &Field) -> Result<Option<DeclaredType>, String> {
    let Some(name) = field.metadata().get(extension::NAME) else { return Ok(None) };
    let more = field.metadata().get(extension::METADATA).map_or("", String::as_str);
    let text = |key: &str| {
        let known: serde_json::Value = serde_json::from_str(more).unwrap_or_default();
        known.get(key).and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let engine = match name.as_str() {
        "arrow.uuid" => "UUID",
        "arrow.json" => "JSON",
        "arrow.bool8" => "BOOLEAN",
        "arrow.parquet.variant" => "VARIANT",
        "arrow.opaque" if text("vendor_name").as_deref() == Some("DuckDB") => {
            match text("type_name").as_deref() {
                Some("hugeint") => "HUGEINT",
                Some("uhugeint") => "UHUGEINT",
                Some("time_tz") => "TIME WITH TIME ZONE",
                Some("bit") => "BIT",
                Some("bignum") => "BIGNUM",
                _ => return Ok(None),
            }
        }
        "geoarrow.wkb" => match text("crs") {
            Some(system) => return geometry(&system).map(Some),
            None if more.contains("\"crs\"") => {
                return Err("a geometry whose coordinate reference system has no short name".to_owned());
            }
            None => "GEOMETRY",
        },
        _ => return Ok(None),
    };
    Ok(by_engine_name(engine))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Fields, TimeUnit};

    use super::super::from_duckdb;
    use super::*;

    fn of(data_type: DataType) -> Result<String, String> {
        from_arrow(&Field::new("c", data_type, true)).map(|found| found.duckdb)
    }

    /// What an engine's type is shown as reads back as that type.
    #[test]
    fn types_of_the_engine_come_back() {
        for text in [
            "BOOLEAN",
            "TINYINT",
            "UBIGINT",
            "HUGEINT",
            "UHUGEINT",
            "FLOAT",
            "DOUBLE",
            "DECIMAL(38,5)",
            "VARCHAR",
            "BLOB",
            "UUID",
            "JSON",
            "DATE",
            "TIME",
            "TIME_NS",
            "TIME WITH TIME ZONE",
            "TIMESTAMP_S",
            "TIMESTAMP",
            "TIMESTAMP_NS",
            "TIMESTAMP WITH TIME ZONE",
            "TIMESTAMPTZ_NS",
            "INTERVAL",
            "BIT",
            "BIGNUM",
            "GEOMETRY",
            "GEOMETRY('OGC:CRS84')",
            "VARIANT",
            "BIGINT[]",
            "INTEGER[3]",
            "STRUCT(a BIGINT, \"b c\" VARCHAR[])",
            "MAP(VARCHAR, DOUBLE)",
            "UNION(n BIGINT, s VARCHAR)",
        ] {
            let known = from_duckdb(text).unwrap();
            assert_eq!(from_arrow(&known.field("c", true)).unwrap().duckdb, text);
        }
    }

    #[test]
    fn encodings_count_as_what_they_hold() {
        let item = |data_type| Arc::new(Field::new("item", data_type, true));
        for (data_type, expected) in [
            (DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::LargeUtf8)), "VARCHAR"),
            (
                DataType::RunEndEncoded(
                    Arc::new(Field::new("run_ends", DataType::Int32, false)),
                    Arc::new(Field::new("values", DataType::Date32, true)),
                ),
                "DATE",
            ),
            (DataType::LargeListView(item(DataType::Float16)), "FLOAT[]"),
            (DataType::FixedSizeList(item(DataType::Int8), 0), "TINYINT[]"),
            (DataType::Decimal256(76, 4), "DECIMAL(38,4)"),
            (DataType::Decimal128(5, -2), "DECIMAL(7,0)"),
            (DataType::Duration(TimeUnit::Second), "INTERVAL"),
            (DataType::Null, "\"NULL\""),
        ] {
            assert_eq!(of(data_type.clone()).unwrap(), expected, "{data_type}");
        }
        assert!(of(DataType::Decimal256(76, 60)).unwrap_err().contains("Decimal256(76, 60)"));
        assert!(of(DataType::Struct(Fields::empty())).is_err());
    }
}
