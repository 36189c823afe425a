//! Columns that a grant hides -> whether a column that stays is computed from one of them.
//! Runs on: the thread of the connection; blocks while the engine parses.
//! Never: reads a row.

use serde_json::Value;

use super::planner::Planner;
use crate::catalog::quote_text;
use crate::error::{Error, Result};

/// Refuses to hide a column that a visible generated column shows.
///
/// Errors: `Invalid`, naming both.
pub(super) fn check_generated(
    planner: Planner<'_>,
    [schema, table]: [&str; 2],
    hide: &[String],
) -> Result<()> {
    if hide.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT CAST(to_json(coalesce(list([column_name, generation_expression]), [])) AS VARCHAR) FROM duckdb_columns() \
         WHERE is_generated AND database_name = {} AND lower(schema_name) = {} AND lower(table_name) = $text",
        quote_text(planner.0.database().catalog()),
        quote_text(&schema.to_lowercase())
    );
    let hidden = |name: &str| hide.iter().find(|hidden| hidden.to_lowercase() == name.to_lowercase());
    let generated = planner.json(&sql, &table.to_lowercase())?;
    for pair in generated.as_array().into_iter().flatten() {
        let text = |at: usize| pair.get(at).and_then(Value::as_str).unwrap_or_default();
        let (column, expression) = (text(0), text(1));
        if hidden(column).is_some() {
            continue;
        }
        let tree = planner.tree(&format!("SELECT {expression}"))?;
        let mut names = Vec::new();
        columns_of(&tree, &mut names);
        if let Some(source) = names.iter().find(|name| hidden(name).is_some()) {
            return Err(Error::invalid(format!(
                "column {column} of table {schema}.{table} is generated from column {source} and would show it: hide both, or \
                 neither"
            )));
        }
    }
    Ok(())
}

/// The parts of every column's name in a parse tree.
fn columns_of(tree: &Value, names: &mut Vec<String>) {
    match tree {
        Value::Array(values) => values.iter().for_each(|value| columns_of(value, names)),
        Value::Object(fields) => {
            let parts = fields.get("column_names").and_then(Value::as_array).into_iter().flatten();
            names.extend(parts.filter_map(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| columns_of(value, names));
        }
        _ => {}
    }
}
