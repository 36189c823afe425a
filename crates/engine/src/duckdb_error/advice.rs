//! Advice in the engine's error texts to SET, INSTALL or LOAD, which no client may -> advice that works here.
//! Runs on: any thread.
//! Never: touches what is not word for word the engine's own advice; a text may quote a client's statement.

/// The engine's words (DuckDB 2.0.0), and ours.
const ADVICE: [(&str, &str); 10] = [
    (
        ". Use \"SET max_expression_depth TO x\" to increase the maximum expression depth.",
        "; write the inner parts of the statement as WITH queries, views or tables",
    ),
    (
        ".\n\nUse \"SET scalar_subquery_error_on_multiple_rows=false\" to revert to previous behavior of returning a random row.",
        "; add a condition, an aggregate such as min(), or ORDER BY and LIMIT 1",
    ),
    ("\n* SET order_by_non_integer_literal=true to allow this behavior.", ""),
    ("\nUse SET lambda_syntax='ENABLE_SINGLE_ARROW' to revert to the deprecated behavior.", ""),
    (
        "\nUse SET table_function_identifier_conversion='ENABLE_IMPLICIT_STRING' to revert to the deprecated behavior.",
        "",
    ),
    (". Use SET pivot_limit=X to increase the limit.", "; name fewer values with IN, or group by them"),
    (
        ", or SET error_on_division_by_zero=false to return NULL for all divisions by zero.",
        ", or nullif(divisor, 0)",
    ),
    (
        "\nTo enable temporary buffer eviction set a temporary directory using PRAGMA temp_directory='/path/to/tmp.tmp'",
        "; the setting database.temp_directory names one",
    ),
    ("\nOr set SET temp_directory='/path/to/tmp.tmp'", "\nOr set database.temp_directory"),
    ("\nConsider explicitly \"INSTALL parquet; LOAD parquet;\" to support this compression scheme", ""),
];

/// Where longer advice begins and ends, and what stands in its place. Without an end it reaches to the quoted statement.
const LONG: [(&str, Option<&str>, &str); 2] = [
    (
        "\n\nPossible solutions:\n* Reducing the number of threads",
        Some("https://duckdb.org/docs/current/guides/performance/how_to_tune_workloads"),
        "",
    ),
    ("\n\nPlease try installing", None, " No extension is loaded by SQL on this server."),
];

/// `text` with advice that works here.
pub(crate) fn local(mut text: String) -> String {
    for (theirs, ours) in ADVICE {
        if text.contains(theirs) {
            text = text.replace(theirs, ours);
        }
    }
    for (begin, end, ours) in LONG {
        let Some(from) = text.find(begin) else { continue };
        let to = match end {
            Some(end) => text[from..].find(end).map(|at| from + at + end.len()),
            None => text[from..].find("\n\nLINE ").map(|at| from + at),
        };
        text.replace_range(from..to.unwrap_or(text.len()), ours);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn advice_that_is_refused_here_is_replaced_and_a_clients_own_text_is_not() {
        for (theirs, ours) in [
            (
                "Binder Error: Max expression depth limit of 1000 exceeded. Use \"SET max_expression_depth TO x\" to \
                 increase the maximum expression depth.",
                "Binder Error: Max expression depth limit of 1000 exceeded; write the inner parts of the statement as WITH \
                 queries, views or tables",
            ),
            (
                "Catalog Error: Function f is not in the catalog, but it exists in the icu extension.\n\nPlease try \
                 installing and loading the icu extension by running:\nINSTALL icu;\nLOAD icu;\n\nAlternatively, consider \
                 enabling auto-install and auto-load by running:\nSET autoinstall_known_extensions=1;\nSET \
                 autoload_known_extensions=1;\n\nLINE 1: SELECT f()",
                "Catalog Error: Function f is not in the catalog, but it exists in the icu extension. No extension is loaded \
                 by SQL on this server.\n\nLINE 1: SELECT f()",
            ),
            (
                "failed to pin block\n\nPossible solutions:\n* Reducing the number of threads (SET threads=X)\n* more\n\nSee \
                 also https://duckdb.org/docs/current/guides/performance/how_to_tune_workloads",
                "failed to pin block",
            ),
            (
                "LINE 1: UPDATE t SET a = 1; INSTALL x; LOAD y",
                "LINE 1: UPDATE t SET a = 1; INSTALL x; LOAD y",
            ),
        ] {
            assert_eq!(local(theirs.to_owned()), ours);
        }
    }
}
