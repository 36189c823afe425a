//! Declared tables: types, apply, evolution, refusals, recorded versions, adoption, and the streams into them.

mod apply;
mod engine_types;
mod puts;
mod round_trip;
mod start;

use pintail::catalog::{Declaration, SchemaFile, TableName, read_declarations, render};
use pintail::engine::{Connection, actual_table, apply_declared, plan_declared};

use crate::support::database::{file, open};

struct Fixture {
    folder: tempfile::TempDir,
    session: Connection,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = open(file(folder.path())).connection().unwrap();
        Self { folder, session }
    }

    /// Closes the file without a checkpoint and opens it again, so that everything comes back from the log.
    fn reopened(self) -> Self {
        let Self { folder, session } = self;
        drop(session);
        let session = open(file(folder.path())).connection().unwrap();
        Self { folder, session }
    }

    fn apply(&mut self, text: &str) -> Result<String, pintail::error::Error> {
        self.apply_with(text, false)
    }

    fn apply_with(&mut self, text: &str, allow_breaking: bool) -> Result<String, pintail::error::Error> {
        let plans = apply_declared(&mut self.session, &declared(text), allow_breaking, |_| ())?;
        // What was applied needs no more, whatever it was.
        let again = plan_declared(&self.session, &declared(text), false)?;
        assert!(again.iter().all(pintail::catalog::TablePlan::is_empty), "{}", render(&again));
        Ok(render(&plans))
    }

    fn run(&self, sql: &str) {
        self.session.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs `sql`, which fails unless the condition holds.
    fn holds(&self, condition: &str) {
        self.run(&format!("SELECT CASE WHEN {condition} THEN 1 ELSE error('not so') END"));
    }

    fn state(&self) -> String {
        format!("{:?}", actual_table(&self.session, &TableName::from_text("t").unwrap()).unwrap())
    }
}

fn declared(text: &str) -> Vec<Declaration> {
    read_declarations(&[SchemaFile { name: "t.toml".into(), text: text.into() }]).unwrap()
}
