//! Literals: TOML values and the SQL that stands for them.

use super::*;
use crate::parse_type;

fn of(value: &str, data_type: &str) -> Result<String, String> {
    literal(DeValue::parse(value).unwrap().get_ref(), &parse_type(data_type).unwrap())
}

#[test]
fn defaults_become_literals_as_the_engine_prints_them() {
    for (value, data_type, expected) in [
        ("0.0", "double", "CAST('0.0' AS DOUBLE)"),
        ("1", "double", "CAST('1.0' AS DOUBLE)"),
        ("nan", "float", "CAST('nan' AS FLOAT)"),
        ("-inf", "double", "CAST('-inf' AS DOUBLE)"),
        ("true", "bool", "CAST('true' AS BOOLEAN)"),
        ("0xff", "uint8", "CAST('255' AS UTINYINT)"),
        ("-128", "int8", "CAST('-128' AS TINYINT)"),
        ("\"it's\"", "string", "'it''s'"),
        ("0.1", "decimal128(10, 2)", "CAST('0.10' AS DECIMAL(10, 2))"),
        ("\"-00.10\"", "decimal128(10, 2)", "CAST('-0.10' AS DECIMAL(10, 2))"),
        ("-0.0", "decimal128(10, 2)", "CAST('0.00' AS DECIMAL(10, 2))"),
        ("2026-01-31", "date32", "CAST('2026-01-31' AS DATE)"),
        ("\"2026-01-31\"", "timestamp[us]", "CAST('2026-01-31T00:00:00' AS TIMESTAMP)"),
        (
            "2026-01-31T10:00:00Z",
            "timestamp[us, tz=UTC]",
            "CAST('2026-01-31T10:00:00Z' AS TIMESTAMP WITH TIME ZONE)",
        ),
        ("10:30:00", "time64[us]", "CAST('10:30:00' AS TIME)"),
        ("'a\\xFF'", "binary", "CAST('a\\xFF' AS BLOB)"),
        ("\"{}\"", "json", "CAST('{}' AS \"JSON\")"),
        ("\"n\"", "dictionary<values=string, indices=int8>", "'n'"),
    ] {
        let found = of(value, data_type).unwrap();
        assert_eq!(found, expected, "{value} as {data_type}");
        // And back: the value that is written is read as the same literal.
        let data_type = parse_type(data_type).unwrap();
        let written = toml_value(&found, &data_type).unwrap();
        assert_eq!(literal(DeValue::parse(&written).unwrap().get_ref(), &data_type).unwrap(), found);
    }
}

#[test]
fn a_default_of_the_wrong_type_or_size_is_refused() {
    for (value, data_type) in [
        ("\"x\"", "double"),
        ("1", "bool"),
        ("1.0", "int64"),
        ("256", "uint8"),
        ("1e40", "float"),
        ("1e400", "double"),
        ("1", "string"),
        ("0.125", "decimal128(10, 2)"),
        ("100", "decimal128(4, 2)"),
        ("2026-02-30", "date32"),
        ("\"2026-02-30\"", "date32"),
        ("\"soon\"", "timestamp[us]"),
        ("2026-01-31T10:00:00Z", "timestamp[us]"),
        ("2026-01-31T10:00:00", "timestamp[us, tz=UTC]"),
        ("2026-01-31T10:00:00.5", "timestamp[s]"),
        ("\"1500-01-01T00:00:00\"", "timestamp[ns]"),
        ("\"25:00:00\"", "time32[s]"),
        ("'\\xF'", "binary"),
        ("\"abc\"", "fixed_size_binary[2]"),
        ("\"nothing\"", "uuid"),
        ("\"{\"", "json"),
        ("\"1 day\"", "duration[s]"),
        ("[1]", "list<item: int64>"),
    ] {
        // TOML itself has no 30th of February.
        if let Ok(parsed) = DeValue::parse(value) {
            let data_type = parse_type(data_type).unwrap();
            let message = literal(parsed.get_ref(), &data_type).unwrap_err();
            assert!(message.contains(&data_type.text), "{message}");
        }
    }
}

#[test]
fn defaults_that_sql_gave_are_read_where_they_are_literals() {
    for (expression, data_type, expected) in [
        ("42", "int64", Some("CAST('42' AS BIGINT)")),
        ("true", "bool", Some("CAST('true' AS BOOLEAN)")),
        ("'x'", "string", Some("'x'")),
        ("1.5", "decimal128(4, 2)", Some("CAST('1.50' AS DECIMAL(4, 2))")),
        ("CAST('2026-01-01' AS DATE)", "date32", Some("CAST('2026-01-01' AS DATE)")),
        ("now()", "timestamp[us]", None),
        ("('a' || 'b')", "string", None),
        ("nextval('s')", "int64", None),
    ] {
        let found = from_expression(expression, &parse_type(data_type).unwrap());
        assert_eq!(found.as_deref(), expected, "{expression}");
    }
}
