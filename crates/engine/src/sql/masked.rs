//! A statement's text -> the same without its literals and comments, and the tables that it names; for logs and lists.
//! Runs on: any thread; microseconds.
//! Never: shows a literal, also where the text is cut or is no SQL.

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::enums::TokenType;

use super::token::{Token, opened, tokens};

/// How much of a statement is read.
const READ_BYTES_MAX: usize = 4096;
/// Tables that are named at most.
const TABLES_MAX: usize = 32;

/// What of a statement may be shown to whoever looks after the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Masked {
    /// Its text, with `?` in the place of each literal, and without comments.
    pub text: String,
    /// Tables and views that it names, in their order, as it spells them.
    pub tables: Vec<String>,
    /// Words and names in it, to tell them from values in the text of an error.
    pub names: Vec<String>,
}

/// The statement without its literals.
///
/// Errors: those of the engine's tokenizer.
pub(crate) fn masked(connection: &DuckDBConnection, sql: &str) -> duckdb::Result<Masked> {
    let mut end = sql.len().min(READ_BYTES_MAX);
    while !sql.is_char_boundary(end) {
        end -= 1;
    }
    let read = &sql[..end];
    let mut tokens = tokens(connection, read)?;
    let is_cut = end < sql.len();
    if is_cut {
        // It may be the beginning of another one.
        tokens.pop();
    }
    let mut text = String::with_capacity(read.len());
    let mut last = 0;
    let mut follows_literal = false;
    for token in &tokens {
        let is_apart = token.range.start > last;
        last = token.range.end;
        // The engine takes `0x1f` for a number and a name.
        if follows_literal && !is_apart && token.name().is_some() {
            continue;
        }
        if is_apart && !text.is_empty() {
            text.push(' ');
        }
        // What is open at the end of the text is not what it seems to be.
        let is_plain = match token.kind {
            TokenType::Keyword | TokenType::Operator => !token.text.contains('\''),
            TokenType::Identifier => !token.text.contains('\'') || is_quoted(token.text),
            // Between the parts of a name, a dot is one of the engine's numbers.
            _ => token.text == ".",
        };
        follows_literal = !is_plain;
        text.push_str(if is_plain { token.text } else { "?" });
    }
    if is_cut {
        text.push_str(" …");
    }
    let mut names: Vec<String> = tokens.iter().filter_map(Token::name).collect();
    names.sort_unstable();
    names.dedup();
    Ok(Masked { text, tables: tables(&tokens), names })
}

fn is_quoted(text: &str) -> bool {
    text.len() > 1 && text.starts_with('"') && text.ends_with('"')
}

/// The tables that tokens name: behind FROM, JOIN, INTO, UPDATE, TABLE, VIEW, and behind a comma of a FROM. Names of CTEs are
/// left out, and functions.
fn tables(tokens: &[Token<'_>]) -> Vec<String> {
    let ctes: Vec<String> = tokens
        .windows(3)
        .filter(|three| three[1].is_word("as") && three[2].text.starts_with('('))
        .filter_map(|three| three[0].name())
        .collect();
    let mut found: Vec<String> = Vec::new();
    // The depths at which a FROM lists tables.
    let mut lists: Vec<i64> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        depth += opened(token);
        lists.retain(|list| *list <= depth);
        let ends_list =
            ["where", "group", "order", "having", "limit", "union", "select", "set", "on", "values"];
        if ends_list.iter().any(|word| token.is_word(word)) && lists.last() == Some(&depth) {
            // JOIN conditions are followed by more tables, which have their own word or comma.
            if !token.is_word("on") {
                lists.pop();
            }
        }
        let names_one = if token.is_word("from") {
            lists.push(depth);
            true
        } else {
            ["join", "into", "update", "table", "view", "describe", "summarize"]
                .iter()
                .any(|word| token.is_word(word))
                || (token.is_sign(",") && lists.last() == Some(&depth))
        };
        if !names_one {
            continue;
        }
        let Some((path, next)) = path(tokens, at + 1) else { continue };
        let is_call = tokens.get(next).is_some_and(|token| token.text.starts_with('('))
            && (token.is_word("from") || token.is_word("join") || token.is_sign(","));
        let is_cte = path.len() == 1 && ctes.contains(&path[0]);
        let name = path.join(".");
        if !is_call && !is_cte && !found.contains(&name) && found.len() < TABLES_MAX {
            found.push(name);
        }
    }
    found
}

/// A name of several parts from `at` on, and what comes after it.
fn path(tokens: &[Token<'_>], mut at: usize) -> Option<(Vec<String>, usize)> {
    while tokens.get(at).is_some_and(|token| {
        ["if", "not", "exists", "only", "lateral", "table", "or", "replace"]
            .iter()
            .any(|word| token.is_word(word))
    }) {
        at += 1;
    }
    let mut path = Vec::new();
    loop {
        let token = tokens.get(at)?;
        let is_reserved = path.is_empty() && (token.is_word("select") || token.is_word("values"));
        path.push(token.name().filter(|_| !is_reserved)?);
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != ".") {
            return Some((path, at));
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use crate::{Database, Options};

    #[test]
    fn literals_and_comments_never_show() {
        let database = Database::open(Options::in_memory()).unwrap();
        let long = format!("SELECT {} 'secret'", "1, ".repeat(2000));
        for sql in [
            "SELECT 'secret'",
            "SELECT 'it''s secret', 'secret'",
            "SELECT E'it\\'s secret'",
            "SELECT e'\\\\', 'secret'",
            "SELECT $$secret$$, $tag$ secret ' $tag$",
            "SELECT X'5ec7e7', 5.5e7, 0x5ec7",
            "SELECT 1 -- secret '",
            "SELECT 1 /* secret ' /* */ */, 'secret'",
            "SELECT 'secret",
            "SELECT $$secret",
            "SELECT \"name\" FROM t WHERE a = 'secret' AND b IN ('secret', 'x')",
            "no 'secret' SQL ' secret",
            "SELECT DATE '2026-01-01 secret', b'101', U&'secret'",
            long.as_str(),
        ] {
            let masked = database.masked(sql).unwrap();
            assert!(!masked.text.contains("secret"), "{sql}: {}", masked.text);
            assert!(!masked.text.contains("5ec7"), "{sql}: {}", masked.text);
        }
        let masked = database.masked("select  a,\n\"B c\" from t where x=-17 and y>'a''b'").unwrap();
        assert_eq!(masked.text, "select a, \"B c\" from t where x=-? and y>?");
        assert_eq!(database.masked("FROM s.t WHERE a.b = .5").unwrap().text, "FROM s.t WHERE a.b = ?");
    }

    #[test]
    fn the_tables_that_a_statement_names() {
        let database = Database::open(Options::in_memory()).unwrap();
        for (sql, expected) in [
            ("SELECT 1", ""),
            ("SELECT * FROM t", "t"),
            (
                "FROM s.\"T x\" AS y, u JOIN v USING (a), range(3) r, w WHERE a IN (SELECT b FROM z)",
                "s.t x u v w z",
            ),
            ("WITH c AS (SELECT * FROM inner_table) SELECT a, b FROM c, d", "inner_table d"),
            ("SELECT extract(year FROM day), a FROM t, u ORDER BY a, b", "day t u"),
            ("INSERT INTO s.t (a, b) SELECT a, b FROM u", "s.t u"),
            ("INSERT INTO t VALUES (1, 2), (3, 4)", "t"),
            ("UPDATE t SET a = 1, b = 2 WHERE c = 3", "t"),
            ("DELETE FROM t USING u WHERE t.a = u.a", "t"),
            ("CREATE TABLE IF NOT EXISTS s.t (a INT, b INT)", "s.t"),
            ("CREATE OR REPLACE VIEW v AS SELECT * FROM t", "v t"),
            ("DROP TABLE IF EXISTS t", "t"),
            ("SELECT * FROM (SELECT a, b FROM t) AS x, u", "t u"),
            ("SELECT * FROM t UNION ALL SELECT a, b FROM u", "t u"),
        ] {
            assert_eq!(database.masked(sql).unwrap().tables.join(" "), expected, "{sql}");
        }
    }
}
