//! Values of text: what class a text is of, and what it reads as.

use super::*;

/// Text whenever in doubt: no value is one that could not be written again as it was.
#[test]
fn classes() {
    use Class::{Boolean, Date, Double, Instant, NotANumber, Text, Timestamp};
    let exact = Class::Integer { exact: true };
    let long = Class::Integer { exact: false };
    let check = |class: Class, texts: &[&str]| {
        for text in texts {
            assert_eq!(classify(text), class, "{text}");
        }
    };
    check(exact, &["0", "7", "-7", "10", "9007199254740992", "1000000000000000000"]);
    check(long, &["9007199254740993", "9223372036854775807", "-9223372036854775807"]);
    check(
        Text,
        &["007", "+1", "-0", "9223372036854775808", "1e5", "12E4", "1_000", "1,5", " 1", "1 ", "0x10", "--1"],
    );
    check(
        Double,
        &["0.1", "-0.5", "1.10", "0.30000000000000004", "1e-05", "1e+16", "1.0E10", "1.7976931348623157e308"],
    );
    check(Text, &["1234567890.12345678901234", "00.5", ".5", "5.", "1e400", "1.0e400", "1e", "1e+"]);
    check(NotANumber, &["NaN", "nan", "inf", "-inf"]);
    check(
        Text,
        &["NA", "NULL", "null", "None", "n", "Nan", "", "\\N", "t", "f", "yes", "tRUE", "-", ".", "é"],
    );
    check(Boolean, &["true", "False", "TRUE"]);
    check(Date, &["2024-02-29", "0001-01-01", "9999-12-31"]);
    check(
        Text,
        &["2023-02-29", "2024-2-29", "29.02.2024", "2024/02/29", "2024-02-29x", "12345-01-01", "2024-02-3é"],
    );
    check(
        Timestamp { nanos: false },
        &["2024-01-01 10:00:00", "2024-01-01T10:00:00.123456", "2024-01-01 10:00:00.123456000"],
    );
    check(Timestamp { nanos: true }, &["2024-01-01 10:00:00.1234567"]);
    check(
        Text,
        &[
            "2024-01-01 10:00",
            "2024-01-01 24:00:00",
            "2024-01-01 10:00:60",
            "2024-01-01 10:00:00 Europe/Paris",
            "2024-01-01 10:00:00.",
            "2024-01-01 10:00:00.1234567Z",
            "0001-01-01 10:00:00.1234567",
        ],
    );
    check(
        Instant,
        &[
            "2024-01-01T10:00:00Z",
            "2024-01-01 10:00:00+01",
            "2024-01-01 10:00:00.5-0130",
            "2024-01-01T10:00:00+05:30",
        ],
    );
}

/// A known type takes what it can hold as it stands, and nothing else.
#[test]
fn values() {
    assert_eq!(integer("007"), Some(7));
    assert_eq!(integer("+1"), Some(1));
    for text in ["", "-", "1.0", "1e5", "0x1", "1 2"] {
        assert_eq!(integer(text), None, "{text}");
    }
    assert_eq!(decimal("-1.50", 5, 2), Some(-150));
    assert_eq!(decimal("1.500", 5, 2), Some(150));
    assert_eq!(decimal(".5", 5, 2), Some(50));
    assert_eq!(decimal("999.99", 5, 2), Some(99_999));
    for text in ["1.005", "1000.00", "", ".", "1e2", "-"] {
        assert_eq!(decimal(text, 5, 2), None, "{text}");
    }
    assert_eq!(double("1e5"), Some(1e5));
    assert!(double("nan").is_some_and(f64::is_nan));
    for text in ["1e999", "", "infinite", "NA", "0x1"] {
        assert_eq!(double(text), None, "{text}");
    }
    let shown = |moment: Moment| {
        chrono::DateTime::from_timestamp(moment.seconds, moment.nanos).unwrap().naive_utc().to_string()
    };
    let moment = |text: &str| parse_moment(text).map(shown);
    assert_eq!(moment("2024-03-31T01:30:00+02:00").as_deref(), Some("2024-03-30 23:30:00"));
    assert_eq!(moment("2024-03-31 01:30").as_deref(), Some("2024-03-31 01:30:00"));
    assert_eq!(moment("1969-12-31 23:59:59.5").as_deref(), Some("1969-12-31 23:59:59.500"));
    assert_eq!(moment("2024-03-31 01:30:00+2"), None);
    assert_eq!(moment("2024-03-31 01:30:00+02:"), None);
}
