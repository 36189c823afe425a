//! What a statement does, and what its sender may do -> whether it runs.
//! Runs on: any thread; pure.
//! Never: lets through what it does not know.

use super::access::{Access, Level, Right};
use super::facts::{Change, Definition, Facts, Relation};
use super::refusal::{behind, denied, for_role, lacks, only_in_part, tells};
use super::window::DATABASE;
use crate::error::Result;
use crate::internal::{INTERNAL_SCHEMA, LOAD_LEDGER};

/// Table functions that tell nothing of what is stored.
const COMPUTING: [&str; 15] = [
    "generate_series",
    "icu_calendar_names",
    "json_each",
    "json_tree",
    "duckdb_keywords",
    "duckdb_dialects",
    "pg_timezone_names",
    "pragma_collations",
    "pragma_version",
    "range",
    "repeat",
    "repeat_row",
    "test_all_types",
    "test_vector_types",
    "unnest",
];

/// Functions that tell something of tables or of others without reading a row.
pub(super) const TELLING: [&str; 7] =
    ["currval", "nextval", "setval", "stats", "txid_current", "current_query_id", "write_log"];

/// Where the plan is, and what is being asked.
pub(super) struct Question<'a> {
    pub(super) access: &'a Access,
    /// Name of the database.
    pub(super) catalog: &'a str,
    /// The schema that unqualified names are looked up in.
    pub(super) schema: &'a str,
    /// The statement.
    pub(super) text: &'a str,
    /// The parse tree has something that tells of a table while it is bound (DESCRIBE, SHOW).
    pub(super) shows: bool,
}

impl Question<'_> {
    /// Refuses what is not allowed.
    ///
    /// Errors: `Denied`, saying what is missing.
    pub(super) fn answer(&self, facts: &Facts) -> Result<()> {
        if let Some(unknown) = &facts.unknown {
            return Err(denied(format!(
                "the statement cannot be checked, because its plan has something that is not known here ({unknown}); an admin can \
                 run it"
            )));
        }
        self.may_tell(facts)?;
        for table in &facts.reads {
            self.may_read(table)?;
        }
        for table in facts.refers.iter().filter(|table| !table.is_temporary()) {
            self.may_read(table)?;
        }
        if let Some(window) = facts.windows.iter().find(|window| !self.access.has_window(window)) {
            return Err(denied(format!("window {window} is the server's own")));
        }
        for change in &facts.changes {
            self.may_change(change, facts)?;
        }
        for definition in &facts.defines {
            self.may_define(definition)?;
        }
        if !self.access.sees_all() {
            self.may_call(facts)?;
        }
        Ok(())
    }

    fn is_own(&self, table: &Relation) -> bool {
        table.catalog == self.catalog && !table.schema.eq_ignore_ascii_case(INTERNAL_SCHEMA)
    }

    /// A function that is told a table by a text says something of it without a scan of it in the plan. The engine has put the
    /// text together there.
    fn may_tell(&self, facts: &Facts) -> Result<()> {
        let is_own = |text: &str| {
            let text = text.to_lowercase();
            text.contains(INTERNAL_SCHEMA) || text.contains(DATABASE)
        };
        let mut told = facts.texts.iter().filter(|(name, _)| !COMPUTING.contains(&name.as_str()));
        match told.find(|(_, text)| is_own(text)) {
            Some((name, _)) => Err(denied(format!(
                "{name}: schema {INTERNAL_SCHEMA} is the server's own; nothing is told of it"
            ))),
            None => Ok(()),
        }
    }

    fn may_read(&self, table: &Relation) -> Result<()> {
        if table.is_temporary() {
            return Ok(());
        }
        let Relation { schema, table: name, .. } = table;
        // Who may put rows into every table loads files, and has to know which are stored; others have a window over it.
        let is_ledger =
            schema.eq_ignore_ascii_case(INTERNAL_SCHEMA) && name.eq_ignore_ascii_case(LOAD_LEDGER);
        if is_ledger && table.catalog == self.catalog && self.access.puts_into_all() {
            return Ok(());
        }
        if !self.is_own(table) || !self.access.may(Right::Read, schema, name) {
            // What is behind a view or macro is not named to whoever has not named it.
            return Err(match is_named(self.text, name) {
                true => lacks(self.access, Right::Read, schema, name),
                false => behind(self.access),
            });
        }
        if self.access.part(schema, name).is_some() {
            return Err(only_in_part(
                schema,
                name,
                "it is read by its own name in a SELECT, not through views, macros, query() or changes; read its rows with a \
                 statement of their own",
            ));
        }
        Ok(())
    }

    fn may_change(&self, change: &Change, facts: &Facts) -> Result<()> {
        let Change { table, only_adds, returns } = change;
        if self.access.level < Level::Writer {
            return Err(for_role(self.access, "changing rows", "writer"));
        }
        if table.is_temporary() {
            return Ok(());
        }
        let (schema, name) = (&table.schema, &table.table);
        if !self.is_own(table) || !self.access.may(Right::Ingest, schema, name) {
            return Err(lacks(self.access, Right::Ingest, schema, name));
        }
        if self.access.part(schema, name).is_some() && (!only_adds || *returns) {
            return Err(only_in_part(
                schema,
                name,
                "rows can be added to it, without ON CONFLICT and RETURNING, and not changed or deleted",
            ));
        }
        if !only_adds && !facts.windows.is_empty() {
            return Err(denied("a change cannot read tables that are granted in part"));
        }
        Ok(())
    }

    fn may_define(&self, definition: &Definition) -> Result<()> {
        if self.access.level < Level::Writer {
            return Err(for_role(self.access, "this statement", "writer"));
        }
        match definition {
            Definition::Object { name, .. } if name.is_temporary() => Ok(()),
            Definition::Object { name, reshapes } => {
                let (schema, table) = (&name.schema, &name.table);
                if !self.is_own(name) || !self.access.may(Right::Define, schema, table) {
                    return Err(lacks(self.access, Right::Define, schema, table));
                }
                if *reshapes && self.access.part(schema, table).is_some() {
                    return Err(only_in_part(schema, table, "it cannot be changed"));
                }
                Ok(())
            }
            Definition::InSchema(schema) if self.access.may_define_all_of(schema) => Ok(()),
            Definition::InSchema(schema) => Err(lacks(self.access, Right::Define, schema, "*")),
            Definition::Nothing(path) => {
                let (schema, table) = match path.as_slice() {
                    [.., schema, table] => (schema.as_str(), table.as_str()),
                    [table] => (self.schema, table.as_str()),
                    [] => return Err(denied("a name is missing")),
                };
                match self.access.may(Right::Define, schema, table) {
                    true => Ok(()),
                    false => Err(lacks(self.access, Right::Define, schema, table)),
                }
            }
            Definition::Other(what) => Err(for_role(self.access, what, "admin")),
        }
    }

    /// For those who see some tables and not others, only functions that say nothing of tables.
    fn may_call(&self, facts: &Facts) -> Result<()> {
        let told = facts.table_functions.iter().find(|name| !COMPUTING.contains(&name.as_str()));
        if let Some(name) = told {
            return Err(denied(format!(
                "{name} tells of tables that {} may not see; information_schema.tables and information_schema.columns, and the \
                 functions duckdb_tables, duckdb_views, duckdb_columns and duckdb_schemas, called as tables of a SELECT, list \
                 what is granted",
                self.access.user
            )));
        }
        if let Some(name) = facts.functions.iter().find(|name| TELLING.contains(&name.as_str())) {
            return Err(tells(name));
        }
        if facts.holds_rows && self.shows {
            return Err(denied(
                "this SHOW or DESCRIBE is not for users with grants; read information_schema.tables and \
                 information_schema.columns",
            ));
        }
        Ok(())
    }
}

/// Whether a text has this name as a word.
fn is_named(text: &str, name: &str) -> bool {
    let (text, name) = (text.to_lowercase(), name.to_lowercase());
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    text.match_indices(&name)
        .any(|(at, found)| !text[..at].ends_with(is_word) && !text[at + found.len()..].starts_with(is_word))
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn names_are_found_as_words() {
        for (text, name, found) in [
            ("FROM s.t", "t", true),
            ("SELECT most(1)", "t", false),
            ("FROM \"Of T\"", "of t", true),
            ("FROM secrets", "secret", false),
            ("FROM secret_x", "secret", false),
            ("FROM other.SECRET", "Secret", true),
            ("FROM été", "t", false),
        ] {
            assert_eq!(is_named(text, name), found, "{text}");
        }
    }
}
