//! Declared tables: types, apply, evolution, refusals, recorded versions, adoption, and the streams into them.

mod apply;
mod engine_types;
mod puts;
mod round_trip;
mod start;

use pintail::catalog::{Breaking, Declaration, SchemaFile, TableName, read_declarations, render};
use pintail::engine::{Connection, actual_table, apply_declared, plan_declared};

use crate::support::database::{file, open};

struct Fixture {
    folder: tempfile::TempDir,
    connection: Connection,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = open(file(folder.path())).connection().unwrap();
        Self { folder, connection }
    }

    /// Closes the file without a checkpoint and opens it again, so that everything comes back from the log.
    fn reopened(self) -> Self {
        let Self { folder, connection } = self;
        drop(connection);
        let connection = open(file(folder.path())).connection().unwrap();
        Self { folder, connection }
    }

    fn apply(&mut self, text: &str) -> Result<String, pintail::error::Error> {
        self.apply_with(text, Breaking::Refused)
    }

    fn apply_with(&mut self, text: &str, breaking: Breaking) -> Result<String, pintail::error::Error> {
        let plans = apply_declared(&mut self.connection, &declared(text), breaking, |_| ())?;
        // What was applied needs no more, whatever it was.
        let again = plan_declared(&self.connection, &declared(text), Breaking::Refused)?;
        assert!(again.iter().all(pintail::catalog::TablePlan::is_empty), "{}", render(&again));
        Ok(render(&plans))
    }

    fn run(&self, sql: &str) {
        self.connection.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs `sql`, which fails unless the condition holds.
    fn holds(&self, condition: &str) {
        self.run(&format!("SELECT CASE WHEN {condition} THEN 1 ELSE error('not so') END"));
    }

    fn state(&self) -> String {
        format!("{:?}", actual_table(&self.connection, &TableName::from_text("t").unwrap()).unwrap())
    }
}

fn declared(text: &str) -> Vec<Declaration> {
    read_declarations(&[SchemaFile { name: "t.toml".into(), text: text.into() }]).unwrap()
}
