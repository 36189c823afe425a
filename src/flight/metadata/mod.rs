//! A Flight SQL metadata command -> the batches that answer it.
//! Runs on: async tasks for [`Metadata::from_command`] and [`Metadata::schema`], which are pure; the thread
//! of a query for [`Metadata::begin`], which blocks.
//! Never: names the engine's crate, reads table rows.

mod answer;
mod built;
mod columns;
mod keys;
mod listing;
mod pattern;
mod sql_info;
mod types;
mod words;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
    CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo,
};

pub(super) use answer::{Answer, PIECE_BYTES};
pub(super) use columns::size as schema_size;

use crate::engine::{self, Connection, ForeignKeyColumn};
use crate::error::Result;

/// What a client wants to know about the database.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Metadata {
    Catalogs(CommandGetCatalogs),
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

    /// The answer, to be read batch by batch; there is always a first one, which may have no rows. Blocks for catalog
    /// queries.
    ///
    /// Errors: `Invalid` for a filter pattern that ends in an escape.
    pub(super) fn begin(&self, connection: &Connection) -> Result<Answer> {
        Ok(match self {
            Self::Catalogs(_) => {
                let names = listing::catalog_names(engine::schemas(connection)?);
                Answer::of(names, |name| name.len() + 8, listing::catalogs)
            }
            Self::DbSchemas(command) => {
                let schemas = listing::choose_schemas(command, engine::schemas(connection)?)?;
                Answer::of(schemas, |one| one.catalog.len() + one.schema.len() + 16, listing::db_schemas)
            }
            Self::Tables(command) => Answer::tables(command, engine::tables(connection)?)?,
            Self::TableTypes(_) => Answer::Whole(Some(listing::table_types()?)),
            Self::PrimaryKeys(command) => {
                let (catalog, schema) = (command.catalog.as_deref(), command.db_schema.as_deref());
                let found = engine::primary_keys(connection, catalog, schema, &command.table)?;
                Answer::of(keys::sorted(found), keys::primary_key_size, keys::primary_keys)
            }
            Self::ExportedKeys(command) => {
                foreign_keys(keys::exported(command, engine::foreign_keys(connection)?))
            }
            Self::ImportedKeys(command) => {
                foreign_keys(keys::imported(command, engine::foreign_keys(connection)?))
            }
            Self::CrossReference(command) => {
                foreign_keys(keys::cross_reference(command, engine::foreign_keys(connection)?))
            }
            Self::SqlInfo(command) => Answer::Whole(Some(sql_info::answer(command)?)),
            Self::XdbcTypeInfo(command) => Answer::Whole(Some(types::answer(*command)?)),
        })
    }
}

fn foreign_keys(found: Vec<ForeignKeyColumn>) -> Answer {
    Answer::of(found, keys::foreign_key_size, keys::foreign_keys)
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
            (Metadata::Catalogs(CommandGetCatalogs {}), listing::catalogs(&[])),
            (Metadata::DbSchemas(CommandGetDbSchemas::default()), listing::db_schemas(&[])),
            (Metadata::Tables(with_schema(false)), listing::tables(false, &[])),
            (Metadata::Tables(with_schema(true)), listing::tables(true, &[])),
            (Metadata::TableTypes(CommandGetTableTypes {}), listing::table_types()),
            (Metadata::PrimaryKeys(CommandGetPrimaryKeys::default()), keys::primary_keys(&[])),
            (Metadata::ExportedKeys(CommandGetExportedKeys::default()), keys::foreign_keys(&[])),
            (Metadata::ImportedKeys(CommandGetImportedKeys::default()), keys::foreign_keys(&[])),
            (Metadata::CrossReference(CommandGetCrossReference::default()), keys::foreign_keys(&[])),
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
