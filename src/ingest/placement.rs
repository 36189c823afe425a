//! A put's table, found or to be made, and its columns, conformed -> the INSERT that takes the rows.
//! Runs on: the thread that will append, before its transaction. Blocks for catalog look-ups.
//! Never: changes anything but a new table, which several streams may start on at the same time.

use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Mode, OnConflict, Shared, Target};
use crate::catalog::{self, Column, Contract, Declaration, Offered, Placed, Table, TableName};
use crate::engine::{self, BulkInsert, Insert, Session};
use crate::error::{Error, Kind, Result};

/// Where the rows of a stream go, decided once per stream.
pub(super) struct Placement {
    /// For texts.
    pub(super) what: String,
    /// The full name; `None` for a statement of the client's own.
    pub(super) table: Option<TableName>,
    pub(super) schema: SchemaRef,
    pub(super) insert: Insert,
    /// Empty for a statement.
    pub(super) columns: Vec<Placed>,
    /// The key's columns, where they are needed.
    pub(super) key: Vec<String>,
    pub(super) on_conflict: OnConflict,
    /// `ON CONFLICT …` of the INSERT, or nothing.
    pub(super) conflict: String,
    /// Condition that leaves the last of several rows with one key, where that matters. DuckDB's ON CONFLICT keeps
    /// the first row of a statement.
    pub(super) last_of_key: Option<String>,
    /// Where rows go that break a rule.
    pub(super) rejected: Option<TableName>,
    /// What the transaction does first.
    pub(super) first: Vec<String>,
    pub(super) created: bool,
    /// The table, if it was created in a transaction of its own.
    pub(super) created_outside: Option<TableName>,
}

impl Placement {
    /// Columns of the stream in which the declaration forbids NULL: place and name.
    pub(super) fn required(&self) -> impl Iterator<Item = (usize, &str)> {
        let required = self.columns.iter().enumerate().filter(|(_, column)| column.is_required);
        required.map(|(index, column)| (index, column.target.as_str()))
    }

    /// Runs what belongs into the transaction before the first row.
    pub(super) fn begin(&self, session: &Session) -> Result<()> {
        if self.first.is_empty() {
            return Ok(());
        }
        let _turn = session.reshapes();
        for sql in &self.first {
            session.execute(sql).map_err(|error| {
                let stands = error.message().starts_with("Dependency Error: Cannot alter entry");
                let error = error.context(format!("table {}", self.what));
                if !stands {
                    return error;
                }
                let advice = "an index stands in the way of the column's type; drop it, put the rows and make it again";
                Error::new(error.kind(), format!("{}; {advice}", error.message()))
            })?;
        }
        Ok(())
    }
}

/// Finds or makes the table and decides how columns go in.
///
/// `joins`: inside a transaction of the client, to which a table that is made now belongs as well. `begun`: the batches
/// that are there already.
pub(super) fn place(
    shared: &Shared,
    target: &Target,
    (schema, begun): (&SchemaRef, &[RecordBatch]),
    on_conflict: OnConflict,
    session: &Session,
    joins: bool,
) -> Result<Placement> {
    let (table, shown, mode) = match target {
        Target::Table { table, shown, mode } => (table, shown, *mode),
        Target::Statement { bulk, table } => {
            return statement(shared, bulk, table.as_ref(), target.to_string(), schema, session);
        }
    };
    let what = target.to_string();
    if table.schema.as_deref().is_some_and(|schema| schema.eq_ignore_ascii_case(engine::INTERNAL_SCHEMA)) {
        let text = format!("schema {} is the server's own and takes no rows", engine::INTERNAL_SCHEMA);
        return Err(Error::new(Kind::Denied, text));
    }
    let declared = shared.declared(table);
    let existing = engine::find_table(session, table)?;
    let mut first = Vec::new();
    let mut created_outside = None;
    let (existing, created) = match (mode, existing) {
        (Mode::Append | Mode::ReplaceExisting, None) => {
            return Err(Error::not_found(format!(
                "table {what} does not exist; create it first, or put with mode create or create_append"
            )));
        }
        (Mode::Create, Some(_)) => {
            return Err(Error::new(
                Kind::Exists,
                format!("table {what} already exists; put with mode append, create_append or replace"),
            ));
        }
        // A declared table keeps its shape; only its rows are replaced.
        (Mode::Replace | Mode::ReplaceExisting, Some(existing)) if declared.is_some() => {
            first.push(format!("DELETE FROM {}", table.to_sql()));
            (Some(existing), false)
        }
        (Mode::Create | Mode::Replace | Mode::ReplaceExisting, _) => (None, true),
        (Mode::Append | Mode::CreateAppend, Some(existing)) => (Some(existing), false),
        (Mode::CreateAppend, None) if joins => (None, true),
        (Mode::CreateAppend, None) => {
            let (existing, created) = create_outside(shared, table, shown, (schema, begun), session)?;
            created_outside = created.then(|| table.clone());
            (Some(existing), created)
        }
    };
    let offered = offered(session, &what, schema)?;
    let existing = match (existing, &declared) {
        (Some(existing), _) => existing,
        (None, Some(declared)) => {
            first.extend(catalog::declared_create(declared, table));
            declared_table(declared)
        }
        (None, None) => {
            let replace = matches!(mode, Mode::Replace | Mode::ReplaceExisting);
            let types = new_types(schema, &offered, begun);
            first.push(create_sql(table, shown, schema, &types, replace)?);
            if on_conflict != OnConflict::Error {
                return Err(no_key(&what));
            }
            new_table(shown, &offered, types)
        }
    };
    let existing = Table { name: shown.clone(), ..existing };
    let earlier = shared.declarations.earlier(table);
    let contract = Contract { declared: declared.as_deref(), earlier: &earlier };
    let conformed = catalog::conform(&existing, contract, &offered)?;
    first.extend(catalog::add_columns(table, &conformed.added));
    first.extend(catalog::settle_columns(table, &conformed.settled));
    let wants_rejected = declared.as_ref().is_some_and(|declared| declared.dead_letters);
    let key = match &declared {
        Some(declared) => declared.primary_key.clone(),
        None if on_conflict == OnConflict::Error => Vec::new(),
        None => key_of(session, table)?,
    };
    let (conflict, last_of_key) = match on_conflict {
        OnConflict::Error => (String::new(), None),
        _ if key.is_empty() => return Err(no_key(&what)),
        OnConflict::Ignore => (catalog::IGNORE_CONFLICT.to_owned(), None),
        OnConflict::Replace => {
            let replace = catalog::replace_conflict(&existing, &key);
            (replace, Some(catalog::last_of_key(&conformed.columns, &key)))
        }
    };
    let insert = insert(table, &conformed.columns, &conflict, last_of_key.as_deref());
    let rejected = wants_rejected.then(|| catalog::rejected_name(table));
    if wants_rejected && engine::find_table(session, &catalog::rejected_name(table))?.is_none() {
        let create = catalog::create_rejected(table);
        if joins {
            first.push(create);
        } else {
            let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
            session.execute(&create)?;
        }
    }
    Ok(Placement {
        what,
        table: Some(table.clone()),
        schema: Arc::clone(schema),
        insert,
        columns: conformed.columns,
        key,
        on_conflict,
        conflict,
        last_of_key,
        rejected,
        first,
        created,
        created_outside,
    })
}

/// An INSERT of the client's own. Into a declared table its parameters are held to the declaration.
fn statement(
    shared: &Shared,
    bulk: &BulkInsert,
    table: Option<&TableName>,
    what: String,
    schema: &SchemaRef,
    session: &Session,
) -> Result<Placement> {
    let mut placement = Placement {
        what,
        table: None,
        schema: Arc::clone(schema),
        insert: bulk.insert.clone(),
        columns: Vec::new(),
        key: Vec::new(),
        on_conflict: OnConflict::Error,
        conflict: String::new(),
        last_of_key: None,
        rejected: None,
        first: Vec::new(),
        created: false,
        created_outside: None,
    };
    let Some((name, declared)) = table.and_then(|name| Some((name, shared.declared(name)?))) else {
        return Ok(placement);
    };
    let Some(existing) = engine::find_table(session, name)? else { return Ok(placement) };
    let existing = Table { name: declared.name.clone(), ..existing };
    let all = existing.columns.iter().filter(|column| !column.is_generated);
    let columns: Vec<String> = match &bulk.columns {
        Some(columns) => columns.clone(),
        None => all.map(|column| column.name.clone()).collect(),
    };
    let offered = offered(session, &placement.what, schema)?;
    // Values that are a parameter and nothing else: place in the statement, parameter, column.
    let plain: Vec<(usize, usize, Offered)> = bulk
        .values
        .iter()
        .enumerate()
        .zip(&columns)
        .filter_map(|((place, (_, parameter)), column)| {
            let parameter = (*parameter)?;
            Some((place, parameter, Offered { name: column.clone(), ..offered.get(parameter)?.clone() }))
        })
        .collect();
    if plain.is_empty() {
        return Ok(placement);
    }
    let earlier = shared.declarations.earlier(name);
    let contract = Contract { declared: Some(&declared), earlier: &earlier };
    let named: Vec<Offered> = plain.iter().map(|(_, _, offered)| offered.clone()).collect();
    let conformed = catalog::conform_some(&existing, contract, &named)?;
    let mut values: Vec<String> = bulk.values.iter().map(|(text, _)| text.clone()).collect();
    for ((place, _, _), column) in plain.iter().zip(&conformed.columns) {
        values[*place] = column.value_of(&bulk.values[*place].0);
    }
    placement.insert = bulk.with_values(&values);
    placement.table = Some(name.clone());
    // With each parameter in one place, the row that breaks a rule can be told.
    let mut by_parameter: Vec<Option<Placed>> = vec![None; schema.fields().len()];
    for ((_, parameter, _), column) in plain.iter().zip(conformed.columns) {
        let source = schema.field(*parameter).name().clone();
        by_parameter[*parameter] = Some(Placed { source, ..column });
    }
    placement.columns = by_parameter.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default();
    Ok(placement)
}

fn insert(table: &TableName, columns: &[Placed], conflict: &str, last_of_key: Option<&str>) -> Insert {
    let head = catalog::insert_head(table, columns);
    match last_of_key {
        None => Insert { head, tail: conflict.to_owned() },
        Some(last_of_key) => Insert {
            head: format!("{head}(FROM (SELECT row_number() OVER () AS {}, * FROM ", catalog::ROW),
            tail: format!(") {last_of_key}){conflict}"),
        },
    }
}

/// Created in a transaction of its own: several streams may start on a new table at the same time, and a table
/// made inside a long transaction would turn the others away.
fn create_outside(
    shared: &Shared,
    table: &TableName,
    shown: &TableName,
    (schema, begun): (&SchemaRef, &[RecordBatch]),
    session: &Session,
) -> Result<(Table, bool)> {
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    let mut created = false;
    if engine::find_table(session, table)?.is_none() {
        let statements = match shared.declared(table) {
            Some(declared) => catalog::declared_create(&declared, table),
            None => {
                let offered = offered(session, &shown.to_string(), schema)?;
                vec![create_sql(table, shown, schema, &new_types(schema, &offered, begun), false)?]
            }
        };
        for sql in statements {
            session.execute(&sql).map_err(|error| error.context(format!("table {shown}")))?;
        }
        created = true;
    }
    let existing = engine::find_table(session, table)?.ok_or_else(|| {
        Error::new(Kind::Aborted, format!("table {shown} was dropped while the stream began; send it again"))
    })?;
    Ok((existing, created))
}

fn create_sql(
    table: &TableName,
    shown: &TableName,
    schema: &SchemaRef,
    types: &[String],
    replace: bool,
) -> Result<String> {
    catalog::check_new_table(shown, schema)?;
    Ok(catalog::create_table(table, schema, types, replace))
}

fn new_types(schema: &SchemaRef, offered: &[Offered], begun: &[RecordBatch]) -> Vec<String> {
    let types: Vec<String> = offered.iter().map(|column| column.duckdb_type.clone()).collect();
    catalog::stored_types(schema, &types, begun)
}

/// A table that is yet to be made from a stream, as if it were there.
fn new_table(name: &TableName, offered: &[Offered], types: Vec<String>) -> Table {
    let column = |(offered, duckdb_type): (&Offered, String)| Column {
        name: offered.name.clone(),
        duckdb_type,
        has_default: false,
        is_generated: false,
    };
    Table { name: name.clone(), columns: offered.iter().zip(types).map(column).collect() }
}

fn offered(session: &Session, what: &str, schema: &SchemaRef) -> Result<Vec<Offered>> {
    if schema.fields().is_empty() {
        // The engine has no word for it; what is done with the columns has.
        return Ok(Vec::new());
    }
    let columns = engine::describe_rows(session, schema).map_err(|error| {
        Error::new(error.kind(), format!("table {what}: a column's type cannot be stored: {error}"))
    })?;
    let with_arrow = |((name, duckdb_type), field): ((String, String), &arrow::datatypes::FieldRef)| {
        Offered { name, duckdb_type, arrow: field.data_type().clone() }
    };
    Ok(columns.into_iter().zip(schema.fields()).map(with_arrow).collect())
}

/// A declared table that is yet to be made, as if it were there.
fn declared_table(declared: &Declaration) -> Table {
    let column = |field: &catalog::DeclaredField| Column {
        name: field.name.clone(),
        duckdb_type: field.data_type.duckdb.clone(),
        has_default: field.default.is_some(),
        is_generated: false,
    };
    Table { name: declared.name.clone(), columns: declared.fields.iter().map(column).collect() }
}

pub(super) fn key_of(session: &Session, table: &TableName) -> Result<Vec<String>> {
    let schema = table.schema.as_deref().unwrap_or("main");
    let columns = engine::primary_keys(session, table.catalog.as_deref(), Some(schema), &table.table)?;
    Ok(columns.into_iter().map(|column| column.column).collect())
}

fn no_key(what: &str) -> Error {
    Error::invalid(format!(
        "table {what} has no primary key, so pintail-on-conflict ignore and replace have nothing to go by; \
         declare a primary_key or leave the header out"
    ))
}

/// A stream that made its table and failed leaves no trace of it, unless others have put rows meanwhile.
pub(super) fn remove_if_empty(shared: &Shared, session: &Session, table: &TableName) {
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    let name = table.to_sql();
    let _turn = session.reshapes();
    // DROP inside the same transaction as the look: a row that another stream commits in between makes the
    // DROP conflict, and the table stays.
    let dropped = session.execute("BEGIN TRANSACTION").and_then(|_| {
        let empty = session.execute(&format!("CREATE TEMP TABLE pintail_probe AS FROM {name} LIMIT 1"))? == 0;
        if empty { session.execute(&format!("DROP TABLE {name}")) } else { Ok(0) }
    });
    let ended = match dropped {
        Ok(_) => session.execute("DROP TABLE temp.pintail_probe").and_then(|_| session.execute("COMMIT")),
        Err(error) => session.execute("ROLLBACK").and(Err(error)),
    };
    if let Err(error) = ended {
        tracing::warn!(table = %table, %error, "an empty table of a failed stream could not be removed");
    }
}
