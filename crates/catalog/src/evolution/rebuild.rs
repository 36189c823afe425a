//! A table that is made anew, because the engine cannot alter it: what that would lose, and the statements.
//! Runs on: any thread; pure.
//! Never: leaves out an index that still stands.

use super::{Actual, ActualColumn, ActualIndex, same_name};
use crate::datatype::unquote;
use crate::ddl::{comment_on_column, comments, create_index, declared_table, needs_index};
use crate::{Declaration, TableName, quote_name};

/// A table to be made anew.
pub(super) struct Rebuild<'a> {
    pub(super) declared: &'a Declaration,
    pub(super) actual: &'a Actual,
    /// Undeclared columns that stay.
    pub(super) kept: Vec<&'a ActualColumn>,
    /// Undeclared columns that go.
    pub(super) dropped: Vec<&'a ActualColumn>,
    /// Indexes that are there and stay, where their columns do.
    pub(super) indexes: Vec<&'a ActualIndex>,
}

impl Rebuild<'_> {
    /// What the new table could not have.
    pub(super) fn loses(&self) -> Vec<String> {
        let generated = self.kept.iter().filter(|column| column.is_generated);
        let constraints = self.actual.constraints.iter().cloned();
        constraints
            .chain(generated.map(|column| format!("the generated column {}", column.name)))
            .chain(self.actual.referenced_by.iter().map(|table| format!("the foreign key of table {table}")))
            .collect()
    }

    /// The statements, in their order.
    pub(super) fn statements(&self) -> Vec<String> {
        let table = &self.declared.name;
        let new = TableName { table: format!("{}__pintail_new", table.table), ..table.clone() };
        let kept = &self.kept;
        let further: Vec<String> = kept
            .iter()
            .map(|column| {
                let default =
                    column.default.as_ref().map_or(String::new(), |value| format!(" DEFAULT {value}"));
                format!("{} {}{default}", quote_name(&column.name), column.duckdb_type)
            })
            .collect();
        let mut targets = Vec::new();
        let mut values = Vec::new();
        for field in &self.declared.fields {
            // A column that is not there yet takes its default.
            let Some(column) = self.actual.column(&field.name) else { continue };
            targets.push(quote_name(&field.name));
            let value = quote_name(&column.name);
            values.push(if column.duckdb_type == field.data_type.duckdb {
                value
            } else {
                format!("CAST({value} AS {})", field.data_type.duckdb)
            });
        }
        for column in kept {
            targets.push(quote_name(&column.name));
            values.push(quote_name(&column.name));
        }
        let mut sql = vec![declared_table(self.declared, &new, &further)];
        if !targets.is_empty() {
            let (targets, values) = (targets.join(", "), values.join(", "));
            sql.push(format!(
                "INSERT INTO {} ({targets}) SELECT {values} FROM {}",
                new.to_sql(),
                table.to_sql()
            ));
        }
        sql.push(format!("DROP TABLE {}", table.to_sql()));
        sql.push(format!("ALTER TABLE {} RENAME TO {}", new.to_sql(), quote_name(&table.table)));
        sql.extend(comments(self.declared, table));
        let words = kept.iter().filter_map(|column| Some((column, column.comment.as_deref()?)));
        sql.extend(words.map(|(column, words)| comment_on_column(table, &column.name, Some(words))));
        // The table has no index by the time its last column has changed.
        for index in self.indexes.iter().filter(|index| self.still_stands(index)) {
            sql.push(create_again(self.declared, index));
        }
        for field in self.declared.fields.iter().filter(|field| needs_index(self.declared, field)) {
            if self.actual.indexes_on(&field.name).next().is_none() {
                sql.push(create_index(table, &field.name));
            }
        }
        sql
    }

    /// Whether no column of the index is dropped; an expression is taken to stand.
    fn still_stands(&self, index: &ActualIndex) -> bool {
        !index.expressions.iter().any(|expression| {
            unquote(expression)
                .is_some_and(|(name, _)| self.dropped.iter().any(|column| same_name(&column.name, &name)))
        })
    }
}

/// The statement that makes an index as it is there.
pub(super) fn create_again(declared: &Declaration, index: &ActualIndex) -> String {
    let unique = if index.is_unique { "UNIQUE " } else { "" };
    let (name, table) = (quote_name(&index.name), declared.name.to_sql());
    format!("CREATE {unique}INDEX {name} ON {table} ({})", index.expressions.join(", "))
}
