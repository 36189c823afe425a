//! A type that a statement names -> whether it is there for whoever sends it: the values of an ENUM are rows of somebody's.
//! Runs on: the thread of the connection; blocks while the catalog is looked at.
//! Never: tells a type that is not granted from one that is not there.

use super::access::Access;
use super::planner::Planner;
use super::refusal::no_type;
use crate::catalog::quote_text;
use crate::error::Result;
use crate::sql::Token;

/// Types of the engine's that need no look into the catalog; the others are looked up.
const COMMON: [&str; 15] = [
    "bigint",
    "blob",
    "boolean",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "list",
    "struct",
    "text",
    "timestamp",
    "uuid",
    "varchar",
];

/// Refuses a type of the database whose schema is not granted as a whole.
pub(super) fn check(planner: Planner<'_>, access: &Access, path: &[String]) -> Result<()> {
    let is_theirs = match path {
        [name] => COMMON.contains(&name.to_lowercase().as_str()) || !is_hidden(planner, access, name)?,
        [first, ..] if ["system", "pg_catalog"].contains(&first.to_lowercase().as_str()) => true,
        path => {
            let (schema, name) = planner.place_of(path);
            // The engine's own are found in main as well.
            access.sees_all_of(&schema)
                || (schema.eq_ignore_ascii_case("main") && !is_there(planner, &schema, &name)?)
        }
    };
    if is_theirs { Ok(()) } else { Err(no_type(access)) }
}

/// The same for the types that the text of a change or definition names: the engine gives no parse tree of it.
pub(super) fn check_text(planner: Planner<'_>, access: &Access, text: &str) -> Result<()> {
    let tokens = planner.tokens(text)?;
    let is_definition = tokens.first().is_some_and(|first| first.is_word("create") || first.is_word("alter"));
    let is_dot = |at: usize| tokens.get(at).is_some_and(|token| token.text == ".");
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let mut path: Vec<String> = tokens[at].name().into_iter().collect();
        at += 1;
        while !path.is_empty() && is_dot(at) {
            path.extend(tokens.get(at + 1).and_then(Token::name));
            at += 2;
        }
        let before = start.checked_sub(1).and_then(|before| tokens.get(before));
        let stands_as_type = before.is_some_and(|before| {
            before.text.ends_with(':') || before.is_word("as") || (is_definition && before.name().is_some())
        }) || tokens.get(at).is_some_and(|next| next.text.starts_with('\''));
        let hidden = match path.as_slice() {
            [] => false,
            [name] => stands_as_type && is_hidden(planner, access, name)?,
            path => {
                let (schema, name) = planner.place_of(path);
                !access.sees_all_of(&schema) && is_there(planner, &schema, &name)?
            }
        };
        if hidden {
            return Err(no_type(access));
        }
    }
    Ok(())
}

/// Whether a name alone is a type of the schema in use or of main that is not granted.
fn is_hidden(planner: Planner<'_>, access: &Access, name: &str) -> Result<bool> {
    for schema in [planner.0.schema_in_use().unwrap_or("main"), "main"] {
        if !access.sees_all_of(schema) && is_there(planner, schema, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the database has a type of its own by this name.
fn is_there(planner: Planner<'_>, schema: &str, name: &str) -> Result<bool> {
    let types = format!(
        "SELECT lower(type_name) FROM duckdb_types() WHERE NOT internal AND database_name = {} AND lower(schema_name) = {}",
        quote_text(planner.0.database().catalog()),
        quote_text(&schema.to_lowercase())
    );
    planner.is_there(&types, name)
}
