//! A Flight SQL metadata command -> the batch that answers it.
//! Runs on: async tasks for [`Metadata::from_command`] and [`Metadata::schema`], which are pure; the thread
//! of a query for [`Metadata::read`], which blocks.
//! Never: names the engine's crate, reads table rows.

mod columns;
mod keys;
mod listing;
mod pattern;
mod sql_info;
mod types;
mod words;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo,
};

use super::descriptor::select_all;
use super::form::Form;
use crate::engine::{self, Session, TableEntry};
use crate::error::{Error, Kind, Result};

/// What a client wants to know about the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Metadata {
    /// The databases.
    Catalogs(CommandGetCatalogs),
    /// The schemas.
    DbSchemas(CommandGetDbSchemas),
    /// The tables and views, with their schemas if asked.
    Tables(CommandGetTables),
    /// The kinds of tables.
    TableTypes(CommandGetTableTypes),
    /// The primary key of a table.
    PrimaryKeys(CommandGetPrimaryKeys),
    /// The foreign keys that reference a table.
    ExportedKeys(CommandGetExportedKeys),
    /// The foreign keys on a table.
    ImportedKeys(CommandGetImportedKeys),
    /// The foreign keys of one table that reference another.
    CrossReference(CommandGetCrossReference),
    /// What the server and its SQL can do.
    SqlInfo(CommandGetSqlInfo),
    /// The column types.
    XdbcTypeInfo(CommandGetXdbcTypeInfo),
}

impl Metadata {
    /// The metadata that `command` asks for; the command comes back when it is another one.
    #[expect(clippy::result_large_err, reason = "the error is the caller's own value, moved once per call")]
    pub(super) fn from_command(command: Command) -> std::result::Result<Self, Command> {
        match command {
            Command::CommandGetCatalogs(command) => Ok(Self::Catalogs(command)),
            Command::CommandGetDbSchemas(command) => Ok(Self::DbSchemas(command)),
            Command::CommandGetTables(command) => Ok(Self::Tables(command)),
            Command::CommandGetTableTypes(command) => Ok(Self::TableTypes(command)),
            Command::CommandGetPrimaryKeys(command) => Ok(Self::PrimaryKeys(command)),
            Command::CommandGetExportedKeys(command) => Ok(Self::ExportedKeys(command)),
            Command::CommandGetImportedKeys(command) => Ok(Self::ImportedKeys(command)),
            Command::CommandGetCrossReference(command) => Ok(Self::CrossReference(command)),
            Command::CommandGetSqlInfo(command) => Ok(Self::SqlInfo(command)),
            Command::CommandGetXdbcTypeInfo(command) => Ok(Self::XdbcTypeInfo(command)),
            other => Err(other),
        }
    }

    /// The command's name, for logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Catalogs(_) => "CommandGetCatalogs",
            Self::DbSchemas(_) => "CommandGetDbSchemas",
            Self::Tables(_) => "CommandGetTables",
            Self::TableTypes(_) => "CommandGetTableTypes",
            Self::PrimaryKeys(_) => "CommandGetPrimaryKeys",
            Self::ExportedKeys(_) => "CommandGetExportedKeys",
            Self::ImportedKeys(_) => "CommandGetImportedKeys",
            Self::CrossReference(_) => "CommandGetCrossReference",
            Self::SqlInfo(_) => "CommandGetSqlInfo",
            Self::XdbcTypeInfo(_) => "CommandGetXdbcTypeInfo",
        }
    }

    /// Schema of the answer, the one FlightSql.proto prescribes.
    pub(super) fn schema(&self) -> SchemaRef {
        match self {
            Self::Catalogs(command) => command.into_builder().schema(),
            Self::DbSchemas(command) => command.clone().into_builder().schema(),
            Self::Tables(command) => command.clone().into_builder().schema(),
            Self::TableTypes(command) => command.into_builder().schema(),
            Self::PrimaryKeys(_) => Arc::clone(&keys::PRIMARY_KEYS),
            Self::ExportedKeys(_) | Self::ImportedKeys(_) | Self::CrossReference(_) => {
                Arc::clone(&keys::FOREIGN_KEYS)
            }
            Self::SqlInfo(_) => sql_info::schema(),
            Self::XdbcTypeInfo(_) => types::schema(),
        }
    }

    /// The whole answer in one batch, which may have no rows. Blocks for catalog queries.
    ///
    /// Errors: `Invalid` for a filter pattern that ends in an escape.
    pub(super) fn read(&self, session: &Session) -> Result<RecordBatch> {
        match self {
            Self::Catalogs(_) => listing::catalogs(engine::schemas(session)?),
            Self::DbSchemas(command) => listing::db_schemas(command, &engine::schemas(session)?),
            Self::Tables(command) => tables(command, session),
            Self::TableTypes(_) => listing::table_types(),
            Self::PrimaryKeys(command) => {
                let (catalog, schema) = (command.catalog.as_deref(), command.db_schema.as_deref());
                keys::primary_keys(engine::primary_keys(session, catalog, schema, &command.table)?)
            }
            Self::ExportedKeys(command) => keys::exported(command, engine::foreign_keys(session)?),
            Self::ImportedKeys(command) => keys::imported(command, engine::foreign_keys(session)?),
            Self::CrossReference(command) => keys::cross_reference(command, engine::foreign_keys(session)?),
            Self::SqlInfo(command) => sql_info::answer(command),
            Self::XdbcTypeInfo(command) => types::answer(*command),
        }
    }
}

fn tables(command: &CommandGetTables, session: &Session) -> Result<RecordBatch> {
    let chosen = listing::choose(command, engine::tables(session)?)?;
    let mut rows = Vec::with_capacity(chosen.len());
    if !command.include_schema {
        let unasked = Arc::new(Schema::empty());
        rows.extend(chosen.into_iter().map(|entry| (entry, Arc::clone(&unasked))));
        return listing::tables(false, &rows);
    }
    let columns = match chosen.as_slice() {
        [] => HashMap::new(),
        [entry] => HashMap::from([(entry.name(), engine::columns(session, &entry.name())?)]),
        _ => engine::columns_by_table(session)?,
    };
    for entry in chosen {
        let columns = columns.get(&entry.name()).map_or(&[][..], Vec::as_slice);
        if let Some(schema) = readable_schema(session, &entry)? {
            let schema = Arc::new(columns::annotated(&schema, &entry, columns));
            rows.push((entry, schema));
        }
    }
    listing::tables(true, &rows)
}

/// What reading all of `entry` gives: no columns for a view that does not bind, or for a type without an
/// Arrow form, which must not hide the other tables. `None` for a table that was dropped since it was listed.
fn readable_schema(session: &Session, entry: &TableEntry) -> Result<Option<SchemaRef>> {
    let error = match engine::describe(session, &select_all(&entry.to_sql())) {
        Ok(described) => return Ok(Some(Arc::new(Form::Plain.schema(&described.schema)))),
        Err(error) => error,
    };
    let is_view = entry.table_type == listing::VIEW;
    match error.kind() {
        // These are about the call or the server, not about the table.
        Kind::Unavailable | Kind::Exhausted | Kind::Aborted | Kind::Cancelled | Kind::Deadline => Err(error),
        Kind::NotFound if !is_view => Ok(None),
        kind if is_view || kind == Kind::Unsupported => {
            tracing::debug!(table = %entry.name(), %error, "listed without its columns");
            Ok(Some(Arc::new(Schema::empty())))
        }
        _ => Err(error),
    }
}

/// A failure of arrow-flight's builders is a mistake of this server, not of the client.
fn encoded<T>(built: std::result::Result<T, FlightError>) -> Result<T> {
    built.map_err(|error| Error::internal(format!("the metadata cannot be encoded: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_flight::sql::CommandStatementQuery;

    #[test]
    fn only_metadata_commands_are_taken() {
        let command = Command::CommandGetTables(CommandGetTables::default());
        let metadata = Metadata::from_command(command).unwrap();
        assert_eq!(metadata, Metadata::Tables(CommandGetTables::default()));
        let query = Command::CommandStatementQuery(CommandStatementQuery {
            query: "SELECT 1".into(),
            transaction_id: None,
        });
        assert_eq!(Metadata::from_command(query.clone()), Err(query));
    }

    /// Answers that need no engine, or have no rows, have the schema that was announced.
    #[test]
    fn answers_have_the_schema_that_was_announced() {
        let with_schema = |include_schema| CommandGetTables { include_schema, ..Default::default() };
        let answers = [
            (Metadata::Catalogs(CommandGetCatalogs {}), listing::catalogs(Vec::new())),
            (
                Metadata::DbSchemas(CommandGetDbSchemas::default()),
                listing::db_schemas(&CommandGetDbSchemas::default(), &[]),
            ),
            (Metadata::Tables(with_schema(false)), listing::tables(false, &[])),
            (Metadata::Tables(with_schema(true)), listing::tables(true, &[])),
            (Metadata::TableTypes(CommandGetTableTypes {}), listing::table_types()),
            (Metadata::PrimaryKeys(CommandGetPrimaryKeys::default()), keys::primary_keys(Vec::new())),
            (
                Metadata::ExportedKeys(CommandGetExportedKeys::default()),
                keys::exported(&CommandGetExportedKeys::default(), Vec::new()),
            ),
            (
                Metadata::ImportedKeys(CommandGetImportedKeys::default()),
                keys::imported(&CommandGetImportedKeys::default(), Vec::new()),
            ),
            (
                Metadata::CrossReference(CommandGetCrossReference::default()),
                keys::cross_reference(&CommandGetCrossReference::default(), Vec::new()),
            ),
            (
                Metadata::SqlInfo(CommandGetSqlInfo::default()),
                sql_info::answer(&CommandGetSqlInfo { info: vec![9_999] }),
            ),
            (
                Metadata::XdbcTypeInfo(CommandGetXdbcTypeInfo::default()),
                types::answer(CommandGetXdbcTypeInfo { data_type: Some(9_999) }),
            ),
        ];
        for (metadata, answer) in answers {
            let answer = answer.unwrap();
            assert_eq!(answer.schema(), metadata.schema(), "{metadata:?}");
            let rows = if matches!(metadata, Metadata::TableTypes(_)) { 3 } else { 0 };
            assert_eq!(answer.num_rows(), rows, "{metadata:?}");
        }
    }
}
