//! Offered columns against a table's columns: same, reordered, widened, filled, or refused by name.
//! Runs on: any thread, once per stream; costs nothing per batch.
//! Never: changes a value. A difference in type is allowed only where every value keeps its meaning, or
//! where the engine refuses a value that does not fit; nothing turns into NULL.

mod error;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::{
    Column, Declaration, DeclaredField, NewColumns, Strictness, Table, comes_back, from_duckdb,
    is_exported_as, join_types, quote_name, quote_text,
};
use crate::error::shorten;

pub use error::ConformError;

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

const WIDENING: &str = "only lossless widening is done, so cast it before sending";
const STRICT: &str = "the table is declared strict, so cast it before sending";
const LENIENT: &str = "no lossless cast leads there, so cast it before sending";

/// Matches the offered columns to `table` by name, without case, in any order.
///
/// Without a declaration, columns that are not offered get their default or NULL, and types may be widened. A
/// strict declaration takes the columns and types of the version in force, or of an earlier one; a lenient one
/// also takes any change of type in which no value is changed.
pub fn conform(
    table: &Table,
    contract: Contract<'_>,
    offered: &[Offered],
) -> Result<Conformed, Box<ConformError>> {
    let conformed = conform_some(table, contract, offered)?;
    if let Some(declared) = contract.declared {
        check_missing(table, declared, contract.earlier, offered)?;
    }
    Ok(conformed)
}

/// As [`conform`], for columns that need not be all: those that a statement names.
pub fn conform_some(
    table: &Table,
    contract: Contract<'_>,
    offered: &[Offered],
) -> Result<Conformed, Box<ConformError>> {
    let name = || table.name.clone();
    if offered.is_empty() {
        return Err(Box::new(ConformError::NoColumns { table: name() }));
    }
    let known: HashMap<String, &Column> =
        table.columns.iter().map(|column| (column.name.to_lowercase(), column)).collect();
    let mut taken = HashSet::new();
    let mut conformed =
        Conformed { columns: Vec::with_capacity(offered.len()), added: Vec::new(), settled: Vec::new() };
    for one in offered {
        let lower = one.name.to_lowercase();
        if !taken.insert(lower.clone()) {
            return Err(Box::new(ConformError::Duplicate { table: name(), column: one.name.clone() }));
        }
        let Some(target) = known.get(&lower) else {
            if contract.declared.is_some_and(|declared| declared.on_new_column == NewColumns::Add) {
                conformed.added.push((one.name.clone(), one.duckdb_type.clone()));
                conformed.columns.push(Placed {
                    target: one.name.clone(),
                    source: one.name.clone(),
                    duckdb_type: one.duckdb_type.clone(),
                    cast: Cast::None,
                    is_required: false,
                });
                continue;
            }
            return Err(Box::new(unknown_column(table, &one.name)));
        };
        if target.is_generated {
            return Err(Box::new(ConformError::Generated { table: name(), column: one.name.clone() }));
        }
        let field = contract.declared.and_then(|declared| declared.field(&target.name));
        let settled = if field.is_none() { settled(target, one) } else { None };
        let target = settled.as_ref().unwrap_or(target);
        let cast = match (contract.declared, field) {
            (Some(declared), Some(field)) => declared_cast(declared.mode, field, contract, target, one),
            // A column that a producer has added is held to its type in the table.
            (Some(_), None) => plain_cast(target, one).ok_or((target.duckdb_type.clone(), LENIENT)),
            (None, _) => plain_cast(target, one).ok_or((target.duckdb_type.clone(), WIDENING)),
        };
        let cast = cast.map_err(|(expected, rule)| {
            Box::new(ConformError::Type {
                table: name(),
                column: target.name.clone(),
                expected,
                offered: spelled(one, contract.declared.is_some()),
                rule,
            })
        })?;
        conformed.columns.push(Placed {
            target: target.name.clone(),
            source: one.name.clone(),
            duckdb_type: target.duckdb_type.clone(),
            cast,
            is_required: contract.declared.is_some_and(|declared| declared.is_required(&target.name)),
        });
        conformed.settled.extend(settled.map(|column| (column.name, column.duckdb_type)));
    }
    Ok(conformed)
}

/// An open column as it is once it has the type that is offered; `None` for one that stays as it is.
fn settled(target: &Column, offered: &Offered) -> Option<Column> {
    let joined = join_types(&target.duckdb_type, &offered.duckdb_type)?;
    (joined != target.duckdb_type).then(|| Column { duckdb_type: joined, ..target.clone() })
}

fn unknown_column(table: &Table, column: &str) -> ConformError {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let hint = crate::error::closest(column, &names)
        .map_or(String::new(), |name| format!("; did you mean \"{name}\"?"));
    let all: Vec<String> = names.iter().map(|name| quote_name(name)).collect();
    ConformError::UnknownColumn {
        table: table.name.clone(),
        column: column.to_owned(),
        hint,
        known: shorten(&all.join(", "), 400),
    }
}

/// Refuses a stream that leaves out what its table's declaration needs.
fn check_missing(
    table: &Table,
    declared: &Declaration,
    earlier: &[Arc<Declaration>],
    offered: &[Offered],
) -> Result<(), Box<ConformError>> {
    let absent = declared.fields.iter().filter(|field| {
        !offered.iter().any(|column| column.name.to_lowercase() == field.name.to_lowercase())
    });
    let needed = |field: &&DeclaredField| match declared.mode {
        // A column that an earlier version did not have: its producers do not know it.
        Strictness::Strict => earlier.iter().all(|version| version.field(&field.name).is_some()),
        Strictness::Lenient => declared.is_required(&field.name) && field.default.is_none(),
    };
    let columns: Vec<String> = absent.filter(needed).map(|field| quote_name(&field.name)).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let rule = match declared.mode {
        Strictness::Strict => "the table is declared strict, so every declared column must be sent",
        Strictness::Lenient => "they are required and have no default",
    };
    let columns = shorten(&columns.join(", "), 400);
    let columns = format!("column{} {columns}", if columns.contains(", ") { "s" } else { "" });
    Err(Box::new(ConformError::Missing { table: table.name.clone(), columns, rule }))
}

/// The cast by which a declared column takes what is offered, or the type it expects and the rule that says so.
fn declared_cast(
    mode: Strictness,
    field: &DeclaredField,
    contract: Contract<'_>,
    target: &Column,
    offered: &Offered,
) -> Result<Cast, (String, &'static str)> {
    let same = |field: &DeclaredField| {
        // What a SELECT of the column gives goes back into it.
        (offered.duckdb_type == field.data_type.duckdb
            || comes_back(&offered.duckdb_type, &field.data_type.duckdb))
            && is_same_width(&field.data_type.arrow, &offered.arrow)
    };
    // So do bytes of a declared width, which leave as bytes of any.
    if let DataType::FixedSizeBinary(width) = &field.data_type.arrow
        && matches!(&offered.arrow, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
        && offered.duckdb_type == "BLOB"
        && field.data_type.duckdb == "BLOB"
        && target.duckdb_type == "BLOB"
    {
        return Ok(Cast::Width(*width));
    }
    let expected = |rule| (field.data_type.text.clone(), rule);
    match mode {
        Strictness::Strict => {
            let earlier = || {
                let mut versions = contract.earlier.iter().filter_map(|version| version.field(&field.name));
                versions.any(&same)
            };
            // Rows without a value have no type of their own; pandas sends such a column as `null`.
            if offered.duckdb_type == super::open::NULL || same(field) || earlier() {
                // An earlier type has only ever been widened, so the plain rules cover it.
                plain_cast(target, offered).ok_or_else(|| expected(STRICT))
            } else {
                Err(expected(STRICT))
            }
        }
        Strictness::Lenient => {
            if !is_same_width(&field.data_type.arrow, &offered.arrow) {
                return Err(expected(LENIENT));
            }
            plain_cast(target, offered)
                .or_else(|| {
                    is_narrowing(&offered.duckdb_type, &target.duckdb_type)
                        .then(|| Cast::Exact { from: offered.duckdb_type.clone() })
                })
                .ok_or_else(|| expected(LENIENT))
        }
    }
}

/// DuckDB has one type for binaries of every width; the declaration tells them apart.
fn is_same_width(declared: &DataType, offered: &DataType) -> bool {
    match (declared, offered) {
        (DataType::FixedSizeBinary(width), DataType::FixedSizeBinary(other)) => width == other,
        // UUIDs arrive as text, too; those are no binaries.
        (DataType::FixedSizeBinary(_), DataType::Binary | DataType::LargeBinary | DataType::BinaryView) => {
            false
        }
        _ => true,
    }
}

fn plain_cast(target: &Column, offered: &Offered) -> Option<Cast> {
    let (from, to) = (&offered.duckdb_type, &target.duckdb_type);
    if from == to {
        Some(Cast::None)
    } else if is_allowed(from, to) {
        Some(Cast::Plain)
    } else {
        // Most clients send nanoseconds because it is their only unit, and few have any.
        let is_exact = is_whole_micros(from, to) || is_exported_as(to, from);
        is_exact.then(|| Cast::Exact { from: from.clone() })
    }
}

/// Whether a column of microseconds is offered nanoseconds, of which those fit that are whole microseconds.
fn is_whole_micros(from: &str, to: &str) -> bool {
    matches!((from, to), ("TIMESTAMP_NS", "TIMESTAMP") | ("TIMESTAMPTZ_NS", "TIMESTAMP WITH TIME ZONE"))
}

/// The offered type as the reader of the message knows it.
fn spelled(offered: &Offered, is_declared: bool) -> String {
    if !is_declared {
        return offered.duckdb_type.clone();
    }
    match (&offered.arrow, from_duckdb(&offered.duckdb_type)) {
        (DataType::FixedSizeBinary(width), _) => format!("fixed_size_binary[{width}]"),
        (_, Ok(known)) => known.text,
        (_, Err(_)) => offered.duckdb_type.clone(),
    }
}

/// Whether values of `from` that fit `to` can be told from those that do not by casting them there and back.
fn is_narrowing(from: &str, to: &str) -> bool {
    const INTEGERS: [&str; 9] = [
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "HUGEINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
    ];
    const TIMESTAMPS: [&str; 4] = ["TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS"];
    let both = |family: &[&str]| family.contains(&from) && family.contains(&to);
    both(&INTEGERS) || both(&TIMESTAMPS) || (decimal(from).is_some() && decimal(to).is_some())
}

/// Whether a cast keeps every value, or fails loudly for those it cannot keep.
fn is_allowed(from: &str, to: &str) -> bool {
    // What is open fits wherever the rest is the same. What leaves for a type comes back, as text or in another form:
    // the engine refuses what does not parse.
    if join_types(from, to).is_some_and(|joined| joined == to) || comes_back(from, to) {
        return true;
    }
    if let (Some((precision, scale)), Some((to_precision, to_scale))) = (decimal(from), decimal(to)) {
        return to_scale >= scale && to_precision - to_scale >= precision - scale;
    }
    // The cast checks the range.
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
        "TIMESTAMP WITH TIME ZONE" => &["TIMESTAMPTZ_NS"],
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
mod tests;
