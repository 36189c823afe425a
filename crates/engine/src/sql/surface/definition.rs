//! CREATE, ALTER and DROP -> what is to be remembered of the new names, and what is refused.
//! Runs on: the thread that parses.
//! Never: forgets a name; what was once a view may be one again in another transaction.

use std::sync::atomic::Ordering;

use duckdb::enums::TokenType;

use super::lists::CHANGING;
use super::reach::Reach;
use super::surface::{Surface, names_of, no_seed};
use crate::error::{Error, Kind, Result};
use crate::sql::token::Token;

/// Words between CREATE and what is made.
const BEFORE: [&str; 9] =
    ["or", "replace", "temp", "temporary", "local", "global", "persistent", "secure", "recursive"];

/// Verb and kind of a definition, such as `create` and `view`; empty where there is none.
pub(crate) fn defined_kind(tokens: &[Token<'_>]) -> [String; 2] {
    let name = |at: usize| tokens.get(at).and_then(Token::name).unwrap_or_default();
    [name(0), name(1 + skipped(tokens))]
}

/// The path of what a definition makes, as far as it is names.
pub(crate) fn defined_path(tokens: &[Token<'_>]) -> Vec<String> {
    let rest = tokens.get(2 + skipped(tokens)..).unwrap_or_default();
    let asks = rest.iter().take_while(|token| ["if", "not", "exists"].iter().any(|word| token.is_word(word)));
    let mut path = Vec::new();
    let mut rest = rest[asks.count()..].iter();
    while let Some(name) = rest.next().and_then(Token::name) {
        path.push(name);
        if rest.next().is_none_or(|dot| dot.text != ".") {
            break;
        }
    }
    path
}

/// Words between the verb and what is made.
fn skipped(tokens: &[Token<'_>]) -> usize {
    let rest = tokens.get(1..).unwrap_or_default().iter();
    rest.take_while(|token| BEFORE.iter().any(|word| token.is_word(word))).count()
}

impl Surface {
    /// Takes note of a definition before it runs.
    ///
    /// Errors: `Denied` for secrets, and for functions under names of the engine's own; `Invalid` for a generated column
    /// that would change something whenever it is read.
    pub(crate) fn define(&self, tokens: &[Token<'_>], reach: Reach) -> Result<()> {
        let Some(verb) = tokens.first().and_then(Token::name) else { return Ok(()) };
        let skipped = skipped(tokens);
        let kind = tokens.get(1 + skipped).and_then(Token::name).unwrap_or_default();
        let rest = tokens.get(2 + skipped..).unwrap_or_default();
        if kind == "secret" {
            return Err(Error::new(
                Kind::Denied,
                "secrets are not allowed on this server; SQL has no way to files or the network",
            ));
        }
        match (verb.as_str(), kind.as_str()) {
            ("drop", "schema") if rest.iter().any(|token| token.kind == TokenType::StringLiteral) => {
                return Err(Error::invalid("write the name of the schema as a name, not as a text"));
            }
            ("create", "trigger") => self.has_triggers.store(true, Ordering::Relaxed),
            ("create", "view") => {
                self.names_mut().note(&defined_name(rest), names_of(tokens), no_seed(reach)?);
            }
            ("create", "macro" | "function") => {
                let name = defined_name(rest);
                if self.functions.contains(&name) {
                    return Err(Error::new(
                        Kind::Denied,
                        format!(
                            "\"{name}\" is a function of the engine, which others and the server itself use; choose another name"
                        ),
                    ));
                }
                self.names_mut().note(&name, names_of(tokens), no_seed(reach)?);
            }
            ("create", "table") if generates_by_change(tokens) => {
                return Err(Error::invalid(
                    "a generated column cannot call nextval or setval, because it would change the sequence whenever it is \
                     read; use DEFAULT",
                ));
            }
            ("alter", _) => {
                let renamed =
                    tokens.iter().rposition(|token| token.is_word("to")).and_then(|at| tokens.get(at + 1));
                if let Some(new) = renamed.and_then(Token::name) {
                    self.names_mut().rename(&names_of(tokens), &new);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The last part of the name after `[IF NOT EXISTS]`.
fn defined_name(tokens: &[Token<'_>]) -> String {
    let skipped =
        tokens.iter().take_while(|token| ["if", "not", "exists"].iter().any(|word| token.is_word(word)));
    let mut rest = tokens[skipped.count()..].iter();
    let mut name = String::new();
    while let Some(part) = rest.next() {
        name = part.name().unwrap_or_default();
        if rest.next().is_none_or(|next| next.text != ".") {
            break;
        }
    }
    name
}

/// Whether a column of CREATE TABLE is generated, and something in the statement changes a sequence outside of DEFAULT.
fn generates_by_change(tokens: &[Token<'_>]) -> bool {
    let mut level = 0_usize;
    let mut generated = None;
    for (at, token) in tokens.iter().enumerate() {
        let opens = tokens.get(at + 1).is_some_and(|next| next.text.starts_with('('));
        if generated.is_none() && level > 0 && opens && token.is_word("as") {
            generated = Some(level);
        }
        if generated.is_some() && opens && token.name().is_some_and(|name| CHANGING.contains(&name.as_str()))
        {
            return true;
        }
        if token.kind == TokenType::Operator {
            for sign in token.text.bytes() {
                match sign {
                    b'(' => level += 1,
                    b')' => level = level.saturating_sub(1),
                    _ => {}
                }
            }
            // The expression is over.
            if generated == Some(level) && token.text.ends_with(')') {
                generated = None;
            }
        }
    }
    false
}
