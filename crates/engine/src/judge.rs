//! A parsed statement -> what running it does, and whether it may run here.
//! Runs on: the thread that parses. Looks into the text and into memory.
//! Never: believes the word a statement begins with; unknown means change.

use duckdb::query_result::StatementType;

use super::connection::Connection;
use super::ledger::INTERNAL_SCHEMA;
use super::rewrite::{self, Token};
use super::statement;
use super::surface::{self, Reach};
use crate::error::{Error, Kind, Result};

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

/// The version of what was known for a statement that needs to know nothing.
pub(super) const ALWAYS: u64 = u64::MAX;

/// What running a statement does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub(super) class: Class,
    /// Its result has columns of its own: it reads, has a RETURNING, or is a SELECT around a change.
    pub(super) gives_rows: bool,
    pub(super) reach: Reach,
    /// What was known of views and macros then.
    pub(super) version: u64,
}

impl Judged {
    /// A query of the server's own.
    pub(super) fn own() -> Self {
        let reach = Reach { changes: false, is_proven: true, seeds: false };
        Self { class: Class::Query, gives_rows: true, reach, version: ALWAYS }
    }
}

/// What the statement with these tokens does; `sql` is the text that they are tokens of.
pub(super) fn judge(
    connection: &Connection,
    kind: StatementType,
    sql: &str,
    tokens: &[Token<'_>],
) -> Result<Judged> {
    let surface = connection.database().surface();
    let version = surface.version();
    if kind == StatementType::Explain {
        return judge_explain(connection, sql, tokens);
    }
    let class = class_of(kind)?;
    if kind == StatementType::Call && tokens.first().is_some_and(|first| !first.is_word("call")) {
        return Err(surface::no_checkpoint());
    }
    let reach = surface.reach(connection.duckdb_for_binding(), tokens)?;
    // The engine calls a SELECT what changes rows in a CTE, and bumps sequences in one.
    let body = surface::changing_body(tokens);
    if body.is_some_and(|body| body.eq_ignore_ascii_case("copy")) {
        class_of(StatementType::Copy)?;
    }
    if class == Class::Query && body.is_none() && !reach.changes {
        return Ok(Judged { class, gives_rows: true, reach, version });
    }
    check_not_internal(connection, tokens)?;
    let gives_rows = match class {
        Class::Query => true,
        Class::Change => returns(tokens),
        Class::Definition => {
            surface.define(tokens, reach)?;
            false
        }
    };
    let class = if class == Class::Query { Class::Change } else { class };
    Ok(Judged { class, gives_rows, reach, version })
}

/// EXPLAIN only plans, unless it has the word ANALYZE: then it does what its statement does.
fn judge_explain(connection: &Connection, sql: &str, tokens: &[Token<'_>]) -> Result<Judged> {
    let explained = rewrite::explained(tokens);
    let Some(at) = explained.start.filter(|_| explained.runs) else {
        let reach = connection.database().surface().reach(connection.duckdb_for_binding(), tokens)?;
        return Ok(Judged {
            class: Class::Query,
            gives_rows: true,
            reach: Reach { is_proven: true, ..reach },
            version: ALWAYS,
        });
    };
    let inner = &sql[tokens[at].range.start..];
    let mut statements =
        connection.duckdb_for_binding().parse(inner).map_err(|error| connection.database().note(error))?;
    let statement = statement::next(connection, &mut statements)?
        .ok_or_else(|| Error::invalid("expected a statement after EXPLAIN ANALYZE, found none"))?;
    let kind = statement.get_type().map_err(|error| connection.database().note(error))?;
    let inner_tokens = rewrite::tokens(connection.duckdb_for_binding(), inner)
        .map_err(|error| connection.database().note(error))?;
    let judged = judge(connection, kind, inner, &inner_tokens)?;
    if judged.class == Class::Definition {
        return Err(Error::unsupported(
            "EXPLAIN ANALYZE of a definition would make it; send the definition itself, or EXPLAIN without ANALYZE",
        ));
    }
    Ok(Judged { gives_rows: true, ..judged })
}

/// Whether a statement that changes rows gives them back: RETURNING outside of brackets, where those of CTEs are.
fn returns(tokens: &[Token<'_>]) -> bool {
    let mut level = 0_i64;
    tokens.iter().any(|token| {
        level += rewrite::opened(token);
        level == 0 && token.is_word("returning")
    })
}

/// The server's own tables say which puts were applied: changed by hand, they would say something else.
fn check_not_internal(connection: &Connection, tokens: &[Token<'_>]) -> Result<()> {
    let is_named = tokens.iter().any(|token| token.name().is_some_and(|name| name == INTERNAL_SCHEMA));
    if is_named || connection.looks_in_schema(INTERNAL_SCHEMA) {
        return Err(Error::new(
            Kind::Denied,
            format!("schema {INTERNAL_SCHEMA} is the server's own; it can be read and not changed"),
        ));
    }
    Ok(())
}

fn class_of(statement: StatementType) -> Result<Class> {
    use StatementType as S;
    let denied = |what: &str, instead: &str| {
        Err(Error::new(Kind::Denied, format!("{what} is not allowed on this server{instead}")))
    };
    match statement {
        S::Select | S::Explain | S::Call | S::Relation | S::Multi => Ok(Class::Query),
        S::Insert | S::Update | S::Delete | S::MergeInto => Ok(Class::Change),
        S::Create | S::CreateFunc | S::Alter | S::Drop | S::Analyze | S::Vacuum => Ok(Class::Definition),
        S::Copy | S::Export | S::CopyDatabase => denied(
            "COPY, EXPORT or IMPORT",
            "; use DoPut or `pintail load`, and `pintail query --format parquet`",
        ),
        S::Attach | S::Detach | S::Connect | S::Disconnect => denied("attaching another database", ""),
        S::Load | S::Extension | S::UpdateExtensions => denied("installing or loading an extension", ""),
        S::Set | S::VariableSet | S::Pragma => denied(
            "SET, USE or PRAGMA",
            "; set the session options catalog and schema to change where names are looked up, and the \
             server's configuration for everything else",
        ),
        S::Transaction => Err(Error::unsupported(
            "BEGIN, COMMIT and ROLLBACK are not statements here; use the actions BeginTransaction and \
             EndTransaction (ADBC: autocommit=False)",
        )),
        S::Prepare | S::Execute => Err(Error::unsupported(
            "PREPARE and EXECUTE are not statements here; use the action CreatePreparedStatement",
        )),
        S::Invalid | S::LogicalPlan | S::ExternalResource | S::Passthrough => {
            denied("this kind of statement", "")
        }
    }
}

/// What a statement does that checkpoints have to know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Impact {
    /// Nothing: it reads, or adds rows or tables.
    None,
    /// Rows are deleted, or may be.
    Deletes,
    /// Tables are changed or dropped.
    Reshapes,
}

/// What running the statement `sql` of a class means for checkpoints. In doubt more than it is.
pub(super) fn impact(class: Class, sql: &str) -> Impact {
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
