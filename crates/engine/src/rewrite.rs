//! Text of a statement with parameters -> the same statement over a batch of rows, or over typed NULLs.
//! Runs on: the thread that prepares. Reads the engine's own tokens, so strings and comments are never mistaken.
//! Never: changes what a statement means; what it does not recognise runs row by row instead.

mod series;

use std::ops::Range;

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;
use duckdb::tokens::SqlTokenIterator;

pub(super) use series::{UTC_FUNCTION, with_series};

use super::appender::{BulkInsert, Insert};
use crate::catalog::{TableName, quote_name};

/// A token of a statement and its bytes in the text.
pub(super) struct Token<'sql> {
    pub(super) kind: TokenType,
    pub(super) text: &'sql str,
    pub(super) range: Range<usize>,
}

impl Token<'_> {
    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.kind, TokenType::Keyword | TokenType::Identifier)
            && self.text.eq_ignore_ascii_case(word)
    }

    /// The keyword or name it is, in lower case and without quotes; the engine tells names apart by letters alone.
    pub(super) fn name(&self) -> Option<String> {
        if !matches!(self.kind, TokenType::Keyword | TokenType::Identifier) {
            return None;
        }
        let quoted = self.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        Some(match quoted {
            Some(quoted) => quoted.replace("\"\"", "\"").to_ascii_lowercase(),
            None => self.text.to_ascii_lowercase(),
        })
    }

    fn is_sign(&self, sign: &str) -> bool {
        self.kind == TokenType::Operator && self.text == sign
    }
}

/// A parameter as it stands in the text.
struct Place {
    name: String,
    range: Range<usize>,
    first_token: usize,
}

/// The tokens of `sql`, comments left out.
pub(super) fn tokens<'sql>(
    connection: &DuckDBConnection,
    sql: &'sql str,
) -> duckdb::Result<Vec<Token<'sql>>> {
    let mut tokens = Vec::new();
    for token in SqlTokenIterator::new(connection, sql)? {
        let token = token?;
        let range = token.start..token.start + token.length;
        let Some(text) = sql.get(range.clone()) else {
            return Err(duckdb::Error::api_error("a token lies outside of its text"));
        };
        // A comment at the very end comes as a token; all others are left out by the engine.
        if token.token_type != TokenType::Comment {
            tokens.push(Token { kind: token.token_type, text, range });
        }
    }
    Ok(tokens)
}

/// The parameters of a statement: `?` counts up, `?1`, `$1` and `$name` say which they are.
fn places(tokens: &[Token<'_>]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut question_marks = 0;
    for (index, token) in tokens.iter().enumerate() {
        let attached = tokens.get(index + 1).filter(|next| next.range.start == token.range.end);
        let numbered = attached.filter(|next| next.kind == TokenType::NumberLiteral);
        if token.is_sign("?") && numbered.is_none() {
            question_marks += 1;
            let name = question_marks.to_string();
            places.push(Place { name, range: token.range.clone(), first_token: index });
        } else if let Some(name) = if token.is_sign("?") { numbered } else { attached }
            && (token.is_sign("$") || token.is_sign("?"))
        {
            let range = token.range.start..name.range.end;
            let name = name.text.trim_matches('"').to_owned();
            places.push(Place { name, range, first_token: index });
        }
    }
    places
}

/// `sql` with every parameter replaced by what `value` says for its name; `None` when it does not know one.
fn replaced(
    sql: &str,
    range: Range<usize>,
    places: &[Place],
    value: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let mut text = String::with_capacity(range.len() + 32 * places.len());
    let mut from = range.start;
    for place in places.iter().filter(|place| range.contains(&place.range.start)) {
        text.push_str(&sql[from..place.range.start]);
        text.push_str(&value(&place.name)?);
        from = place.range.end;
    }
    text.push_str(&sql[from..range.end]);
    Some(text)
}

/// What stands inside the casts of [`with_types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// The parameter itself, so that names of columns can be told.
    Parameter,
    /// NULL, for places where the engine must know a value to bind, such as the arguments of a table function.
    Null,
}

/// `sql` with a cast for each parameter, so that binding it tells the types of its result.
///
/// `types` are parameter names with their DuckDB types as text; `None` when one of them is missing.
pub(super) fn with_types(
    connection: &DuckDBConnection,
    sql: &str,
    types: &[(String, String)],
    inside: Inside,
) -> duckdb::Result<Option<String>> {
    let tokens = tokens(connection, sql)?;
    let places = places(&tokens);
    Ok(replaced(sql, 0..sql.len(), &places, |name| {
        let (_, duckdb_type) = types.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(match inside {
            Inside::Parameter => format!("CAST(${name} AS {duckdb_type})"),
            Inside::Null => format!("CAST(NULL AS {duckdb_type})"),
        })
    }))
}

/// `sql` with a cast to INTEGER for each of the parameters `narrowed`.
pub(super) fn with_integers(
    connection: &DuckDBConnection,
    sql: &str,
    narrowed: &[&str],
) -> duckdb::Result<String> {
    let tokens = tokens(connection, sql)?;
    let value = |name: &str| {
        let is_narrowed = narrowed.iter().any(|narrowed| narrowed.eq_ignore_ascii_case(name));
        Some(if is_narrowed { format!("CAST(${name} AS INTEGER)") } else { format!("${name}") })
    };
    Ok(replaced(sql, 0..sql.len(), &places(&tokens), value).unwrap_or_else(|| sql.to_owned()))
}

/// The name that a result column has without the casts of [`with_types`]: columns without an alias are named
/// after their expression.
pub(super) fn without_casts(name: &str, parameters: &[String]) -> String {
    let mut name = name.to_owned();
    let mut heads: Vec<(String, &String)> =
        parameters.iter().map(|parameter| (format!("CAST(${parameter} AS "), parameter)).collect();
    if let [only] = parameters {
        // Whose NULL it is can be told only when there is one parameter.
        heads.push(("CAST(NULL AS ".to_owned(), only));
    }
    for (head, parameter) in heads {
        // Once through: what is left of a cast of the client's own looks like one of ours.
        let mut from = 0;
        while let Some(at) = name[from..].find(&head).map(|at| from + at) {
            let Some(length) = balanced(&name[at + head.len()..]) else { break };
            let plain = format!("${parameter}");
            name.replace_range(at..at + head.len() + length + 1, &plain);
            from = at + plain.len();
        }
    }
    name
}

/// Bytes up to the parenthesis that closes one opened before `text`.
fn balanced(text: &str) -> Option<usize> {
    let mut level = 0_usize;
    let mut quote: Option<char> = None;
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => level += 1,
            (None, ')') if level == 0 => return Some(at),
            (None, ')') => level -= 1,
            (None, _) => {}
        }
    }
    None
}

/// Brackets that a token opens, less those that it closes.
pub(super) fn opened(token: &Token<'_>) -> i64 {
    if token.kind != TokenType::Operator {
        return 0;
    }
    token.text.bytes().map(|sign| i64::from(sign == b'(') - i64::from(sign == b')')).sum()
}

/// What stands behind EXPLAIN.
pub(super) struct Explained {
    /// It runs, because of the word ANALYZE.
    pub(super) runs: bool,
    /// The first token of the statement.
    pub(super) start: Option<usize>,
}

/// Reads `EXPLAIN [ANALYZE] [(ANALYZE, FORMAT json, …)] statement`.
pub(super) fn explained(tokens: &[Token<'_>]) -> Explained {
    const OPTIONS: [&str; 3] = ["analyze", "format", "sql"];
    let named = |at: usize, words: &[&str]| {
        tokens.get(at).and_then(Token::name).is_some_and(|name| words.contains(&name.as_str()))
    };
    let mut runs = named(1, &OPTIONS[..1]);
    let mut start = 1 + usize::from(runs);
    // A bracket without an option is the statement's own.
    if tokens.get(start).is_some_and(|token| token.text == "(") && named(start + 1, &OPTIONS) {
        let mut level = 0;
        for (at, token) in tokens.iter().enumerate().skip(start) {
            level += opened(token);
            runs |= named(at, &OPTIONS[..1]);
            if level == 0 {
                start = at + 1;
                break;
            }
        }
    }
    Explained { runs, start: (start < tokens.len()).then_some(start) }
}

/// `INSERT INTO t (…) VALUES (…)` with parameters -> the same INSERT over a whole batch, whose columns are
/// named after `names`, the parameters in binding order. `is_known` are the engine's own functions; behind others may be
/// a query.
///
/// `None` when the statement is anything else: several tuples, DEFAULT among the values, RETURNING, a WITH
/// in front.
pub(super) fn bulk_insert(
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
    let places = places(tokens);
    let values = tokens.iter().position(|token| token.is_word("values"))?;
    // A nested VALUES or SELECT before ours, as in a list of columns, cannot be: parentheses are balanced.
    if depth(&tokens[..values]) != 0 || !tokens.get(values + 1)?.is_sign("(") {
        return None;
    }
    let mut level = 0_usize;
    let mut close = None;
    for (index, token) in tokens.iter().enumerate().skip(values + 1) {
        if token.is_word("default") {
            return None;
        }
        if token.is_sign("(") {
            level += 1;
        } else if token.is_sign(")") {
            level -= 1;
            if level == 0 {
                close = Some(index);
                break;
            }
        }
    }
    let close = close?;
    let rest: Vec<&Token<'_>> =
        tokens[close + 1..].iter().filter(|token| token.kind != TokenType::Terminator).collect();
    let ends_well = rest.first().is_none_or(|token| token.is_word("on"));
    if !ends_well
        || rest.iter().any(|token| token.is_word("returning"))
        || places.iter().any(|place| place.first_token < values || place.first_token > close)
    {
        return None;
    }
    let column = |name: &str| {
        let known = names.iter().any(|known| known.eq_ignore_ascii_case(name));
        known.then(|| format!("pintail_rows.{}", quote_name(&column_name(name))))
    };
    let mut expressions = Vec::new();
    for range in elements(&tokens[values + 1..=close]) {
        let only = places.iter().find(|place| place.range == range);
        let parameter =
            only.and_then(|place| names.iter().position(|name| name.eq_ignore_ascii_case(&place.name)));
        expressions.push((replaced(sql, range, &places, column)?, parameter));
    }
    let looks = |at: usize| {
        let is_called = tokens.get(at + 1).is_some_and(|next| next.is_sign("("));
        ["select", "from", "exists"].iter().any(|word| tokens[at].is_word(word))
            || (is_called && tokens[at].name().is_some_and(|name| !is_known(&name)))
    };
    // `INSERT OR REPLACE` as well as `ON CONFLICT`. The engine takes the first of several rows with one key from a
    // statement, and leaves rows out beside a NULL.
    let has_or = tokens[..values].iter().any(|token| token.is_word("or"));
    let looks_up = (values + 1..close).any(looks);
    let is_one_by_one = has_or || !rest.is_empty() || looks_up;
    let conflict_key = match (looks_up, has_or) {
        (true, _) => None,
        (false, true) => rest.is_empty().then(Vec::new),
        (false, false) => conflict_key(&rest, is_known),
    };
    let columns: Vec<String> = names.iter().map(|name| quote_name(&column_name(name))).collect();
    let conflict = match (rest.first(), rest.last()) {
        // WHERE keeps ON from being read as the condition of a join.
        (Some(first), Some(last)) => format!(" WHERE true {}", &sql[first.range.start..last.range.end]),
        _ => String::new(),
    };
    let into = sql[..tokens[values].range.start].to_owned();
    let (table, columns_named) = insert_target(&tokens[..values]);
    let texts: Vec<&str> = expressions.iter().map(|(text, _)| text.as_str()).collect();
    let insert = Insert {
        head: format!("{into}SELECT {} FROM ", texts.join(", ")),
        tail: format!(" AS pintail_rows({}){conflict}", columns.join(", ")),
    };
    Some(BulkInsert {
        insert,
        into,
        table,
        columns: columns_named,
        values: expressions,
        is_one_by_one,
        conflict_key,
    })
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

fn depth(tokens: &[Token<'_>]) -> i64 {
    tokens.iter().map(opened).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_around_parameters_leave_the_names() {
        let parameters = ["1".to_owned(), "who".to_owned()];
        for (with, without) in [
            ("(CAST($1 AS BIGINT) + 1)", "($1 + 1)"),
            ("CAST(CAST($1 AS VARCHAR) AS INTEGER)", "CAST($1 AS INTEGER)"),
            ("f(CAST($who AS DECIMAL(9,2)), CAST($1 AS STRUCT(\")\" INTEGER)))", "f($who, $1)"),
            ("COALESCE(CAST($1 AS \"NULL\"), 5)", "COALESCE($1, 5)"),
            ("CAST($2 AS INTEGER)", "CAST($2 AS INTEGER)"),
            ("CAST(NULL AS INTEGER)", "CAST(NULL AS INTEGER)"),
        ] {
            assert_eq!(without_casts(with, &parameters), without);
        }
        assert_eq!(without_casts("(CAST(NULL AS \"NULL\") + 1)", &parameters[..1]), "($1 + 1)");
    }
}
