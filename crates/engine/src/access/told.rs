//! An error of the engine's -> the same without names and values that its reader may not see.
//! Runs on: any thread; pure.
//! Never: changes the kind of an error.

use super::access::Access;
use crate::connection::Connection;
use crate::error::Error;

/// Where the engine begins to name what depends on something.
const DEPENDENTS: [&str; 2] = ["there are entries that depend on it", "main key table of the table"];
/// Where a put's error begins to name columns of its table.
const COLUMNS: [&str; 2] = ["; did you mean", "; its columns are"];

impl Connection {
    /// An error of a statement, as its sender may read it.
    pub fn told(&self, error: Error) -> Error {
        self.access().map_or_else(|| error.clone(), |access| access.told(&error))
    }
}

impl Access {
    /// An error of a statement of theirs: without what depends on a table, the values of an ENUM, and hidden columns of
    /// constraints, none of which the plan says.
    pub(crate) fn told(&self, error: &Error) -> Error {
        if self.sees_all() {
            return error.clone();
        }
        let mut text = without_values(error.message());
        if let Some(end) = DEPENDENTS.iter().find_map(|words| text.find(words).map(|at| at + words.len())) {
            text.truncate(end);
            text.push_str(" (what it is may not be told; an admin sees it)");
        }
        if text.contains("Constraint Error") {
            text = self.without_hidden(&text);
        }
        if text == error.message() { error.clone() } else { error.reworded(text) }
    }

    /// An error of a put of theirs into a table: hidden columns are in no list.
    pub fn told_of_put(&self, schema: &str, table: &str, error: &Error) -> Error {
        let told = self.told(error);
        if !self.is_in_part(schema, table) {
            return told;
        }
        let mut text = told.message().to_owned();
        if let Some(at) = COLUMNS.iter().filter_map(|words| text.find(words)).min() {
            text.truncate(at);
        }
        told.reworded(self.without_hidden(&text))
    }

    fn without_hidden(&self, text: &str) -> String {
        let hidden = self.hidden_columns().flat_map(|(_, columns)| columns);
        hidden.fold(text.to_owned(), |text, column| without_word(&text, column))
    }
}

/// `ENUM('a', 'b')` -> `ENUM`.
fn without_values(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, values)) = rest.split_once("ENUM(") {
        kept.push_str(before);
        kept.push_str("ENUM");
        // A quote inside of a value is doubled, so that quotes come in pairs.
        let mut in_quotes = false;
        let end = values.char_indices().find(|(_, letter)| {
            in_quotes ^= *letter == '\'';
            *letter == ')' && !in_quotes
        });
        rest = end.map_or("", |(at, _)| &values[at + 1..]);
    }
    kept + rest
}

/// The text with another word in the place of a name.
fn without_word(text: &str, name: &str) -> String {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (lower, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut kept = String::new();
    let mut from = 0;
    for (at, found) in lower.match_indices(&name) {
        let end = at + found.len();
        if name.is_empty() || lower[..at].ends_with(is_word) || lower[end..].starts_with(is_word) {
            continue;
        }
        kept.push_str(&text[from..at]);
        kept.push_str("(hidden)");
        from = end;
    }
    kept + &text[from..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_enum_are_left_out() {
        for (text, expected) in [
            ("to ENUM('it''s :)', 'b') at 1", "to ENUM at 1"),
            ("ENUM('a')[] and ENUM('b')", "ENUM[] and ENUM"),
            ("ENUM('cut short", "ENUM"),
            ("an ENUM of nothing", "an ENUM of nothing"),
        ] {
            assert_eq!(without_values(text), expected);
        }
    }

    #[test]
    fn a_hidden_name_is_left_out_as_a_word() {
        assert_eq!(
            without_word("CHECK((Hid > 1)) of hid_x, \"hid\"", "hid"),
            "CHECK(((hidden) > 1)) of hid_x, \"(hidden)\""
        );
    }
}
