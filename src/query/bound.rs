//! A prepared statement over its bound rows, from its first run to its last batch.
//! Runs on: the reader's thread.
//! Never: commits some of the rows; lets the columns of the result change from one run to the next.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::reader::{Gone, MESSAGES_PER_ARRAY, ResultSink, changing, reading, take};
use super::returned::Returned;
use crate::engine::{self, Bound, Class, Cursor, Described};
use crate::error::{Error, Result};
use crate::session::Open;

/// Runs a prepared statement once for each row bound to it.
pub(super) fn prepared(
    connection: &mut Open,
    bound: &Bound,
    described: &Described,
    result: &mut ResultSink<'_>,
) -> Result<Class> {
    let class = described.class;
    result.check(class)?;
    bound.keep(connection)?;
    if described.seeds {
        connection.spoil();
    }
    if described.is_count {
        if result.open(&described.schema, class).is_err() {
            return Ok(class);
        }
        let several = bound.runs_more_than_once();
        let own = !connection.joins_transaction() && !engine::runs_alone(bound.sql());
        if own {
            connection.begin()?;
        }
        let mut rows = 0;
        let mut done = 0_u64;
        let ran = bound.each(connection, |run| {
            let _turn = connection.turn(class, bound.sql());
            let changed = bound.execute(connection, run);
            done += 1;
            rows += changed
                .map_err(|error| if own && several { error.context(format!("row {done}")) } else { error })?;
            Ok(())
        });
        if let Err(error) = ran {
            if own {
                // The first error is the one to report.
                let _ = connection.rollback();
            }
            return Err(error);
        }
        if own {
            connection.commit()?;
        }
        result.count(rows)?;
        return Ok(class);
    }
    let mut schema: Option<SchemaRef> = None;
    if class == Class::Query {
        reading(connection, described.is_proven(connection), |connection| {
            runs(connection, bound, described, result, &mut schema, |result: &ResultSink<'_>, cursor| {
                result.stream(cursor)
            })
        })?;
    } else {
        let mut returned = Returned::new(result.returned);
        changing(connection, class, bound.sql(), |connection| {
            runs(connection, bound, described, result, &mut schema, |_, cursor| {
                take(connection, cursor, &mut returned)
            })
        })?;
        if let Some(schema) = &schema {
            result.give(connection, schema, returned)?;
        }
    }
    if schema.is_none() {
        // No row was bound: the result is empty, but it has a schema.
        let _: std::result::Result<(), Gone> = result.open(&described.schema, class);
    }
    Ok(class)
}

/// Runs a prepared statement for every row bound to it, and hands each result to `sink`.
fn runs(
    connection: &Open,
    bound: &Bound,
    described: &Described,
    result: &mut ResultSink<'_>,
    schema: &mut Option<SchemaRef>,
    mut sink: impl FnMut(&ResultSink<'_>, &mut Cursor<'_>) -> Result<()>,
) -> Result<()> {
    let array_bytes = result.batch_bytes * MESSAGES_PER_ARRAY;
    bound.each(connection, |run| {
        let mut cursor =
            bound.open(connection, run, &described.schema, array_bytes, result.batch_rows_max)?;
        match &*schema {
            None => {
                *schema = Some(Arc::clone(cursor.schema()));
                result.begin(&cursor, described.class)?;
            }
            Some(first) if first.fields() != cursor.schema().fields() => {
                return Err(Error::invalid(
                    "the result's columns changed from one bound row to the next; bind rows of one type",
                ));
            }
            Some(_) => {}
        }
        sink(result, &mut cursor)
    })
}
