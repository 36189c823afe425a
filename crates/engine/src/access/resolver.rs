//! A name in a statement -> what stands in its place for whoever sends it: itself, a window, or a refusal.
//! Runs on: the thread of the connection; blocks while a window is made.
//! Never: lets a name pass that is not granted; the plan of what comes out is checked besides.

use std::sync::Arc;

use serde_json::Value;

use super::access::{Access, Part, Right};
use super::generated::check_generated;
use super::listing;
use super::planner::Planner;
use super::refusal::{denied, lacks, only_in_part};
use super::tree::{Names, Place};
use super::types;
use super::window::{DATABASE, Window};
use crate::catalog::quote_name;
use crate::error::{Error, Kind, Result};
use crate::internal::{INTERNAL_SCHEMA, LOAD_LEDGER};
use crate::table_functions::About;

/// Functions that look tables up by a text: what it names is not in the parse tree, and whether it is there shows while they are
/// bound.
const BY_TEXT: [&str; 8] = [
    "duckdb_table_sample",
    "histogram",
    "histogram_values",
    "pragma_show",
    "pragma_storage_info",
    "pragma_table_info",
    "query",
    "query_table",
];

/// Looks only for what is there besides names.
pub(super) struct Nothing;

impl Names for Nothing {
    fn table(&mut self, _: &[String]) -> Result<Place> {
        Ok(Place::Itself)
    }

    fn function(&mut self, _: &[String]) -> Result<Place> {
        Ok(Place::Itself)
    }

    fn type_name(&mut self, _: &[String]) -> Result<()> {
        Ok(())
    }

    fn text_of(&mut self, _: &Value) -> Result<String> {
        Err(Error::internal("a column was named where no table gives way to a window"))
    }
}

/// Finds out what a name stands for.
pub(super) struct Resolver<'a> {
    planner: Planner<'a>,
    access: &'a Arc<Access>,
    /// A table was named without its schema.
    pub(super) has_bare_names: bool,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(planner: Planner<'a>, access: &'a Arc<Access>) -> Self {
        Self { planner, access, has_bare_names: false }
    }

    /// `check` is made before the window is, and not when it is there already.
    fn window(&self, window: Window, check: impl FnOnce() -> Result<()>) -> Result<Place> {
        let database = self.planner.0.database();
        database.windows.make(&window, database.shape(), |statements| {
            check()?;
            let connection = database.connection()?;
            statements.iter().try_for_each(|sql| connection.execute(sql).map(|_| ()))
        })?;
        self.access.give_window(&window.name);
        Ok(Place::Window(window))
    }
}

impl Names for Resolver<'_> {
    fn table(&mut self, path: &[String]) -> Result<Place> {
        let Self { planner, access, .. } = *self;
        let catalog = planner.0.database().catalog();
        let first = path.first().map(|part| part.to_lowercase()).unwrap_or_default();
        let (schema, table) = planner.place_of(path);
        // What is not there and what is not granted look the same, so the server's own table stands in the place of both.
        if let Some(about) = planner.0.database().about.table(path)
            && (first == "system" || !access.sees(&schema, &table))
        {
            return self.window(Window::of(About::query_of(&about)), || Ok(()));
        }
        if path.len() > 1 && ["temp", "system", "pg_catalog"].contains(&first.as_str()) {
            return Ok(Place::Itself);
        }
        if first == DATABASE {
            return Err(denied(format!("{first} is the server's own")));
        }
        let is_main = path.len() == 1 || schema.eq_ignore_ascii_case("main");
        if is_main && planner.is_temporary(&table)? {
            return Ok(Place::Itself);
        }
        if let Some(window) = listing::window(access, catalog, path) {
            return self.window(window, || Ok(()));
        }
        self.has_bare_names |= path.len() == 1;
        if schema.eq_ignore_ascii_case("information_schema") || schema.eq_ignore_ascii_case("pg_catalog") {
            return Ok(Place::Itself);
        }
        if schema.eq_ignore_ascii_case(INTERNAL_SCHEMA)
            && table.eq_ignore_ascii_case(LOAD_LEDGER)
            && let Some(condition) = access.puts_into("table_name")
        {
            // Who loads files has to know which are stored.
            let ledger = [catalog, INTERNAL_SCHEMA, LOAD_LEDGER].map(quote_name).join(".");
            let query = format!("SELECT * FROM {ledger} WHERE {condition}");
            return self.window(Window::of(query), || Ok(()));
        }
        if !access.may(Right::Read, &schema, &table) {
            return Err(lacks(access, Right::Read, &schema, &table));
        }
        let part = access.part(&schema, &table);
        let is_shown =
            || Ok::<_, Error>(access.is_shown_view(&schema, &table) && planner.is_view(&schema, &table)?);
        let part = match part {
            Some(part) => part,
            None if is_shown()? => Part::default(),
            None => return Ok(Place::Itself),
        };
        let window = Window::on(catalog, &schema, &table, &part);
        let fits = || check_generated(planner, [&schema, &table], &part.hide);
        self.window(window, fits).map_err(|error| {
            if error.kind() == Kind::NotFound {
                return Error::not_found(format!("there is no table {schema}.{table}"));
            }
            tracing::warn!(%schema, %table, %error, "a grant's window cannot be made");
            only_in_part(
                &schema,
                &table,
                "its condition or columns do not fit the table any more; an admin has to grant it anew",
            )
        })
    }

    fn function(&mut self, path: &[String]) -> Result<Place> {
        let Self { planner, access, .. } = *self;
        let name = path.last().map(|name| name.to_lowercase()).unwrap_or_default();
        if BY_TEXT.contains(&name.as_str()) {
            return Err(denied(format!(
                "{name} looks tables up by a text, which is not for users with grants; write the statement itself"
            )));
        }
        match listing::window(access, planner.0.database().catalog(), path) {
            Some(window) => self.window(window, || Ok(())),
            None => Ok(Place::Itself),
        }
    }

    fn type_name(&mut self, path: &[String]) -> Result<()> {
        types::check(self.planner, self.access, path)
    }

    fn text_of(&mut self, expression: &Value) -> Result<String> {
        self.planner.expression(expression)
    }
}
