//! What statements may do, over an engine in memory: who, what, and what becomes of it.
//! Runs on: `cargo test`.

mod changing;
mod prepared;
mod reading;
mod roles;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;

use crate::access::{Access, Grant, Level, Right, Tables};
use crate::connection::Connection;
use crate::database::{Database, Options};
use crate::error::{Kind, Result};
use crate::read::{ArraySize, Cursor, parse};

const MADE: &str = "CREATE SCHEMA s; CREATE SCHEMA other; CREATE SCHEMA pintail_internal;
    CREATE TABLE pintail_internal.users (name VARCHAR);
    CREATE TABLE wells (field_code INTEGER, name VARCHAR, oil DOUBLE);
    INSERT INTO wells SELECT i % 10, CASE i % 10 WHEN 7 THEN i::VARCHAR ELSE 'secret' || i END, i FROM range(1000) r(i);
    CREATE TABLE open_table (a INTEGER, b VARCHAR); INSERT INTO open_table VALUES (1, 'x'), (2, 'y');
    CREATE TABLE s.t (a INTEGER PRIMARY KEY, b VARCHAR); INSERT INTO s.t VALUES (1, 'one');
    CREATE TABLE other.secret (field_code INTEGER, token VARCHAR); INSERT INTO other.secret VALUES (7, 'hush');
    CREATE VIEW s.over_wells AS SELECT * FROM main.wells;
    CREATE VIEW s.shown AS SELECT token FROM other.secret;
    CREATE VIEW s.open_view AS SELECT a FROM main.open_table;
    CREATE MACRO most() AS (SELECT max(oil) FROM wells);
    CREATE MACRO all_of() AS TABLE SELECT * FROM other.secret;
    CREATE SEQUENCE ids";

fn tables(schema: Option<&str>, table: Option<&str>) -> Tables {
    Tables { schema: schema.map(Into::into), table: table.map(Into::into) }
}

fn grant(on: Tables, rights: &[Right]) -> Grant {
    Grant { tables: on, rights: rights.to_vec(), filter: None, hide: Vec::new() }
}

/// A customer: rows of one field, without names; a table, a schema, and a view by its name.
fn customer(level: Level) -> Arc<Access> {
    let grants = vec![
        Grant {
            filter: Some("field_code = 7".into()),
            hide: vec!["field_code".into()],
            ..grant(tables(Some("main"), Some("wells")), &[Right::Read, Right::Ingest])
        },
        grant(tables(Some("main"), Some("open_table")), &[Right::Read, Right::Ingest]),
        grant(tables(Some("s"), None), &[Right::Read, Right::Ingest, Right::Define]),
    ];
    let definable = vec![tables(Some("s"), None)];
    Arc::new(Access::new("ada", level, Some(grants), Vec::new(), definable))
}

fn plain(level: Level) -> Arc<Access> {
    Arc::new(Access::new("bob", level, None, Vec::new(), Vec::new()))
}

fn open() -> Arc<Database> {
    let database = Database::open(Options::in_memory()).unwrap();
    let connection = database.connection().unwrap();
    for sql in MADE.split(';') {
        connection.execute(sql).unwrap();
    }
    database
}

/// What became of a statement: its rows as text, or its error.
fn run(connection: &Connection, sql: &str) -> Result<String> {
    let statement = parse(connection, sql)?;
    let described = statement.describe(connection)?;
    if described.is_count {
        return connection.execute_parsed(&statement).map(|rows| rows.to_string());
    }
    let size = ArraySize { bytes: 1 << 20, rows_max: None };
    let mut cursor = Cursor::open(connection, &statement, &described.schema, size)?;
    let mut batches: Vec<RecordBatch> = Vec::new();
    while let Some(batch) = cursor.next_batch()? {
        batches.push(batch);
    }
    let names: Vec<&str> = described.schema.fields().iter().map(|field| field.name().as_str()).collect();
    Ok(format!("{}\n{}", names.join(","), pretty_format_batches(&batches).unwrap()))
}

/// Runs statements as somebody; `None` is an admin. Each is to give a text with the part named, or an error of the kind
/// with it; nothing ever shows what is left out.
fn check(who: Option<&Arc<Access>>, cases: &[(&str, std::result::Result<&str, Kind>, &str)]) {
    let database = open();
    let mut wrong = Vec::new();
    for (sql, expected, part) in cases {
        let mut connection = database.connection().unwrap();
        connection.hold_to(who.cloned());
        // What one of them changes is not there for the next, but for the table that some are about.
        let stays = sql.contains("TABLE s.n ");
        if !stays {
            connection.begin().unwrap();
        }
        let found = run(&connection, sql);
        if !stays {
            connection.rollback().unwrap();
        }
        let (is_right, text) = match (&found, expected) {
            (Ok(text), Ok(wanted)) => (text.contains(wanted) && text.contains(part), text.clone()),
            (Err(error), Err(kind)) => {
                (error.kind() == *kind && error.message().contains(part), error.to_string())
            }
            (Ok(text), Err(_)) => (false, text.clone()),
            (Err(error), Ok(_)) => (false, format!("{:?} {error}", error.kind())),
        };
        let leaks = ["secret1", "secret2", "hush", "token", "pintail_access"]
            .iter()
            .any(|word| text.contains(word) && !sql.contains(word));
        if !is_right || leaks {
            wrong.push(format!(
                "{sql}\n    wanted {expected:?} with \"{part}\"\n    found  {}",
                crate::error::shorten(&text, 400)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
