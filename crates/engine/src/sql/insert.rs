//! What an INSERT over rows of ours is, in its parts: for rows of a put, and for an INSERT of a client's own.

use pintail_catalog::TableName;

/// Where the rows of a stream go, decided once per stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insert {
    /// `INSERT INTO "t" ("a", "b") SELECT "a", CAST("b" AS BIGINT) FROM `; the segment follows.
    pub head: String,
    /// What follows the segment: names for its columns, an ON CONFLICT; often nothing.
    pub tail: String,
}

/// An INSERT of a client's own over whole batches of its parameters, and where their values go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkInsert {
    /// The statement as it is.
    pub insert: Insert,
    /// `INSERT INTO t (a, b) `, up to its values.
    pub into: String,
    /// The table, as the statement names it; `None` where that is not a plain name.
    pub table: Option<TableName>,
    /// The columns it names; `None` for all of the table's.
    pub columns: Option<Vec<String>>,
    /// Its values as expressions over the batch, with the parameter that each is, if it is nothing else.
    pub values: Vec<(String, Option<usize>)>,
    /// Whether a row may see what the rows before it did: it has an ON CONFLICT, or a value that is looked up. Rows are
    /// then inserted one after the other, as the statement says.
    pub is_one_by_one: bool,
    /// The columns of `ON CONFLICT (…) DO …`, where nothing else makes rows depend on each other: rows whose keys differ can
    /// go in together. Empty for the only key that the table has.
    pub conflict_key: Option<Vec<String>>,
}

impl BulkInsert {
    /// The same INSERT with other values.
    pub fn with_values(&self, values: &[String]) -> Insert {
        Insert {
            head: format!("{}SELECT {} FROM ", self.into, values.join(", ")),
            tail: self.insert.tail.clone(),
        }
    }
}
