//! What results of statements with the same words looked like: a guess, for what has to be chosen before a statement says it.
//! Runs on: the threads that prepare; a hash and a look-up.
//! Never: is believed. The columns of a result are those that the running statement has.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use duckdb::enums::TokenType;

use super::evident::is_evident;
use crate::sql::Token;

/// Statements remembered at most; then it begins anew.
const STATEMENTS_MAX: usize = 1024;
/// Columns of a result that is worth remembering.
const COLUMNS_MAX: usize = 256;

/// Results by the words of their statements.
#[derive(Default)]
pub(crate) struct Likely(Mutex<HashMap<u64, SchemaRef>>);

impl Likely {
    /// What the result of a statement with these words had, if its schema says all of its types.
    pub(super) fn schema(&self, words: u64) -> Option<SchemaRef> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&words).cloned()
    }

    /// A statement with these words was described with `schema`.
    pub(super) fn note(&self, words: u64, schema: &SchemaRef) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if schema.fields().len() > COLUMNS_MAX || !is_evident(schema) {
            known.remove(&words);
            return;
        }
        if known.len() >= STATEMENTS_MAX {
            known.clear();
        }
        known.insert(words, Arc::clone(schema));
    }
}

/// A number for the words of a statement, whatever its literals are.
pub(super) fn words_of(tokens: &[Token<'_>]) -> u64 {
    let mut words = DefaultHasher::new();
    for token in tokens {
        match token.kind {
            TokenType::NumberLiteral | TokenType::StringLiteral => '?'.hash(&mut words),
            _ => token.text.hash(&mut words),
        }
    }
    words.finish()
}
