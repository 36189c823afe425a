//! SQL text -> what kind of statement it is, and the schema of its result, without running it.
//! Runs on: the thread that prepares. Blocks for a bind: catalog look-ups, no rows.
//! Never: executes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use duckdb::query_result::StatementType;
use duckdb::statement::Statement;

use super::session::Session;
use crate::error::{Error, Kind, Result};

/// What running a statement does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Reads: its rows are the result. May be run again.
    Query,
    /// Changes rows; the result is their count.
    Change,
    /// Changes the catalog; no result.
    Definition,
}

/// A statement as it will run: what it does, and what comes back.
#[derive(Debug, Clone)]
pub struct Described {
    /// What running it does.
    pub class: Class,
    /// Schema of the result stream, equal to what the running statement reports.
    pub schema: SchemaRef,
    /// The schema of changes and definitions: one column `count`, the rows changed.
    pub is_count: bool,
}

/// Reads the one statement in `sql`.
///
/// Errors: `Invalid` when it does not parse, is empty, or is more than one; `Denied` for statements that
/// would reach past the database or change the server's settings.
pub(super) fn parse(session: &Session, sql: &str) -> Result<(Statement<'static>, Class)> {
    let note = |error| session.database().note(error);
    let mut statements = session.connection().parse(sql).map_err(note)?;
    let first = statements
        .next()
        .ok_or_else(|| Error::invalid("expected one SQL statement, found none"))?
        .map_err(note)?;
    match statements.next() {
        None => {}
        Some(Err(error)) => return Err(note(error)),
        Some(Ok(_)) => {
            return Err(Error::invalid("expected one SQL statement, found several; send them one by one"));
        }
    }
    let class = class_of(first.get_type().map_err(note)?)?;
    Ok((first, class))
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
        S::Set | S::VariableSet | S::Pragma => {
            denied("SET or PRAGMA", "; settings belong to the server's configuration")
        }
        S::Transaction => Err(Error::unsupported(
            "BEGIN, COMMIT and ROLLBACK need a session; this server runs each statement in its own transaction",
        )),
        S::Prepare | S::Execute => {
            Err(Error::unsupported("PREPARE and EXECUTE need a session; send the statement itself"))
        }
        S::Invalid | S::LogicalPlan | S::ExternalResource | S::Passthrough => {
            denied("this kind of statement", "")
        }
    }
}

/// Schema of the result of a change or definition.
pub(super) fn count_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)]))
}

/// Binds `sql` and says what it will return, without running it.
///
/// Errors: `Invalid` with DuckDB's text (position included) for SQL that does not parse or bind,
/// `NotFound` for tables that do not exist, `Denied` for statements that reach past the database.
pub fn describe(session: &Session, sql: &str) -> Result<Described> {
    let (statement, class) = parse(session, sql)?;
    if class == Class::Definition {
        return Ok(Described { class, schema: count_schema(), is_count: true });
    }
    let note = |error| session.database().note(error);
    let bound = statement.bind(session.connection()).map_err(note)?;
    if !bound.parameters.is_empty().map_err(note)? {
        return Err(Error::invalid(
            "the statement has parameters, and no values came with it; write the values into the SQL",
        ));
    }
    let columns = bound.schema.get_all().map_err(note)?;
    // A change with RETURNING gives rows; without it DuckDB reports the one column Count.
    if class == Class::Change && columns.len() == 1 && columns[0].0 == "Count" {
        return Ok(Described { class, schema: count_schema(), is_count: true });
    }
    let schema = session.database().descriptions.arrow_schema(session.connection(), columns).map_err(note)?;
    Ok(Described { class, schema: Arc::new(schema), is_count: false })
}
