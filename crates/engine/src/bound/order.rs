//! A query -> whether its rows come in an order that it asks for, by the engine's own plan.
//! Runs on: the thread of the connection; blocks for a plan.
//! Never: runs the query; takes an order for none.

use arrow::array::{Array, AsArray};
use serde_json::Value;

use super::prepared::Bound;
use crate::connection::Connection;
use crate::error::{Error, Kind, Result};
use crate::read::{ArraySize, parse};
use crate::sql::tokens;

/// What a query begins with that EXPLAIN can plan.
const PLANNED: [&str; 5] = ["select", "from", "with", "values", "table"];
/// Operators that give rows in another order than they take them.
const REORDERING: [&str; 3] = ["GROUP_BY", "AGGREGATE", "WINDOW"];
/// Operators that sort.
const SORTING: [&str; 2] = ["ORDER_BY", "TOP_N"];

/// Whether the rows of `bound`, a query, come in an order that it asks for, itself or through a view. What cannot be planned
/// ahead, or may not be explained to its reader, counts as ordered.
pub fn is_ordered(connection: &mut Connection, bound: &Bound) -> Result<bool> {
    let can_plan = tokens(connection.duckdb_for_binding(), bound.sql())
        .map_err(|error| connection.database().note(error))?
        .first()
        .is_some_and(|first| PLANNED.iter().any(|word| first.is_word(word)));
    if !can_plan || bound.runs_more_than_once() {
        return Ok(true);
    }
    let explain = bound.with_sql(format!("EXPLAIN (FORMAT JSON) {}", bound.sql()));
    let schema = match parse(connection, explain.sql()) {
        Ok(explained) => explained.describe(connection)?.schema,
        // Plans of what is granted in part are not for its reader.
        Err(error) if error.kind() == Kind::Denied => return Ok(true),
        Err(error) => return Err(error),
    };
    explain.keep(connection)?;
    let connection = &*connection;
    let mut ordered = true;
    explain.each(connection, |row| {
        let mut cursor =
            explain.open(connection, row, &schema, ArraySize { bytes: 1 << 20, rows_max: None })?;
        while let Some(batch) = cursor.next_batch()? {
            let unknown = || Error::internal("the engine's plan is not what it was");
            let plans = batch.columns().last().and_then(|column| column.as_string_opt::<i32>());
            let plans = plans.filter(|plans| plans.len() == 1).ok_or_else(unknown)?;
            let plan: Value = serde_json::from_str(plans.value(0)).map_err(|_| unknown())?;
            ordered = sorts(plan.get(0).ok_or_else(unknown)?);
        }
        Ok(())
    })?;
    Ok(ordered)
}

/// Whether what an operator gives is sorted, by itself or further down where nothing reorders it. Joins keep the order of
/// their first child.
fn sorts(operator: &Value) -> bool {
    let name = operator["name"].as_str().unwrap_or_default();
    if SORTING.contains(&name) {
        return true;
    }
    if REORDERING.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    let children = operator["children"].as_array().map(Vec::as_slice).unwrap_or_default();
    match name.ends_with("JOIN") {
        true => children.first().is_some_and(sorts),
        false => children.iter().any(sorts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_whether_rows_are_sorted() {
        let database = crate::Database::open(crate::Options::in_memory()).unwrap();
        let mut connection = database.connection().unwrap();
        connection.execute("CREATE TABLE t AS SELECT range AS a, range % 7 AS b FROM range(10000)").unwrap();
        connection.execute("CREATE VIEW v AS SELECT * FROM t ORDER BY b").unwrap();
        for (sql, ordered) in [
            ("SELECT * FROM t", false),
            ("FROM t WHERE a > 5 LIMIT 10", false),
            ("SELECT b, count(*) FROM t GROUP BY b", false),
            ("SELECT b, max(a) FROM (FROM t ORDER BY a) GROUP BY b", false),
            ("SELECT * FROM t JOIN (FROM t ORDER BY a) USING (a)", false),
            ("SELECT *, row_number() OVER (ORDER BY a) FROM t", false),
            ("VALUES (1), (2)", false),
            ("SELECT * FROM t ORDER BY a", true),
            ("SELECT * FROM t ORDER BY a LIMIT 5", true),
            ("WITH s AS (FROM t ORDER BY a) SELECT a + 1 FROM s WHERE b = 2", true),
            ("SELECT b + 1 FROM v", true),
            ("(SELECT * FROM t)", true),
            ("EXPLAIN SELECT * FROM t", true),
            ("DESCRIBE t", true),
        ] {
            let bound = Bound::new(sql.into(), Vec::new(), None).unwrap();
            assert_eq!(is_ordered(&mut connection, &bound).unwrap(), ordered, "{sql}");
        }
    }
}
