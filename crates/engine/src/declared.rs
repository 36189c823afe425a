//! Declared tables: the table as it is, the versions on record, and a plan run as one transaction.
//! Runs on: the thread of the connection, which must be a pooled one: a temporary table would come before a table
//! of the same name. Blocks.
//! Never: decides what may change (`catalog::plan` does); leaves half of a plan behind.

use std::time::{SystemTime, UNIX_EPOCH};

use super::connection::Connection;
use super::constraints::primary_keys;
use super::metadata::{columns, rows};
use super::tables::{LOCK_COLUMN, lock_table, query};
use crate::catalog::{
    Actual, ActualColumn, ActualIndex, Declaration, SchemaFile, TableName, TablePlan, plan, quote_name,
    quote_text, read_declarations, render,
};
use crate::error::{Error, Kind, Result};

/// The server's own schema, which no listing shows.
pub(super) const INTERNAL_SCHEMA: &str = "pintail_internal";

/// A version of a declaration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedVersion {
    /// The table, as the declaration named it.
    pub table: String,
    /// From 1.
    pub version: u64,
    /// What [`Declaration::fingerprint`] gave.
    pub fingerprint: String,
    /// The declaration as TOML.
    pub declaration: String,
    /// Milliseconds since 1970, UTC.
    pub applied_at_ms: i64,
}

/// The table or view `name` as it is, or nothing when there is none. Names are matched without case.
pub fn actual_table(connection: &Connection, name: &TableName) -> Result<Option<Actual>> {
    let catalog = connection.database().catalog().to_owned();
    let place = |schema: &str, table: &str| {
        format!(
            "database_name = {} AND lower(schema_name) = lower({}) AND lower({table}) = lower({})",
            quote_text(&catalog),
            quote_text(schema),
            quote_text(&name.table)
        )
    };
    let schema = name.schema.as_deref().unwrap_or("main");
    let sql = format!(
        "SELECT schema_name, table_name, comment, 0::BIGINT FROM duckdb_tables() WHERE NOT temporary AND {} \
         UNION ALL \
         SELECT schema_name, view_name, comment, 1::BIGINT FROM duckdb_views() WHERE NOT temporary AND {}",
        place(schema, "table_name"),
        place(schema, "view_name")
    );
    let found = rows(connection, &sql, |row| {
        let name =
            TableName { catalog: Some(catalog.clone()), schema: Some(row.text(0)), table: row.text(1) };
        (name, row.text_or_none(2), row.long(3) == 1)
    })?;
    let Some((name, comment, is_view)) = found.into_iter().next() else { return Ok(None) };
    let stored_schema = name.schema.clone().unwrap_or_default();
    let here = format!(
        "database_name = {} AND schema_name = {} AND table_name = {}",
        quote_text(&catalog),
        quote_text(&stored_schema),
        quote_text(&name.table)
    );
    let columns = columns(connection, &name)?
        .into_iter()
        .filter(|column| column.name != LOCK_COLUMN)
        .map(|column| ActualColumn {
            name: column.name,
            duckdb_type: column.duckdb_type,
            nullable: column.nullable,
            default: column.default,
            comment: column.comment,
            is_generated: column.is_generated,
        })
        .collect();
    let primary_key = primary_keys(connection, Some(&catalog), Some(&stored_schema), &name.table)?
        .into_iter()
        .map(|part| part.column)
        .collect();
    let constraints = format!(
        "SELECT constraint_text FROM duckdb_constraints() \
         WHERE constraint_type IN ('UNIQUE', 'CHECK', 'FOREIGN KEY') AND {here} ORDER BY constraint_index"
    );
    let referenced_by = format!(
        "SELECT DISTINCT table_name FROM duckdb_constraints() \
         WHERE constraint_type = 'FOREIGN KEY' AND database_name = {} AND schema_name = {} \
               AND lower(referenced_table) = lower({}) ORDER BY 1",
        quote_text(&catalog),
        quote_text(&stored_schema),
        quote_text(&name.table)
    );
    let count = if is_view {
        0
    } else {
        rows(connection, &format!("SELECT count(*) FROM {}", name.to_sql()), |row| row.long(0))?[0]
    };
    Ok(Some(Actual {
        is_view,
        comment,
        columns,
        primary_key,
        indexes: indexes(connection, &here)?,
        constraints: rows(connection, &constraints, |row| row.text(0))?,
        referenced_by: rows(connection, &referenced_by, |row| row.text(0))?,
        declared_before: Vec::new(),
        rows: u64::try_from(count).unwrap_or(0),
        name,
    }))
}

fn indexes(connection: &Connection, here: &str) -> Result<Vec<ActualIndex>> {
    // The engine prints the list of what is indexed as text; cast back, its parts are SQL.
    let sql = format!(
        "SELECT index_name, is_unique::BIGINT, unnest(expressions::VARCHAR[]) \
         FROM (FROM duckdb_indexes() WHERE {here} AND NOT is_primary ORDER BY index_oid)"
    );
    let mut indexes: Vec<ActualIndex> = Vec::new();
    for (name, is_unique, expression) in
        rows(connection, &sql, |row| (row.text(0), row.long(1) == 1, row.text(2)))?
    {
        match indexes.last_mut().filter(|last| last.name == name) {
            Some(last) => last.expressions.push(expression),
            None => indexes.push(ActualIndex { name, expressions: vec![expression], is_unique }),
        }
    }
    Ok(indexes)
}

/// The last recorded version of every table that was ever declared, by name.
pub fn recorded_versions(connection: &Connection) -> Result<Vec<RecordedVersion>> {
    versions(
        connection,
        "QUALIFY row_number() OVER (PARTITION BY lower(table_name) ORDER BY version DESC) = 1",
    )
}

/// Every recorded declaration but the last of each table, oldest first: what producers may still go by.
pub fn earlier_declarations(connection: &Connection) -> Result<Vec<Declaration>> {
    let earlier = "QUALIFY row_number() OVER (PARTITION BY lower(table_name) ORDER BY version DESC) > 1";
    Ok(readable(versions(connection, earlier)?))
}

fn versions(connection: &Connection, which: &str) -> Result<Vec<RecordedVersion>> {
    let known = format!(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() \
         AND schema_name = '{INTERNAL_SCHEMA}' AND table_name = 'schema_versions'"
    );
    if query(connection, &known)?.iter().all(|batch| batch.num_rows() == 0) {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT table_name, version, fingerprint, declaration, epoch_ms(applied_at) \
         FROM {INTERNAL_SCHEMA}.schema_versions \
         {which} ORDER BY lower(table_name), version"
    );
    rows(connection, &sql, |row| RecordedVersion {
        table: row.text(0),
        version: u64::try_from(row.long(1)).unwrap_or(0),
        fingerprint: row.text(2),
        declaration: row.text(3),
        applied_at_ms: row.long(4),
    })
}

/// The declarations recorded last, for a server that has no folder of them. One that cannot be read any more is
/// left out with a warning.
pub fn recorded_declarations(connection: &Connection) -> Result<Vec<Declaration>> {
    Ok(readable(recorded_versions(connection)?))
}

fn readable(versions: Vec<RecordedVersion>) -> Vec<Declaration> {
    let mut declarations = Vec::new();
    for recorded in versions {
        let file = SchemaFile { name: format!("{}.toml", recorded.table), text: recorded.declaration };
        match read_declarations(&[file]) {
            Ok(read) => declarations.extend(read),
            Err(problems) => {
                tracing::warn!(table = %recorded.table, %problems, "a recorded declaration is left out");
            }
        }
    }
    declarations
}

fn declared_columns(version: &RecordedVersion) -> Vec<String> {
    let file = SchemaFile { name: format!("{}.toml", version.table), text: version.declaration.clone() };
    // One that cannot be read any more declares nothing; `recorded_declarations` warns of it.
    let read = read_declarations(&[file]).unwrap_or_default();
    read.into_iter().flat_map(|one| one.fields).map(|field| field.name).collect()
}

/// Plans every declaration against the database as it is.
pub fn plan_declared(
    connection: &Connection,
    declarations: &[Declaration],
    allow_breaking: bool,
) -> Result<Vec<TablePlan>> {
    let recorded = recorded_versions(connection)?;
    let mut plans = Vec::with_capacity(declarations.len());
    for declaration in declarations {
        let table = declaration.listed_name();
        let last = recorded.iter().find(|version| version.table.to_lowercase() == table.to_lowercase());
        let is_recorded = last.is_some_and(|version| version.fingerprint == declaration.fingerprint());
        let version = last.map(|version| version.version);
        let mut actual = actual_table(connection, &declaration.name)?;
        if let (Some(actual), Some(last)) = (&mut actual, last) {
            actual.declared_before = declared_columns(last);
        }
        plans.push(TablePlan {
            table,
            version,
            new_version: (!is_recorded).then(|| version.unwrap_or(0) + 1),
            is_new: actual.is_none(),
            plan: plan(declaration, actual.as_ref(), allow_breaking),
        });
    }
    Ok(plans)
}

/// Brings the database to the declarations in one transaction, records their versions, and gives what was done.
///
/// `in_force` is called with the earlier versions once the change is committed, before any other commit: whoever sees the
/// tables as they are now is held to the new declarations.
/// Errors: `Conflict` with every refusal, or with the statement that failed; nothing is changed then.
pub fn apply_declared(
    connection: &mut Connection,
    declarations: &[Declaration],
    allow_breaking: bool,
    in_force: impl FnOnce(Vec<Declaration>),
) -> Result<Vec<TablePlan>> {
    // Looked at before the transaction, whose first statements lock what is rebuilt.
    let before = plan_declared(connection, declarations, allow_breaking)?;
    let rebuilt: Vec<&Declaration> = declarations
        .iter()
        .zip(&before)
        .filter(|(_, table)| table.plan.rebuilds() && table.plan.refusals.is_empty())
        .map(|(declaration, _)| declaration)
        .collect();
    connection.begin()?;
    let done = {
        let _turn = connection.reshapes();
        lock(connection, &rebuilt).and_then(|()| {
            let plans = apply_begun(connection, declarations, &rebuilt, allow_breaking)?;
            Ok((plans, earlier_declarations(connection)?))
        })
    };
    match done {
        Ok((plans, earlier)) => connection.commit_and(|| in_force(earlier)).map(|()| plans),
        Err(error) => {
            // The error that led here is the one to report; dropping the connection rolls back as well.
            let _ = connection.rollback();
            Err(error)
        }
    }
}

/// Keeps every other writer out of the tables that are rebuilt: rows that another transaction commits while a table is
/// copied would be gone after the rename, and nobody would be told.
fn lock(connection: &Connection, tables: &[&Declaration]) -> Result<()> {
    for declaration in tables {
        lock_table(connection, &declaration.name)?;
    }
    if tables.is_empty() {
        return Ok(());
    }
    let later = connection.database().connection()?;
    for declaration in tables {
        let Some(actual) = actual_table(connection, &declaration.name)? else { continue };
        let columns: Vec<String> = actual.columns.iter().map(|column| quote_name(&column.name)).collect();
        let sql = format!(
            "SELECT concat(count(*), ' ', sum(hash({})::HUGEINT)) FROM {}",
            columns.join(", "),
            declaration.name.to_sql()
        );
        let content = |connection: &Connection| rows(connection, &sql, |row| row.text(0));
        if content(connection)? != content(&later)? {
            return Err(moved(declaration));
        }
    }
    Ok(())
}

fn moved(declaration: &Declaration) -> Error {
    let table = declaration.listed_name();
    Error::new(
        Kind::Aborted,
        format!("table {table} changed while it was looked at; nothing was changed, try again"),
    )
}

fn apply_begun(
    connection: &Connection,
    declarations: &[Declaration],
    locked: &[&Declaration],
    allow_breaking: bool,
) -> Result<Vec<TablePlan>> {
    let plans = plan_declared(connection, declarations, allow_breaking)?;
    if plans.iter().any(|table| !table.plan.refusals.is_empty()) {
        return Err(Error::new(
            Kind::Conflict,
            format!("the declarations do not fit the database, and nothing was changed\n{}", render(&plans)),
        ));
    }
    for (declaration, table) in declarations.iter().zip(&plans) {
        if table.plan.rebuilds() != locked.iter().any(|one| one.name == declaration.name) {
            return Err(moved(declaration));
        }
    }
    for (declaration, table) in declarations.iter().zip(&plans) {
        for step in &table.plan.steps {
            for sql in &step.sql {
                connection.execute(sql).map_err(|error| {
                    let what = format!("table {}: {}", table.table, step.text);
                    Error::new(
                        match error.kind() {
                            Kind::Invalid | Kind::NotFound | Kind::Exists => Kind::Conflict,
                            other => other,
                        },
                        format!("{what} failed, and nothing was changed: {}", error.message()),
                    )
                })?;
            }
        }
        if let Some(version) = table.new_version {
            record(connection, declaration, version)?;
        }
    }
    Ok(plans)
}

fn record(connection: &Connection, declaration: &Declaration, version: u64) -> Result<()> {
    connection.execute(&format!("CREATE SCHEMA IF NOT EXISTS {INTERNAL_SCHEMA}"))?;
    connection.execute(&format!(
        "CREATE TABLE IF NOT EXISTS {INTERNAL_SCHEMA}.schema_versions (table_name VARCHAR NOT NULL, \
         version BIGINT NOT NULL, fingerprint VARCHAR NOT NULL, declaration VARCHAR NOT NULL, \
         applied_at TIMESTAMP NOT NULL)"
    ))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // UTC without a time zone type, whose functions are not in the build.
    let sql = format!(
        "INSERT INTO {INTERNAL_SCHEMA}.schema_versions VALUES ({}, {version}, {}, {}, make_timestamp({}))",
        quote_text(&declaration.listed_name()),
        quote_text(&declaration.fingerprint()),
        quote_text(&declaration.to_toml()),
        now.as_micros()
    );
    connection.execute(&sql).map(|_| ())
}
