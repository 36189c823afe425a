//! A prepared statement over its bound rows, from its first run to its last batch.
//! Runs on: the reader's thread.
//! Never: commits some of the rows; lets the columns of the result change from one run to the next.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::guarded::{changing, keep_returned, reading};
use super::returned::Returned;
use super::sink::{Gone, ResultSink};
use crate::engine::{self, Bound, Class, Cursor, Described};
use crate::error::{Error, Result};
use crate::session::Open;

/// Runs a prepared statement once for each row bound to it.
pub(super) fn run(
    connection: &mut Open,
    bound: &Bound,
    described: &Described,
    sink: &mut ResultSink<'_>,
) -> Result<Class> {
    let class = described.class;
    sink.check(class)?;
    let is_single = class == Class::Query && !bound.runs_more_than_once();
    if !is_single {
        bound.keep(connection)?;
    }
    if described.seeds {
        connection.spoil();
    }
    if described.is_count {
        if sink.open(&described.schema, class).is_err() {
            return Ok(class);
        }
        let several = bound.runs_more_than_once();
        let own = !connection.joins_transaction() && !engine::runs_alone(bound.sql());
        let _replacing = if own { Some(connection.begin_for(&[bound.sql()])?) } else { None };
        let mut rows = 0;
        let mut done = 0_u64;
        let ran = bound.each(connection, |run| {
            let _turn = connection.turn(class, bound.sql())?;
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
        sink.count(rows)?;
        return Ok(class);
    }
    let runs = Runs { bound, described, is_single };
    let mut schema: Option<SchemaRef> = None;
    if class == Class::Query {
        let is_proven = described.is_proven(connection);
        reading(connection, is_proven, |connection| {
            runs.each(connection, sink, &mut schema, |sink: &ResultSink<'_>, cursor| sink.stream(cursor))
        })?;
    } else {
        let mut returned = Returned::new(sink.returned);
        changing(connection, class, bound.sql(), |connection| {
            runs.each(connection, sink, &mut schema, |_, cursor| {
                keep_returned(connection, cursor, &mut returned)
            })
        })?;
        if let Some(schema) = &schema {
            sink.give(connection, schema, returned)?;
        }
    }
    if schema.is_none() {
        // No row was bound: the result is empty, but it has a schema.
        let _: std::result::Result<(), Gone> = sink.open(&described.schema, class);
    }
    Ok(class)
}

/// A prepared statement and the rows bound to it.
struct Runs<'a> {
    bound: &'a Bound,
    described: &'a Described,
    /// There is one run, which needs no statement prepared.
    is_single: bool,
}

impl Runs<'_> {
    /// Runs the statement for every row bound to it, and hands each result to `take`.
    fn each(
        &self,
        connection: &Open,
        sink: &mut ResultSink<'_>,
        schema: &mut Option<SchemaRef>,
        mut take: impl FnMut(&ResultSink<'_>, &mut Cursor<'_>) -> Result<()>,
    ) -> Result<()> {
        let Self { bound, described, is_single } = self;
        let size = sink.array_size();
        bound.each(connection, |run| {
            let mut cursor = if *is_single {
                bound.open_once(connection, run, &described.schema, size)?
            } else {
                bound.open(connection, run, &described.schema, size)?
            };
            match &*schema {
                None => {
                    *schema = Some(Arc::clone(cursor.schema()));
                    sink.begin(&cursor, described.class)?;
                }
                Some(first) if first.fields() != cursor.schema().fields() => {
                    return Err(Error::invalid(
                        "the result's columns changed from one bound row to the next; bind rows of one type",
                    ));
                }
                Some(_) => {}
            }
            take(sink, &mut cursor)
        })
    }
}
