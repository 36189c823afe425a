//! `FROM range(…)` over timestamps with a zone -> the same over timestamps in UTC.
//! Runs on: the thread that prepares. Reads tokens, and binds statements that have such a call.
//! Never: touches a statement that the engine binds as it is, or a call that is not a table of its FROM.
//!
//! The engine's own table functions `range` and `generate_series` take the columns of tables beside them, and the
//! C API has no way to register one that does. An overload of ours beside them would make the engine refuse every
//! such call. So timestamps with a zone have the list functions only, and where a statement needs the table, the
//! engine's own counts in UTC: without a zone, but over the same instants.

use std::ops::Range;

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;
use duckdb::statement::{Statement, Statements};

use super::casts::{Inside, with_types};
use super::token::{Token, tokens};

/// TIMESTAMP WITH TIME ZONE -> the same instant as a TIMESTAMP in UTC. A function and no cast, so that it takes what
/// the engine would take for a timestamp with a zone, and nothing else.
pub(crate) const UTC_FUNCTION: &str = "pintail_utc";

/// Words that end the tables of a FROM, or stand between them; they are no aliases.
const AFTER_A_TABLE: &str = "anti asof cross except fetch for full group having inner intersect join lateral left limit \
    natural offset on order pivot positional qualify returning right sample select semi set \
    tablesample union unpivot using where window";

/// A call of `range` or `generate_series` with three arguments as a table.
struct Call {
    /// All of it, up to its alias.
    range: Range<usize>,
    /// Up to the parenthesis.
    head: Range<usize>,
    arguments: [Range<usize>; 3],
    /// The function's own name.
    name: String,
    is_numbered: bool,
    alias: Option<String>,
}

/// The next statement of a text, as the engine can run it.
pub(crate) fn next_statement(
    connection: &DuckDBConnection,
    statements: &mut Statements,
) -> duckdb::Result<Option<Statement<'static>>> {
    match statements.next().transpose()? {
        Some(statement) => with_series(connection, statement).map(Some),
        None => Ok(None),
    }
}

/// Whether a text always becomes the same statement: what has no such call does.
pub(crate) fn is_read_alike(sql: &str) -> bool {
    let lower = sql.to_ascii_lowercase();
    !["range", "generate_series"].iter().any(|name| lower.contains(name))
}

/// The statement, with series of timestamps with a zone counted in UTC where the engine has no such table.
fn with_series(
    connection: &DuckDBConnection,
    statement: Statement<'static>,
) -> duckdb::Result<Statement<'static>> {
    let text = statement.get_text()?;
    if is_read_alike(text) {
        return Ok(statement);
    }
    let others = series_in_utc(connection, text)?;
    if others.is_empty() {
        return Ok(statement);
    }
    let nulls: Vec<(String, String)> =
        statement.parameter_names()?.iter().map(|name| ((*name).to_owned(), "\"NULL\"".to_owned())).collect();
    // The arguments of a table function are bound only when they have values.
    let binds = |statement: &Statement<'static>| -> duckdb::Result<bool> {
        if nulls.is_empty() {
            return Ok(statement.bind(connection).is_ok());
        }
        match with_types(connection, statement.get_text()?, &nulls, Inside::Null)? {
            Some(typed) => match connection.parse(typed)?.next() {
                Some(typed) => Ok(typed?.bind(connection).is_ok()),
                None => Ok(false),
            },
            None => Ok(statement.bind(connection).is_ok()),
        }
    };
    if binds(&statement)? {
        return Ok(statement);
    }
    for other in others {
        if let Some(Ok(other)) = connection.parse(other)?.next()
            && binds(&other)?
        {
            return Ok(other);
        }
    }
    Ok(statement)
}

/// `sql` with every such call counting in UTC; empty when there is none.
///
/// The engine names the column of such a table after its alias and lets it be called after the function as well. A
/// subquery has one name for it, so there are two texts when a table has an alias.
fn series_in_utc(connection: &DuckDBConnection, sql: &str) -> duckdb::Result<Vec<String>> {
    let calls = calls(&tokens(connection, sql)?);
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut texts = vec![written(sql, &calls, ColumnAfter::Alias)];
    if calls.iter().any(|call| call.alias.is_some()) {
        texts.push(written(sql, &calls, ColumnAfter::Function));
    }
    Ok(texts)
}

/// What the column of such a table is named after.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnAfter {
    Alias,
    Function,
}

fn written(sql: &str, calls: &[Call], column_after: ColumnAfter) -> String {
    let mut text = String::with_capacity(sql.len() + 200 * calls.len());
    let mut from = 0;
    for call in calls {
        let column = match &call.alias {
            Some(alias) if column_after == ColumnAfter::Alias => alias,
            _ => &call.name,
        };
        let [start, stop, step] = call.arguments.clone().map(|range| sql[range].trim());
        let (number, numbered) =
            if call.is_numbered { (", ordinality", " WITH ORDINALITY") } else { ("", "") };
        let head = &sql[call.head.clone()];
        text.push_str(&sql[from..call.range.start]);
        text.push_str(&format!(
            "(SELECT CAST(pintail_at AS TIMESTAMPTZ) AS {column}{number} \
             FROM {head}({UTC_FUNCTION}({start}), {UTC_FUNCTION}({stop}), {step}){numbered} \
             AS pintail_series(pintail_at{number}))"
        ));
        if call.alias.is_none() {
            text.push_str(&format!(" AS {}", call.name));
        }
        from = call.range.end;
    }
    text.push_str(&sql[from..]);
    text
}

/// One level of parentheses.
#[derive(Clone, Copy)]
struct Level {
    is_query: bool,
    /// A comma here stands between tables.
    lists_tables: bool,
}

fn calls(tokens: &[Token<'_>]) -> Vec<Call> {
    let mut levels = vec![Level { is_query: true, lists_tables: false }];
    let mut found: Vec<Call> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let level = levels.len() - 1;
        if token.is_sign("(") {
            let first = tokens.get(at + 1);
            let is_query =
                first.is_some_and(|first| ["select", "from", "with"].iter().any(|word| first.is_word(word)));
            levels.push(Level { is_query, lists_tables: false });
            continue;
        }
        if token.is_sign(")") && level > 0 {
            levels.pop();
            continue;
        }
        if token.kind == TokenType::Keyword {
            let is = |words: &[&str]| words.iter().any(|word| token.is_word(word));
            if is(&["from", "join"]) {
                // `extract(year FROM …)` is no query.
                levels[level].lists_tables = levels[level].is_query;
            } else if is(&[
                "select", "where", "group", "having", "window", "qualify", "order", "limit", "set",
            ]) {
                levels[level].lists_tables = false;
            }
        }
        if !levels[level].lists_tables {
            continue;
        }
        let begins_a_table = at.checked_sub(1).map(|before| &tokens[before]).is_some_and(|before| {
            before.is_sign(",") || ["from", "join", "lateral"].iter().any(|word| before.is_word(word))
        });
        if begins_a_table {
            found.extend(call(tokens, at));
        }
    }
    found
}

/// The call that begins with the token `first`, if it is one.
fn call(tokens: &[Token<'_>], first: usize) -> Option<Call> {
    // system.main.range( and the like.
    let mut at = first;
    while tokens.get(at + 1)?.text == "." {
        at += 2;
    }
    // The tokens of a qualified name may be one.
    let name = tokens.get(at)?.text.rsplit('.').next()?.trim_matches('"').to_ascii_lowercase();
    let open = at + 1;
    if !["range", "generate_series"].contains(&name.as_str()) || !tokens.get(open)?.is_sign("(") {
        return None;
    }
    let mut level = 0_usize;
    let mut cuts = vec![open];
    let mut close = None;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if ["(", "[", "{"].iter().any(|sign| token.is_sign(sign)) {
            level += 1;
        } else if [")", "]", "}"].iter().any(|sign| token.is_sign(sign)) {
            level = level.checked_sub(1)?;
            if level == 0 {
                close = Some(index);
                break;
            }
        } else if level == 1 && token.is_sign(",") {
            cuts.push(index);
        }
    }
    let close = close?;
    cuts.push(close);
    let between = |pair: &[usize]| tokens[pair[0]].range.end..tokens[pair[1]].range.start;
    let arguments: [Range<usize>; 3] = cuts.windows(2).map(between).collect::<Vec<_>>().try_into().ok()?;
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is_word(word));
    let is_numbered = is(close + 1, "with") && is(close + 2, "ordinality");
    let last = if is_numbered { close + 2 } else { close };
    let alias = if is(last + 1, "as") { last + 2 } else { last + 1 };
    let is_alias = |token: &&Token<'_>| {
        matches!(token.kind, TokenType::Keyword | TokenType::Identifier)
            && !AFTER_A_TABLE.split(' ').any(|word| token.is_word(word))
    };
    Some(Call {
        range: tokens[first].range.start..tokens[last].range.end,
        head: tokens[first].range.start..tokens[at].range.end,
        arguments,
        name,
        is_numbered,
        alias: tokens.get(alias).filter(is_alias).map(|token| token.text.to_owned()),
    })
}
