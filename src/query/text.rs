//! SQL text -> run: one statement, or a script of several.
//! Runs on: the reader's thread.
//! Never: commits some of a script.

use std::sync::Arc;

use super::guarded::{changing, keep_returned, reading};
use super::returned::Returned;
use super::sink::ResultSink;
use crate::engine::{self, Class, Cursor, Described, Parsed};
use crate::error::Result;
use crate::session::Open;

/// Runs one statement.
pub(super) fn run_one(connection: &mut Open, sql: &str, sink: &mut ResultSink<'_>) -> Result<Class> {
    let statement = engine::parse(connection, sql)?;
    if statement.class() == Class::Query && stream_evident(connection, &statement, sink)? {
        statement.keep(connection, sql);
        return Ok(Class::Query);
    }
    let described = statement.describe(connection)?.without_parameters()?;
    let class = described.class;
    sink.check(class)?;
    if described.seeds {
        connection.spoil();
    }
    if described.is_count {
        if sink.open(&described.schema, class).is_err() {
            return Ok(class);
        }
        let shared =
            if connection.joins_transaction() { None } else { connection.execute_in_group(class, sql) };
        let rows = match shared {
            Some(rows) => rows?,
            None => changing(connection, class, sql, |connection| connection.execute_parsed(&statement))?,
        };
        sink.count(rows)?;
        return Ok(class);
    }
    let size = sink.array_size();
    if class == Class::Query {
        let is_proven = statement.is_proven(connection);
        reading(connection, is_proven, |connection| {
            let mut cursor = Cursor::open(connection, &statement, &described.schema, size)?;
            sink.begin(&cursor, class)?;
            sink.stream(&mut cursor)
        })?;
        statement.keep(connection, sql);
        return Ok(class);
    }
    let (schema, returned) = changing(connection, class, sql, |connection| {
        let mut cursor = Cursor::open(connection, &statement, &described.schema, size)?;
        sink.begin(&cursor, class)?;
        let mut returned = Returned::new(sink.returned);
        keep_returned(connection, &mut cursor, &mut returned)?;
        Ok((Arc::clone(cursor.schema()), returned))
    })?;
    sink.give(connection, &schema, returned)?;
    Ok(class)
}

/// Runs a query whose result says by itself what its columns are, which saves describing it; false where it has not begun.
///
/// A text that does not bind would abort a transaction here, so none is open.
fn stream_evident(connection: &mut Open, statement: &Parsed, sink: &mut ResultSink<'_>) -> Result<bool> {
    if !statement.is_proven(connection) || connection.in_transaction() || statement.seeds() {
        return Ok(false);
    }
    let Some(likely) = statement.likely_schema(connection) else { return Ok(false) };
    statement.without_parameters(connection)?;
    let Some(mut cursor) = Cursor::open_evident(connection, statement, &likely, sink.array_size())? else {
        return Ok(false);
    };
    sink.begin(&cursor, Class::Query)?;
    sink.stream(&mut cursor).map(|()| true)
}

/// Runs statements one after the other in one transaction, and counts the changed rows.
pub(super) fn run_script(connection: &mut Open, sql: &str, sink: &mut ResultSink<'_>) -> Result<Class> {
    let mut statements = engine::parse_script(connection, sql)?;
    let single = statements.len() == 1;
    let schema = Described::count().schema;
    let class = if statements.iter().any(|statement| statement.class() == Class::Definition) {
        Class::Definition
    } else {
        Class::Change
    };
    if sink.open(&schema, class).is_err() {
        return Ok(class);
    }
    let mut is_admitted = false;
    if single && !connection.joins_transaction() && statements[0].without_parameters(connection).is_ok() {
        // It may run on another connection, whose statements are not held to anything.
        statements = statements.into_iter().map(|one| one.admitted(connection)).collect::<Result<_>>()?;
        is_admitted = true;
        if let Some(rows) = connection.execute_in_group(class, sql) {
            sink.count(rows?)?;
            return Ok(class);
        }
    }
    if statements.iter().any(Parsed::seeds) {
        connection.spoil();
    }
    let alone = single && engine::runs_alone(sql);
    let own = !connection.joins_transaction() && !alone;
    let _replacing = if own {
        let texts: Vec<String> = statements
            .iter()
            .map(|statement| statement.sql(connection).map(str::to_owned))
            .collect::<Result<_>>()?;
        Some(connection.begin_for(&texts)?)
    } else {
        None
    };
    let mut rows = 0;
    let count = statements.len();
    for (index, statement) in statements.into_iter().enumerate() {
        // What it may touch is looked at when it is its turn: it may be about what one before it has made.
        let changed = statement
            .without_parameters(connection)
            .and_then(|()| if is_admitted { Ok(statement) } else { statement.admitted(connection) })
            .and_then(|statement| {
                let _turn = connection.turn(statement.class(), statement.sql(connection)?)?;
                connection.execute_parsed(&statement)
            })
            .map_err(|error| {
                if single { error } else { error.context(format!("statement {} of {count}", index + 1)) }
            });
        match changed {
            Ok(changed) => rows += changed,
            Err(error) => {
                if own {
                    // The first error is the one to report.
                    let _ = connection.rollback();
                }
                return Err(match own && !single {
                    true => error.reworded(format!("{} (nothing was kept)", error.message())),
                    false => error,
                });
            }
        }
    }
    if own {
        connection.commit()?;
    }
    sink.count(rows)?;
    Ok(class)
}
