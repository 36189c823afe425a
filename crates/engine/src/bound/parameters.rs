//! A statement and the rows bound to it -> which column is which parameter, and what the statement returns.
//! Never: runs the statement.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use duckdb::logical_type::LogicalType;
use duckdb::{Parameters, QueryParameter};

use super::values::values;
use crate::append::describe_rows;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::read::{Described, Parameter, arrow_schema, describe, names_of, parse, without_casts_in};
use crate::sql::{self, BulkInsert, Inside};

/// The columns of a batch that are the statement's parameters, in binding order.
///
/// Named parameters are matched to columns by name when a column has the name of one of them; otherwise, and
/// for `?` and `$1`, columns are taken in order.
/// Errors: `Invalid` when the number of columns is not that of the parameters, or a named one is missing.
pub fn match_columns(parameters: &[Parameter], rows: &SchemaRef) -> Result<Vec<usize>> {
    if parameters.len() != rows.fields().len() {
        return Err(Error::invalid(format!(
            "the statement takes {} parameters ({}), and {} values were bound",
            parameters.len(),
            names_of(parameters),
            rows.fields().len()
        )));
    }
    let is_name = |parameter: &Parameter| !parameter.name.bytes().all(|byte| byte.is_ascii_digit());
    let column = |parameter: &Parameter| {
        let wanted = |name: &str| name.trim_start_matches('$').eq_ignore_ascii_case(&parameter.name);
        rows.fields().iter().position(|field| wanted(field.name()))
    };
    if !parameters.iter().any(|parameter| is_name(parameter) && column(parameter).is_some()) {
        return Ok((0..parameters.len()).collect());
    }
    parameters
        .iter()
        .map(|parameter| {
            column(parameter).ok_or_else(|| {
                let known: Vec<&str> = rows.fields().iter().map(|field| field.name().as_str()).collect();
                Error::invalid(format!(
                    "parameter ${} was not bound; the bound columns are {}",
                    parameter.name,
                    known.join(", ")
                ))
            })
        })
        .collect()
}

/// What a statement returns for the rows bound to its parameters, `batches` with the columns `rows`, and the text to
/// run it by.
///
/// Types alone are not enough: the engine takes a bound text for a literal, which turns into a date beside a date,
/// and some functions have to know a value to bind. So it is asked with the values that it will run with.
/// Errors: as `describe`; `Invalid` when the number of parameters is not that of the columns.
pub fn describe_bound(
    connection: &Connection,
    sql: &str,
    described: &Described,
    rows: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(SchemaRef, String)> {
    let columns = match_columns(&described.parameters, rows)?;
    let as_it_is = |schema: SchemaRef| (schema, sql.to_owned());
    if described.is_count {
        return Ok(as_it_is(Arc::clone(&described.schema)));
    }
    let Some(first) = batches.iter().find(|batch| batch.num_rows() > 0) else {
        return describe_typed(connection, sql, described, rows, &columns).map(as_it_is);
    };
    let first = first.slice(0, 1).project(&columns)?;
    let error = match describe_values(connection, sql, described, &first) {
        Ok(schema) => return Ok(as_it_is(schema)),
        Err(error) => error,
    };
    if let Some(found) = describe_narrowed(connection, sql, described, &first)? {
        return Ok(found);
    }
    // DESCRIBE takes queries only, and not those that expand into several or change something.
    describe_typed(connection, sql, described, rows, &columns).map(as_it_is).map_err(|_| error)
}

/// The same with an INTEGER for each BIGINT, which some functions do not take. Clients send every whole number as a
/// BIGINT; the engine's own would have made it an INTEGER.
fn describe_narrowed(
    connection: &Connection,
    sql: &str,
    described: &Described,
    row: &RecordBatch,
) -> Result<Option<(SchemaRef, String)>> {
    let is_wide = |array: &dyn Array| *array.data_type() == DataType::Int64;
    let wide = described.parameters.iter().zip(row.columns()).filter(|(_, array)| is_wide(array));
    let narrowed: Vec<&str> = wide.map(|(parameter, _)| parameter.name.as_str()).collect();
    if narrowed.is_empty() {
        return Ok(None);
    }
    let text = sql::with_integers(connection.duckdb(), sql, &narrowed)
        .map_err(|error| connection.database().note(error))?;
    let schema = describe_values(connection, &text, described, row).ok();
    Ok(schema.map(|schema| (without_casts_in(&schema, &described.parameters), text)))
}

/// The schema of a query for one row of values, by the engine's own DESCRIBE.
fn describe_values(
    connection: &Connection,
    sql: &str,
    described: &Described,
    row: &RecordBatch,
) -> Result<SchemaRef> {
    let note = |error| connection.database().note(error);
    let values = values(connection, row)?.pop().unwrap_or_default();
    let named: Vec<(&str, &dyn QueryParameter)> = described
        .parameters
        .iter()
        .zip(&values)
        .map(|(parameter, value)| (parameter.name.as_str(), value as &dyn QueryParameter))
        .collect();
    // DESCRIBE runs past the check that `parse` makes.
    let admitted = connection.access().map(|_| parse(connection, sql)).transpose()?;
    let sql = admitted.as_ref().map_or(Ok(sql), |admitted| admitted.sql(connection))?;
    // On a line of its own, the statement keeps its columns in the engine's messages.
    let describe = format!("DESCRIBE\n{sql}");
    let mut columns: Vec<(String, String)> = Vec::new();
    {
        let mut result = connection.duckdb().query(describe, Parameters::Named(&named)).map_err(note)?;
        while let Some(chunk) = result.next_chunk().map_err(note)? {
            let names = chunk.get_vector_at::<String>(0).map_err(note)?;
            let types = chunk.get_vector_at::<String>(1).map_err(note)?;
            let (names, types) = (names.reader().map_err(note)?, types.reader().map_err(note)?);
            for row in 0..names.len() {
                let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
                columns.push((text(names.get(row).map_err(note)?), text(types.get(row).map_err(note)?)));
            }
        }
    }
    let mut typed = Vec::with_capacity(columns.len());
    for (name, duckdb_type) in columns {
        typed.push((name, LogicalType::from_text(connection.duckdb(), &duckdb_type).map_err(note)?));
    }
    Ok(Arc::new(arrow_schema(connection, typed)?))
}

/// What a statement returns for parameters of the types of `rows`, as far as types tell.
fn describe_typed(
    connection: &Connection,
    sql: &str,
    described: &Described,
    rows: &SchemaRef,
    columns: &[usize],
) -> Result<SchemaRef> {
    let offered = describe_rows(connection, rows)?;
    let typed = described.parameters.iter().zip(columns);
    let types: Vec<(String, String)> =
        typed.map(|(parameter, column)| (parameter.name.clone(), offered[*column].1.clone())).collect();
    let with = |inside| {
        let typed = sql::with_types(connection.duckdb(), sql, &types, inside)
            .map_err(|error| connection.database().note(error))?;
        typed.map(|typed| describe(connection, &typed)).transpose()
    };
    // The engine's word for a result that it cannot know yet: one column `unknown`.
    let is_known = |typed: &Described| match typed.schema.fields().as_ref() {
        [only] => only.name() != "unknown" || *only.data_type() != DataType::Null,
        _ => true,
    };
    let typed = match with(Inside::Parameter) {
        Ok(Some(typed)) if is_known(&typed) => Some(typed),
        _ => with(Inside::Null)?,
    };
    Ok(match typed {
        Some(typed) => without_casts_in(&typed.schema, &described.parameters),
        None => Arc::clone(&described.schema),
    })
}

/// The INSERT that takes whole batches of parameters, if `sql` is one that can.
pub fn bulk_insert(
    connection: &Connection,
    sql: &str,
    parameters: &[Parameter],
) -> Result<Option<BulkInsert>> {
    let names: Vec<String> = parameters.iter().map(|parameter| parameter.name.clone()).collect();
    let surface = connection.database().surface();
    sql::bulk_insert(connection.duckdb_for_binding(), sql, &names, |name| surface.is_the_engines(name))
        .map_err(|error| connection.database().note(error))
}
