//! The first line of a CSV file: delimiter and names of columns.
//! Runs on: any thread. Never: guesses names.

use std::borrow::Cow;

use crate::error::{Error, Result};

use super::value::{Class, classify};

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// The delimiter that the first line holds most of, outside of quotes; comma when it holds none.
pub(super) fn delimiter(line: &str) -> u8 {
    let mut counts = [0_usize; 4];
    let mut quoted = false;
    for byte in line.bytes() {
        quoted ^= byte == b'"';
        if let Some(at) = DELIMITERS.iter().position(|known| *known == byte).filter(|_| !quoted) {
            counts[at] += 1;
        }
    }
    // The earlier one of equals.
    let most = counts.iter().copied().max().unwrap_or(0);
    DELIMITERS[counts.iter().position(|count| *count == most).unwrap_or(0)]
}

/// The names of the columns.
///
/// Errors: `Invalid` naming file and column, for names that are missing or there twice and for a line of values.
pub(super) fn names(record: &str, delimiter: u8, shown: &str) -> Result<Vec<String>> {
    let refuse = |text: String| Error::invalid(format!("{shown}, line 1: {text}"));
    let mut fields = Vec::new();
    fields_of(record, delimiter, &mut fields).map_err(|text| refuse(text.to_owned()))?;
    let names: Vec<String> = fields.iter().map(|field| field.text.trim().to_owned()).collect();
    if record.contains('\r') {
        return Err(refuse("lines end with a carriage return alone; write them with a newline".to_owned()));
    }
    if names.iter().all(|name| name.is_empty() || classify(name) != Class::Text) {
        let first = names.first().map(String::as_str).unwrap_or_default();
        return Err(refuse(format!(
            "expected the names of the columns, found values (\"{first}\"); put a line with names first"
        )));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            let after = index.checked_sub(1).map(|before| format!(" (after \"{}\")", names[before]));
            let after = after.unwrap_or_default();
            return Err(refuse(format!(
                "column {}{after} has no name; name it in the first line",
                index + 1
            )));
        }
        let same = |other: &&String| other.to_lowercase() == name.to_lowercase();
        if let Some(other) = names[..index].iter().find(same) {
            return Err(refuse(format!(
                "columns \"{other}\" and \"{name}\" have one name; rename one of them"
            )));
        }
    }
    Ok(names)
}

/// A field of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Without its quotes.
    pub(super) text: Cow<'a, str>,
    pub(super) quoted: bool,
}

impl<'a> Field<'a> {
    /// NULL is what stands as nothing without quotes; `""` is an empty text.
    pub(super) fn value(&self) -> Option<&str> {
        (self.quoted || !self.text.is_empty()).then_some(self.text.as_ref())
    }
}

/// Splits a record, which has no newline at its end, by RFC 4180.
///
/// Errors: what is wrong with it.
pub(super) fn fields_of<'a>(
    record: &'a str,
    delimiter: u8,
    fields: &mut Vec<Field<'a>>,
) -> std::result::Result<(), &'static str> {
    fields.clear();
    let mut rest = record;
    loop {
        let after = if let Some(inner) = rest.strip_prefix('"') {
            let (text, after) = quoted(inner)?;
            fields.push(Field { text, quoted: true });
            after
        } else {
            let end = memchr::memchr(delimiter, rest.as_bytes()).unwrap_or(rest.len());
            fields.push(Field { text: Cow::Borrowed(&rest[..end]), quoted: false });
            &rest[end..]
        };
        match after.as_bytes().first() {
            None => return Ok(()),
            Some(byte) if *byte == delimiter => rest = &after[1..],
            Some(_) => {
                return Err("text follows the closing quote of a field; quotes within quotes are doubled");
            }
        }
    }
}

/// What stands before the closing quote, and what follows it.
fn quoted(inner: &str) -> std::result::Result<(Cow<'_, str>, &str), &'static str> {
    let mut text = Cow::Borrowed("");
    let mut rest = inner;
    loop {
        let end = memchr::memchr(b'"', rest.as_bytes()).ok_or("a quote is not closed")?;
        let doubled = rest.as_bytes().get(end + 1) == Some(&b'"');
        let piece = &rest[..end + usize::from(doubled)];
        if text.is_empty() {
            text = Cow::Borrowed(piece);
        } else {
            text.to_mut().push_str(piece);
        }
        rest = &rest[end + 1 + usize::from(doubled)..];
        if !doubled {
            return Ok((text, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_come_from_the_first_line() {
        for (line, expected) in [
            ("a,b", b','),
            ("a\tb", b'\t'),
            ("a;b;c,d", b';'),
            ("\"a,b,c\"|d", b'|'),
            ("a", b','),
            ("a,b;c", b','),
        ] {
            assert_eq!(delimiter(line), expected, "{line}");
        }
    }

    /// What is missing, doubled or no name is refused by name.
    #[test]
    fn names_are_unique() {
        assert_eq!(
            names("id, Name ,\"a \"\"b\"\", c\"", b',', "t.csv").unwrap(),
            ["id", "Name", "a \"b\", c"]
        );
        assert_eq!(names("city,2020,2021", b',', "t.csv").unwrap(), ["city", "2020", "2021"]);
        for (line, expected) in [
            ("a,,c", "t.csv, line 1: column 2 (after \"a\") has no name"),
            (",a", "column 1 has no name"),
            ("a,b,A", "columns \"a\" and \"A\" have one name"),
            ("1,2024-01-01,", "found values (\"1\")"),
            ("a\rb", "carriage return"),
            ("\"a\"b,c", "text follows the closing quote"),
        ] {
            let error = names(line, b',', "t.csv").unwrap_err();
            assert!(error.message().contains(expected), "{line}: {error}");
        }
    }

    /// `""` is an empty text and nothing is NULL; quotes double and may hold delimiters.
    #[test]
    fn fields_by_rfc_4180() {
        let split = |record| {
            let mut fields = Vec::new();
            fields_of(record, b',', &mut fields).unwrap();
            fields.iter().map(|field| field.value().map(str::to_owned)).collect::<Vec<_>>()
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(split("a,,\"\",\"x,\"\"y\"\"\""), [text("a"), None, text(""), text("x,\"y\"")]);
        assert_eq!(split("5\" pipe,\"a\nb\","), [text("5\" pipe"), text("a\nb"), None]);
        assert_eq!(split("\"\"\"\"\"\""), [text("\"\"")]);
    }
}
