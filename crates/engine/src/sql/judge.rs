//! A parsed statement -> what running it does, and whether it may run here.
//! Never: runs anything; it looks into the text and into memory.

use duckdb::connection::Connection as DuckDBConnection;
use duckdb::query_result::StatementType;

use super::class::Class;
use super::series::next_statement;
use super::surface::{Reach, Surface, changing_body, defined_kind, defined_path, no_checkpoint};
use super::token::{self, Token, opened};
use crate::access::Access;
use crate::error::{Error, Kind, Result};
use crate::health::Health;
use crate::internal::INTERNAL_SCHEMA;

/// The version of what was known for a statement that needs to know nothing.
pub(crate) const ALWAYS: u64 = u64::MAX;

/// What running a statement does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged {
    pub(crate) class: Class,
    /// Its result has columns of its own: it reads, has a RETURNING, or is a SELECT around a change.
    pub(crate) gives_rows: bool,
    pub(crate) reach: Reach,
    /// What was known of views and macros then.
    pub(crate) version: u64,
}

impl Judged {
    /// A query of the server's own.
    pub(crate) fn own_query() -> Self {
        let reach = Reach { changes: false, is_proven: true, seeds: false };
        Self { class: Class::Query, gives_rows: true, reach, version: ALWAYS }
    }
}

/// Where a statement is to run.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    /// The connection, to parse with.
    pub(crate) duckdb: &'a DuckDBConnection,
    pub(crate) surface: &'a Surface,
    pub(crate) health: &'a Health,
    /// The schema that unqualified names are looked up in, if the client has chosen one.
    pub(crate) schema: Option<&'a str>,
    /// What its sender may do; `None` for admins.
    pub(crate) access: Option<&'a Access>,
}

impl Judge<'_> {
    /// What the statement with these tokens does; `sql` is the text that they are tokens of.
    pub(crate) fn judge(self, kind: StatementType, sql: &str, tokens: &[Token<'_>]) -> Result<Judged> {
        let version = self.surface.version();
        if kind == StatementType::Explain {
            return self.judge_explain(sql, tokens);
        }
        let class = class_of(kind)?;
        // Before anything is noted of what it would define.
        if let Some(access) = self.access {
            access.check_class(class)?;
            if class == Class::Definition {
                let path = defined_path(tokens);
                let place = match path.as_slice() {
                    [.., schema, name] => [schema.as_str(), name],
                    [name] => [self.schema.unwrap_or("main"), name],
                    [] => [self.schema.unwrap_or("main"), "*"],
                };
                access.check_noted(&defined_kind(tokens), place)?;
            }
        }
        if kind == StatementType::Call && tokens.first().is_some_and(|first| !first.is_word("call")) {
            return Err(no_checkpoint());
        }
        let reach = self.surface.reach(self.duckdb, tokens)?;
        // The engine calls a SELECT what changes rows in a CTE, and bumps sequences in one.
        let body = changing_body(tokens);
        if body.is_some_and(|body| body.eq_ignore_ascii_case("copy")) {
            class_of(StatementType::Copy)?;
        }
        if class == Class::Query && body.is_none() && !reach.changes {
            return Ok(Judged { class, gives_rows: true, reach, version });
        }
        self.check_not_internal(tokens)?;
        let gives_rows = match class {
            Class::Query => true,
            Class::Change => returns(tokens),
            Class::Definition => {
                self.surface.define(tokens, reach)?;
                false
            }
        };
        let class = if class == Class::Query { Class::Change } else { class };
        Ok(Judged { class, gives_rows, reach, version })
    }

    /// EXPLAIN only plans, unless it has the word ANALYZE: then it does what its statement does.
    fn judge_explain(self, sql: &str, tokens: &[Token<'_>]) -> Result<Judged> {
        let explained = explained(tokens);
        let Some(at) = explained.start.filter(|_| explained.runs) else {
            let reach = self.surface.reach(self.duckdb, tokens)?;
            return Ok(Judged {
                class: Class::Query,
                gives_rows: true,
                reach: Reach { is_proven: true, ..reach },
                version: ALWAYS,
            });
        };
        let note = |error| self.health.note(error);
        let inner = &sql[tokens[at].range.start..];
        let mut statements = self.duckdb.parse(inner).map_err(note)?;
        let statement = next_statement(self.duckdb, &mut statements)
            .map_err(note)?
            .ok_or_else(|| Error::invalid("expected a statement after EXPLAIN ANALYZE, found none"))?;
        let kind = statement.get_type().map_err(note)?;
        let judged = self.judge(kind, inner, &token::tokens(self.duckdb, inner).map_err(note)?)?;
        if judged.class == Class::Definition {
            return Err(Error::unsupported(
                "EXPLAIN ANALYZE of a definition would make it; send the definition itself, or EXPLAIN without ANALYZE",
            ));
        }
        Ok(Judged { gives_rows: true, ..judged })
    }

    /// The server's own tables say which puts were applied: changed by hand, they would say something else.
    fn check_not_internal(self, tokens: &[Token<'_>]) -> Result<()> {
        let is_named = tokens.iter().any(|token| token.name().is_some_and(|name| name == INTERNAL_SCHEMA));
        if is_named || self.schema.is_some_and(|schema| schema.eq_ignore_ascii_case(INTERNAL_SCHEMA)) {
            return Err(Error::new(
                Kind::Denied,
                format!("schema {INTERNAL_SCHEMA} is the server's own; it can be read and not changed"),
            ));
        }
        Ok(())
    }
}

/// Whether a statement that changes rows gives them back: RETURNING outside of brackets, where those of CTEs are.
fn returns(tokens: &[Token<'_>]) -> bool {
    let mut level = 0_i64;
    tokens.iter().any(|token| {
        level += opened(token);
        level == 0 && token.is_word("returning")
    })
}

/// Where in the text the statement begins that an EXPLAIN is of; `None` for other statements.
pub(crate) fn explained_at(tokens: &[Token<'_>]) -> Option<usize> {
    let is_explain = tokens.first().is_some_and(|first| first.is_word("explain"));
    is_explain.then(|| explained(tokens).start.map(|at| tokens[at].range.start)).flatten()
}

/// What stands behind EXPLAIN.
struct Explained {
    /// It runs, because of the word ANALYZE.
    runs: bool,
    /// The first token of the statement.
    start: Option<usize>,
}
/// Reads `EXPLAIN [ANALYZE] [(ANALYZE, FORMAT json, …)] statement`.
fn explained(tokens: &[Token<'_>]) -> Explained {
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

#[cfg(test)]
mod tests {
    use duckdb::environment::{Environment, StorageLocation};

    use super::{explained, token};

    #[test]
    fn what_stands_behind_explain_is_found() {
        let instance = Environment::new().unwrap().open(StorageLocation::InMemory).unwrap();
        let connection = instance.connect().unwrap();
        for (sql, runs, rest) in [
            ("EXPLAIN SELECT 1", false, "SELECT 1"),
            ("EXPLAIN (SELECT 1)", false, "(SELECT 1)"),
            ("EXPLAIN (FORMAT json) INSERT INTO t VALUES (1)", false, "INSERT INTO t VALUES (1)"),
            ("explain analyze SELECT 1", true, "SELECT 1"),
            ("EXPLAIN ANALYZE (FORMAT json) SELECT 1", true, "SELECT 1"),
            ("EXPLAIN (\"Analyze\", FORMAT json) (SELECT 1)", true, "(SELECT 1)"),
            ("EXPLAIN (FORMAT json, ANALYZE false) DELETE FROM t", true, "DELETE FROM t"),
            ("EXPLAIN ANALYZE (SELECT analyze FROM t)", true, "(SELECT analyze FROM t)"),
        ] {
            let tokens = token::tokens(&connection, sql).unwrap();
            let found = explained(&tokens);
            assert_eq!((found.runs, &sql[tokens[found.start.unwrap()].range.start..]), (runs, rest), "{sql}");
        }
    }
}
