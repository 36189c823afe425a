//! A placement as a value: what is wanted, and what was decided.
//! Runs on: the thread that appends.
//! Never: looks into the catalog.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pintail_protocol::header::OnConflict;

use crate::catalog::{Placed, TableName};
use crate::engine::{Connection, Insert};
use crate::error::{Error, Result};
use crate::ingest::engine_text;
use crate::ingest::error::PutError;
use crate::ingest::request::PutTarget;
use crate::ingest::shared::Shared;

/// What to do when an index keeps a column from getting its type.
const INDEX_ADVICE: &str =
    "; an index stands in the way of the column's type; drop it, put the rows and make it again";

/// Whose transaction the rows belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ingest) enum Transaction {
    /// The put's own.
    Own,
    /// One of the client, to which a table that is made now belongs as well.
    Clients,
}

/// A put whose rows want a place.
#[derive(Clone, Copy)]
pub(in crate::ingest) struct Wanted<'a> {
    pub(in crate::ingest) shared: &'a Shared,
    pub(in crate::ingest) target: &'a PutTarget,
    pub(in crate::ingest) schema: &'a SchemaRef,
    /// The batches that are there already: of a new table's types some depend on values.
    pub(in crate::ingest) begun: &'a [RecordBatch],
    pub(in crate::ingest) on_conflict: OnConflict,
    pub(in crate::ingest) transaction: Transaction,
}

/// Where the rows of a stream go, decided once per stream.
pub(in crate::ingest) struct Placement {
    /// The table as the client names it, for error texts.
    pub(in crate::ingest) shown: String,
    /// The full name; `None` for a statement of the client's own.
    pub(in crate::ingest) table: Option<TableName>,
    pub(in crate::ingest) schema: SchemaRef,
    pub(in crate::ingest) insert: Insert,
    /// Empty for a statement.
    pub(in crate::ingest) columns: Vec<Placed>,
    /// The key's columns, where they are needed.
    pub(in crate::ingest) key: Vec<String>,
    pub(in crate::ingest) on_conflict: OnConflict,
    /// `ON CONFLICT …` of the INSERT, or nothing.
    pub(in crate::ingest) conflict: String,
    /// Condition that leaves the last of several rows with one key, where that matters. DuckDB's ON CONFLICT keeps
    /// the first row of a statement.
    pub(in crate::ingest) last_of_key: Option<String>,
    /// Where rows go that break a rule.
    pub(in crate::ingest) rejected: Option<TableName>,
    /// What the transaction does first.
    pub(in crate::ingest) first: Vec<String>,
    /// What it does before the first row: taking the old rows away, which keeps checkpoints off.
    pub(in crate::ingest) clears: Vec<String>,
    /// Whether the table is made by the transaction.
    pub(in crate::ingest) created: bool,
    /// Whether a row may see what the rows before it did, as in a client's own upsert.
    pub(in crate::ingest) is_one_by_one: bool,
    /// The stream's columns that are its key, if it has one: rows of different keys do not see each other.
    pub(in crate::ingest) conflict_key: Option<Vec<usize>>,
}

impl Placement {
    /// Columns of the stream in which the declaration forbids NULL: place and name.
    pub(in crate::ingest) fn required(&self) -> impl Iterator<Item = (usize, &str)> {
        let required = self.columns.iter().enumerate().filter(|(_, column)| column.is_required);
        required.map(|(index, column)| (index, column.target.as_str()))
    }

    /// Whether the transaction makes the table or takes its old rows away, and with them what is known of their files.
    pub(in crate::ingest) fn forgets(&self) -> bool {
        self.created || !self.clears.is_empty()
    }

    /// Runs what belongs into the transaction first.
    pub(in crate::ingest) fn begin(&self, connection: &Connection) -> Result<()> {
        let _turn = (!self.first.is_empty()).then(|| connection.reshapes());
        self.run(&self.first, connection)
    }

    /// Takes the old rows away, if the put replaces them. To be called once, before the first row.
    pub(in crate::ingest) fn clear(&self, connection: &Connection) -> Result<()> {
        let _turn = (!self.clears.is_empty()).then(|| connection.deletes());
        self.run(&self.clears, connection)
    }

    fn run(&self, statements: &[String], connection: &Connection) -> Result<()> {
        statements.iter().try_for_each(|sql| {
            connection.execute(sql).map(|_| ()).map_err(|error| {
                let is_in_the_way = engine_text::index_is_in_the_way(error.message());
                let error = PutError::from(error).in_table(&self.shown);
                Error::from(if is_in_the_way { error.with_advice(INDEX_ADVICE) } else { error })
            })
        })
    }
}
