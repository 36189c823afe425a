//! A statement on a connection, and who sends it -> the statement that runs, or a refusal.
//! Runs on: the thread of the connection; blocks while the engine plans.
//! Never: runs the statement; lets one through that could not be planned and looked at.

use std::sync::Arc;

use duckdb::query_result::StatementType;
use duckdb::statement::Statement;
use serde_json::{Value, json};

use super::access::{Access, Level};
use super::facts::Facts;
use super::planner::Planner;
use super::refusal::{denied, for_role, tells};
use super::resolver::{Nothing, Resolver};
use super::tree::{Found, put_windows};
use super::unplanned::NotPlanned;
use super::verdict::{Question, TELLING};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::sql::{Class, explained_at};

/// What runs in the place of a statement.
pub(crate) enum Admitted {
    /// It itself.
    AsItIs,
    /// The same over windows.
    Instead(Statement<'static>),
}

/// A statement that is to run.
pub(crate) struct Asked<'a> {
    pub(crate) statement: &'a Statement<'static>,
    pub(crate) kind: StatementType,
    pub(crate) class: Class,
}

/// Holds a statement to what the connection's user may do.
///
/// Errors: `Denied`; those of the engine for a statement that does not bind, where its sender may know them.
pub(crate) fn admit(connection: &Connection, asked: &Asked<'_>) -> Result<Admitted> {
    let Some(access) = connection.access().cloned() else { return Ok(Admitted::AsItIs) };
    if access.level < Level::Writer && asked.class != Class::Query {
        return Err(for_role(&access, "changing what is stored", "writer"));
    }
    let guard = Guard { planner: Planner(connection), access: &access };
    let text = asked.statement.get_text().map_err(|error| guard.planner.note(error))?;
    if asked.kind == StatementType::Explain {
        let tokens = guard.planner.tokens(text)?;
        let inner =
            explained_at(&tokens).ok_or_else(|| Error::invalid("expected a statement after EXPLAIN"))?;
        return guard.explain(&text[inner..]).map(|()| Admitted::AsItIs);
    }
    guard.check_calls(text)?;
    let over_windows = guard.over_windows(asked.kind, text)?;
    guard.check(asked, over_windows.as_deref().unwrap_or(text), over_windows.is_some())?;
    Ok(match over_windows {
        Some(text) => Admitted::Instead(guard.planner.parsed(&text)?.0),
        None => Admitted::AsItIs,
    })
}

/// Holds one statement to what a user may do.
struct Guard<'a> {
    planner: Planner<'a>,
    access: &'a Arc<Access>,
}

impl Guard<'_> {
    /// EXPLAIN shows how many rows there are, so it is not for tables that are granted in part.
    fn explain(&self, inner: &str) -> Result<()> {
        let (statement, kind) = self.planner.parsed(inner)?;
        self.check_calls(inner)?;
        if self.over_windows(kind, inner)?.is_some() {
            return Err(denied(
                "EXPLAIN is not for tables that are granted in part: plans tell of rows that are left out",
            ));
        }
        self.check(&Asked { statement: &statement, kind, class: Class::Query }, inner, false)
    }

    /// The statement over windows, if it names something that is granted in part, or a listing of the catalog.
    fn over_windows(&self, kind: StatementType, text: &str) -> Result<Option<String>> {
        if kind != StatementType::Select || self.access.sees_all() {
            return Ok(None);
        }
        let mut tree = self.planner.tree(text)?;
        let Found { windows, described, .. } =
            put_windows(&mut tree, &mut Resolver::new(self.planner, self.access))?;
        // What DESCRIBE describes is not in the plan any more.
        for query in described {
            self.check_query(&query)?;
        }
        if windows > 0 { self.planner.text_of(&tree).map(Some) } else { Ok(None) }
    }

    /// Refuses functions that tell of tables: what they say may be known once the statement is bound, and gone from the plan.
    fn check_calls(&self, text: &str) -> Result<()> {
        if self.access.sees_all() {
            return Ok(());
        }
        let tokens = self.planner.tokens(text)?;
        let called = tokens.windows(2).filter(|pair| pair[1].text.starts_with('('));
        match called.filter_map(|pair| pair[0].name()).find(|name| TELLING.contains(&name.as_str())) {
            Some(name) => Err(tells(&name)),
            None => Ok(()),
        }
    }

    fn check_query(&self, query: &Value) -> Result<()> {
        let statement = if query.get("node").is_some() { query.clone() } else { json!({ "node": query }) };
        let text = self.planner.text_of(&json!({ "error": false, "statements": [statement] }))?;
        let (statement, kind) = self.planner.parsed(&text)?;
        self.check(&Asked { statement: &statement, kind, class: Class::Query }, &text, true)
    }

    /// Plans the text and holds the plan to what is granted.
    fn check(&self, asked: &Asked<'_>, text: &str, over_windows: bool) -> Result<()> {
        let Asked { statement, kind, class } = *asked;
        let facts = match self.planner.planned(statement, text)? {
            Ok(plan) => Facts::of(&plan),
            Err(unplanned) => {
                let Self { planner, access } = *self;
                let asked = NotPlanned { planner, access, statement, kind, text, over_windows };
                return Err(asked.explain(unplanned));
            }
        };
        if class == Class::Query && self.access.level < Level::Writer && !facts.changes.is_empty() {
            return Err(for_role(self.access, "changing rows", "writer"));
        }
        let database = self.planner.0.database();
        let question = Question {
            access: self.access,
            catalog: database.catalog(),
            schema: self.planner.0.schema_in_use().unwrap_or("main"),
            shows: facts.holds_rows && self.tells(kind, text)?,
        };
        question.answer(&facts)?;
        self.check_views(&facts)
    }

    /// Whether the text has a SHOW or DESCRIBE of something that was not looked at on its own.
    fn tells(&self, kind: StatementType, text: &str) -> Result<bool> {
        if self.access.sees_all() {
            return Ok(false);
        }
        if kind != StatementType::Select {
            let tokens = self.planner.tokens(text)?;
            let words = ["describe", "desc", "show", "summarize"];
            return Ok(tokens.iter().any(|token| words.iter().any(|word| token.is_word(word))));
        }
        let mut tree = self.planner.tree(text)?;
        let found = put_windows(&mut tree, &mut Nothing)?;
        Ok(found.shows && found.described.is_empty())
    }

    /// A view shows what it shows to whoever is granted it by name, so its maker has to see all of that.
    fn check_views(&self, facts: &Facts) -> Result<()> {
        if self.access.sees_all() {
            return Ok(());
        }
        for query in &facts.views {
            let mut tree = json!({ "error": false, "statements": [query] });
            let mut names = Resolver::new(self.planner, self.access);
            if put_windows(&mut tree, &mut names)?.windows > 0 {
                return Err(denied(
                    "a view cannot be made over tables that are granted in part, or over the catalog",
                ));
            }
            // Inside of the view, a name alone is looked up where the view is.
            if names.has_bare_names {
                return Err(denied("write the tables of the view with their schemas, as in main.t"));
            }
        }
        Ok(())
    }
}
