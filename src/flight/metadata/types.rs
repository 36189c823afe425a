//! GetXdbcTypeInfo -> the types a client can give a column, as ODBC and JDBC describe types.
//! Runs on: the thread of a query; pure.
//! Never: gives a type a code by which a tool would take it for another one.
//!
//! Rows are ordered by code and then name, and tools that look for the type of a code take the first: so JSON
//! is LONGVARCHAR, because it would come before VARCHAR, and UUID and BIT strings, for which ODBC's list has
//! no code, are of unknown type. Nested types and ENUM are no types without their children.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{CommandGetXdbcTypeInfo, Nullable, Searchable, XdbcDataType, XdbcDatetimeSubcode};

use super::built::encoded;
use crate::error::Result;

/// The protocol's number for DATE, which arrow-flight knows under its first name only.
const SUBCODE_DATE: XdbcDatetimeSubcode = XdbcDatetimeSubcode::XdbcSubcodeYear;

/// Schema of the answer.
pub(super) fn schema() -> SchemaRef {
    XdbcTypeInfoDataBuilder::new().schema()
}

/// The types with the command's code, or all of them when it has none.
pub(super) fn answer(command: CommandGetXdbcTypeInfo) -> Result<RecordBatch> {
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for info in numbers().into_iter().chain(texts()).chain(times()) {
        builder.append(info);
    }
    encoded(command.into_builder(&encoded(builder.build())?).build())
}

/// A type that can be compared but not with LIKE, like all but text.
fn plain(name: &str, code: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: code,
        sql_data_type: code,
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Basic,
        ..Default::default()
    }
}

/// A type whose values are written in quotes after its name, such as `DATE '2026-01-31'`.
fn quoted(name: &str, code: XdbcDataType) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some(format!("{name} '")),
        literal_suffix: Some("'".to_owned()),
        ..plain(name, code)
    }
}

fn numbers() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as X;
    // Digits of the largest value. An unsigned type has the code of its width, as its Arrow type has.
    let integer = |name, code, digits, unsigned| XdbcTypeInfo {
        column_size: Some(digits),
        unsigned_attribute: Some(unsigned),
        auto_increment: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        ..plain(name, code)
    };
    // Size in bits.
    let float = |name, code, bits| XdbcTypeInfo {
        column_size: Some(bits),
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(2),
        ..plain(name, code)
    };
    let decimal = XdbcTypeInfo {
        create_params: Some(vec!["precision".to_owned(), "scale".to_owned()]),
        maximum_scale: Some(38),
        ..integer("DECIMAL", X::XdbcDecimal, 38, false)
    };
    vec![
        XdbcTypeInfo { column_size: Some(1), ..plain("BOOLEAN", X::XdbcBit) },
        integer("TINYINT", X::XdbcTinyint, 3, false),
        integer("SMALLINT", X::XdbcSmallint, 5, false),
        integer("INTEGER", X::XdbcInteger, 10, false),
        integer("BIGINT", X::XdbcBigint, 19, false),
        integer("UTINYINT", X::XdbcTinyint, 3, true),
        integer("USMALLINT", X::XdbcSmallint, 5, true),
        integer("UINTEGER", X::XdbcInteger, 10, true),
        integer("UBIGINT", X::XdbcBigint, 20, true),
        // Wider than any integer of ODBC; results carry them as decimals.
        integer("HUGEINT", X::XdbcDecimal, 39, false),
        integer("UHUGEINT", X::XdbcDecimal, 39, true),
        decimal,
        float("FLOAT", X::XdbcReal, 24),
        float("DOUBLE", X::XdbcDouble, 53),
    ]
}

fn texts() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as X;
    let varchar = XdbcTypeInfo {
        column_size: Some(i32::MAX),
        literal_prefix: Some("'".to_owned()),
        literal_suffix: Some("'".to_owned()),
        case_sensitive: true,
        searchable: Searchable::Full,
        ..plain("VARCHAR", X::XdbcVarchar)
    };
    let json = XdbcTypeInfo {
        column_size: Some(i32::MAX),
        case_sensitive: true,
        searchable: Searchable::Full,
        ..quoted("JSON", X::XdbcLongvarchar)
    };
    vec![
        varchar,
        json,
        XdbcTypeInfo { column_size: Some(i32::MAX), ..quoted("BLOB", X::XdbcVarbinary) },
        XdbcTypeInfo { column_size: Some(36), ..quoted("UUID", X::XdbcUnknownType) },
        quoted("BIT", X::XdbcUnknownType),
    ]
}

fn times() -> Vec<XdbcTypeInfo> {
    use XdbcDataType as X;
    use XdbcDatetimeSubcode as S;
    // Characters of the text form, and digits of a second.
    let time = |name, code, subcode, characters, digits| XdbcTypeInfo {
        column_size: Some(characters),
        minimum_scale: digits,
        maximum_scale: digits,
        sql_data_type: X::XdbcDatetime,
        datetime_subcode: Some(subcode),
        ..quoted(name, code)
    };
    let (time_zone, timestamp_zone) = (S::XdbcSubcodeTimeWithTimezone, S::XdbcSubcodeTimestampWithTimezone);
    vec![
        time("DATE", X::XdbcDate, SUBCODE_DATE, 10, None),
        time("TIME", X::XdbcTime, S::XdbcSubcodeTime, 15, Some(6)),
        time("TIME WITH TIME ZONE", X::XdbcTime, time_zone, 24, Some(6)),
        time("TIME_NS", X::XdbcTime, S::XdbcSubcodeTime, 18, Some(9)),
        time("TIMESTAMP", X::XdbcTimestamp, S::XdbcSubcodeTimestamp, 26, Some(6)),
        time("TIMESTAMP WITH TIME ZONE", X::XdbcTimestamp, timestamp_zone, 32, Some(6)),
        time("TIMESTAMP_S", X::XdbcTimestamp, S::XdbcSubcodeTimestamp, 19, Some(0)),
        time("TIMESTAMP_MS", X::XdbcTimestamp, S::XdbcSubcodeTimestamp, 23, Some(3)),
        time("TIMESTAMP_NS", X::XdbcTimestamp, S::XdbcSubcodeTimestamp, 29, Some(9)),
        // Months, days and microseconds in one value: none of ODBC's kinds of interval.
        XdbcTypeInfo { datetime_subcode: Some(S::XdbcSubcodeUnknown), ..quoted("INTERVAL", X::XdbcInterval) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int32Type;

    fn names(data_type: Option<i32>) -> Vec<String> {
        let batch = answer(CommandGetXdbcTypeInfo { data_type }).unwrap();
        batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    }

    #[test]
    fn the_first_type_of_a_code_is_the_one_tools_mean() {
        for (code, name) in [
            (XdbcDataType::XdbcVarchar, "VARCHAR"),
            (XdbcDataType::XdbcVarbinary, "BLOB"),
            (XdbcDataType::XdbcDecimal, "DECIMAL"),
            (XdbcDataType::XdbcBigint, "BIGINT"),
            (XdbcDataType::XdbcInteger, "INTEGER"),
            (XdbcDataType::XdbcBit, "BOOLEAN"),
            (XdbcDataType::XdbcTime, "TIME"),
            (XdbcDataType::XdbcTimestamp, "TIMESTAMP"),
        ] {
            assert_eq!(names(Some(code as i32))[0], name);
        }
    }

    #[test]
    fn types_are_filtered_by_code() {
        assert_eq!(names(Some(XdbcDataType::XdbcTinyint as i32)), ["TINYINT", "UTINYINT"]);
        assert_eq!(names(Some(12_345)), Vec::<String>::new());
        let all = names(None);
        assert_eq!(all.len(), 29);
        assert!(all.iter().any(|name| name == "UHUGEINT"));
    }

    #[test]
    fn decimals_take_parameters_and_dates_are_datetimes() {
        let decimal = answer(CommandGetXdbcTypeInfo { data_type: Some(XdbcDataType::XdbcDecimal as i32) });
        let decimal = decimal.unwrap();
        let parameters = decimal.column_by_name("create_params").unwrap().as_list::<i32>();
        let parameters = parameters.value(0);
        let parameters: Vec<_> = parameters.as_string::<i32>().iter().flatten().collect();
        assert_eq!(parameters, ["precision", "scale"]);
        assert!(decimal.column_by_name("create_params").unwrap().is_null(1));

        let date = answer(CommandGetXdbcTypeInfo { data_type: Some(XdbcDataType::XdbcDate as i32) }).unwrap();
        let number = |column: &str| date.column_by_name(column).unwrap().as_primitive::<Int32Type>().value(0);
        assert_eq!((number("sql_data_type"), number("datetime_subcode")), (9, 1));
        assert_eq!(number("column_size"), 10);
    }
}
