//! A table as it is -> the declaration that describes it, so that an existing database can be adopted.
//! Runs on: any thread; pure.
//! Never: leaves something out without saying so.

use super::super::declaration::from_expression;
use super::{Actual, same_name};
use crate::{Declaration, DeclaredField, DeclaredType, NewColumns, Strictness, from_duckdb};

/// The declaration of `actual`, and what of the table no declaration can say.
///
/// `declared`, when there is one, gives what no table knows: mode, rules for new columns, and which of several
/// Arrow types is meant.
pub fn adopt(actual: &Actual, declared: Option<&Declaration>) -> (Declaration, Vec<String>) {
    let mut notes = Vec::new();
    let mut fields = Vec::new();
    let mut left_out = false;
    for column in &actual.columns {
        let name = &column.name;
        if column.is_generated {
            notes.push(format!("column \"{name}\" is computed by the table and left out"));
            left_out = true;
            continue;
        }
        let known: Option<&DeclaredField> =
            declared.and_then(|declared| declared.fields.iter().find(|field| same_name(&field.name, name)));
        let known = known.map(|field| &field.data_type).filter(|known| known.duckdb == column.duckdb_type);
        let data_type: DeclaredType =
            match known.cloned().map_or_else(|| from_duckdb(&column.duckdb_type), Ok) {
                Ok(data_type) => data_type,
                Err(why) => {
                    notes.push(format!("column \"{name}\" is left out: {why}"));
                    left_out = true;
                    continue;
                }
            };
        let expression = column.default.as_deref().filter(|value| !value.eq_ignore_ascii_case("NULL"));
        let default = expression.and_then(|expression| from_expression(expression, &data_type));
        if let (Some(expression), None) = (expression, &default) {
            notes.push(format!("the default of \"{name}\" is left out: {expression} is no plain value"));
        }
        fields.push(DeclaredField {
            is_indexed: data_type.is_indexable() && actual.indexes_on(name).next().is_some(),
            name: name.clone(),
            data_type,
            nullable: column.nullable,
            default,
            description: column.comment.clone(),
        });
    }
    for index in actual.indexes.iter().filter(|index| index.column().is_none()) {
        notes.push(format!(
            "index {} on ({}) is not declared and stays",
            index.name,
            index.expressions.join(", ")
        ));
    }
    notes.extend(actual.constraints.iter().map(|rule| format!("{rule} is not declared and stays")));
    let declarable = |column: &String| fields.iter().any(|field| same_name(&field.name, column));
    let primary_key = if actual.primary_key.iter().all(declarable) {
        actual.primary_key.clone()
    } else {
        notes.push(format!("the key ({}) has a column that is left out", actual.primary_key.join(", ")));
        Vec::new()
    };
    let mut name = actual.name.clone();
    name.catalog = None;
    name.schema = name.schema.filter(|schema| !same_name(schema, "main"));
    // Columns that are left out stay only where new columns are allowed.
    let on_new_column = match declared {
        Some(declared) => declared.on_new_column,
        None if left_out => NewColumns::Add,
        None => NewColumns::Reject,
    };
    let declaration = Declaration {
        name,
        description: actual.comment.clone(),
        mode: declared.map_or(Strictness::Strict, |declared| declared.mode),
        primary_key,
        on_new_column,
        dead_letters: declared.is_some_and(|declared| declared.dead_letters),
        fields,
    };
    (declaration, notes)
}
