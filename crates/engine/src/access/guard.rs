//! A statement on a connection, and who sends it -> the statement that runs, or a refusal.
//! Runs on: the thread of the connection; blocks while the engine plans.
//! Never: runs the statement; lets one through that could not be planned and looked at.

use std::sync::Arc;

use duckdb::error::DuckDBError;
use duckdb::query_result::StatementType;
use duckdb::statement::Statement;
use duckdb::{Parameters, QueryParameter};
use serde_json::{Value, json};

use super::access::{Access, Level, Part, Right};
use super::facts::Facts;
use super::listing;
use super::refusal::{denied, for_role, lacks, only_in_part, tells, unbound};
use super::tree::{Found, Names, Place, put_windows};
use super::verdict::{Question, TELLING};
use super::window::Window;
use crate::catalog::quote_text;
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::sql::{Class, Inside, explained_at, with_types};
use crate::table_functions::About;

/// Functions that look tables up by a text: the text is not in the parse tree.
const BY_TEXT: [&str; 4] = ["histogram", "histogram_values", "query", "query_table"];
/// Settings of the functions that give trees and plans: what is not there need not be written.
const BRIEF: &str = "skip_null := true, skip_empty := true, skip_default := true";

/// Levels that a plan or a tree may have as JSON: more than any statement at the engine's own limit of 1,000 terms takes, and
/// few enough to be read by recursion.
const NESTING_MAX: usize = 3000;

/// Names of the connection's temporary tables and views.
const TEMPORARIES: &str = "SELECT lower(table_name) FROM duckdb_tables() WHERE temporary UNION ALL \
    SELECT lower(view_name) FROM duckdb_views() WHERE temporary AND NOT internal";

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
    let guard = Guard { connection, access: &access };
    let text = asked.statement.get_text().map_err(|error| guard.note(error))?;
    if asked.kind == StatementType::Explain {
        let tokens =
            crate::sql::tokens(connection.duckdb_for_binding(), text).map_err(|error| guard.note(error))?;
        let inner =
            explained_at(&tokens).ok_or_else(|| Error::invalid("expected a statement after EXPLAIN"))?;
        return guard.explain(&text[inner..]).map(|()| Admitted::AsItIs);
    }
    guard.check_calls(text)?;
    let over_windows = guard.over_windows(asked.kind, text)?;
    guard.check(asked, over_windows.as_deref().unwrap_or(text), over_windows.is_some())?;
    Ok(match over_windows {
        Some(text) => Admitted::Instead(guard.parsed(&text)?.0),
        None => Admitted::AsItIs,
    })
}

/// What the engine says of a text that it does not plan.
pub(super) struct Unplanned {
    kind: String,
    pub(super) message: String,
}

pub(super) struct Guard<'a> {
    pub(super) connection: &'a Connection,
    pub(super) access: &'a Arc<Access>,
}

impl Guard<'_> {
    fn note(&self, error: duckdb::Error) -> Error {
        self.connection.database().note(error)
    }

    pub(super) fn parsed(&self, text: &str) -> Result<(Statement<'static>, StatementType)> {
        let mut statements =
            self.connection.duckdb_for_binding().parse(text).map_err(|error| self.note(error))?;
        let statement = statements.next().transpose().map_err(|error| self.note(error))?;
        let statement = statement.ok_or_else(|| Error::invalid("expected a statement, found none"))?;
        let kind = statement.get_type().map_err(|error| self.note(error))?;
        Ok((statement, kind))
    }

    /// EXPLAIN shows how many rows there are, so it is not for tables that are granted in part.
    fn explain(&self, inner: &str) -> Result<()> {
        let (statement, kind) = self.parsed(inner)?;
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
        let mut tree = self.tree(text)?;
        let Found { has_windows, described, .. } = put_windows(&mut tree, &mut self.names())?;
        // What DESCRIBE describes is not in the plan any more.
        for query in described {
            self.check_query(&query)?;
        }
        if has_windows { self.text_of(&tree).map(Some) } else { Ok(None) }
    }

    /// Refuses functions that tell of tables: what they say may be known once the statement is bound, and gone from the plan.
    fn check_calls(&self, text: &str) -> Result<()> {
        if self.access.sees_all() {
            return Ok(());
        }
        let tokens = crate::sql::tokens(self.connection.duckdb_for_binding(), text)
            .map_err(|error| self.note(error))?;
        let called = tokens.windows(2).filter(|pair| pair[1].text.starts_with('('));
        match called.filter_map(|pair| pair[0].name()).find(|name| TELLING.contains(&name.as_str())) {
            Some(name) => Err(tells(&name)),
            None => Ok(()),
        }
    }

    fn check_query(&self, query: &Value) -> Result<()> {
        let statement = if query.get("node").is_some() { query.clone() } else { json!({ "node": query }) };
        let text = self.text_of(&json!({ "error": false, "statements": [statement] }))?;
        let (statement, kind) = self.parsed(&text)?;
        self.check(&Asked { statement: &statement, kind, class: Class::Query }, &text, true)
    }

    /// Plans the text and holds the plan to what is granted.
    fn check(&self, asked: &Asked<'_>, text: &str, over_windows: bool) -> Result<()> {
        let facts = match self.planned(asked.statement, text)? {
            Ok(plan) => Facts::of(&plan),
            Err(unplanned) => return Err(self.explain_unplanned(asked, text, over_windows, unplanned)),
        };
        if asked.class == Class::Query && self.access.level < Level::Writer && !facts.changes.is_empty() {
            return Err(for_role(self.access, "changing rows", "writer"));
        }
        let database = self.connection.database();
        let question = Question {
            access: self.access,
            catalog: database.catalog(),
            schema: self.connection.schema_in_use().unwrap_or("main"),
            shows: facts.holds_rows && self.tells(asked.kind, text)?,
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
            let tokens = crate::sql::tokens(self.connection.duckdb_for_binding(), text)
                .map_err(|error| self.note(error))?;
            let words = ["describe", "desc", "show", "summarize"];
            return Ok(tokens.iter().any(|token| words.iter().any(|word| token.is_word(word))));
        }
        let mut tree = self.tree(text)?;
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
            let mut names = self.names();
            if put_windows(&mut tree, &mut names)?.has_windows {
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

    fn names(&self) -> Resolver<'_> {
        Resolver { guard: self, has_bare_names: false }
    }

    /// The one text that a query of the server's own answers with.
    fn answer(&self, sql: &str, value: &str) -> Result<String> {
        let was_at_rest = self.connection.rests();
        let read = || -> duckdb::Result<String> {
            let named: [(&str, &dyn QueryParameter); 1] = [("text", &value)];
            let mut result = self.connection.duckdb().query(sql, Parameters::Named(&named))?;
            let mut answer = String::new();
            while let Some(chunk) = result.next_chunk()? {
                let texts = chunk.get_vector_at::<String>(0)?;
                let texts = texts.reader()?;
                answer.push_str(texts.get(0)?.unwrap_or_default());
            }
            Ok(answer)
        };
        let answer = read().map_err(|error| self.note(error))?;
        if was_at_rest {
            self.connection.rests_again();
        }
        Ok(answer)
    }

    /// Whether a name is among those that a query gives, in lower case.
    fn is_there(&self, names: &str, name: &str) -> Result<bool> {
        let sql = format!("SELECT count(*)::VARCHAR FROM ({names}) AS names(name) WHERE name = $text");
        Ok(self.answer(&sql, &name.to_lowercase())? != "0")
    }

    pub(super) fn is_view(&self, schema: &str, table: &str) -> Result<bool> {
        let views = format!(
            "SELECT lower(view_name) FROM duckdb_views() WHERE database_name = {} AND lower(schema_name) = {}",
            quote_text(self.connection.database().catalog()),
            quote_text(&schema.to_lowercase())
        );
        self.is_there(&views, table)
    }

    fn json(&self, sql: &str, value: &str) -> Result<Value> {
        let text = self.answer(sql, value)?;
        if nesting(&text) > NESTING_MAX {
            return Err(denied(
                "the statement nests too deeply to be checked; write it in several, or with fewer terms",
            ));
        }
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader.disable_recursion_limit();
        serde::Deserialize::deserialize(&mut reader).map_err(|error| {
            Error::internal(format!("the engine's account of a statement cannot be read: {error}"))
        })
    }

    fn tree(&self, text: &str) -> Result<Value> {
        let tree = self.json(&format!("SELECT json_serialize_sql($text, {BRIEF})"), text)?;
        match unplanned(&tree) {
            None => Ok(tree),
            Some(Unplanned { message, .. }) => Err(denied(format!(
                "the statement cannot be checked against grants: {}",
                first_line(&message)
            ))),
        }
    }

    fn text_of(&self, tree: &Value) -> Result<String> {
        self.answer("SELECT json_deserialize_sql(CAST($text AS JSON))", &tree.to_string())
    }

    pub(super) fn planned(
        &self,
        statement: &Statement<'static>,
        text: &str,
    ) -> Result<std::result::Result<Value, Unplanned>> {
        let sql = format!("SELECT json_serialize_plan($text, {BRIEF})");
        let plan = self.json(&sql, text)?;
        let Some(error) = unplanned(&plan) else { return Ok(Ok(plan)) };
        // Some places take no parameter while a statement is planned.
        let parameters = statement.parameter_names().map_err(|error| self.note(error))?;
        let nulls: Vec<(String, String)> =
            parameters.iter().map(|name| ((*name).to_owned(), "\"NULL\"".to_owned())).collect();
        if nulls.is_empty() {
            return Ok(Err(error));
        }
        let typed = with_types(self.connection.duckdb_for_binding(), text, &nulls, Inside::Null)
            .map_err(|error| self.note(error))?;
        let Some(typed) = typed else { return Ok(Err(error)) };
        let plan = self.json(&sql, &typed)?;
        Ok(match unplanned(&plan) {
            None => Ok(plan),
            Some(_) => Err(error),
        })
    }

    /// What a client hears of a statement that does not bind.
    fn explain_unplanned(
        &self,
        asked: &Asked<'_>,
        text: &str,
        over_windows: bool,
        Unplanned { kind, message }: Unplanned,
    ) -> Error {
        let is_pivot = text.to_ascii_lowercase().contains("pivot");
        let hint =
            if is_pivot { "; name the values that become columns: PIVOT … ON column IN (…)" } else { "" };
        let unchecked = || {
            denied(format!(
                "this kind of statement cannot be checked before it runs ({kind}){hint}; write it in another way, or let an admin run it"
            ))
        };
        if self.access.sees_all() {
            // The engine's own words, with the place in the text.
            return match asked.statement.bind(self.connection.duckdb_for_binding()) {
                Err(error) if error.code != DuckDBError::InputMetadataDeferred => self.note(error),
                _ => unchecked(),
            };
        }
        if ["not implemented", "serialization", "internal"].contains(&kind.as_str()) {
            return unchecked();
        }
        // All tables of a SELECT are known to its sender by now; those of a change are not.
        let is_simple = asked.kind == StatementType::Select || self.is_simple_change(text);
        if !is_simple {
            return unbound(self.access);
        }
        let shown = if over_windows { without_windows(&message) } else { message };
        let shown = first_line(&shown).to_owned();
        match kind.as_str() {
            "catalog" => Error::not_found(shown),
            "permission" => denied(shown),
            _ if shown.contains("does not support serialization") => unchecked(),
            _ => Error::invalid(shown),
        }
    }

    /// Whether a change names one table alone, one that its sender may see.
    fn is_simple_change(&self, text: &str) -> bool {
        let Ok(tokens) = crate::sql::tokens(self.connection.duckdb_for_binding(), text) else { return false };
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
        let (schema, table) = self.place_of(&path);
        self.access.sees(&schema, &table)
    }

    /// Schema and table that a path of the database stands for.
    fn place_of(&self, path: &[String]) -> (String, String) {
        let catalog = self.connection.database().catalog();
        let is_catalog = |name: &String| name.to_lowercase() == catalog.to_lowercase();
        match path {
            [] => Default::default(),
            [table] => (self.connection.schema_in_use().unwrap_or("main").to_owned(), table.clone()),
            [first, table] if is_catalog(first) => ("main".to_owned(), table.clone()),
            [first, schemas @ .., table] if is_catalog(first) && !schemas.is_empty() => {
                (schemas.join("."), table.clone())
            }
            [schemas @ .., table] => (schemas.join("."), table.clone()),
        }
    }
}

/// Levels of brackets in a JSON text.
fn nesting(json: &str) -> usize {
    let (mut level, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !in_text => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn unplanned(answer: &Value) -> Option<Unplanned> {
    let is_error = answer.get("error").and_then(Value::as_bool).unwrap_or(true);
    let text = |key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    is_error.then(|| Unplanned { kind: text("error_type"), message: text("error_message") })
}

/// Without the engine's suggestions of other names.
pub(super) fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// An engine's text in which a window is named.
fn without_windows(message: &str) -> String {
    message.replace(&format!("{}.{}.", super::window::DATABASE, super::window::SCHEMA), "")
}

/// Looks only for what is there besides names.
struct Nothing;

impl Names for Nothing {
    fn table(&mut self, _: &[String]) -> Result<Place> {
        Ok(Place::Itself)
    }

    fn function(&mut self, _: &[String]) -> Result<Place> {
        Ok(Place::Itself)
    }
}

/// Finds out what a name stands for.
struct Resolver<'a> {
    guard: &'a Guard<'a>,
    has_bare_names: bool,
}

impl Resolver<'_> {
    fn window(&self, window: Window) -> Result<Place> {
        let database = self.guard.connection.database();
        database.windows.make(&window, database.shape(), |statements| {
            let connection = database.connection()?;
            statements.iter().try_for_each(|sql| connection.execute(sql).map(|_| ()))
        })?;
        self.guard.access.give_window(&window.name);
        Ok(Place::Window(window))
    }

    fn is_temporary(&self, table: &str) -> Result<bool> {
        // Looking costs milliseconds, and most connections never see one.
        let may_be = self.guard.connection.may_hold_temporaries;
        Ok(may_be && self.guard.is_there(TEMPORARIES, table)?)
    }
}

impl Names for Resolver<'_> {
    fn table(&mut self, path: &[String]) -> Result<Place> {
        let Guard { connection, access } = *self.guard;
        let catalog = connection.database().catalog();
        let first = path.first().map(|part| part.to_lowercase()).unwrap_or_default();
        let (schema, table) = self.guard.place_of(path);
        // What is not there and what is not granted look the same, so the server's own table stands in the place of both.
        if let Some(about) = connection.database().about.table(path)
            && (first == "system" || !access.sees(&schema, &table))
        {
            return self.window(Window::of(About::query_of(&about)));
        }
        if path.len() > 1 && ["temp", "system", "pg_catalog"].contains(&first.as_str()) {
            return Ok(Place::Itself);
        }
        if first == super::window::DATABASE {
            return Err(denied(format!("{first} is the server's own")));
        }
        let is_main = path.len() == 1 || schema.eq_ignore_ascii_case("main");
        if is_main && self.is_temporary(&table)? {
            return Ok(Place::Itself);
        }
        if let Some(window) = listing::window(access, catalog, path) {
            return self.window(window);
        }
        self.has_bare_names |= path.len() == 1;
        if schema.eq_ignore_ascii_case("information_schema") || schema.eq_ignore_ascii_case("pg_catalog") {
            return Ok(Place::Itself);
        }
        if !access.may(Right::Read, &schema, &table) {
            return Err(lacks(access, Right::Read, &schema, &table));
        }
        let part = access.part(&schema, &table);
        let is_shown =
            || Ok::<_, Error>(access.is_shown_view(&schema, &table) && self.guard.is_view(&schema, &table)?);
        let part = match part {
            Some(part) => part,
            None if is_shown()? => Part::default(),
            None => return Ok(Place::Itself),
        };
        let window = Window::on(catalog, &schema, &table, &part);
        self.window(window).map_err(|error| {
            if error.kind() == Kind::NotFound {
                return Error::not_found(format!("there is no table {schema}.{table}"));
            }
            tracing::warn!(%schema, %table, %error, "a grant's window cannot be made");
            only_in_part(
                &schema,
                &table,
                "its condition or columns do not fit the table any more; an admin has to grant it anew",
            )
        })
    }

    fn function(&mut self, path: &[String]) -> Result<Place> {
        let Guard { connection, access } = *self.guard;
        let name = path.last().map(|name| name.to_lowercase()).unwrap_or_default();
        if BY_TEXT.contains(&name.as_str()) {
            return Err(denied(format!(
                "{name} looks tables up by a text, which is not for users with grants; write the statement itself"
            )));
        }
        match listing::window(access, connection.database().catalog(), path) {
            Some(window) => self.window(window),
            None => Ok(Place::Itself),
        }
    }
}
