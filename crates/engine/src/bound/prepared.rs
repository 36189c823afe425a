//! A statement and the rows bound to it -> runs of the kept prepared statement, one per row.
//! Runs on: the thread of the connection; blocks.
//! Never: prepares again what the connection has prepared already; holds values of more than a slice of rows.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use duckdb::value::Value;
use duckdb::{Parameters, QueryParameter};

use super::parameters::match_columns;
use super::values::values;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::plain::check_importable;
use crate::read::{ArraySize, Cursor, Parameter, names_of, parse};

/// Rows turned into values at a time.
const SLICE_ROWS: usize = 1024;

/// A statement with the rows its parameters run over; no rows when it has no parameters.
#[derive(Debug, Clone)]
pub struct Bound {
    sql: String,
    parameters: Vec<Parameter>,
    rows: Vec<RecordBatch>,
}

/// The values of one row, in binding order; the statement runs once for each.
pub struct BoundRow(Vec<Value>);

impl Bound {
    /// Binds `rows` to the statement `sql`, whose parameters are `parameters`.
    ///
    /// Errors: `Invalid` when the columns do not match the parameters, or there are parameters and nothing was
    /// ever bound (`None`); `Unsupported` for a type that DuckDB has not.
    pub fn new(sql: String, parameters: Vec<Parameter>, rows: Option<Vec<RecordBatch>>) -> Result<Self> {
        if rows.is_none() && !parameters.is_empty() {
            return Err(Error::invalid(format!(
                "the statement takes {} parameters ({}), and none were bound",
                parameters.len(),
                names_of(&parameters)
            )));
        }
        let rows = rows.unwrap_or_default();
        if let Some(first) = rows.first() {
            match_columns(&parameters, first.schema_ref())?;
            check_importable(first.schema_ref())?;
        }
        Ok(Self { sql, parameters, rows })
    }

    /// Makes sure the connection has the statement prepared, for `execute` and `open`.
    pub fn keep(&self, connection: &mut Connection) -> Result<()> {
        connection.keep(&self.sql, |connection| Ok(parse(connection, &self.sql)?.statement))
    }

    /// The statement's text.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Another statement over the same rows.
    pub(super) fn with_sql(&self, sql: String) -> Self {
        Self { sql, ..self.clone() }
    }

    /// The bound rows.
    pub fn rows(&self) -> &[RecordBatch] {
        &self.rows
    }

    /// Whether there is more than one row to run over.
    pub fn runs_more_than_once(&self) -> bool {
        !self.parameters.is_empty() && self.rows.iter().map(RecordBatch::num_rows).sum::<usize>() > 1
    }

    /// Calls `work` for every run, in the order of the rows; once for a statement without parameters.
    pub fn each(&self, connection: &Connection, mut work: impl FnMut(&BoundRow) -> Result<()>) -> Result<()> {
        if self.parameters.is_empty() {
            return work(&BoundRow(Vec::new()));
        }
        for batch in &self.rows {
            let columns = match_columns(&self.parameters, batch.schema_ref())?;
            for from in (0..batch.num_rows()).step_by(SLICE_ROWS) {
                let slice = batch.slice(from, SLICE_ROWS.min(batch.num_rows() - from));
                for row in values(connection, &slice.project(&columns)?)? {
                    work(&BoundRow(row))?;
                }
            }
        }
        Ok(())
    }

    /// Runs to the end and returns the changed-row count. `keep` comes first.
    pub fn execute(&self, connection: &Connection, row: &BoundRow) -> Result<u64> {
        let kept = connection.kept(&self.sql)?;
        let named: Vec<(&str, &dyn QueryParameter)> =
            self.named(row).map(|(name, value)| (name, value as &dyn QueryParameter)).collect();
        let values = if named.is_empty() { Parameters::None } else { Parameters::Named(&named) };
        let changed = kept.execute(values).and_then(|mut result| result.drain());
        changed.map(|rows| rows as u64).map_err(|error| connection.database().note(error))
    }

    /// Starts one run and streams its result. `keep` comes first.
    pub fn open<'connection>(
        &self,
        connection: &'connection Connection,
        row: &BoundRow,
        schema: &SchemaRef,
        size: ArraySize,
    ) -> Result<Cursor<'connection>> {
        let values: Vec<(&str, &Value)> = self.named(row).collect();
        Cursor::open_bound(connection, &self.sql, &values, schema, size)
    }

    /// Starts the only run and streams its result, without preparing the statement: the engine binds what reads a table again
    /// at every execution, so that preparing pays only for several.
    pub fn open_once<'connection>(
        &self,
        connection: &'connection Connection,
        row: &BoundRow,
        schema: &SchemaRef,
        size: ArraySize,
    ) -> Result<Cursor<'connection>> {
        let statement = parse(connection, &self.sql)?;
        let values: Vec<(&str, &Value)> = self.named(row).collect();
        let cursor = Cursor::open_with(connection, &statement, &values, schema, size)?;
        statement.keep(connection, &self.sql);
        Ok(cursor)
    }

    fn named<'a>(&'a self, row: &'a BoundRow) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.parameters.iter().map(|parameter| parameter.name.as_str()).zip(&row.0)
    }
}
