//! A statement, table or action, and the text of an error -> what of them may be shown.
//! Runs on: any thread; asks the engine's tokenizer, and remembers what was asked a moment ago.
//! Never: shows a literal, a quoted value or a line of a statement, unless `log.statements` is `full`.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::Database;
use crate::error::shorten;

/// How much of a statement is shown.
const SHOWN_BYTES_MAX: usize = 500;
/// How much of an error.
const ERROR_BYTES_MAX: usize = 500;
/// Statements whose words are remembered; then it begins anew.
const REMEMBERED_MAX: usize = 256;

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Subject {
    /// Nothing in particular.
    #[default]
    Nothing,
    /// An SQL text.
    Statement(Arc<str>),
    /// Rows for a table, by its name.
    Put(String),
    /// The catalog, or an action.
    Named(String),
}

/// What may be shown of what a call is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// The statement, table or action.
    pub text: String,
    /// Tables that it names.
    pub tables: Vec<String>,
    /// A number for the statement whatever its literals are, in hexadecimal; empty for what is none.
    pub fingerprint: String,
    names: Vec<String>,
}

impl Words {
    /// Whether a word or name stands in the statement.
    pub(super) fn has(&self, word: &str) -> bool {
        self.names.iter().any(|name| name == word)
    }

    /// Whether the statement begins with a word.
    pub(super) fn begins_with(&self, word: &str) -> bool {
        let first = self.text.split(|letter: char| !letter.is_alphanumeric()).next().unwrap_or_default();
        first.eq_ignore_ascii_case(word)
    }

    #[cfg(test)]
    pub(super) fn of_text(sql: &str) -> Self {
        let names =
            sql.split(|letter: char| !letter.is_alphanumeric()).map(str::to_ascii_lowercase).collect();
        Self { text: sql.to_owned(), names, ..Self::default() }
    }
}

/// Finds the words.
pub(super) struct Masking {
    database: Arc<Database>,
    is_full: bool,
    remembered: Mutex<HashMap<u64, Arc<Words>>>,
}

impl Masking {
    pub(super) fn new(database: Arc<Database>, is_full: bool) -> Self {
        Self { database, is_full, remembered: Mutex::default() }
    }

    /// What may be shown of `subject`.
    pub(super) fn words(&self, subject: &Subject) -> Arc<Words> {
        match subject {
            Subject::Nothing => Arc::default(),
            Subject::Put(table) => {
                let tables = vec![table.clone()];
                Arc::new(Words { text: table.clone(), tables, ..Words::default() })
            }
            Subject::Named(name) => Arc::new(Words { text: name.clone(), ..Words::default() }),
            Subject::Statement(sql) => self.statement(sql),
        }
    }

    fn statement(&self, sql: &Arc<str>) -> Arc<Words> {
        let mut hasher = DefaultHasher::new();
        sql.hash(&mut hasher);
        let hash = hasher.finish();
        let known = self.remembered.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some(words) = known {
            return words;
        }
        let Ok(masked) = self.database.masked(sql) else {
            // The database is lost, or this is no SQL at all.
            let text = format!("({} bytes of SQL)", sql.len());
            return Arc::new(Words { text, ..Words::default() });
        };
        let mut hasher = DefaultHasher::new();
        masked.text.hash(&mut hasher);
        let shown = if self.is_full { sql } else { masked.text.as_str() };
        let words = Arc::new(Words {
            text: shorten(shown, SHOWN_BYTES_MAX),
            tables: masked.tables,
            fingerprint: format!("{:016x}", hasher.finish()),
            names: masked.names,
        });
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(hash, Arc::clone(&words));
        words
    }

    /// What may be shown of an error of a call with these words.
    pub(super) fn error(&self, words: &Words, error: &str) -> String {
        if self.is_full {
            return shorten(error, ERROR_BYTES_MAX);
        }
        shorten(&without_values(error, &words.names), ERROR_BYTES_MAX)
    }

    /// What an operator of a plan says, such as a condition. Numbers of rows are not a statement's.
    pub(super) fn detail(&self, text: &str) -> String {
        if self.is_full || text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.to_owned();
        }
        self.database.masked(text).map_or_else(|_| "…".to_owned(), |masked| masked.text)
    }
}

/// An error's text up to where it quotes the statement, with `?` in the place of what it quotes, unless that is a name in the
/// statement.
fn without_values(error: &str, names: &[String]) -> String {
    let end = error.find("\nLINE ").unwrap_or(error.len());
    let mut rest = error[..end].trim_end();
    let mut shown = String::with_capacity(rest.len());
    while let Some(begin) = rest.find(['\'', '"']) {
        let quote = &rest[begin..=begin];
        let inner = &rest[begin + 1..];
        // An apostrophe within a word is none.
        let is_within =
            rest[..begin].ends_with(char::is_alphanumeric) && inner.starts_with(char::is_alphanumeric);
        let Some(length) = inner.find(quote).filter(|_| !is_within) else {
            let next = begin + 1;
            if is_within {
                shown.push_str(&rest[..next]);
                rest = &rest[next..];
                continue;
            }
            // It is quoted to the end of the text, or beyond.
            shown.push_str(&rest[..begin]);
            shown.push('?');
            return shown;
        };
        let value = &inner[..length];
        shown.push_str(&rest[..begin]);
        let is_name = value.split('.').all(|part| names.contains(&part.to_ascii_lowercase()));
        if is_name {
            shown.push_str(&rest[begin..begin + length + 2]);
        } else {
            shown.push('?');
        }
        rest = &inner[length + 1..];
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn errors_show_names_and_no_values() {
        let names = ["wells".to_owned(), "oil".to_owned(), "main".to_owned()];
        for (error, expected) in [
            ("plain", "plain"),
            ("Could not convert string 'secret' to INT32", "Could not convert string ? to INT32"),
            ("Parser Error: syntax error\n\nLINE 1: SELECT 'secret'\n ^", "Parser Error: syntax error"),
            ("column \"oil\" of \"main.wells\"", "column \"oil\" of \"main.wells\""),
            ("Duplicate key \"id: secret\"", "Duplicate key ?"),
            ("it doesn't end 'secret", "it doesn't end ?"),
            ("unpaired \" secret", "unpaired ?"),
        ] {
            assert_eq!(without_values(error, &names), expected);
        }
    }
}
