//! Windows: secure views of the engine's own, in a database in memory, that show the granted part of a table.
//! Runs on: the thread of a statement that needs one; blocks while it is made.
//! Never: lets a client define one; keeps more than a bounded number.
//!
//! The engine evaluates no expression of a statement that can fail or has an effect on rows which a secure view leaves out,
//! and tells nothing of their number and values by its statistics. So an error never quotes a row that is left out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use xxhash_rust::xxh3::xxh3_128;

use super::access::Part;
use crate::catalog::quote_name;
use crate::error::Result;

/// The database in memory that windows are in. It is hidden: windows hold conditions and columns of others, and no listing of
/// the engine's shows what is in a hidden database.
pub(crate) const DATABASE: &str = "pintail_access";
/// Its schema.
pub(super) const SCHEMA: &str = "w";
/// Windows that are there at one time. One for each part of a table that somebody is granted and reads.
const WINDOWS_MAX: usize = 10_000;

/// A window: its name, and the query that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) name: String,
    pub(super) query: String,
}

impl Window {
    pub(super) fn of(query: String) -> Self {
        Self { name: format!("w{:032x}", xxh3_128(query.as_bytes())), query }
    }

    /// The part of a table that is granted; all of a view, whatever its reader may see behind it.
    pub(super) fn on(catalog: &str, schema: &str, table: &str, part: &Part) -> Self {
        let mut query = "SELECT *".to_owned();
        if !part.hide.is_empty() {
            let hidden: Vec<String> = part.hide.iter().map(|column| quote_name(column)).collect();
            query.push_str(&format!(" EXCLUDE ({})", hidden.join(", ")));
        }
        let path = [catalog, schema, table].map(quote_name).join(".");
        query.push_str(&format!(" FROM {path}"));
        let filters: Vec<String> = part.filters.iter().map(|filter| format!("({filter}\n)")).collect();
        if !filters.is_empty() {
            query.push_str(&format!(" WHERE {}", filters.join(" AND ")));
        }
        Self::of(query)
    }
}

/// The windows that are there, each with the shape of the database that it was made in.
#[derive(Default)]
pub(crate) struct Windows(Mutex<HashMap<String, Option<u64>>>);

impl Windows {
    /// Makes a window, unless it is there and no table has changed its shape since: `run` runs statements outside of any
    /// transaction of a client, `shape` is that of the database. Blocks.
    ///
    /// Errors: those of the engine when the condition does not bind any more.
    pub(super) fn make(
        &self,
        window: &Window,
        shape: Option<u64>,
        run: impl FnOnce(&[String]) -> Result<()>,
    ) -> Result<()> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shape.is_some() && windows.get(&window.name) == Some(&shape) {
            return Ok(());
        }
        let schema = [DATABASE, SCHEMA].map(quote_name).join(".");
        let mut statements =
            vec![format!("ATTACH IF NOT EXISTS ':memory:' AS {} (HIDDEN true)", quote_name(DATABASE))];
        if windows.len() >= WINDOWS_MAX {
            statements.push(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"));
            windows.clear();
        }
        statements.push(format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        let name = quote_name(&window.name);
        statements.push(format!("CREATE OR REPLACE SECURE VIEW {schema}.{name} AS {}", window.query));
        run(&statements)?;
        windows.insert(window.name.clone(), shape);
        Ok(())
    }
}
