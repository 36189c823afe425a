//! A text -> what the engine says of it: its parse tree, its bound plan, and whether a name is there.
//! Runs on: the thread of the connection; blocks while the engine plans.
//! Never: runs the text, or judges what it says.

use duckdb::query_result::StatementType;
use duckdb::statement::Statement;
use duckdb::{Parameters, QueryParameter};
use serde_json::{Value, json};

use super::refusal::denied;
use crate::catalog::quote_text;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::sql::{Inside, Token, with_types};

/// Settings of the functions that give trees and plans: what is not there need not be written.
const BRIEF: &str = "skip_null := true, skip_empty := true, skip_default := true";

/// Levels that a plan or a tree may have as JSON: more than any statement at the engine's own limit of 1,000 terms takes, and
/// few enough to be read by recursion.
const NESTING_MAX: usize = 3000;

/// Names of the connection's temporary tables and views.
const TEMPORARIES: &str = "SELECT lower(table_name) FROM duckdb_tables() WHERE temporary UNION ALL \
    SELECT lower(view_name) FROM duckdb_views() WHERE temporary AND NOT internal";

/// What the engine says of a text that it does not plan.
pub(super) struct Unplanned {
    pub(super) kind: String,
    pub(super) message: String,
}

/// Asks the engine, on a client's connection and in its transaction.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a>(pub(super) &'a Connection);

impl<'a> Planner<'a> {
    pub(super) fn note(self, error: duckdb::Error) -> Error {
        self.0.database().note(error)
    }

    pub(super) fn tokens(self, text: &str) -> Result<Vec<Token<'_>>> {
        crate::sql::tokens(self.0.duckdb_for_binding(), text).map_err(|error| self.note(error))
    }

    /// The first statement of a text.
    pub(super) fn parsed(self, text: &str) -> Result<(Statement<'static>, StatementType)> {
        let mut statements = self.0.duckdb_for_binding().parse(text).map_err(|error| self.note(error))?;
        let statement = statements.next().transpose().map_err(|error| self.note(error))?;
        let statement = statement.ok_or_else(|| Error::invalid("expected a statement, found none"))?;
        let kind = statement.get_type().map_err(|error| self.note(error))?;
        Ok((statement, kind))
    }

    /// The one text that a query of the server's own answers with.
    fn answer(self, sql: &str, value: &str) -> Result<String> {
        let was_at_rest = self.0.rests();
        let read = || -> duckdb::Result<String> {
            let named: [(&str, &dyn QueryParameter); 1] = [("text", &value)];
            let mut result = self.0.duckdb().query(sql, Parameters::Named(&named))?;
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
            self.0.rests_again();
        }
        Ok(answer)
    }

    /// Whether a name is among those that a query gives, in lower case.
    fn is_there(self, names: &str, name: &str) -> Result<bool> {
        let sql = format!("SELECT count(*)::VARCHAR FROM ({names}) AS names(name) WHERE name = $text");
        Ok(self.answer(&sql, &name.to_lowercase())? != "0")
    }

    /// Whether it is a view of the database's.
    pub(super) fn is_view(self, schema: &str, table: &str) -> Result<bool> {
        let views = format!(
            "SELECT lower(view_name) FROM duckdb_views() WHERE database_name = {} AND lower(schema_name) = {}",
            quote_text(self.0.database().catalog()),
            quote_text(&schema.to_lowercase())
        );
        self.is_there(&views, table)
    }

    /// Whether it is a temporary table or view of the connection's.
    pub(super) fn is_temporary(self, table: &str) -> Result<bool> {
        // Looking costs milliseconds, and most connections never see one.
        Ok(self.0.may_hold_temporaries && self.is_there(TEMPORARIES, table)?)
    }

    fn json(self, sql: &str, value: &str) -> Result<Value> {
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

    /// The parse tree of a SELECT.
    pub(super) fn tree(self, text: &str) -> Result<Value> {
        let tree = self.json(&format!("SELECT json_serialize_sql($text, {BRIEF})"), text)?;
        match unplanned(&tree) {
            None => Ok(tree),
            Some(Unplanned { message, .. }) => Err(denied(format!(
                "the statement cannot be checked against grants: {}",
                first_line(&message)
            ))),
        }
    }

    /// The text of a parse tree.
    pub(super) fn text_of(self, tree: &Value) -> Result<String> {
        self.answer("SELECT json_deserialize_sql(CAST($text AS JSON))", &tree.to_string())
    }

    /// The text of an expression of a parse tree.
    pub(super) fn expression(self, expression: &Value) -> Result<String> {
        let mut tree = self.tree("SELECT 1")?;
        tree["statements"][0]["node"]["select_list"] = json!([expression]);
        let text = self.text_of(&tree)?;
        Ok(text.strip_prefix("SELECT ").unwrap_or(&text).to_owned())
    }

    /// The bound plan of a text; `statement` is what it was parsed as.
    pub(super) fn planned(
        self,
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
        let typed = with_types(self.0.duckdb_for_binding(), text, &nulls, Inside::Null)
            .map_err(|error| self.note(error))?;
        let Some(typed) = typed else { return Ok(Err(error)) };
        let plan = self.json(&sql, &typed)?;
        Ok(match unplanned(&plan) {
            None => Ok(plan),
            Some(_) => Err(error),
        })
    }

    /// Schema and table that a path of the database stands for.
    pub(super) fn place_of(self, path: &[String]) -> (String, String) {
        let catalog = self.0.database().catalog();
        let is_catalog = |name: &String| name.to_lowercase() == catalog.to_lowercase();
        match path {
            [] => Default::default(),
            [table] => (self.0.schema_in_use().unwrap_or("main").to_owned(), table.clone()),
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
