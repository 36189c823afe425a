//! What running a statement does: to the database, and to checkpoints.
//! Never: believes the word a statement begins with; unknown means change.

/// What running a statement does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reads: its rows are the result. May be run again.
    Query,
    /// Changes rows, or something else that is stored; the result is their count, or the rows of a RETURNING or SELECT.
    Change,
    /// Changes the catalog; no result.
    Definition,
}

/// What a statement does that checkpoints have to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Impact {
    /// Nothing: it reads, or adds rows or tables.
    None,
    /// Rows are deleted, or may be.
    Deletes,
    /// Tables are changed or dropped.
    Reshapes,
}

/// What running the statement `sql` of a class means for checkpoints. In doubt more than it is.
pub(crate) fn impact(class: Class, sql: &str) -> Impact {
    const DELETING: [&str; 6] = ["conflict", "replace", "delete", "update", "merge", "truncate"];
    let text = sql.trim_start().to_ascii_lowercase();
    let has = |text: &str, words: &[&str]| {
        text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| words.contains(&word))
    };
    match class {
        Class::Query => Impact::None,
        // What an INSERT adds is new; an upsert puts a row in the place of another, and a CTE may do anything.
        Class::Change => {
            let rest = text.trim_end_matches([' ', ';']).trim_end_matches("on conflict do nothing");
            let adds = text.starts_with("insert") && !has(rest, &DELETING);
            if adds { Impact::None } else { Impact::Deletes }
        }
        Class::Definition => {
            // CREATE TABLE ... AS may run for as long as it likes, and delete in a CTE.
            let adds =
                text.starts_with("create") && !has(&text, &DELETING) && !has(&text, &["index", "trigger"]);
            if adds { Impact::None } else { Impact::Reshapes }
        }
    }
}

/// Whether the engine runs the statement `sql` outside of transactions alone.
pub fn runs_alone(sql: &str) -> bool {
    let first = sql.split_whitespace().next().unwrap_or_default().trim_end_matches(';');
    ["vacuum", "analyze"].iter().any(|word| first.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::{Class, Impact, impact};

    #[test]
    fn statements_that_checkpoints_have_to_know_of() {
        for (class, sql, expected) in [
            (Class::Query, "SELECT 'delete'", Impact::None),
            (Class::Change, "INSERT INTO t VALUES (1)", Impact::None),
            (Class::Change, "  insert into t select * from u", Impact::None),
            (Class::Change, "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING;", Impact::None),
            (Class::Change, "INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE SET a = 1", Impact::Deletes),
            (Class::Change, "INSERT OR REPLACE INTO t VALUES (1)", Impact::Deletes),
            (Class::Change, "INSERT INTO t (updated_at) SELECT a FROM merged", Impact::None),
            (Class::Change, "WITH d AS (DELETE FROM t RETURNING *) INSERT INTO u FROM d", Impact::Deletes),
            (Class::Change, "INSERT INTO u WITH d AS (DELETE FROM t RETURNING *) FROM d", Impact::Deletes),
            (Class::Change, "UPDATE t SET a = 1", Impact::Deletes),
            (Class::Change, "TRUNCATE t", Impact::Deletes),
            (Class::Definition, "CREATE TABLE t AS FROM u", Impact::None),
            (Class::Definition, "CREATE OR REPLACE TABLE t AS FROM u", Impact::Reshapes),
            (
                Class::Definition,
                "CREATE TABLE t AS WITH d AS (DELETE FROM u RETURNING *) FROM d",
                Impact::Reshapes,
            ),
            (Class::Change, "SELECT nextval('s')", Impact::Deletes),
            (Class::Change, "EXPLAIN ANALYZE INSERT INTO t VALUES (1)", Impact::Deletes),
            (Class::Definition, "CREATE INDEX i ON t (a)", Impact::Reshapes),
            (Class::Definition, "DROP TABLE t", Impact::Reshapes),
        ] {
            assert_eq!(impact(class, sql), expected, "{sql}");
        }
    }
}
