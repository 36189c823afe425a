//! The parameters of a statement as they stand in its text, and the text with something else in their placeholder.

use std::ops::Range;

use duckdb::enums::TokenType;

use super::token::Token;

/// A parameter as it stands in the text.
pub(super) struct Placeholder {
    pub(super) name: String,
    pub(super) range: Range<usize>,
    pub(super) first_token: usize,
}

/// The parameters of a statement: `?` counts up, `?1`, `$1` and `$name` say which they are.
pub(super) fn placeholders(tokens: &[Token<'_>]) -> Vec<Placeholder> {
    let mut placeholders = Vec::new();
    let mut question_marks = 0;
    for (index, token) in tokens.iter().enumerate() {
        let attached = tokens.get(index + 1).filter(|next| next.range.start == token.range.end);
        let numbered = attached.filter(|next| next.kind == TokenType::NumberLiteral);
        if token.is_sign("?") && numbered.is_none() {
            question_marks += 1;
            let name = question_marks.to_string();
            placeholders.push(Placeholder { name, range: token.range.clone(), first_token: index });
        } else if let Some(name) = if token.is_sign("?") { numbered } else { attached }
            && (token.is_sign("$") || token.is_sign("?"))
        {
            let range = token.range.start..name.range.end;
            let name = name.text.trim_matches('"').to_owned();
            placeholders.push(Placeholder { name, range, first_token: index });
        }
    }
    placeholders
}

/// `sql` with every parameter replaced by what `value` says for its name; `None` when it does not know one.
pub(super) fn replaced(
    sql: &str,
    range: Range<usize>,
    placeholders: &[Placeholder],
    value: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut text = String::with_capacity(range.len() + 32 * placeholders.len());
    let mut from = range.start;
    for placeholder in placeholders.iter().filter(|placeholder| range.contains(&placeholder.range.start)) {
        text.push_str(&sql[from..placeholder.range.start]);
        text.push_str(&value(&placeholder.name)?);
        from = placeholder.range.end;
    }
    text.push_str(&sql[from..range.end]);
    Some(text)
}
