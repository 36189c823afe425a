//! A statement that the engine does not plan -> what its sender hears of the reason.
//! Runs on: the thread of the connection.
//! Never: says more of a name than its sender may know.

use std::sync::Arc;

use duckdb::error::DuckDBError;
use duckdb::query_result::StatementType;
use duckdb::statement::Statement;

use super::access::Access;
use super::planner::{Planner, Unplanned, first_line};
use super::refusal::{denied, unbound};
use super::window::{DATABASE, SCHEMA};
use crate::error::Error;

/// A statement that is not planned, and whose it is.
pub(super) struct NotPlanned<'a> {
    pub(super) planner: Planner<'a>,
    pub(super) access: &'a Arc<Access>,
    pub(super) statement: &'a Statement<'static>,
    pub(super) kind: StatementType,
    pub(super) text: &'a str,
    /// Windows stand in it.
    pub(super) over_windows: bool,
}

impl NotPlanned<'_> {
    /// What a client hears of a statement that does not bind.
    pub(super) fn explain(&self, Unplanned { kind, message }: Unplanned) -> Error {
        let is_pivot = self.text.to_ascii_lowercase().contains("pivot");
        let hint =
            if is_pivot { "; name the values that become columns: PIVOT … ON column IN (…)" } else { "" };
        let unchecked = || {
            denied(format!(
                "this kind of statement cannot be checked before it runs ({kind}){hint}; write it in another way, or let an admin run it"
            ))
        };
        if self.access.sees_all() {
            // The engine's own words, with the place in the text.
            return match self.statement.bind(self.planner.0.duckdb_for_binding()) {
                Err(error) if error.code != DuckDBError::InputMetadataDeferred => self.planner.note(error),
                _ => unchecked(),
            };
        }
        if ["not implemented", "serialization", "internal"].contains(&kind.as_str()) {
            return unchecked();
        }
        // All tables of a SELECT are known to its sender by now; those of a change are not.
        let is_simple = self.kind == StatementType::Select || self.is_simple_change();
        if !is_simple {
            return unbound(self.access);
        }
        let shown = if self.over_windows { without_windows(&message) } else { message };
        let shown = first_line(&shown).to_owned();
        match kind.as_str() {
            "catalog" => Error::not_found(shown),
            "permission" => denied(shown),
            _ if shown.contains("does not support serialization") => unchecked(),
            _ => Error::invalid(shown),
        }
    }

    /// Whether a change names one table alone, one that its sender may see.
    fn is_simple_change(&self) -> bool {
        let Ok(tokens) = self.planner.tokens(self.text) else { return false };
        let target = match tokens.as_slice() {
            [first, second, ..] if first.is_word("insert") && second.is_word("into") => 2,
            [first, second, ..] if first.is_word("delete") && second.is_word("from") => 2,
            [first, ..] if first.is_word("update") => 1,
            _ => return false,
        };
        let others = ["from", "using", "join", "select", "table", "with"];
        if tokens[target..].iter().any(|token| others.iter().any(|word| token.is_word(word))) {
            return false;
        }
        let mut path = Vec::new();
        let mut rest = tokens[target..].iter();
        while let Some(name) = rest.next().and_then(crate::sql::Token::name) {
            path.push(name);
            if rest.next().is_none_or(|dot| dot.text != ".") {
                break;
            }
        }
        let (schema, table) = self.planner.place_of(&path);
        self.access.sees(&schema, &table)
    }
}

/// An engine's text in which a window is named.
fn without_windows(message: &str) -> String {
    message.replace(&format!("{}.{}.", DATABASE, SCHEMA), "")
}
