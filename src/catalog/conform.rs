//! Offered columns against a table's columns: same, reordered, widened, filled, or refused by name.
//! Runs on: any thread, once per stream; costs nothing per batch.
//! Never: changes a value. A difference in type is allowed only where every value keeps its meaning, or
//! where the engine refuses a value that does not fit; nothing turns into NULL.

use std::collections::HashMap;

use thiserror::Error as ThisError;

use super::{Column, Table, TableName, quote_name};
use crate::error::Error;

/// How the columns of a stream go into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conformed {
    /// Target column and the SELECT expression that gives its value, in the order of the stream.
    pub columns: Vec<(String, String)>,
}

/// Why a stream does not fit a table. Each variant names table, column and rule.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum ConformError {
    /// The stream has no columns.
    #[error("table {table}: the stream has no columns")]
    NoColumns {
        /// The table.
        table: TableName,
    },
    /// A column is offered twice.
    #[error("table {table}: column \"{column}\" is there twice in the stream")]
    Duplicate {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// The table has no such column.
    #[error("table {table} has no column \"{column}\"; its columns are {known}")]
    UnknownColumn {
        /// The table.
        table: TableName,
        /// The offered column.
        column: String,
        /// The table's columns.
        known: String,
    },
    /// The column is computed by the table.
    #[error("table {table}: column \"{column}\" is generated and cannot be put")]
    Generated {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// Types differ and the change is not lossless.
    #[error(
        "table {table}: column \"{column}\" is {expected} and the stream offers {offered}; \
         only lossless widening is done, so cast it before sending"
    )]
    Type {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// The table's type.
        expected: String,
        /// The stream's type.
        offered: String,
    },
}

impl From<Box<ConformError>> for Error {
    fn from(error: Box<ConformError>) -> Self {
        Error::invalid(error.to_string())
    }
}

/// Matches `offered` columns (name, DuckDB type) to `table` by name, without case, in any order.
///
/// Columns of the table that are not offered get their default, or NULL.
pub fn conform(table: &Table, offered: &[(String, String)]) -> Result<Conformed, Box<ConformError>> {
    let name = || table.name.clone();
    if offered.is_empty() {
        return Err(Box::new(ConformError::NoColumns { table: name() }));
    }
    let mut known: HashMap<String, (&Column, bool)> =
        table.columns.iter().map(|column| (column.name.to_lowercase(), (column, false))).collect();
    let mut columns = Vec::with_capacity(offered.len());
    for (column, offered_type) in offered {
        let Some((target, taken)) = known.get_mut(&column.to_lowercase()) else {
            let all: Vec<String> = table.columns.iter().map(|column| quote_name(&column.name)).collect();
            return Err(Box::new(ConformError::UnknownColumn {
                table: name(),
                column: column.clone(),
                known: crate::error::shorten(&all.join(", "), 400),
            }));
        };
        if *taken {
            return Err(Box::new(ConformError::Duplicate { table: name(), column: column.clone() }));
        }
        *taken = true;
        if target.is_generated {
            return Err(Box::new(ConformError::Generated { table: name(), column: column.clone() }));
        }
        let value = quote_name(column);
        let value = if *offered_type == target.duckdb_type {
            value
        } else if is_allowed(offered_type, &target.duckdb_type) {
            format!("CAST({value} AS {})", target.duckdb_type)
        } else {
            return Err(Box::new(ConformError::Type {
                table: name(),
                column: target.name.clone(),
                expected: target.duckdb_type.clone(),
                offered: offered_type.clone(),
            }));
        };
        columns.push((target.name.clone(), value));
    }
    Ok(Conformed { columns })
}

/// Whether a cast keeps every value, or fails loudly for those it cannot keep.
fn is_allowed(from: &str, to: &str) -> bool {
    if from == "\"NULL\"" {
        return true;
    }
    if let (Some((precision, scale)), Some((to_precision, to_scale))) = (decimal(from), decimal(to)) {
        return to_scale >= scale && to_precision - to_scale >= precision - scale;
    }
    // A whole decimal is how HUGEINT travels in Arrow; the cast checks the range.
    if to == "HUGEINT" && decimal(from).is_some_and(|(_, scale)| scale == 0) {
        return true;
    }
    let wider: &[&str] = match from {
        "TINYINT" => &["SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "SMALLINT" => &["INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "INTEGER" => &["BIGINT", "HUGEINT", "DOUBLE"],
        "BIGINT" => &["HUGEINT"],
        "UTINYINT" => &[
            "USMALLINT",
            "UINTEGER",
            "UBIGINT",
            "SMALLINT",
            "INTEGER",
            "BIGINT",
            "HUGEINT",
            "FLOAT",
            "DOUBLE",
        ],
        "USMALLINT" => &["UINTEGER", "UBIGINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE"],
        "UINTEGER" => &["UBIGINT", "BIGINT", "HUGEINT", "DOUBLE"],
        "UBIGINT" => &["HUGEINT", "UHUGEINT"],
        "FLOAT" => &["DOUBLE"],
        "DATE" => &["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS"],
        // To a finer unit; the engine refuses a time that leaves the range.
        "TIMESTAMP_S" => &["TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"],
        "TIMESTAMP_MS" => &["TIMESTAMP", "TIMESTAMP_NS"],
        "TIMESTAMP" => &["TIMESTAMP_NS"],
        // Text that stands for a value: the engine parses it and refuses what does not parse.
        "VARCHAR" => return matches!(to, "UUID" | "JSON") || to.starts_with("ENUM("),
        _ => &[],
    };
    wider.contains(&to)
}

fn decimal(text: &str) -> Option<(i32, i32)> {
    let inner = text.strip_prefix("DECIMAL(")?.strip_suffix(')')?;
    let (precision, scale) = inner.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &str)]) -> Table {
        Table {
            name: TableName::from_text("wells").unwrap(),
            columns: columns
                .iter()
                .map(|(name, duckdb_type)| Column {
                    name: (*name).into(),
                    duckdb_type: (*duckdb_type).into(),
                    has_default: false,
                    is_generated: *name == "generated",
                })
                .collect(),
        }
    }

    fn offered(columns: &[(&str, &str)]) -> Vec<(String, String)> {
        columns.iter().map(|(name, duckdb_type)| ((*name).into(), (*duckdb_type).into())).collect()
    }

    #[test]
    fn columns_match_by_name_in_any_order_and_widen() {
        let table = table(&[("a", "BIGINT"), ("b", "VARCHAR"), ("c", "DOUBLE")]);
        let conformed = conform(&table, &offered(&[("C", "FLOAT"), ("a", "INTEGER")])).unwrap();
        assert_eq!(
            conformed.columns,
            [
                ("c".to_owned(), "CAST(\"C\" AS DOUBLE)".to_owned()),
                ("a".to_owned(), "CAST(\"a\" AS BIGINT)".to_owned())
            ]
        );
    }

    #[test]
    fn a_misfit_names_table_column_and_rule() {
        let table = table(&[("a", "INTEGER"), ("generated", "INTEGER")]);
        for (columns, parts) in [
            (&[("x", "INTEGER")][..], &["wells", "\"x\"", "\"a\""][..]),
            (&[("a", "BIGINT")], &["wells", "\"a\"", "INTEGER", "BIGINT", "lossless"]),
            (&[("a", "INTEGER"), ("A", "INTEGER")], &["wells", "twice"]),
            (&[("generated", "INTEGER")], &["wells", "generated"]),
            (&[], &["wells", "no columns"]),
        ] {
            let message = conform(&table, &offered(columns)).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn only_changes_that_keep_values_are_allowed() {
        for (from, to, allowed) in [
            ("DECIMAL(10,2)", "DECIMAL(12,2)", true),
            ("DECIMAL(10,2)", "DECIMAL(12,4)", true),
            ("DECIMAL(10,2)", "DECIMAL(11,4)", false),
            ("DECIMAL(38,0)", "HUGEINT", true),
            ("BIGINT", "DOUBLE", false),
            ("UTINYINT", "SMALLINT", true),
            ("UTINYINT", "TINYINT", false),
            ("TIMESTAMP_NS", "TIMESTAMP", false),
            ("TIMESTAMP_S", "TIMESTAMP", true),
            ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", false),
            ("VARCHAR", "ENUM('a', 'b')", true),
            ("VARCHAR", "BIGINT", false),
            ("\"NULL\"", "VARCHAR", true),
        ] {
            assert_eq!(is_allowed(from, to), allowed, "{from} -> {to}");
        }
    }
}
