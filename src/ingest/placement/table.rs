//! The table of a put: what a stream offers it, what it is when it is yet to be made, and what replacing it keeps.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: drops a key, a rule or an index of a table that is replaced.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::plan::Transaction;
use crate::catalog::{self, Column, Contract, Declaration, Offered, Table, TableName};
use crate::engine::{self, Connection};
use crate::error::{Error, Kind, Result, shorten};

/// Whether a put that replaces `existing` keeps the table and replaces its rows alone: a declared table does, and one
/// with a key, rules, defaults, indexes or triggers, which a table made anew from the stream would lack.
///
/// Errors: `Conflict` when the stream does not fit into such a table.
pub(super) fn keeps_its_shape(
    connection: &Connection,
    declared: Option<&Declaration>,
    existing: &Table,
    shown: &str,
    schema: &SchemaRef,
) -> Result<bool> {
    if declared.is_some() {
        return Ok(true);
    }
    let extras = engine::table_extras(connection, &existing.name)?;
    if extras.is_empty() {
        return Ok(false);
    }
    let offered = offered(connection, shown, schema)?;
    let nothing = Contract { declared: None, earlier: &[] };
    match catalog::conform(existing, nothing, &offered) {
        Ok(_) => Ok(true),
        Err(misfit) => Err(Error::new(
            Kind::Conflict,
            format!(
                "table {shown} has {}, which replacing it with other columns would drop; DROP TABLE it first, or send \
                 the columns it has ({})",
                shorten(&extras.join(", "), 300),
                Error::from(misfit).message()
            ),
        )),
    }
}

/// What replaces the rows of a table that stays.
pub(super) fn replace_rows(
    table: &TableName,
    declared: Option<&Declaration>,
    transaction: Transaction,
) -> Vec<String> {
    let mut statements = vec![format!("DELETE FROM {}", table.to_sql())];
    if transaction == Transaction::Clients {
        // Puts of the server's own take turns; a client's transaction ends when the client likes. A comment, the same as
        // before, makes two transactions that replace the rows of one table conflict, also where it has none.
        let comment = declared.and_then(|declared| declared.description.as_deref());
        let comment = comment.map_or_else(|| "NULL".to_owned(), catalog::quote_text);
        statements.push(format!("COMMENT ON TABLE {} IS {comment}", table.to_sql()));
    }
    statements
}

pub(super) fn new_types(schema: &SchemaRef, offered: &[Offered], begun: &[RecordBatch]) -> Vec<String> {
    let types: Vec<String> = offered.iter().map(|column| column.duckdb_type.clone()).collect();
    catalog::stored_types(schema, &types, begun)
}

/// A table that is yet to be made from a stream, as if it were there.
pub(super) fn new_table(name: &TableName, offered: &[Offered], types: Vec<String>) -> Table {
    let column = |(offered, duckdb_type): (&Offered, String)| Column {
        name: offered.name.clone(),
        duckdb_type,
        has_default: false,
        is_generated: false,
    };
    Table { name: name.clone(), columns: offered.iter().zip(types).map(column).collect() }
}

pub(super) fn offered(connection: &Connection, shown: &str, schema: &SchemaRef) -> Result<Vec<Offered>> {
    if schema.fields().is_empty() {
        // The engine has no word for it; what is done with the columns has.
        return Ok(Vec::new());
    }
    let columns = engine::describe_rows(connection, schema).map_err(|error| {
        error.reworded(format!("table {shown}: a column's type cannot be stored: {error}"))
    })?;
    let with_arrow = |((name, duckdb_type), field): ((String, String), &arrow::datatypes::FieldRef)| {
        Offered { name, duckdb_type, arrow: field.data_type().clone() }
    };
    Ok(columns.into_iter().zip(schema.fields()).map(with_arrow).collect())
}

/// A declared table that is yet to be made, as if it were there.
pub(super) fn declared_table(declared: &Declaration) -> Table {
    let column = |field: &catalog::DeclaredField| Column {
        name: field.name.clone(),
        duckdb_type: field.data_type.duckdb.clone(),
        has_default: field.default.is_some(),
        is_generated: false,
    };
    Table { name: declared.name.clone(), columns: declared.fields.iter().map(column).collect() }
}
