//! Columns on their way into a table: as they are offered, and where and how they go in.
//! Runs on: any thread; pure values.
//! Never: decides what is allowed.

use std::sync::Arc;

use arrow::datatypes::DataType;

use crate::{Declaration, quote_name, quote_text};

/// A column as a stream offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Name, in the stream's spelling.
    pub name: String,
    /// Type as DuckDB's importer names it.
    pub duckdb_type: String,
    /// Type in the stream.
    pub arrow: DataType,
}

/// What a table's users have declared about it, if they have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Contract<'a> {
    /// The declaration in force.
    pub declared: Option<&'a Declaration>,
    /// Those in force before it: their producers go on as they are.
    pub earlier: &'a [Arc<Declaration>],
}

/// How the columns of a stream go into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conformed {
    /// Where each column goes, in the order of the stream.
    pub columns: Vec<Placed>,
    /// Columns to be added to the table first: name and DuckDB type.
    pub added: Vec<(String, String)>,
    /// Open columns that get their type first: name and DuckDB type.
    pub settled: Vec<(String, String)>,
}

/// One column of a stream and its place in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The table's column, in its spelling.
    pub target: String,
    /// The stream's column, in its spelling.
    pub source: String,
    /// The table's type, as DuckDB prints it.
    pub duckdb_type: String,
    /// How a value gets there.
    pub cast: Cast,
    /// Whether the declaration forbids NULL.
    pub is_required: bool,
}

/// How a value gets into its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cast {
    /// As it is.
    None,
    /// By a cast that keeps every value, or that the engine refuses.
    Plain,
    /// By a cast to a narrower type; a value that does not come back from it unchanged is refused.
    Exact {
        /// The offered type, to come back to.
        from: String,
    },
    /// As it is, when it has the declared number of bytes.
    Width(i32),
}

impl Placed {
    /// The SELECT expression that gives the value.
    pub fn value(&self) -> String {
        self.value_of(&quote_name(&self.source))
    }

    /// The same, for a source that has another name in the statement.
    pub fn value_of(&self, source: &str) -> String {
        let to = &self.duckdb_type;
        match &self.cast {
            Cast::None => source.to_owned(),
            Cast::Plain => format!("CAST({source} AS {to})"),
            Cast::Exact { .. } | Cast::Width(_) => {
                let misfit = self.misfit_of(source).unwrap_or_default();
                let rule = format!("column {}: a value does not fit {to}", quote_name(&self.target));
                let rule = quote_text(&rule);
                format!("CASE WHEN {misfit} THEN error({rule}) ELSE TRY_CAST({source} AS {to}) END")
            }
        }
    }

    /// The same, with NULL for a value that does not fit. `qualifier` is an alias with its dot, or nothing.
    pub fn value_or_null(&self, qualifier: &str) -> String {
        let source = format!("{qualifier}{}", quote_name(&self.source));
        match &self.cast {
            Cast::None => source,
            Cast::Plain | Cast::Exact { .. } => format!("TRY_CAST({source} AS {})", self.duckdb_type),
            Cast::Width(width) => format!("CASE WHEN octet_length({source}) = {width} THEN {source} END"),
        }
    }

    /// A condition that holds for the values that do not fit; `None` when every value does.
    pub fn misfit(&self) -> Option<String> {
        self.misfit_of(&quote_name(&self.source))
    }

    fn misfit_of(&self, source: &str) -> Option<String> {
        let to = &self.duckdb_type;
        match &self.cast {
            Cast::None => None,
            Cast::Plain => Some(format!("({source} IS NOT NULL AND TRY_CAST({source} AS {to}) IS NULL)")),
            Cast::Exact { from } => Some(format!(
                "({source} IS NOT NULL \
                 AND TRY_CAST(TRY_CAST({source} AS {to}) AS {from}) IS DISTINCT FROM {source})"
            )),
            Cast::Width(width) => {
                Some(format!("({source} IS NOT NULL AND octet_length({source}) <> {width})"))
            }
        }
    }
}
