//! A put's table, found or to be made, and its columns, conformed -> the INSERT that takes the rows.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: goes by what a table looked like in another transaction: where a table is looked up inside of the transaction
//! that inserts, the engine refuses the rows when somebody changes the table meanwhile.

use std::sync::{Arc, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};

use super::tables::User;
use super::{Mode, OnConflict, Shared, Target};
use crate::catalog::{self, Column, Contract, Declaration, Offered, Placed, Table, TableName};
use crate::engine::{self, BulkInsert, Connection, Insert};
use crate::error::{Error, Kind, Result, shorten};

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
    /// What it does before the first row: taking the old rows away, which keeps checkpoints off.
    pub(super) clears: Vec<String>,
    /// Whether the table is made by the transaction.
    pub(super) created: bool,
    /// Whether a row may see what the rows before it did, as in a client's own upsert.
    pub(super) is_one_by_one: bool,
    /// The stream's columns that are its key, if it has one: rows of different keys do not see each other.
    pub(super) conflict_key: Option<Vec<usize>>,
}

/// How often a put begins anew when tables change while it looks at one.
const TRIES: usize = 50;

impl Placement {
    /// Columns of the stream in which the declaration forbids NULL: place and name.
    pub(super) fn required(&self) -> impl Iterator<Item = (usize, &str)> {
        let required = self.columns.iter().enumerate().filter(|(_, column)| column.is_required);
        required.map(|(index, column)| (index, column.target.as_str()))
    }

    /// Whether the transaction makes the table or takes its old rows away, and with them what is known of their files.
    pub(super) fn forgets(&self) -> bool {
        self.created || !self.clears.is_empty()
    }

    /// Runs what belongs into the transaction first.
    pub(super) fn begin(&self, connection: &Connection) -> Result<()> {
        let _turn = (!self.first.is_empty()).then(|| connection.reshapes());
        self.run(&self.first, connection)
    }

    /// Takes the old rows away, if the put replaces them. To be called once, before the first row.
    pub(super) fn clear(&self, connection: &Connection) -> Result<()> {
        let _turn = (!self.clears.is_empty()).then(|| connection.deletes());
        self.run(&self.clears, connection)
    }

    fn run(&self, statements: &[String], connection: &Connection) -> Result<()> {
        statements.iter().try_for_each(|sql| {
            connection.execute(sql).map(|_| ()).map_err(|error| {
                let stands = error.message().starts_with("Dependency Error: Cannot alter entry");
                let error = error.context(format!("table {}", self.what));
                if !stands {
                    return error;
                }
                let advice =
                    "an index stands in the way of the column's type; drop it, put the rows and make it again";
                Error::new(error.kind(), format!("{}; {advice}", error.message()))
            })
        })
    }
}

/// A put's schema, and the batches of it that are there already.
pub(super) type Stream<'a> = (&'a SchemaRef, &'a [RecordBatch]);

/// Makes what a put needs before its own transaction, and says whether that was its table.
///
/// A new table is made in a transaction of its own: several streams may start on it at the same time, and a table made
/// inside of a long transaction would turn the others away.
pub(super) fn prepare(
    shared: &Shared,
    target: &Target,
    stream: Stream<'_>,
    connection: &mut Connection,
) -> Result<bool> {
    let Target::Table { table, shown, mode } = target else { return Ok(false) };
    check_not_internal(table)?;
    let mut created = false;
    if *mode == Mode::CreateAppend && engine::find_table(connection, table)?.is_none() {
        created = create_outside(shared, table, shown, stream, connection)?;
    }
    if shared.declared(table).is_some_and(|declared| declared.dead_letters)
        && engine::find_table(connection, &catalog::rejected_name(table))?.is_none()
    {
        let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
        connection.define(&[catalog::create_rejected(table)])?;
    }
    Ok(created)
}

/// Opens a put's transaction with its table looked up inside of it, and does what comes before the first row.
///
/// Errors: as [`place`]; `Aborted` when tables do not come to rest.
pub(super) fn begin(
    shared: &Shared,
    target: &Target,
    stream: Stream<'_>,
    on_conflict: OnConflict,
    connection: &mut Connection,
) -> Result<Placement> {
    for attempt in 0..TRIES {
        let shape = shared.database.shape();
        connection.begin()?;
        let placed = place(shared, target, stream, on_conflict, connection, false);
        // The declaration and the table must be those of one moment.
        if shape.is_some() && shared.database.shape() == shape {
            let placement = placed?;
            placement.begin(connection)?;
            return Ok(placement);
        }
        connection.rollback()?;
        std::thread::sleep(std::time::Duration::from_millis(attempt as u64));
    }
    Err(Error::new(Kind::Aborted, format!("table {target} is being changed; send it again")))
}

fn check_not_internal(table: &TableName) -> Result<()> {
    let schema = table.schema.as_deref();
    if schema.is_some_and(|schema| schema.eq_ignore_ascii_case(engine::INTERNAL_SCHEMA)) {
        let text = format!("schema {} is the server's own and takes no rows", engine::INTERNAL_SCHEMA);
        return Err(Error::new(Kind::Denied, text));
    }
    Ok(())
}

/// Finds the table, or decides how it is made, and how columns go in.
///
/// `joins`: inside a transaction of the client, to which a table that is made now belongs as well.
pub(super) fn place(
    shared: &Shared,
    target: &Target,
    stream: Stream<'_>,
    on_conflict: OnConflict,
    connection: &Connection,
    joins: bool,
) -> Result<Placement> {
    let (schema, begun) = stream;
    let (table, shown, mode) = match target {
        Target::Table { table, shown, mode } => (table, shown, *mode),
        Target::Statement { bulk, table } => {
            return statement(shared, bulk, table.as_ref(), target.to_string(), schema, connection);
        }
    };
    let what = target.to_string();
    check_not_internal(table)?;
    let declared = shared.declared(table);
    let existing = engine::find_table(connection, table)?;
    let mut first = Vec::new();
    let mut clears = Vec::new();
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
        (Mode::Replace | Mode::ReplaceExisting, Some(existing)) => {
            if keeps_its_shape(connection, declared.as_deref(), &existing, &what, schema)? {
                clears = replace_rows(table, declared.as_deref(), joins);
                clears.extend(shared.loads.forgetting(connection, table));
                (Some(existing), false)
            } else {
                (None, true)
            }
        }
        (Mode::Create | Mode::Replace, None) => (None, true),
        (Mode::Append | Mode::CreateAppend, Some(existing)) => (Some(existing), false),
        (Mode::CreateAppend, None) if joins => (None, true),
        (Mode::CreateAppend, None) => {
            return Err(Error::new(
                Kind::Aborted,
                format!("table {what} was dropped while the stream began; send it again"),
            ));
        }
    };
    let offered = offered(connection, &what, schema)?;
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
    if created {
        first.extend(shared.loads.forgetting(connection, table));
    }
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
        None => key_of(connection, table)?,
    };
    let (conflict, last_of_key) = match on_conflict {
        OnConflict::Error => (String::new(), None),
        _ if key.is_empty() => return Err(no_key(&what)),
        OnConflict::Ignore => (catalog::ignore_conflict(&key), None),
        OnConflict::Replace => {
            let replace = catalog::replace_conflict(&existing, &key);
            (replace, Some(catalog::last_of_key(&conformed.columns, &key)))
        }
    };
    let insert = insert(table, &conformed.columns, &conflict, last_of_key.as_deref());
    let rejected = wants_rejected.then(|| catalog::rejected_name(table));
    if wants_rejected && engine::find_table(connection, &catalog::rejected_name(table))?.is_none() {
        let create = catalog::create_rejected(table);
        first.push(create);
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
        clears,
        created,
        is_one_by_one: false,
        conflict_key: None,
    })
}

/// Name and type of the columns that an INSERT gives values for, in its order; empty when one is not in the table.
fn columns_named(bulk: &BulkInsert, table: &Table) -> Vec<(String, String)> {
    let columns = table.columns.iter().filter(|column| !column.is_generated);
    let pair = |column: &Column| (column.name.clone(), column.duckdb_type.clone());
    match &bulk.columns {
        None => columns.map(pair).collect(),
        Some(names) => {
            let find = |name: &String| columns.clone().find(|one| one.name.eq_ignore_ascii_case(name));
            names.iter().map(|name| find(name).map(pair)).collect::<Option<Vec<_>>>().unwrap_or_default()
        }
    }
}

/// Which columns of the stream are the key of an upsert; `None` unless two of its keys are the same in the table just when
/// they are the same in the stream.
fn key_columns(
    bulk: &BulkInsert,
    key: &[String],
    table: &Table,
    name: &TableName,
    schema: &SchemaRef,
    connection: &Connection,
) -> Result<Option<Vec<usize>>> {
    let only;
    let key = if key.is_empty() {
        let Some(actual) = engine::actual_table(connection, name)? else { return Ok(None) };
        let has_others = actual.indexes.iter().any(|index| index.is_unique)
            || actual.constraints.iter().any(|text| text.to_uppercase().contains("UNIQUE"));
        if actual.primary_key.is_empty() || has_others {
            return Ok(None);
        }
        only = actual.primary_key;
        &only
    } else {
        key
    };
    let columns = columns_named(bulk, table);
    let one = |name: &String| {
        let place = columns.iter().position(|(column, _)| column.eq_ignore_ascii_case(name))?;
        let parameter = bulk.values.get(place)?.1?;
        let sent = schema.fields().get(parameter)?.data_type();
        let is_same = match columns[place].1.as_str() {
            "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT" | "USMALLINT"
            | "UINTEGER" | "UBIGINT" => sent.is_integer(),
            "VARCHAR" => sent == &DataType::Utf8 || sent.is_integer(),
            "DATE" => sent == &DataType::Date32,
            _ => false,
        };
        is_same.then_some(parameter)
    };
    Ok(key.iter().map(one).collect())
}

/// An INSERT of the client's own. Into a declared table its parameters are held to the declaration.
fn statement(
    shared: &Shared,
    bulk: &BulkInsert,
    table: Option<&TableName>,
    what: String,
    schema: &SchemaRef,
    connection: &Connection,
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
        clears: Vec::new(),
        created: false,
        is_one_by_one: bulk.is_one_by_one,
        conflict_key: None,
    };
    if bulk.is_one_by_one
        && let Some(name) = table
        && let Some(found) = engine::find_table(connection, name)?
    {
        if let Some(key) = &bulk.conflict_key {
            placement.conflict_key = key_columns(bulk, key, &found, name, schema, connection)?;
        }
        // Without the casts the engine looks for the key before it has its column's type, and finds no conflict.
        let types = columns_named(bulk, &found);
        let cast = |(place, (text, _)): (usize, &(String, Option<usize>))| match types.get(place) {
            // One without a type yet takes no cast.
            Some((_, duckdb_type)) if !catalog::is_open(duckdb_type) => {
                format!("CAST({text} AS {duckdb_type})")
            }
            _ => text.clone(),
        };
        placement.insert = bulk.with_values(&bulk.values.iter().enumerate().map(cast).collect::<Vec<_>>());
    }
    let Some((name, declared)) = table.and_then(|name| Some((name, shared.declared(name)?))) else {
        return Ok(placement);
    };
    let Some(existing) = engine::find_table(connection, name)? else { return Ok(placement) };
    let existing = Table { name: declared.name.clone(), ..existing };
    let all = existing.columns.iter().filter(|column| !column.is_generated);
    let columns: Vec<String> = match &bulk.columns {
        Some(columns) => columns.clone(),
        None => all.map(|column| column.name.clone()).collect(),
    };
    let offered = offered(connection, &placement.what, schema)?;
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

/// Makes a table for a stream, unless another stream was faster; whether it did.
fn create_outside(
    shared: &Shared,
    table: &TableName,
    shown: &TableName,
    (schema, begun): Stream<'_>,
    connection: &mut Connection,
) -> Result<bool> {
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    if engine::find_table(connection, table)?.is_some() {
        return Ok(false);
    }
    let mut statements = match shared.declared(table) {
        Some(declared) => catalog::declared_create(&declared, table),
        None => {
            let offered = offered(connection, &shown.to_string(), schema)?;
            vec![create_sql(table, shown, schema, &new_types(schema, &offered, begun), false)?]
        }
    };
    // An earlier table of that name is gone, and so are the files that were stored in it.
    statements.extend(shared.loads.forgetting(connection, table));
    match connection.define(&statements) {
        Ok(()) => Ok(true),
        // SQL of another client was faster.
        Err(error) if matches!(error.kind(), Kind::Exists | Kind::Aborted) => Ok(false),
        Err(error) => Err(error.context(format!("table {shown}"))),
    }
}

/// Whether a put that replaces `existing` keeps the table and replaces its rows alone: a declared table does, and one
/// with a key, rules, defaults, indexes or triggers, which a table made anew from the stream would lack.
///
/// Errors: `Conflict` when the stream does not fit into such a table.
fn keeps_its_shape(
    connection: &Connection,
    declared: Option<&Declaration>,
    existing: &Table,
    what: &str,
    schema: &SchemaRef,
) -> Result<bool> {
    if declared.is_some() {
        return Ok(true);
    }
    let extras = engine::table_extras(connection, &existing.name)?;
    if extras.is_empty() {
        return Ok(false);
    }
    let offered = offered(connection, what, schema)?;
    let nothing = Contract { declared: None, earlier: &[] };
    match catalog::conform(existing, nothing, &offered) {
        Ok(_) => Ok(true),
        Err(misfit) => Err(Error::new(
            Kind::Conflict,
            format!(
                "table {what} has {}, which replacing it with other columns would drop; DROP TABLE it first, or send \
                 the columns it has ({})",
                shorten(&extras.join(", "), 300),
                Error::from(misfit).message()
            ),
        )),
    }
}

/// What replaces the rows of a table that stays.
fn replace_rows(table: &TableName, declared: Option<&Declaration>, joins: bool) -> Vec<String> {
    let mut statements = vec![format!("DELETE FROM {}", table.to_sql())];
    if joins {
        // Puts of the server's own take turns; a client's transaction ends when the client likes. A comment, the same as
        // before, makes two transactions that replace the rows of one table conflict, also where it has none.
        let comment = declared.and_then(|declared| declared.description.as_deref());
        let comment = comment.map_or_else(|| "NULL".to_owned(), catalog::quote_text);
        statements.push(format!("COMMENT ON TABLE {} IS {comment}", table.to_sql()));
    }
    statements
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

fn offered(connection: &Connection, what: &str, schema: &SchemaRef) -> Result<Vec<Offered>> {
    if schema.fields().is_empty() {
        // The engine has no word for it; what is done with the columns has.
        return Ok(Vec::new());
    }
    let columns = engine::describe_rows(connection, schema).map_err(|error| {
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

pub(super) fn key_of(connection: &Connection, table: &TableName) -> Result<Vec<String>> {
    let schema = table.schema.as_deref().unwrap_or("main");
    let columns = engine::primary_keys(connection, table.catalog.as_deref(), Some(schema), &table.table)?;
    Ok(columns.into_iter().map(|column| column.column).collect())
}

fn no_key(what: &str) -> Error {
    Error::invalid(format!(
        "table {what} has no primary key, so pintail-on-conflict ignore and replace have nothing to go by; \
         declare a primary_key or leave the header out"
    ))
}

/// A stream that made its table and failed leaves no trace of it, unless others use the table meanwhile.
pub(super) fn remove_if_empty(shared: &Shared, connection: &mut Connection, table: &TableName, user: &User) {
    // Whoever comes later makes the table anew.
    let _one_at_a_time = shared.creating.lock().unwrap_or_else(PoisonError::into_inner);
    if !user.is_alone() {
        return;
    }
    if let Err(error) = engine::drop_if_empty(connection, table) {
        tracing::warn!(table = %table, %error, "an empty table of a failed stream could not be removed");
    }
}
