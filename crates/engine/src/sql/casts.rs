//! Text of a statement with parameters -> the same statement with typed casts around them, and names of columns
//! without those casts.
//! Never: changes what a statement means.

use duckdb::connection::Connection as DuckDBConnection;

use super::parameters::{placeholders, replaced};
use super::token::tokens;

/// What stands inside the casts of [`with_types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inside {
    /// The parameter itself, so that names of columns can be told.
    Parameter,
    /// NULL, for places where the engine must know a value to bind, such as the arguments of a table function.
    Null,
}

/// `sql` with a cast for each parameter, so that binding it tells the types of its result.
///
/// `types` are parameter names with their DuckDB types as text; `None` when one of them is missing.
pub(crate) fn with_types(
    connection: &DuckDBConnection,
    sql: &str,
    types: &[(String, String)],
    inside: Inside,
) -> duckdb::Result<Option<String>> {
    let tokens = tokens(connection, sql)?;
    let placeholders = placeholders(&tokens);
    Ok(replaced(sql, 0..sql.len(), &placeholders, |name| {
        let (_, duckdb_type) = types.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(match inside {
            Inside::Parameter => format!("CAST(${name} AS {duckdb_type})"),
            Inside::Null => format!("CAST(NULL AS {duckdb_type})"),
        })
    }))
}

/// `sql` with a cast to INTEGER for each of the parameters `narrowed`.
pub(crate) fn with_integers(
    connection: &DuckDBConnection,
    sql: &str,
    narrowed: &[&str],
) -> duckdb::Result<String> {
    let tokens = tokens(connection, sql)?;
    let value = |name: &str| {
        let is_narrowed = narrowed.iter().any(|narrowed| narrowed.eq_ignore_ascii_case(name));
        Some(if is_narrowed { format!("CAST(${name} AS INTEGER)") } else { format!("${name}") })
    };
    Ok(replaced(sql, 0..sql.len(), &placeholders(&tokens), value).unwrap_or_else(|| sql.to_owned()))
}

/// The name that a result column has without the casts of [`with_types`]: columns without an alias are named
/// after their expression.
pub(crate) fn without_casts(name: &str, parameters: &[String]) -> String {
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
