//! SQL text -> its tokens, by the engine's own tokenizer, so that strings and comments are never mistaken.
//! Never: reads a token that the engine would not.

use std::ops::Range;

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;
use duckdb::tokens::SqlTokenIterator;

/// A token of a statement and its bytes in the text.
pub(crate) struct Token<'sql> {
    pub(crate) kind: TokenType,
    pub(crate) text: &'sql str,
    pub(crate) range: Range<usize>,
}

impl Token<'_> {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self.kind, TokenType::Keyword | TokenType::Identifier)
            && self.text.eq_ignore_ascii_case(word)
    }

    /// The keyword or name it is, in lower case and without quotes; the engine tells names apart by letters alone.
    pub(crate) fn name(&self) -> Option<String> {
        if !matches!(self.kind, TokenType::Keyword | TokenType::Identifier) {
            return None;
        }
        let quoted = self.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(match quoted {
            Some(quoted) => quoted.replace("\"\"", "\"").to_ascii_lowercase(),
            None => self.text.to_ascii_lowercase(),
        })
    }

    pub(crate) fn is_sign(&self, sign: &str) -> bool {
        self.kind == TokenType::Operator && self.text == sign
    }
}

/// The tokens of `sql`, comments left out.
pub(crate) fn tokens<'sql>(
    connection: &DuckDBConnection,
    sql: &'sql str,
) -> duckdb::Result<Vec<Token<'sql>>> {
    let mut tokens = Vec::new();
    for token in SqlTokenIterator::new(connection, sql)? {
        let token = token?;
        let range = token.start..token.start + token.length;
        let Some(text) = sql.get(range.clone()) else {
            return Err(duckdb::Error::api_error("a token lies outside of its text"));
        };
        // A comment at the very end comes as a token; all others are left out by the engine.
        if token.token_type != TokenType::Comment {
            tokens.push(Token { kind: token.token_type, text, range });
        }
    }
    Ok(tokens)
}

/// Brackets that a token opens, less those that it closes.
pub(crate) fn opened(token: &Token<'_>) -> i64 {
    if token.kind != TokenType::Operator {
        return 0;
    }
    token.text.bytes().map(|sign| i64::from(sign == b'(') - i64::from(sign == b')')).sum()
}
