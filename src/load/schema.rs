//! The schemas of all files, and the table's where it is there -> what each file sends, before a row is read.
//! Runs on: any thread; pure.
//! Never: finds out while rows are on their way that two files cannot be in one table.

mod adapt;
mod types;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::catalog::{Column, Contract, Offered, Table, TableName, conform_some, from_arrow};
use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

pub(super) use adapt::Adapter;

/// Problems that one message names.
const PROBLEMS_SHOWN: usize = 5;

/// What may be done to a table that is there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// Columns that it lacks are added (`--on-new-column add`).
    pub(super) add_columns: bool,
    /// Columns that are too narrow get a wider type (`--widen`).
    pub(super) widen: bool,
    /// Its declaration decides what it takes, and the server knows that.
    pub(super) is_declared: bool,
}

/// What comes out of the schemas of all files.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    /// Every column of every file, in order of first appearance.
    pub(super) schema: SchemaRef,
    /// What each file sends. A new table gets every column of every file; one that is there fills those that a file lacks
    /// by their defaults. Files with equal schemas may share a put.
    pub(super) sent: Vec<SchemaRef>,
    /// Columns to be added to the table first.
    pub(super) added: Vec<FieldRef>,
    /// Columns of the table that get a wider type first, as they will be.
    pub(super) widened: Vec<FieldRef>,
}

/// A column of some files.
struct Found {
    /// As first spelled.
    name: String,
    /// Each file that has it, and its type there.
    files: Vec<(usize, Field)>,
    /// The type for all of them.
    joined: Option<Field>,
}

/// Joins the schemas of files, which are named as people know them. `table` is the one they go into, when it is there.
///
/// Errors: `Invalid` naming for each problem column, types and files, and what to do about it.
pub(super) fn join(
    files: &[(&str, &SchemaRef)],
    table: Option<&SchemaRef>,
    options: Options,
) -> Result<Joined> {
    let mut problems = Vec::new();
    let columns = collect(files, &mut problems);
    let mut added = Vec::new();
    let mut widened = Vec::new();
    // What each column is sent as, by file.
    let mut sent: Vec<HashMap<usize, FieldRef>> = Vec::with_capacity(columns.len());
    for column in &columns {
        let target = table.map(|table| (table, find(table, &column.name)));
        let all =
            |field: &FieldRef| column.files.iter().map(|(file, _)| (*file, Arc::clone(field))).collect();
        sent.push(match (target, &column.joined) {
            (None, Some(joined)) => {
                let joined = Arc::new(joined.clone());
                (0..files.len()).map(|file| (file, Arc::clone(&joined))).collect()
            }
            (Some((_, None)), Some(joined)) => {
                let joined = Arc::new(joined.clone());
                if options.add_columns {
                    added.push(Arc::clone(&joined));
                } else if !options.is_declared {
                    problems.push(format!(
                        "the table has no column \"{}\", which is {} in {}; load with --on-new-column add to give it one",
                        column.name,
                        joined.data_type(),
                        named(files, column)
                    ));
                }
                all(&joined)
            }
            (Some((_, Some(target))), joined) => match place(target, column, joined.as_ref(), options) {
                Ok(Placed::As(field)) => all(&Arc::new(field)),
                Ok(Placed::Own) => {
                    column.files.iter().map(|(file, field)| (*file, Arc::new(field.clone()))).collect()
                }
                Ok(Placed::Wider(target, field)) => {
                    widened.push(Arc::new(target));
                    all(&Arc::new(field))
                }
                Err(Misplaced::Files) => {
                    problems.push(apart(files, column));
                    HashMap::new()
                }
                Err(Misplaced::Table(text)) => {
                    problems.push(format!("{text}, found in {}", named(files, column)));
                    HashMap::new()
                }
            },
            (_, None) => {
                problems.push(apart(files, column));
                HashMap::new()
            }
        });
    }
    if !problems.is_empty() {
        return Err(refused(&problems));
    }
    let schema = columns.iter().filter_map(|column| column.joined.clone()).collect::<Vec<_>>();
    let of_file = |file: usize| {
        let fields = sent.iter().filter_map(|column| column.get(&file).cloned()).collect::<Vec<_>>();
        Arc::new(Schema::new(fields))
    };
    // Thousands of files have few schemas between them.
    let mut known: Vec<SchemaRef> = Vec::new();
    let sent = (0..files.len()).map(|file| {
        let own = of_file(file);
        if let Some(same) = known.iter().find(|known| **known == own) {
            return Arc::clone(same);
        }
        known.push(Arc::clone(&own));
        own
    });
    let sent = sent.collect();
    Ok(Joined { schema: Arc::new(Schema::new(schema)), sent, added, widened })
}

fn collect(files: &[(&str, &SchemaRef)], problems: &mut Vec<String>) -> Vec<Found> {
    let mut columns: Vec<Found> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (file, (shown, schema)) in files.iter().enumerate() {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for field in schema.fields() {
            let lower = field.name().to_lowercase();
            if let Some(other) = seen.insert(lower.clone(), field.name()) {
                problems.push(format!(
                    "{shown} has two columns \"{other}\" and \"{}\", which are one name in SQL; rename one of them",
                    field.name()
                ));
                continue;
            }
            let offered = types::offered(field);
            let Some(place) = places.get(&lower) else {
                places.insert(lower, columns.len());
                columns.push(Found {
                    name: field.name().clone(),
                    joined: Some(offered.clone()),
                    files: vec![(file, offered)],
                });
                continue;
            };
            let column = &mut columns[*place];
            let offered = offered.with_name(&column.name);
            column.joined = column.joined.take().and_then(|joined| types::join(&joined, &offered));
            column.files.push((file, offered));
        }
    }
    columns
}

fn find<'a>(schema: &'a Schema, name: &str) -> Option<&'a FieldRef> {
    schema.fields().iter().find(|field| field.name().to_lowercase() == name.to_lowercase())
}

enum Placed {
    /// All files send this.
    As(Field),
    /// Each file sends what it has.
    Own,
    /// The table's column becomes the first, and all files send the second.
    Wider(Field, Field),
}

enum Misplaced {
    Files,
    Table(String),
}

/// How a column of the files goes into the table's.
fn place(
    target: &Field,
    column: &Found,
    joined: Option<&Field>,
    options: Options,
) -> Result<Placed, Misplaced> {
    let takes = |field: &Field| options.is_declared || takes(target, field);
    if let Some(joined) = joined.filter(|joined| takes(joined)) {
        return Ok(Placed::As(joined.clone()));
    }
    let known = types::offered(target);
    // Structs with other fields, or with theirs in another order.
    let both = joined.and_then(|joined| types::join(&known, joined));
    if let Some(both) = both.as_ref().filter(|both| stored_as(both) == stored_as(&known)) {
        return Ok(Placed::As(both.clone().with_name(&column.name)));
    }
    if column.files.iter().all(|(_, field)| takes(field)) {
        return Ok(Placed::Own);
    }
    let Some(joined) = joined else { return Err(Misplaced::Files) };
    let types = |advice: &str| {
        format!(
            "column \"{}\" is {} in the table and {} in the files{advice}",
            target.name(),
            stored_as(target).unwrap_or_else(|| target.data_type().to_string()),
            joined.data_type()
        )
    };
    match both {
        Some(both) if options.widen => Ok(Placed::Wider(both.with_name(target.name()), joined.clone())),
        Some(both) => Err(Misplaced::Table(types(&format!(
            ", whose values it does not hold; load with --widen to make it {}",
            stored_as(&both).unwrap_or_else(|| both.data_type().to_string())
        )))),
        None => Err(Misplaced::Table(types(
            ", and no type holds both; cast the column in the files, or load them into another table",
        ))),
    }
}

/// Whether the server stores `field` in a column of the table as it is, by its own rules.
fn takes(target: &Field, field: &Field) -> bool {
    let (Some(into), Some(from)) = (stored_as(target), stored_as(field)) else {
        // What has no name here is the server's to judge, which says so before it stores anything.
        return true;
    };
    let table = Table {
        name: TableName { catalog: None, schema: None, table: String::new() },
        columns: vec![Column {
            name: target.name().clone(),
            duckdb_type: into,
            has_default: false,
            is_generated: false,
        }],
    };
    let offered = Offered { name: field.name().clone(), duckdb_type: from, arrow: field.data_type().clone() };
    conform_some(&table, Contract::default(), &[offered]).is_ok()
}

fn stored_as(field: &Field) -> Option<String> {
    from_arrow(field).ok().map(|known| known.duckdb)
}

/// Two files whose types for a column have nothing in common.
fn apart(files: &[(&str, &SchemaRef)], column: &Found) -> String {
    let mut distinct: Vec<&(usize, Field)> = Vec::new();
    for one in &column.files {
        if !distinct.iter().any(|(_, field)| *field == one.1) {
            distinct.push(one);
        }
    }
    let mut pairs = distinct
        .iter()
        .enumerate()
        .flat_map(|(at, one)| distinct[..at].iter().map(move |before| (*before, *one)));
    let shown = |(file, field): &(usize, Field)| format!("{} in {}", kind(field), files[*file].0);
    let types = match pairs.find(|((_, one), (_, other))| types::join(one, other).is_none()) {
        Some((one, other)) => format!("{} and {}", shown(one), shown(other)),
        None => distinct.into_iter().map(shown).collect::<Vec<_>>().join(" and "),
    };
    format!(
        "column \"{}\" is {types}, and no type holds the values of both; cast it in one of them, or load them into \
         tables of their own",
        column.name
    )
}

/// The type for people: its extension's name says more than its storage.
fn kind(field: &Field) -> String {
    match (field.metadata().get(pintail_protocol::extension::NAME), field.data_type()) {
        (Some(extension), data_type) => format!("{extension} ({data_type})"),
        (None, DataType::Timestamp(_, None)) => format!("{} without a time zone", field.data_type()),
        (None, data_type) => data_type.to_string(),
    }
}

fn named(files: &[(&str, &SchemaRef)], column: &Found) -> String {
    let first = column.files.first().map_or("", |(file, _)| files[*file].0);
    match column.files.len() {
        0 | 1 => first.to_owned(),
        2 => format!("{first} and another file"),
        more => format!("{first} and {} other files", more - 1),
    }
}

fn refused(problems: &[String]) -> Error {
    let mut text = "these files cannot be loaded into one table: ".to_owned();
    text.push_str(&problems.iter().take(PROBLEMS_SHOWN).cloned().collect::<Vec<_>>().join("; "));
    if problems.len() > PROBLEMS_SHOWN {
        // Writing to a string does not fail.
        let _ = write!(text, "; and {} more", problems.len() - PROBLEMS_SHOWN);
    }
    Error::invalid(text)
}

#[cfg(test)]
mod tests;
