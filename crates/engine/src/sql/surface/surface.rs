//! Tokens of a client's statement -> whether it may run here, and whether it can change anything.
//! Runs on: the thread that parses; looks into memory.
//! Never: trusts the engine's type of a statement, which says SELECT of what deletes rows through a CTE, bumps a sequence
//! or turns the log on.
//!
//! A change can stand in a query in three ways only (DuckDB 2.0.0 refuses all others): INSERT, UPDATE, DELETE, TRUNCATE or
//! COPY as the body of a CTE of the outermost WITH; behind EXPLAIN ANALYZE; and by calling a function. So it shows in the
//! tokens, except behind the name of a view, a macro or a generated column: those are known by name, from the catalog at
//! start and from every definition since. What is not proven to read runs in a read-only transaction, where the engine
//! itself refuses every change (`Connection::begin_read_only`).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use duckdb::Parameters;
use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;

use super::arguments::{first_texts, only_text};
use super::lists::{
    BODIES, BY_NAME, CHANGING, FUNCTIONS, INTERNAL, SECRET_SETTINGS, TABLE_FUNCTIONS, VIEWS, is_listed,
};
use super::names::Names;
use super::reach::Reach;
use crate::duckdb_error::from_duckdb;
use crate::error::{Error, Kind, Result};
use crate::internal::IDENTITY_TABLES;
use crate::sql::depth;
use crate::sql::token::{self, Token};

/// How often the function `query` may stand in a text of its own.
const TEXTS_MAX: usize = 8;

/// What clients' statements may reach.
#[derive(Default)]
pub(crate) struct Surface {
    pub(super) functions: HashSet<String>,
    // Functions of the engine that nobody has looked at yet: an upgrade has brought them.
    unlisted: HashSet<String>,
    table_functions: HashSet<String>,
    names: RwLock<Names>,
    pub(super) has_triggers: AtomicBool,
}

impl Surface {
    /// Reads what the catalog has: functions of the engine, and views, macros and triggers made earlier.
    pub(crate) fn load(connection: &DuckDBConnection) -> Result<Self> {
        let mut surface = Self::default();
        // Types with arguments, such as DECIMAL(9, 2), look like calls.
        let functions = "SELECT DISTINCT function_name, function_type FROM duckdb_functions() \
                         WHERE database_name = 'system' UNION ALL \
                         SELECT DISTINCT type_name, 'type' FROM duckdb_types() WHERE database_name = 'system'";
        for (name, kind) in pairs(connection, functions).map_err(from_duckdb)? {
            let name = name.to_ascii_lowercase();
            if kind == "table" {
                surface.table_functions.insert(name.clone());
            }
            if kind != "type" && !is_listed(&name) {
                surface.unlisted.insert(name.clone());
            }
            surface.functions.insert(name);
        }
        let triggers = "SELECT trigger_name, table_name FROM duckdb_triggers()";
        surface.has_triggers = AtomicBool::new(!pairs(connection, triggers).map_err(from_duckdb)?.is_empty());
        let objects = "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal UNION ALL \
                       SELECT function_name, macro_definition FROM duckdb_functions() \
                       WHERE database_name <> 'system' AND macro_definition IS NOT NULL";
        let objects = pairs(connection, objects).map_err(from_duckdb)?;
        let generated = "SELECT table_name, sql FROM duckdb_tables() WHERE contains(lower(sql), 'generated always') \
                         AND (contains(lower(sql), 'nextval') OR contains(lower(sql), 'setval'))";
        for (name, _) in pairs(connection, generated).map_err(from_duckdb)? {
            surface.names_mut().note_changing(name.to_ascii_lowercase());
        }
        // A view can be named in the text of another one, so this goes on until a round finds nothing more.
        loop {
            let mut found = 0;
            for (name, text) in &objects {
                found += usize::from(surface.note_object(connection, name, text)?);
            }
            if found == 0 {
                return Ok(surface);
            }
        }
    }

    /// Whether anything is known of a view or macro now that was not.
    fn note_object(&self, connection: &DuckDBConnection, name: &str, text: &str) -> Result<bool> {
        let tokens = token::tokens(connection, text).map_err(from_duckdb)?;
        let reach = self.reach(connection, &tokens).and_then(no_seed);
        let name = name.to_ascii_lowercase();
        Ok(match reach {
            Ok(reach) => self.names_mut().note(&name, names_of(&tokens), reach),
            Err(error) => self.names_mut().note_refused(&name, &error),
        })
    }

    fn names(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn names_mut(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some table may have a trigger, so that an INSERT may delete.
    pub(crate) fn has_triggers(&self) -> bool {
        self.has_triggers.load(Ordering::Relaxed)
    }

    /// Whether this is the name of a function of the engine's own, and of no macro.
    pub(crate) fn is_the_engines(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.functions.contains(&name) && self.names().is_free(&name)
    }

    /// Version counter, counted up when what was proven to read may change something now.
    pub(crate) fn version(&self) -> u64 {
        self.names().version()
    }

    /// What a statement does.
    ///
    /// Errors: `Denied` and `Unsupported` for functions and views that are not for clients.
    pub(crate) fn reach(&self, connection: &DuckDBConnection, tokens: &[Token<'_>]) -> Result<Reach> {
        self.reach_within(connection, &self.names(), tokens, 0)
    }

    /// As [`Self::reach`], for a text that stands `depth` times within others.
    fn reach_within(
        &self,
        connection: &DuckDBConnection,
        names: &Names,
        tokens: &[Token<'_>],
        depth: usize,
    ) -> Result<Reach> {
        let mut reach = Reach { changes: false, is_proven: !names.is_full(), seeds: false };
        for (at, token) in tokens.iter().enumerate() {
            let Some(name) = token.name() else { continue };
            let is_called = tokens.get(at + 1).is_some_and(|next| next.text.starts_with('('))
                && !(name == "glob" && is_operator(&tokens[..at]));
            names.check(&name)?;
            self.check(&name, is_called)?;
            reach.changes |= names.changes(&name);
            reach.is_proven &= names.is_proven(&name);
            if !is_called {
                continue;
            }
            let arguments = &tokens[at + 2..];
            reach.changes |= CHANGING.contains(&name.as_str());
            reach.seeds |= name == "setseed";
            // Keywords before a bracket are syntax, or functions of the engine.
            reach.is_proven &=
                token.kind == TokenType::Keyword || self.functions.contains(&name) || names.is_plain(&name);
            if name == "current_setting" {
                check_setting(arguments)?;
            }
            let texts = match name.as_str() {
                "query" => vec![only_text(arguments).ok_or_else(|| plain_text_only(&name))?],
                by_name if BY_NAME.contains(&by_name) => {
                    first_texts(arguments).ok_or_else(|| plain_text_only(&name))?
                }
                _ => continue,
            };
            reach.is_proven = false;
            if depth == TEXTS_MAX {
                return Err(Error::invalid(format!(
                    "the function query stands {TEXTS_MAX} times within itself"
                )));
            }
            for text in texts {
                let tokens = token::tokens(connection, &text).map_err(from_duckdb)?;
                depth::check(&tokens)?;
                let inner = self.reach_within(connection, names, &tokens, depth + 1)?;
                reach.changes |= inner.changes;
                reach.seeds |= inner.seeds;
            }
        }
        Ok(reach)
    }

    /// Refuses what no client may use, whatever it is behind.
    fn check(&self, name: &str, is_called: bool) -> Result<()> {
        if INTERNAL.contains(&name) {
            return Err(Error::invalid(format!("{name} is internal to the server; use DoPut to send rows")));
        }
        let is_not_listed = self.unlisted.contains(name)
            || (self.table_functions.contains(name) && !TABLE_FUNCTIONS.contains(&name));
        let is_refused = VIEWS.contains(&name)
            || IDENTITY_TABLES.contains(&name)
            || (is_called && (is_not_listed || FUNCTIONS.contains(&name)));
        if !is_refused {
            return Ok(());
        }
        if matches!(name, "checkpoint" | "force_checkpoint") {
            return Err(no_checkpoint());
        }
        Err(Error::new(Kind::Denied, format!("{name} is not allowed on this server{}", instead(name))))
    }
}

/// Whether the word behind these tokens stands between two values: behind a literal, a name or what is in brackets. Behind a
/// keyword it may be a function.
fn is_operator(before: &[Token<'_>]) -> bool {
    const SOURCES: [&str; 8] =
        ["call", "describe", "join", "lateral", "pivot", "summarize", "unpivot", "using"];
    before.last().is_some_and(|last| match last.kind {
        TokenType::StringLiteral => true,
        TokenType::Identifier => !SOURCES.iter().any(|word| last.is_word(word)),
        TokenType::Operator => last.text.ends_with([')', ']']),
        TokenType::Keyword => last.is_word("not"),
        _ => false,
    })
}

/// The names in a text.
pub(super) fn names_of(tokens: &[Token<'_>]) -> HashSet<String> {
    tokens.iter().filter_map(Token::name).collect()
}

/// Refuses a view or macro that sets the seed of random numbers: the statement that reads it would not show it.
pub(super) fn no_seed(reach: Reach) -> Result<Reach> {
    if reach.seeds {
        return Err(Error::unsupported(
            "setseed is not for views and macros; call it in the statement that needs it",
        ));
    }
    Ok(reach)
}

/// A checkpoint takes turns with commits, and SQL that begins one would not.
pub(crate) fn no_checkpoint() -> Error {
    Error::unsupported("CHECKPOINT is not a statement here; use the action pintail.checkpoint")
}

/// What to do in place of reading a file.
const NO_FILES: &str = "; SQL has no way to files, `pintail load` loads them";

/// What to do in place of calling a refused function.
fn instead(name: &str) -> &'static str {
    if name.contains("log") {
        return "; what the server logs is in its configuration, [log]";
    }
    if name.contains("profil") {
        return "; EXPLAIN ANALYZE shows what a statement costs";
    }
    match name {
        "glob" | "sniff_csv" => NO_FILES,
        reader if reader.starts_with("read_") || reader.starts_with("parquet_") => NO_FILES,
        "duckdb_settings" => {
            "; current_setting gives single ones, and `pintail config print` the server's configuration"
        }
        "duckdb_databases" | "pragma_database_list" => {
            "; information_schema.schemata lists catalogs and schemas"
        }
        "summary" => "; SUMMARIZE does the same",
        "json_execute_serialized_sql" => "; send the SQL as a statement of its own",
        _ => "",
    }
}

fn plain_text_only(name: &str) -> Error {
    Error::unsupported(format!(
        "{name} takes a plain text here, such as {name}('...'), so that what it reads can be checked; write the statement \
         itself, or bind values as parameters"
    ))
}

/// Refuses settings that hold what clients must not see.
fn check_setting(arguments: &[Token<'_>]) -> Result<()> {
    let name = only_text(arguments).ok_or_else(|| plain_text_only("current_setting"))?.to_ascii_lowercase();
    if SECRET_SETTINGS.iter().any(|part| name.contains(part)) {
        return Err(Error::new(
            Kind::Denied,
            format!(
                "setting \"{name}\" is the server's own and is not shown; `pintail config print` shows its configuration"
            ),
        ));
    }
    Ok(())
}

/// The statement that is the body of a CTE and changes something, or writes a file.
pub(crate) fn changing_body<'sql>(tokens: &[Token<'sql>]) -> Option<&'sql str> {
    let is_body = |token: &Token<'_>| {
        matches!(token.kind, TokenType::Keyword | TokenType::Identifier)
            && BODIES.iter().any(|word| token.text.eq_ignore_ascii_case(word))
    };
    // After the bracket that opens the body, or the one that closes the last of the body's own CTEs.
    tokens
        .windows(2)
        .find(|pair| pair[0].text.ends_with(['(', ')']) && is_body(&pair[1]))
        .map(|pair| pair[1].text)
}

/// Two columns of text.
pub(super) fn pairs(connection: &DuckDBConnection, sql: &str) -> duckdb::Result<Vec<(String, String)>> {
    let mut result = connection.query(sql, Parameters::None)?;
    let mut rows = Vec::new();
    while let Some(chunk) = result.next_chunk()? {
        let (first, second) = (chunk.get_vector_at::<String>(0)?, chunk.get_vector_at::<String>(1)?);
        let (first, second) = (first.reader()?, second.reader()?);
        for row in 0..chunk.row_count()? {
            let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
            rows.push((text(first.get(row)?), text(second.get(row)?)));
        }
    }
    Ok(rows)
}
