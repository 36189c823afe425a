//! SQL text -> what kind of statement it is, its parameters, and the schema of its result, without running it.
//! Runs on: the thread that prepares. Blocks for a bind: catalog look-ups, no rows.
//! Never: executes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use duckdb::Parameters;
use duckdb::enums::TokenType;
use duckdb::error::DuckDBError;
use duckdb::statement::{Statement, Statements};

use super::export::arrow_schema;
use super::likely::words_of;
use crate::access::{Admitted, Asked, admit};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::sql::{
    ALWAYS, Class, Inside, Judge, Judged, Token, depth, is_read_alike, next_statement, tokens, with_types,
    without_casts,
};

/// Whether the engine refused a change because its transaction is one of `Connection::begin_read_only`. The engine has
/// no type of its own for it; its sentence ends the text, behind everything that is the client's.
pub fn is_read_only_refusal(error: &Error) -> bool {
    error.message().ends_with("transaction is launched in read-only mode")
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
    /// It is a query, and nothing in its text could change anything when this was known of views and macros; any other
    /// query runs where the engine refuses changes.
    pub(crate) proven_at: Option<u64>,
    /// It leaves the connection's random numbers predictable, which the next client must not meet.
    pub seeds: bool,
}

impl Described {
    /// A statement without parameters whose result is a count.
    pub fn count() -> Self {
        let schema = Arc::new(Schema::new(vec![Field::new("count", DataType::Int64, false)]));
        let parameters = Vec::new();
        Self {
            class: Class::Change,
            schema,
            is_count: true,
            parameters,
            is_deferred: false,
            proven_at: None,
            seeds: false,
        }
    }

    /// Whether it can still be said that it reads only.
    pub fn is_proven(&self, connection: &Connection) -> bool {
        self.proven_at.is_some_and(|version| still_holds(version, connection))
    }

    /// Refuses a statement whose parameters nobody has given values for.
    pub fn without_parameters(self) -> Result<Self> {
        let names: Vec<&str> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        refuse_parameters(&names).map(|()| self)
    }
}

/// Whether what was known at a version of the surface still is.
fn still_holds(version: u64, connection: &Connection) -> bool {
    version == ALWAYS || version == connection.database().surface().version()
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
pub(crate) fn names_of(parameters: &[Parameter]) -> String {
    parameters.iter().map(|parameter| format!("${}", parameter.name)).collect::<Vec<_>>().join(", ")
}

/// One parsed statement that this server runs.
pub struct Parsed {
    pub(crate) statement: Statement<'static>,
    judged: Judged,
    /// Its words without its literals, where its result may look as that of another statement with the same words did.
    words: Option<u64>,
}

/// Reads the one statement in `sql`.
///
/// Errors: `Invalid` when it does not parse, nests too deeply, is empty, or is more than one; `Denied` for statements that
/// would reach past the database, change the server's settings or show what others do.
pub fn parse(connection: &Connection, sql: &str) -> Result<Parsed> {
    let note = |error| connection.database().note(error);
    let tokens = bearable_tokens(connection, sql)?;
    let statement = match connection.take_recent(sql) {
        Some(statement) => statement,
        None => read(connection, sql)?,
    };
    let judged = judge_of(connection).judge(statement.get_type().map_err(note)?, sql, &tokens)?;
    let words = (judged.class == Class::Query).then(|| words_of(&tokens));
    Parsed { statement, judged, words }.admitted(connection)
}

fn read(connection: &Connection, sql: &str) -> Result<Statement<'static>> {
    let mut statements =
        connection.duckdb_for_binding().parse(sql).map_err(|error| connection.database().note(error))?;
    let statement = next(connection, &mut statements)?
        .ok_or_else(|| Error::invalid("expected one SQL statement, found none"))?;
    if next(connection, &mut statements)?.is_some() {
        return Err(Error::invalid("expected one SQL statement, found several; send them one by one"));
    }
    Ok(statement)
}

/// Reads a query of the server's own, which may look at what no client may.
pub(crate) fn parse_own(connection: &Connection, sql: &str) -> Result<Parsed> {
    let mut statements =
        connection.duckdb_for_binding().parse(sql).map_err(|error| connection.database().note(error))?;
    let statement = next(connection, &mut statements)?
        .ok_or_else(|| Error::internal("a statement of the server's own vanished while parsing"))?;
    Ok(Parsed { statement, judged: Judged::own_query(), words: None })
}

/// Reads all statements in `sql`, at least one. Each is to be [admitted](Parsed::admitted) when it is its turn: it may be
/// about what one before it has made.
///
/// Errors: as `parse`, naming the statement's number.
pub fn parse_script(connection: &Connection, sql: &str) -> Result<Vec<Parsed>> {
    let note = |error| connection.database().note(error);
    let all = bearable_tokens(connection, sql)?;
    let mut statements = connection.duckdb_for_binding().parse(sql).map_err(note)?;
    let is_only = all.iter().all(|token| token.kind != TokenType::Terminator);
    let read = |statement: Statement<'static>| {
        let kind = statement.get_type().map_err(note)?;
        let judged = if is_only {
            judge_of(connection).judge(kind, sql, &all)?
        } else {
            let text = statement.get_text().map_err(note)?;
            judge_of(connection).judge(kind, text, &bearable_tokens(connection, text)?)?
        };
        Ok(Parsed { statement, judged, words: None })
    };
    let mut parsed = Vec::new();
    loop {
        let number = parsed.len() + 1;
        let one =
            next(connection, &mut statements).and_then(|statement| statement.map(read).transpose()).map_err(
                |error: Error| if number == 1 { error } else { error.context(format!("statement {number}")) },
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

/// The tokens of a text whose depth every stack bears.
fn bearable_tokens<'sql>(connection: &Connection, sql: &'sql str) -> Result<Vec<Token<'sql>>> {
    let tokens =
        tokens(connection.duckdb_for_binding(), sql).map_err(|error| connection.database().note(error))?;
    depth::check(&tokens).map(|()| tokens)
}

fn next(connection: &Connection, statements: &mut Statements) -> Result<Option<Statement<'static>>> {
    next_statement(connection.duckdb_for_binding(), statements)
        .map_err(|error| connection.database().note(error))
}

/// What judges statements that are to run on this connection.
fn judge_of(connection: &Connection) -> Judge<'_> {
    Judge {
        duckdb: connection.duckdb_for_binding(),
        surface: connection.database().surface(),
        health: connection.database().health(),
        schema: connection.schema_in_use(),
        access: connection.access().map(|access| &**access),
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
pub fn describe(connection: &Connection, sql: &str) -> Result<Described> {
    let parsed = parse(connection, sql)?;
    let described = parsed.describe(connection)?;
    parsed.keep(connection, sql);
    Ok(described)
}

impl Parsed {
    /// What running it does.
    pub fn class(&self) -> Class {
        self.judged.class
    }

    /// As [`Described::seeds`].
    pub fn seeds(&self) -> bool {
        self.judged.reach.seeds
    }

    /// Whether it is a query whose text says that it reads only; see [`Described::is_proven`].
    pub fn is_proven(&self, connection: &Connection) -> bool {
        self.proven_at().is_some_and(|version| still_holds(version, connection))
    }

    fn proven_at(&self) -> Option<u64> {
        let Judged { class, reach, version, .. } = self.judged;
        (class == Class::Query && reach.is_proven).then_some(version)
    }

    /// What its result has, if it has the words of a statement that was described before; it may be mistaken.
    pub fn likely_schema(&self, connection: &Connection) -> Option<SchemaRef> {
        connection.database().likely.schema(self.words?)
    }

    /// Lets its connection keep it for the next call, which often runs what the last one has described.
    pub fn keep(self, connection: &Connection, sql: &str) {
        // Of a client that is held to grants it may read windows, which are nobody else's.
        if is_read_alike(sql) && connection.access().is_none() {
            connection.keep_recent(sql, self.statement);
        }
    }

    /// Its text.
    pub fn sql(&self, connection: &Connection) -> Result<&str> {
        self.statement.get_text().map_err(|error| connection.database().note(error))
    }

    /// The statement as the connection's client may run it, over windows where tables are granted in part.
    ///
    /// Errors: `Denied`, saying what is missing.
    pub fn admitted(self, connection: &Connection) -> Result<Self> {
        if connection.access().is_none() {
            return Ok(self);
        }
        let note = |error| connection.database().note(error);
        let kind = self.statement.get_type().map_err(note)?;
        let asked = Asked { statement: &self.statement, kind, class: self.judged.class };
        Ok(match admit(connection, &asked)? {
            Admitted::AsItIs => self,
            Admitted::Instead(statement) => Self { statement, ..self },
        })
    }

    /// Refuses a statement whose parameters nobody has given values for.
    pub fn without_parameters(&self, connection: &Connection) -> Result<()> {
        let names = self.statement.parameter_names().map_err(|error| connection.database().note(error))?;
        refuse_parameters(&names)
    }

    /// Binds the statement and says what it takes and returns, without running it.
    ///
    /// Errors: as [`describe`].
    pub fn describe(&self, connection: &Connection) -> Result<Described> {
        let note = |error| connection.database().note(error);
        let Judged { class, gives_rows, reach, .. } = self.judged;
        let proven_at = self.proven_at();
        if class == Class::Definition {
            // Binding a definition would look its new objects up; only its parameters matter.
            let names = self.statement.parameter_names().map_err(note)?;
            let parameters = names
                .into_iter()
                .map(|name| Parameter { name: name.to_owned(), data_type: DataType::Null })
                .collect();
            return Ok(Described { class, parameters, ..Described::count() });
        }
        let mut bound = match self.statement.bind(connection.duckdb_for_binding()) {
            Ok(bound) => bound,
            Err(error) if error.code == DuckDBError::InputMetadataDeferred => {
                let schema = Arc::new(Schema::empty());
                return Ok(Described {
                    class,
                    schema,
                    is_count: false,
                    parameters: Vec::new(),
                    is_deferred: true,
                    proven_at,
                    seeds: reach.seeds,
                });
            }
            Err(error) => return Err(note(error)),
        };
        let parameters: Vec<Parameter> = arrow_schema(connection, bound.parameters.get_all().map_err(note)?)?
            .fields()
            .iter()
            .map(|field| Parameter { name: field.name().clone(), data_type: field.data_type().clone() })
            .collect();
        let mut is_guess = false;
        if class == Class::Query
            && parameters.iter().any(|parameter| parameter.data_type == DataType::Null)
            && let Some(sql) = self.with_nulls(connection, &parameters)?
        {
            // While the type of a parameter is open, the engine gives up on the whole result. With the type
            // of NULL, only the columns that depend on it stay open. This statement was let in, over windows too, and may
            // not be asked for again.
            if let Ok(better) = parse_own(connection, &sql)?.statement.bind(connection.duckdb_for_binding()) {
                bound = better;
                is_guess = true;
            }
        }
        let columns = bound.schema.get_all().map_err(note)?;
        // The engine's word for it, a column Count, is not there while the type of a parameter is open.
        if !gives_rows {
            return Ok(Described { class, parameters, ..Described::count() });
        }
        let mut schema = Arc::new(arrow_schema(connection, columns)?);
        if is_guess {
            schema = without_casts_in(&schema, &parameters);
        } else if let Some(words) = self.words {
            connection.database().likely.note(words, &schema);
        }
        Ok(Described {
            class,
            schema,
            is_count: false,
            parameters,
            is_deferred: false,
            proven_at,
            seeds: reach.seeds,
        })
    }
}

impl Parsed {
    /// The text with a NULL for each parameter.
    fn with_nulls(&self, connection: &Connection, parameters: &[Parameter]) -> Result<Option<String>> {
        let note = |error| connection.database().note(error);
        let sql = self.statement.get_text().map_err(note)?;
        let types: Vec<(String, String)> =
            parameters.iter().map(|parameter| (parameter.name.clone(), "\"NULL\"".to_owned())).collect();
        with_types(connection.duckdb_for_binding(), sql, &types, Inside::Null).map_err(note)
    }
}

/// `schema` with the names that its columns have without the casts of `with_types`.
pub(crate) fn without_casts_in(schema: &Schema, parameters: &[Parameter]) -> SchemaRef {
    let names: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| (**field).clone().with_name(without_casts(field.name(), &names)))
        .collect();
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

impl Connection {
    /// Runs a parsed statement to its end and returns the changed-row count.
    pub fn execute_parsed(&self, parsed: &Parsed) -> Result<u64> {
        let was_at_rest = self.rests();
        let run = || parsed.statement.query(self.duckdb(), Parameters::None)?.drain();
        let rows = run().map_err(|error| self.database().note(error))?;
        if was_at_rest {
            self.rests_again();
        }
        Ok(rows as u64)
    }
}
