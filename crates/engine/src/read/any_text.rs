//! Any texts in the place of statements: classified or refused, by an admin's connection and by one that is held to grants.
//! Runs on: `cargo test`. Never: runs one of them.

#[path = "../../../../tests/support/damaged.rs"]
mod damaged;

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{describe, parse, parse_script};
use crate::access::{Access, Grant, Level, Right, Tables};
use crate::connection::Connection;
use crate::database::{Database, Options};
use crate::error::{Error, Kind};
use crate::sql::{STACK_BYTES, runs_alone};

const MADE: [&str; 3] = [
    "CREATE SCHEMA s",
    "CREATE TABLE t (a INTEGER PRIMARY KEY, b VARCHAR)",
    "CREATE TABLE u (a INTEGER, b VARCHAR)",
];

/// One who sees a part of a table.
fn customer() -> Arc<Access> {
    let grant = |table: &str, filter: Option<&str>| Grant {
        tables: Tables { schema: Some("main".into()), table: Some(table.into()) },
        rights: vec![Right::Read, Right::Ingest],
        filter: filter.map(Into::into),
        hide: Vec::new(),
    };
    let grants = vec![grant("t", None), grant("u", Some("a = 7"))];
    Arc::new(Access::new("ada", Level::Writer, Some(grants), Vec::new(), Vec::new()))
}

/// Reads a text in all ways.
fn read(connection: &Connection, text: &str) -> Vec<Error> {
    let _ = runs_alone(text);
    let parsed = parse(connection, text).map(|_| ());
    let described = describe(connection, text).map(|_| ());
    let script = parse_script(connection, text).map(|_| ());
    [parsed, described, script].into_iter().filter_map(Result::err).collect()
}

fn check(text: &str, errors: Vec<Error>) -> Result<(), TestCaseError> {
    for error in errors {
        let kinds =
            [Kind::Invalid, Kind::NotFound, Kind::Exists, Kind::Denied, Kind::Unsupported, Kind::Conflict];
        prop_assert!(kinds.contains(&error.kind()), "{text:?}: {error:?}");
    }
    Ok(())
}

#[test]
fn texts_are_classified_or_refused() {
    let database = Database::open(Options::in_memory()).unwrap();
    let admin = database.connection().unwrap();
    for sql in MADE {
        admin.execute(sql).unwrap();
    }
    let mut ada = database.connection().unwrap();
    ada.hold_to(Some(customer()));
    let work = move || {
        let seeds = damaged::lines("statements.txt");
        let mut runner = TestRunner::new(ProptestConfig { cases: 1500, ..ProptestConfig::default() });
        let ran = runner.run(&damaged::damaged_text(seeds), |text| {
            check(&text, read(&admin, &text))?;
            check(&text, read(&ada, &text))
        });
        ran.unwrap();
    };
    // As large as those of the threads that parse.
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}
