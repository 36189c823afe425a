//! `INSERT … VALUES (?, …)` of a client's own -> the same INSERT over a whole batch of its parameters.
//! Never: changes what a statement means; what it does not recognise runs row by row instead.

use std::ops::Range;

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;
use pintail_catalog::{TableName, quote_name};

use super::insert::{BulkInsert, Insert};
use super::parameters::{Placeholder, placeholders, replaced};
use super::token::{Token, opened, tokens};

/// `INSERT INTO t (…) VALUES (…)` with parameters -> the same INSERT over a whole batch, whose columns are
/// named after `names`, the parameters in binding order. `is_known` are the engine's own functions; behind others may be
/// a query.
///
/// `None` when the statement is anything else: several tuples, DEFAULT among the values, RETURNING, a WITH
/// in front.
pub(crate) fn bulk_insert(
    connection: &DuckDBConnection,
    sql: &str,
    names: &[String],
    is_known: impl Fn(&str) -> bool,
) -> duckdb::Result<Option<BulkInsert>> {
    let tokens = tokens(connection, sql)?;
    Ok(bulk_insert_of(sql, &tokens, names, &is_known))
}

fn bulk_insert_of(
    sql: &str,
    tokens: &[Token<'_>],
    names: &[String],
    is_known: &dyn Fn(&str) -> bool,
) -> Option<BulkInsert> {
    if !tokens.first()?.is_word("insert") || names.is_empty() {
        return None;
    }
    let placeholders = placeholders(tokens);
    let tuple = only_tuple(tokens)?;
    let after = after_the_tuple(tokens, &tuple)?;
    if placeholders.iter().any(|one| one.first_token < tuple.values || one.first_token > tuple.close) {
        return None;
    }
    let values = values_over_rows(sql, &tokens[tuple.values + 1..=tuple.close], names, &placeholders)?;
    // `INSERT OR REPLACE` as well as `ON CONFLICT`. The engine takes the first of several rows with one key from a
    // statement, and leaves rows out beside a NULL.
    let has_or = tokens[..tuple.values].iter().any(|token| token.is_word("or"));
    let looks_up = (tuple.values + 1..tuple.close).any(|at| may_look_up(tokens, at, is_known));
    let conflict_key = match (looks_up, has_or) {
        (true, _) => None,
        (false, true) => after.is_empty().then(Vec::new),
        (false, false) => conflict_key(&after, is_known),
    };
    let columns: Vec<String> = names.iter().map(|name| quote_name(&column_name(name))).collect();
    let conflict = match (after.first(), after.last()) {
        // WHERE keeps ON from being read as the condition of a join.
        (Some(first), Some(last)) => format!(" WHERE true {}", &sql[first.range.start..last.range.end]),
        _ => String::new(),
    };
    let into = sql[..tokens[tuple.values].range.start].to_owned();
    let (table, columns_named) = insert_target(&tokens[..tuple.values]);
    let texts: Vec<&str> = values.iter().map(|(text, _)| text.as_str()).collect();
    let insert = Insert {
        head: format!("{into}SELECT {} FROM ", texts.join(", ")),
        tail: format!(" AS pintail_rows({}){conflict}", columns.join(", ")),
    };
    Some(BulkInsert {
        insert,
        into,
        table,
        columns: columns_named,
        values,
        is_one_by_one: has_or || !after.is_empty() || looks_up,
        conflict_key,
    })
}

/// The one tuple of an INSERT: its VALUES, and the parenthesis that closes it, as places among the tokens.
struct Tuple {
    values: usize,
    close: usize,
}

fn only_tuple(tokens: &[Token<'_>]) -> Option<Tuple> {
    let values = tokens.iter().position(|token| token.is_word("values"))?;
    // A nested VALUES or SELECT before ours, as in a list of columns, cannot be: parentheses are balanced.
    let depth: i64 = tokens[..values].iter().map(opened).sum();
    if depth != 0 || !tokens.get(values + 1)?.is_sign("(") {
        return None;
    }
    let mut level = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(values + 1) {
        if token.is_word("default") {
            return None;
        }
        if token.is_sign("(") {
            level += 1;
        } else if token.is_sign(")") {
            level -= 1;
            if level == 0 {
                return Some(Tuple { values, close: index });
            }
        }
    }
    None
}

/// What follows the tuple: nothing, or an ON CONFLICT; `None` for anything else.
fn after_the_tuple<'tokens, 'sql>(
    tokens: &'tokens [Token<'sql>],
    tuple: &Tuple,
) -> Option<Vec<&'tokens Token<'sql>>> {
    let after: Vec<&Token<'_>> =
        tokens[tuple.close + 1..].iter().filter(|token| token.kind != TokenType::Terminator).collect();
    let is_conflict = after.first().is_none_or(|token| token.is_word("on"));
    (is_conflict && !after.iter().any(|token| token.is_word("returning"))).then_some(after)
}

/// The values of a tuple as expressions over the columns of a batch, each with the parameter that it is, if it is
/// nothing else.
fn values_over_rows(
    sql: &str,
    tuple: &[Token<'_>],
    names: &[String],
    placeholders: &[Placeholder],
) -> Option<Vec<(String, Option<usize>)>> {
    let column = |name: &str| {
        let known = names.iter().any(|known| known.eq_ignore_ascii_case(name));
        known.then(|| format!("pintail_rows.{}", quote_name(&column_name(name))))
    };
    let value = |range: Range<usize>| {
        let only = placeholders.iter().find(|placeholder| placeholder.range == range);
        let parameter =
            only.and_then(|only| names.iter().position(|name| name.eq_ignore_ascii_case(&only.name)));
        Some((replaced(sql, range, placeholders, column)?, parameter))
    };
    elements(tuple).into_iter().map(value).collect()
}

/// Whether a value that has this token may be looked up in a table: by a query, or by a function that is not known.
fn may_look_up(tokens: &[Token<'_>], at: usize, is_known: &dyn Fn(&str) -> bool) -> bool {
    let is_called = tokens.get(at + 1).is_some_and(|next| next.is_sign("("));
    ["select", "from", "exists"].iter().any(|word| tokens[at].is_word(word))
        || (is_called && tokens[at].name().is_some_and(|name| !is_known(&name)))
}

/// The columns of `ON CONFLICT (a, b) DO …`, unless what follows may look at other rows than the one it meets.
fn conflict_key(rest: &[&Token<'_>], is_known: &dyn Fn(&str) -> bool) -> Option<Vec<String>> {
    let [on, conflict, names @ ..] = rest else { return None };
    if !(on.is_word("on") && conflict.is_word("conflict")) {
        return None;
    }
    let (key, then) = match names.split_first()? {
        (open, names) if open.is_sign("(") => {
            let close = names.iter().position(|token| token.is_sign(")"))?;
            (&names[..close], &names[close + 1..])
        }
        _ => (&names[..0], names),
    };
    if !then.first()?.is_word("do") {
        return None;
    }
    let looks = then.iter().enumerate().any(|(at, token)| {
        // `SET (a, b) = …` is no call.
        let is_called = then.get(at + 1).is_some_and(|next| next.is_sign("(")) && !token.is_word("set");
        ["select", "from", "exists"].iter().any(|word| token.is_word(word))
            || (is_called && token.name().is_some_and(|name| !is_known(&name)))
    });
    if looks {
        return None;
    }
    key.iter()
        .enumerate()
        .map(|(at, token)| match (at % 2, token.is_sign(",")) {
            (0, false) => Some(token.name()?.clone()),
            (1, true) => Some(String::new()),
            _ => None,
        })
        .collect::<Option<Vec<String>>>()
        .map(|names| names.into_iter().step_by(2).collect())
}

/// Where the parts of a list in parentheses lie, without the space around them.
fn elements(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut elements = Vec::new();
    let mut level = 0_usize;
    let mut first: Option<usize> = None;
    let mut last = 0;
    for token in tokens {
        let ends = (level == 1 && (token.is_sign(",") || token.is_sign(")"))).then(|| first.take()).flatten();
        elements.extend(ends.map(|first| first..last));
        if token.is_sign("(") {
            level += 1;
            if level == 1 {
                continue;
            }
        } else if token.is_sign(")") {
            level = level.saturating_sub(1);
        }
        if level > 0 && !(level == 1 && token.is_sign(",")) {
            first.get_or_insert(token.range.start);
            last = token.range.end;
        }
    }
    elements
}

/// `INSERT … INTO name [AS alias] [(columns)]` -> table and columns, as far as they are plain names.
fn insert_target(tokens: &[Token<'_>]) -> (Option<TableName>, Option<Vec<String>>) {
    let name = |token: &Token<'_>| match token.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))
    {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => token.text.to_owned(),
    };
    let Some(into) = tokens.iter().position(|token| token.is_word("into")) else { return (None, None) };
    let mut rest = tokens[into + 1..].iter().peekable();
    let mut parts = Vec::new();
    while let Some(token) = rest.next() {
        parts.push(name(token));
        if rest.next_if(|next| next.is_sign(".")).is_none() {
            break;
        }
    }
    if rest.next_if(|next| next.is_word("as")).is_some() {
        rest.next();
    }
    let columns = rest.next_if(|next| next.is_sign("(")).map(|_| {
        let listed = rest.by_ref().take_while(|token| !token.is_sign(")"));
        listed.filter(|token| !token.is_sign(",")).map(name).collect()
    });
    // Anything else before VALUES (BY NAME, DEFAULT VALUES): not a plain list of columns.
    let table = if rest.next().is_none() { TableName::from_path(&parts).ok() } else { None };
    (table, columns)
}

fn column_name(parameter: &str) -> String {
    format!("p{}", parameter.to_lowercase())
}
