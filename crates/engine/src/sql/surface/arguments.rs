//! Arguments of a call that are plain texts, read from its tokens.

use duckdb::enums::TokenType;

use crate::sql::token::Token;

/// The text that is the only argument of a call; `None` when it is anything else.
pub(super) fn only_text(arguments: &[Token<'_>]) -> Option<String> {
    let [first, second, ..] = arguments else { return None };
    if second.text.starts_with(')') { text_of(first) } else { None }
}

/// The name, the text or the list of texts that is the first argument of a call.
pub(super) fn first_texts(arguments: &[Token<'_>]) -> Option<Vec<String>> {
    let (first, rest) = arguments.split_first()?;
    let ends = |token: &Token<'_>| token.text.starts_with([')', ',']);
    if first.text != "[" {
        let only = text_of(first).or_else(|| first.name())?;
        return rest.first().filter(|next| ends(next)).map(|_| vec![only]);
    }
    let mut texts = Vec::new();
    for pair in rest.chunks(2) {
        let [text, separator] = pair else { return None };
        texts.push(text_of(text)?);
        if separator.text.starts_with(']') {
            return Some(texts);
        }
        if separator.text != "," {
            return None;
        }
    }
    None
}

/// What a string literal stands for; `None` for one with escapes, and for anything else.
fn text_of(token: &Token<'_>) -> Option<String> {
    if token.kind != TokenType::StringLiteral {
        return None;
    }
    if let Some(quoted) = token.text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Some(quoted.replace("''", "'"));
    }
    let tag = &token.text[..token.text.strip_prefix('$')?.find('$')? + 2];
    token.text.strip_prefix(tag)?.strip_suffix(tag).map(str::to_owned)
}
