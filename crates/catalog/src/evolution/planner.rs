//! What differs between a declared and an existing table -> steps in an order the engine takes.
//! Runs on: any thread; pure.
//! Never: drops what no declaration can say: foreign indexes are made again, constraints stop a rebuild.

use super::change::{TypeChange, type_change};
use super::rebuild::{Rebuild, create_again};
use super::{
    Actual, ActualColumn, ActualIndex, Breaking, Plan, Refusal, Sign, Step, column_text, many, same_name,
    shown,
};
use crate::ddl::{column_definition, comment_on_column, comment_on_table, create_index, needs_index};
use crate::declaration::from_expression;
use crate::{Declaration, DeclaredField, NewColumns, TableName, from_duckdb, quote_name};

/// Where in the transaction a change has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    DropIndex,
    Alter,
    Comment,
    CreateIndex,
}

pub(super) struct Planner<'a> {
    declared: &'a Declaration,
    actual: &'a Actual,
    breaking: Breaking,
    changes: Vec<(Phase, Step)>,
    refusals: Vec<Refusal>,
    /// A change can only be made by making the table anew.
    rebuild: bool,
    /// A change can only be made while the table has no indexes.
    unindex: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(declared: &'a Declaration, actual: &'a Actual, breaking: Breaking) -> Self {
        let (changes, refusals) = (Vec::new(), Vec::new());
        Self { declared, actual, breaking, changes, refusals, rebuild: false, unindex: false }
    }

    pub(super) fn plan(mut self) -> Plan {
        if self.actual.is_view {
            self.refuse(
                format!("table {}", self.declared.name),
                "a view of that name is there, which takes no rows",
                "drop the view, or give the declaration another name",
            );
            return self.finish();
        }
        self.key();
        for field in &self.declared.fields {
            match self.actual.column(&field.name) {
                None => self.add_column(field),
                Some(column) => self.column(field, column),
            }
            self.index(field);
        }
        self.extra_columns();
        if self.declared.description != self.actual.comment {
            let sql = comment_on_table(&self.declared.name, self.declared.description.as_deref());
            self.change(Phase::Comment, Sign::Change, "description of the table".to_owned(), vec![sql]);
        }
        self.finish()
    }

    fn refuse(&mut self, text: String, reason: impl Into<String>, advice: impl Into<String>) {
        self.refusals.push(Refusal { text, reason: reason.into(), advice: advice.into() });
    }

    fn change(&mut self, phase: Phase, sign: Sign, text: String, sql: Vec<String>) {
        self.changes.push((phase, Step { sign, text, lost: None, sql }));
    }

    /// A change that breaks something: a step that says what is lost, or a refusal.
    fn breaking(&mut self, text: String, reason: String, lost: String, sign: Sign, sql: Vec<String>) -> bool {
        let is_allowed = self.breaking == Breaking::Allowed;
        if is_allowed {
            self.changes.push((Phase::Alter, Step { sign, text, lost: Some(lost), sql }));
        } else {
            let advice =
                format!("undo it in the declaration, or `pintail schema apply --allow-breaking` ({lost})");
            self.refuse(text, reason, advice);
        }
        is_allowed
    }

    fn alter(&self, what: &str) -> Vec<String> {
        vec![format!("ALTER TABLE {} {what}", self.declared.name.to_sql())]
    }

    fn key(&mut self) {
        let (declared, actual) = (&self.declared.primary_key, &self.actual.primary_key);
        if declared.len() == actual.len()
            && declared.iter().zip(actual).all(|(one, other)| same_name(one, other))
        {
            return;
        }
        let shown =
            |key: &[String]| if key.is_empty() { "none".to_owned() } else { format!("({})", key.join(", ")) };
        let text = format!("primary key {} → {}", shown(actual), shown(declared));
        let lost = if declared.is_empty() {
            "rows may repeat afterwards".to_owned()
        } else {
            "nothing is changed if rows share a key or a key column holds a NULL".to_owned()
        };
        let reason = "a key change alters what producers may send and which rows conflict".to_owned();
        self.rebuild |= self.breaking(text, reason, lost, Sign::Change, Vec::new());
    }

    fn add_column(&mut self, field: &DeclaredField) {
        let rows = self.actual.rows;
        if !field.nullable && field.default.is_none() && rows > 0 {
            let reason =
                format!("it is required, and the {} that are there have no value for it", many(rows, "row"));
            return self.refuse(column_text(field), reason, "give it a default, or let it be nullable");
        }
        let filled = match (rows, &field.default) {
            (0, _) => String::new(),
            (_, None) => format!(", NULL in the {} that are there", many(rows, "row")),
            (_, Some(_)) => format!(", with its default in the {} that are there", many(rows, "row")),
        };
        // The engine adds a column that may be NULL to an indexed table, and no other.
        self.unindex |= !field.nullable;
        let sql = self.alter(&format!("ADD COLUMN {}", column_definition(field)));
        self.change(Phase::Alter, Sign::Add, format!("{}{filled}", column_text(field)), sql);
        if let Some(words) = &field.description {
            let sql = comment_on_column(&self.declared.name, &field.name, Some(words));
            let step = Step {
                sign: Sign::Add,
                text: format!("description of {}", field.name),
                lost: None,
                sql: vec![sql],
            };
            self.changes.push((Phase::Comment, step));
        }
    }

    fn column(&mut self, field: &DeclaredField, column: &ActualColumn) {
        let name = &column.name;
        let quoted = quote_name(name);
        if column.is_generated {
            let advice =
                "drop the column, or leave it out of the declaration and say on_new_column = \"add\"";
            return self.refuse(
                column_text(field),
                "the table computes this column, so it cannot be put",
                advice,
            );
        }
        if field.data_type.duckdb != column.duckdb_type {
            let shown = from_duckdb(&column.duckdb_type)
                .map_or_else(|_| column.duckdb_type.clone(), |found| found.text);
            let text = format!("column {name} {shown} → {}", field.data_type.text);
            let sql = self.alter(&format!("ALTER COLUMN {quoted} TYPE {}", field.data_type.duckdb));
            let planned = match type_change(&column.duckdb_type, &field.data_type.duckdb) {
                TypeChange::Widening => {
                    self.change(Phase::Alter, Sign::Change, format!("{text}, where every value fits"), sql);
                    true
                }
                TypeChange::Breaking { reason, lost } => {
                    self.breaking(text, reason.to_owned(), lost.to_owned(), Sign::Change, sql)
                }
            };
            self.rebuild |= planned && (!self.actual.indexes.is_empty() || self.actual.is_key(name));
        }
        self.nullability(field, column);
        let declared = field.default.as_deref();
        let found = column.default.as_deref().filter(|expression| !expression.eq_ignore_ascii_case("NULL"));
        let same = match (declared, found) {
            (Some(declared), Some(found)) => {
                declared == found || from_expression(found, &field.data_type).as_deref() == Some(declared)
            }
            (None, None) => true,
            _ => false,
        };
        if !same {
            let show = |default: Option<&str>| default.map_or("none".to_owned(), |one| shown(one, field));
            let text = format!("default of {name} {} → {}", show(found), show(declared));
            let what = declared.map_or("DROP DEFAULT".to_owned(), |literal| format!("SET DEFAULT {literal}"));
            let sql = self.alter(&format!("ALTER COLUMN {quoted} {what}"));
            self.change(Phase::Alter, Sign::Change, text, sql);
        }
        if field.description != column.comment {
            let sql = comment_on_column(&self.declared.name, name, field.description.as_deref());
            self.change(Phase::Comment, Sign::Change, format!("description of {name}"), vec![sql]);
        }
    }

    fn nullability(&mut self, field: &DeclaredField, column: &ActualColumn) {
        let name = &column.name;
        if field.nullable == column.nullable {
            return;
        }
        let quoted = quote_name(name);
        if field.nullable {
            // A column that leaves the key may be NULL only in a table that is made anew, as the key change asks.
            let sql = self.alter(&format!("ALTER COLUMN {quoted} DROP NOT NULL"));
            self.change(Phase::Alter, Sign::Change, format!("column {name} may be NULL"), sql);
            self.unindex = true;
            return;
        }
        let reason = "producers may send NULL for it, and rows may hold it".to_owned();
        let lost = "nothing is changed if a row holds a NULL".to_owned();
        let sql = self.alter(&format!("ALTER COLUMN {quoted} SET NOT NULL"));
        let text = format!("column {name} may not be NULL any more");
        self.unindex |= self.breaking(text, reason, lost, Sign::Change, sql);
    }

    fn index(&mut self, field: &DeclaredField) {
        let mut present = self.actual.indexes_on(&field.name);
        if needs_index(self.declared, field) {
            if present.next().is_none() {
                let sql = vec![create_index(&self.declared.name, &field.name)];
                self.change(Phase::CreateIndex, Sign::Add, format!("index on {}", field.name), sql);
            }
            return;
        }
        if field.is_indexed {
            return;
        }
        // A unique index is a rule of somebody else, not ours to drop.
        let dropped: Vec<&ActualIndex> = present.filter(|index| !index.is_unique).collect();
        for index in dropped {
            let sql = vec![self.drop_index(index)];
            let text = format!("index {} on {}", index.name, field.name);
            self.change(Phase::DropIndex, Sign::Remove, text, sql);
        }
    }

    fn drop_index(&self, index: &ActualIndex) -> String {
        let name = TableName { table: index.name.clone(), ..self.declared.name.clone() };
        format!("DROP INDEX {}", name.to_sql())
    }

    /// Columns of the table that the declaration does not have.
    fn extra_columns(&mut self) {
        let missing: Vec<&DeclaredField> =
            self.declared.fields.iter().filter(|field| self.actual.column(&field.name).is_none()).collect();
        for column in self.undeclared() {
            if self.keeps(column) {
                continue;
            }
            let name = &column.name;
            let text = format!("drop column {name} {}", column.duckdb_type);
            let lost = format!("the values of {name} in {} are lost", many(self.actual.rows, "row"));
            let renamed = missing.iter().find(|field| field.data_type.duckdb == column.duckdb_type).map_or(
                String::new(),
                |field| {
                    format!(
                        "; if \"{name}\" is meant to be \"{}\", a rename is a drop and an add",
                        field.name
                    )
                },
            );
            let why = if self.declared.on_new_column == NewColumns::Reject {
                "the table has it and the declaration does not; say on_new_column = \"add\" to leave such columns alone"
            } else if column.nullable {
                "the version before declared it, so it is not one that a producer added"
            } else {
                "the table has it as a required column, and the declaration does not know it"
            };
            let sql = self.alter(&format!("DROP COLUMN {}", quote_name(name)));
            let planned = self.breaking(text, format!("{why}{renamed}"), lost, Sign::Remove, sql);
            let indexed = !self.actual.indexes.is_empty() || !self.actual.primary_key.is_empty();
            self.rebuild |= planned && indexed;
        }
    }

    fn undeclared(&self) -> Vec<&'a ActualColumn> {
        let declared = |name: &str| self.declared.fields.iter().any(|field| same_name(&field.name, name));
        let actual = self.actual;
        actual.columns.iter().filter(|column| !declared(&column.name)).collect()
    }

    /// Whether a column that is not declared stays: a producer added it.
    fn keeps(&self, column: &ActualColumn) -> bool {
        let was_declared = self.actual.declared_before.iter().any(|name| same_name(name, &column.name));
        self.declared.on_new_column == NewColumns::Add && column.nullable && !was_declared
    }

    fn finish(mut self) -> Plan {
        self.changes.sort_by_key(|(phase, _)| *phase);
        if self.rebuild {
            self.rebuilt();
        } else if self.unindex && !self.actual.indexes.is_empty() {
            self.unindexed();
        }
        let steps = self.changes.into_iter().map(|(_, step)| step).collect();
        Plan { steps, refusals: self.refusals }
    }

    /// Takes the indexes that stay out of the way of what the engine refuses while they are there.
    fn unindexed(&mut self) {
        let kept = self.kept_indexes();
        if kept.is_empty() {
            return;
        }
        let text = "make the indexes again: the engine does not alter an indexed table so".to_owned();
        let drops = kept.iter().map(|index| self.drop_index(index)).collect();
        let creates = kept.iter().map(|index| create_again(self.declared, index)).collect();
        let step = |text: String, sql| Step { sign: Sign::Change, text, lost: None, sql };
        let at = self
            .changes
            .iter()
            .position(|(phase, _)| *phase > Phase::DropIndex)
            .unwrap_or(self.changes.len());
        self.changes.insert(at, (Phase::DropIndex, step("set the indexes aside".to_owned(), drops)));
        self.changes.push((Phase::CreateIndex, step(text, creates)));
    }

    /// Indexes that are there and stay.
    fn kept_indexes(&self) -> Vec<&'a ActualIndex> {
        let dropped = |index: &&ActualIndex| {
            let field = index
                .column()
                .and_then(|column| self.declared.fields.iter().find(|field| same_name(&field.name, &column)));
            !index.is_unique && field.is_some_and(|field| !field.is_indexed)
        };
        self.actual.indexes.iter().filter(|index| !dropped(index)).collect()
    }

    /// Puts one rebuild in the place of every statement.
    fn rebuilt(&mut self) {
        let (kept, dropped) = self.undeclared().into_iter().partition(|column| self.keeps(column));
        let (declared, actual, indexes) = (self.declared, self.actual, self.kept_indexes());
        let rebuild = Rebuild { declared, actual, kept, dropped, indexes };
        let lost = rebuild.loses();
        if !lost.is_empty() {
            let text = format!("rebuild table {}", self.declared.name);
            let reason =
                format!("a change above needs the table made anew, and that would lose {}", lost.join(", "));
            return self.refuse(text, reason, "drop what is named, or make the change by hand");
        }
        for (_, step) in &mut self.changes {
            step.sql.clear();
        }
        let text = format!("rebuild the table: make it anew, copy {}, index", many(self.actual.rows, "row"));
        let sql = rebuild.statements();
        self.changes.push((Phase::CreateIndex, Step { sign: Sign::Change, text, lost: None, sql }));
    }
}
