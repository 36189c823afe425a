//! Offered columns against a table's columns: same, reordered, widened, filled, or refused by name.
//! Runs on: any thread, once per stream; costs nothing per batch.
//! Never: changes a value. A difference in type is allowed only where every value keeps its meaning, or
//! where the engine refuses a value that does not fit; nothing turns into NULL.

mod cast;
mod columns;
mod error;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::DataType;

use super::{
    Column, Declaration, DeclaredField, NewColumns, Strictness, Table, from_duckdb, join_types, quote_name,
};
use crate::error::shorten;
use cast::{LENIENT, WIDENING, declared_cast, plain_cast};

pub use columns::{Cast, Conformed, Contract, Offered, Placed};
pub use error::ConformError;

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

#[cfg(test)]
mod tests;
