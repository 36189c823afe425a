//! A text that is no type -> what somebody who wrote it may have meant.
//! Runs on: any thread; pure.
//! Never: takes the guess for the type.

use std::fmt;

use super::{by_spelling, engine, spellings};

/// Words people write for a type, and what they mean.
const MEANT: &[(&str, &str)] = &[
    ("int", "int64"),
    ("integer", "int64"),
    ("long", "int64"),
    ("str", "string"),
    ("text", "string"),
    ("char", "string"),
    ("object", "string"),
    ("datetime", "timestamp[us]"),
    ("timestamp", "timestamp[us]"),
    ("timestamptz", "timestamp[us, tz=UTC]"),
    ("datetime64", "timestamp[ns]"),
    ("date", "date32[day]"),
    ("time", "time64[us]"),
    ("duration", "duration[us]"),
    ("timedelta", "duration[us]"),
    ("bytes", "binary"),
    ("category", "dictionary<values=string, indices=int32, ordered=0>"),
    ("extension<arrow.bool8>", "bool"),
];

/// Why a text is no type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeError {
    /// What is wrong, with what was found.
    pub what: String,
    /// The spelling that was probably meant.
    pub meant: Option<String>,
}

impl fmt::Display for TypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.meant {
            Some(meant) => write!(f, "; did you mean \"{meant}\"? (")?,
            None => f.write_str(" (")?,
        }
        let (own, _) = spellings();
        write!(f, "accepted: {})", own.join(", "))
    }
}

/// What somebody who wrote `text` may have meant.
pub(super) fn meant(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    if let Some((_, meant)) = MEANT.iter().find(|(word, _)| *word == lower) {
        return Some((*meant).to_owned());
    }
    if let Some(found) = by_spelling(&lower) {
        return Some(found.text);
    }
    if let Ok(found) = engine::from_duckdb(&text.to_uppercase()) {
        return Some(found.text);
    }
    let (own, others) = spellings();
    closest(&lower, own.into_iter().chain(others)).map(str::to_owned)
}

/// Longest text, in bytes, that may be a misspelled word: comparing takes time by its length.
const WORD_BYTES_MAX: usize = 64;

/// The word most like `text`, when it is like it at all.
pub(crate) fn closest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.len() > WORD_BYTES_MAX {
        return None;
    }
    words
        .into_iter()
        .map(|word| (strsim::normalized_damerau_levenshtein(text, word), word))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}
