//! SQL text -> what kind of statement it is, its parameters, and the schema of its result, without running it.
//! Runs on: the thread that prepares. Blocks for a bind: catalog look-ups, no rows.
//! Never: executes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use duckdb::error::DuckDBError;
use duckdb::logical_type::{LogicalType, LogicalTypeID};
use duckdb::query_result::StatementType;
use duckdb::statement::Statement;

use super::ledger::INTERNAL_SCHEMA;
use super::rewrite::{self, Inside};
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

/// A parameter of a statement: `?`, `$1` or `$name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// `1`, `2`, ... or the name, without `$`.
    pub name: String,
    /// The type the engine expects, as Arrow; `Null` where any type will do.
    pub data_type: DataType,
}

/// A statement as it will run: what it does, what it takes and what comes back.
#[derive(Debug, Clone)]
pub struct Described {
    /// What running it does.
    pub class: Class,
    /// Schema of the result stream, equal to what the running statement reports; `Null` columns where the
    /// type depends on a parameter.
    pub schema: SchemaRef,
    /// The schema of changes and definitions: one column `count`, the rows changed.
    pub is_count: bool,
    /// Parameters, in binding order.
    pub parameters: Vec<Parameter>,
    /// The statement expands into several, such as PIVOT, and its columns are known only once it runs; until
    /// then the schema is empty.
    pub is_deferred: bool,
}

impl Described {
    /// A statement without parameters whose result is a count.
    pub fn count() -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)]));
        let parameters = Vec::new();
        Self { class: Class::Change, schema, is_count: true, parameters, is_deferred: false }
    }

    /// Refuses a statement whose parameters nobody has given values for.
    pub fn without_parameters(self) -> Result<Self> {
        let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        refuse_parameters(&names).map(|()| self)
    }
}

fn refuse_parameters(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "the statement has parameters (${}), and no values came with it; prepare it and bind values, or write \
         the values into the SQL",
        names.join(", $")
    )))
}

/// `$1, $2` for texts.
pub(super) fn named(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| format!("${}", parameter.name)).collect::<Vec<_>>().join(", ")
}

/// One parsed statement that this server runs.
pub struct Parsed {
    pub(super) statement: Statement<'static>,
    class: Class,
}

/// Reads the one statement in `sql`.
///
/// Errors: `Invalid` when it does not parse, is empty, or is more than one; `Denied` for statements that
/// would reach past the database or change the server's settings.
pub fn parse(session: &Session, sql: &str) -> Result<Parsed> {
    let mut statements = session.connection().parse(sql).map_err(|error| session.database().note(error))?;
    let first = next(session, &mut statements)?
        .ok_or_else(|| Error::invalid("expected one SQL statement, found none"))?;
    if next(session, &mut statements)?.is_some() {
        return Err(Error::invalid("expected one SQL statement, found several; send them one by one"));
    }
    classified(session, first)
}

/// Reads all statements in `sql`, at least one.
///
/// Errors: as `parse`, naming the statement's number.
pub fn parse_script(session: &Session, sql: &str) -> Result<Vec<Parsed>> {
    let mut statements = session.connection().parse(sql).map_err(|error| session.database().note(error))?;
    let mut parsed = Vec::new();
    loop {
        let number = parsed.len() + 1;
        let one = next(session, &mut statements)
            .and_then(|statement| statement.map(|statement| classified(session, statement)).transpose())
            .map_err(
                |error| if number == 1 { error } else { error.context(format!("statement {number}")) },
            )?;
        match one {
            Some(one) => parsed.push(one),
            None if parsed.is_empty() => {
                return Err(Error::invalid("expected at least one SQL statement, found none"));
            }
            None => return Ok(parsed),
        }
    }
}

fn next(
    session: &Session,
    statements: &mut duckdb::statement::Statements,
) -> Result<Option<Statement<'static>>> {
    let statement = statements.next().transpose();
    let settled = statement.and_then(|statement| {
        statement.map(|statement| rewrite::with_series(session.connection(), statement)).transpose()
    });
    settled.map_err(|error| session.database().note(error))
}

fn classified(session: &Session, statement: Statement<'static>) -> Result<Parsed> {
    let statement_type = statement.get_type().map_err(|error| session.database().note(error))?;
    let class = class_of(statement_type)?;
    if class == Class::Query {
        check_no_checkpoint(session, &statement)?;
    } else {
        check_not_internal(session, &statement)?;
    }
    Ok(Parsed { class, statement })
}

/// A checkpoint takes turns with commits, and SQL that begins one would not.
fn check_no_checkpoint(session: &Session, statement: &Statement<'static>) -> Result<()> {
    let named = || {
        let text = statement.get_text()?;
        if !text.to_ascii_lowercase().contains("checkpoint") {
            return Ok(false);
        }
        rewrite::begins_checkpoint(session.connection(), text)
    };
    if named().map_err(|error| session.database().note(error))? {
        return Err(Error::unsupported(
            "CHECKPOINT is not a statement here; use the action pintail.checkpoint",
        ));
    }
    Ok(())
}

/// The server's own tables say which puts were applied: changed by hand, they would say something else.
fn check_not_internal(session: &Session, statement: &Statement<'static>) -> Result<()> {
    let named = || {
        let text = statement.get_text()?;
        // Reading the tokens costs more than this look, which is nearly always the last one.
        if !text.to_ascii_lowercase().contains(INTERNAL_SCHEMA) {
            return Ok(false);
        }
        rewrite::has_name(session.connection(), text, INTERNAL_SCHEMA)
    };
    if named().map_err(|error| session.database().note(error))? {
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
    match class {
        Class::Query => Impact::None,
        // What an INSERT adds is new; an upsert puts a row in the place of another, and a CTE may do anything.
        Class::Change => {
            let rest = text.trim_end_matches([' ', ';']).trim_end_matches("on conflict do nothing");
            let adds = text.starts_with("insert") && !DELETING.iter().any(|word| rest.contains(word));
            if adds { Impact::None } else { Impact::Deletes }
        }
        Class::Definition => {
            // CREATE TABLE ... AS may run for as long as it likes.
            let adds =
                text.starts_with("create") && !["index", "replace"].iter().any(|word| text.contains(word));
            if adds { Impact::None } else { Impact::Reshapes }
        }
    }
}

/// The result of a change or definition: the one row `count`.
pub fn count_batch(rows: u64) -> Result<RecordBatch> {
    let count: ArrayRef = Arc::new(Int64Array::from(vec![i64::try_from(rows).unwrap_or(i64::MAX)]));
    Ok(RecordBatch::try_new(Described::count().schema, vec![count])?)
}

/// Binds `sql` and says what it takes and returns, without running it.
///
/// Errors: `Invalid` with DuckDB's text (position included) for SQL that does not parse or bind,
/// `NotFound` for tables that do not exist, `Denied` for statements that reach past the database.
pub fn describe(session: &Session, sql: &str) -> Result<Described> {
    parse(session, sql)?.describe(session)
}

impl Parsed {
    /// What running it does.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Its text.
    pub fn sql(&self, session: &Session) -> Result<&str> {
        self.statement.get_text().map_err(|error| session.database().note(error))
    }

    /// Refuses a statement whose parameters nobody has given values for.
    pub fn without_parameters(&self, session: &Session) -> Result<()> {
        let names = self.statement.parameter_names().map_err(|error| session.database().note(error))?;
        refuse_parameters(&names)
    }

    /// Binds the statement and says what it takes and returns, without running it.
    ///
    /// Errors: as [`describe`].
    pub fn describe(&self, session: &Session) -> Result<Described> {
        let note = |error| session.database().note(error);
        let class = self.class;
        if class == Class::Definition {
            // Binding a definition would look its new objects up; only its parameters matter.
            let names = self.statement.parameter_names().map_err(note)?;
            let parameters = names
                .into_iter()
                .map(|name| Parameter { name: name.to_owned(), data_type: DataType::Null })
                .collect();
            return Ok(Described { class, parameters, ..Described::count() });
        }
        let mut bound = match self.statement.bind(session.connection()) {
            Ok(bound) => bound,
            Err(error) if error.code == DuckDBError::InputMetadataDeferred => {
                let schema = Arc::new(Schema::empty());
                return Ok(Described {
                    class,
                    schema,
                    is_count: false,
                    parameters: Vec::new(),
                    is_deferred: true,
                });
            }
            Err(error) => return Err(note(error)),
        };
        let parameters: Vec<Parameter> = arrow_schema(session, bound.parameters.get_all().map_err(note)?)?
            .fields()
            .iter()
            .map(|field| Parameter { name: field.name().clone(), data_type: field.data_type().clone() })
            .collect();
        let mut is_guess = false;
        if class == Class::Query
            && parameters.iter().any(|parameter| parameter.data_type == DataType::Null)
            && let Some(sql) = self.with_nulls(session, &parameters)?
        {
            // While the type of a parameter is open, the engine gives up on the whole result. With the type
            // of NULL, only the columns that depend on it stay open.
            if let Ok(better) = parse(session, &sql)?.statement.bind(session.connection()) {
                bound = better;
                is_guess = true;
            }
        }
        let columns = bound.schema.get_all().map_err(note)?;
        // A change gives rows only with RETURNING. The engine's word for it, a column Count, is not there while
        // the type of a parameter is open.
        let text = self.statement.get_text().map_err(note)?;
        if class == Class::Change
            && !rewrite::has_word(session.connection(), text, "returning").map_err(note)?
        {
            return Ok(Described { class, parameters, ..Described::count() });
        }
        let mut schema = Arc::new(arrow_schema(session, columns)?);
        if is_guess {
            schema = super::parameters::renamed(&schema, &parameters);
        }
        Ok(Described { class, schema, is_count: false, parameters, is_deferred: false })
    }
}

impl Parsed {
    fn with_nulls(&self, session: &Session, parameters: &[Parameter]) -> Result<Option<String>> {
        let note = |error| session.database().note(error);
        let sql = self.statement.get_text().map_err(note)?;
        let types: Vec<(String, String)> =
            parameters.iter().map(|parameter| (parameter.name.clone(), "\"NULL\"".to_owned())).collect();
        rewrite::with_types(session.connection(), sql, &types, Inside::Null).map_err(note)
    }
}

/// Refuses types whose Arrow form would lose what they hold: UHUGEINT beyond 38 digits turns negative, and TIME
/// WITH TIME ZONE leaves its offset behind.
fn check_exportable(
    session: &Session,
    name: &str,
    id: LogicalTypeID,
    logical_type: &LogicalType,
) -> Result<()> {
    use LogicalTypeID as T;
    let nested = matches!(id, T::List | T::Array | T::Struct | T::Map | T::Union | T::Tuple);
    if !nested && !matches!(id, T::UHugeInt | T::TimeTz) {
        return Ok(());
    }
    let text = logical_type.to_text().map_err(|error| session.database().note(error))?;
    let lossy = ["UHUGEINT", "TIME WITH TIME ZONE"].into_iter().find(|lossy| text.contains(lossy));
    lossy.map_or(Ok(()), |lossy| {
        Err(Error::unsupported(format!(
            "column \"{name}\" is {lossy}, which has no exact form in Arrow; cast it to VARCHAR"
        )))
    })
}

/// The Arrow form of `columns`; a type that a parameter has yet to decide becomes `Null`.
pub(super) fn arrow_schema(session: &Session, columns: Vec<(String, LogicalType)>) -> Result<Schema> {
    let note = |error| session.database().note(error);
    let mut known = Vec::new();
    let mut open = Vec::new();
    for (index, (name, logical_type)) in columns.into_iter().enumerate() {
        match logical_type.id().map_err(note)? {
            LogicalTypeID::Unknown | LogicalTypeID::Invalid | LogicalTypeID::Any => {
                open.push((index, Arc::new(Field::new(name, DataType::Null, true))));
            }
            id => {
                check_exportable(session, &name, id, &logical_type)?;
                known.push((name, logical_type));
            }
        }
    }
    if known.is_empty() {
        return Ok(Schema::new(open.into_iter().map(|(_, field)| field).collect::<Vec<_>>()));
    }
    let schema = session.database().descriptions.arrow_schema(session.connection(), known).map_err(note)?;
    if open.is_empty() {
        return Ok(schema);
    }
    let mut fields = schema.fields().to_vec();
    for (index, field) in open {
        fields.insert(index, field);
    }
    Ok(Schema::new_with_metadata(fields, schema.metadata))
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
            (Class::Change, "WITH d AS (DELETE FROM t RETURNING *) INSERT INTO u FROM d", Impact::Deletes),
            (Class::Change, "INSERT INTO u WITH d AS (DELETE FROM t RETURNING *) FROM d", Impact::Deletes),
            (Class::Change, "UPDATE t SET a = 1", Impact::Deletes),
            (Class::Change, "TRUNCATE t", Impact::Deletes),
            (Class::Definition, "CREATE TABLE t AS FROM u", Impact::None),
            (Class::Definition, "CREATE OR REPLACE TABLE t AS FROM u", Impact::Reshapes),
            (Class::Definition, "CREATE INDEX i ON t (a)", Impact::Reshapes),
            (Class::Definition, "DROP TABLE t", Impact::Reshapes),
        ] {
            assert_eq!(impact(class, sql), expected, "{sql}");
        }
    }
}
