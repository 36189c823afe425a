//! FlightDescriptor, ticket or command bytes -> what is being asked for.
//! Runs on: async tasks; pure.
//! Never: runs anything; panics on any bytes.

use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command, CommandStatementIngest, TableExistsOption, TableNotExistOption};
use bytes::Bytes;
use prost::Message;

use crate::catalog::{TableName, quote_name};
use crate::error::{Error, Result};
use crate::flight::metadata::Metadata;
use crate::flight::names::select_all;
use crate::ingest::Mode;
use crate::session::{Handle, On};

/// Longest SQL text, in bytes.
const SQL_BYTES_MAX: usize = 4 << 20;
/// Every Flight SQL command's type URL starts with this.
const FLIGHT_SQL: &str = "type.googleapis.com/arrow.flight.protocol.sql.";

/// Something to read.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::flight) enum Read {
    /// A statement's result.
    Statement(String, On),
    /// A whole table.
    Table(TableName),
    /// A prepared statement's result.
    Prepared(Handle),
    /// What the server knows of its catalog or itself.
    Metadata(Metadata),
}

/// Something to write.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::flight) enum Write {
    /// Native ingest into a table; the mode comes from the headers.
    Table(TableName),
    /// Flight SQL ingest with its own mode.
    Ingest {
        table: TableName,
        /// What to do about the table.
        mode: Mode,
        /// Whether it lives with the session.
        temporary: bool,
        /// Where the rows go in.
        on: On,
    },
    /// Statements that change something.
    Update(String, On),
    /// Rows for the parameters of a prepared statement, to be run later.
    Bind(Handle),
    /// A prepared statement to be run, with rows for its parameters.
    PreparedUpdate(Handle),
}

/// What GetFlightInfo and GetSchema are asked for.
pub(in crate::flight) fn read(descriptor: &FlightDescriptor) -> Result<Read> {
    match descriptor.r#type() {
        // As ListFlights has them: a table in a schema that is inside another one.
        DescriptorType::Path if descriptor.path.len() > 3 => {
            let parts: Vec<String> = descriptor.path.iter().map(|part| quote_name(part)).collect();
            checked_sql(select_all(&parts.join("."))).map(|sql| Read::Statement(sql, On::Join))
        }
        DescriptorType::Path => TableName::from_path(&descriptor.path).map(Read::Table),
        DescriptorType::Cmd => read_command(&descriptor.cmd),
        DescriptorType::Unknown => {
            Err(Error::invalid("the FlightDescriptor has no type; expected a path or a command"))
        }
    }
}

/// What a command's bytes ask to read: a Flight SQL command, or SQL text.
pub(in crate::flight) fn read_command(bytes: &[u8]) -> Result<Read> {
    match command(bytes)? {
        None => sql_text(bytes).map(|sql| Read::Statement(sql, On::Join)),
        Some(Command::CommandStatementQuery(query)) => {
            Ok(Read::Statement(checked_sql(query.query)?, on(query.transaction_id.as_deref(), On::Auto)?))
        }
        Some(Command::CommandPreparedStatementQuery(prepared)) => {
            statement_handle(&prepared.prepared_statement_handle).map(Read::Prepared)
        }
        Some(other) => Metadata::from_command(other).map(Read::Metadata).map_err(|other| unsupported(&other)),
    }
}

/// What DoPut is asked for.
pub(in crate::flight) fn write(descriptor: &FlightDescriptor) -> Result<Write> {
    match descriptor.r#type() {
        DescriptorType::Path => TableName::from_path(&descriptor.path).map(Write::Table),
        DescriptorType::Cmd => match command(&descriptor.cmd)? {
            None => Err(Error::invalid(
                "DoPut takes a path of [table] or a Flight SQL command; SQL text cannot receive rows, but \
                 DoExchange can (there they are the table \"input\")",
            )),
            Some(Command::CommandStatementIngest(ingest)) => statement_ingest(ingest),
            Some(Command::CommandStatementUpdate(update)) => {
                Ok(Write::Update(checked_sql(update.query)?, on(update.transaction_id.as_deref(), On::Auto)?))
            }
            Some(Command::CommandPreparedStatementQuery(prepared)) => {
                statement_handle(&prepared.prepared_statement_handle).map(Write::Bind)
            }
            Some(Command::CommandPreparedStatementUpdate(prepared)) => {
                statement_handle(&prepared.prepared_statement_handle).map(Write::PreparedUpdate)
            }
            Some(other) => Err(unsupported(&other)),
        },
        DescriptorType::Unknown => {
            Err(Error::invalid("the FlightDescriptor has no type; expected a path or a command"))
        }
    }
}

/// The statement that DoExchange is asked to run over the rows it brings.
pub(in crate::flight) fn exchange_statement(descriptor: &FlightDescriptor) -> Result<String> {
    match descriptor.r#type() {
        DescriptorType::Cmd => match command(&descriptor.cmd)? {
            None => sql_text(&descriptor.cmd),
            Some(Command::CommandStatementQuery(query)) => checked_sql(query.query),
            Some(other) => Err(unsupported(&other)),
        },
        DescriptorType::Path | DescriptorType::Unknown => Err(Error::invalid(
            "DoExchange takes a command: SQL text in which the rows sent are the table \"input\"",
        )),
    }
}

/// Bytes of a handle as they travel.
pub(in crate::flight) fn handle_bytes(handle: Handle) -> Bytes {
    Bytes::copy_from_slice(&handle.to_be_bytes())
}

/// The prepared statement's handle in `bytes`.
pub(in crate::flight) fn statement_handle(bytes: &[u8]) -> Result<Handle> {
    bytes.try_into().map(Handle::from_be_bytes).map_err(|_| {
        Error::not_found("unknown prepared statement; the handle is not one that this server gave out")
    })
}

/// The transaction's handle in `bytes`.
pub(in crate::flight) fn transaction_handle(bytes: &[u8]) -> Result<Handle> {
    bytes
        .try_into()
        .map(Handle::from_be_bytes)
        .map_err(|_| Error::not_found("unknown transaction; the id is not one that this server gave out"))
}

/// Where a statement runs: inside the transaction that came with it, else as `otherwise` says.
pub(in crate::flight) fn on(transaction: Option<&[u8]>, otherwise: On) -> Result<On> {
    match transaction {
        None | Some([]) => Ok(otherwise),
        Some(id) => transaction_handle(id).map(On::Transaction),
    }
}

/// The Flight SQL command in `bytes`, or `None` when they are something else.
fn command(bytes: &[u8]) -> Result<Option<Command>> {
    let Ok(any) = Any::decode(bytes) else { return Ok(None) };
    if !any.type_url.starts_with(FLIGHT_SQL) {
        return Ok(None);
    }
    Command::try_from(any)
        .map(Some)
        .map_err(|error| Error::invalid(format!("the Flight SQL command cannot be read: {error}")))
}

fn statement_ingest(ingest: CommandStatementIngest) -> Result<Write> {
    // Clients that ingest inside a transaction often do not say so: it goes into the session's own.
    let on = on(ingest.transaction_id.as_deref(), On::Rows)?;
    if let Some(option) = ingest.options.keys().next() {
        return Err(Error::invalid(format!("unknown ingest option \"{option}\"")));
    }
    let name = TableName { catalog: ingest.catalog, schema: ingest.schema, table: ingest.table }.checked()?;
    let options = ingest.table_definition_options.unwrap_or_default();
    let mode = match (options.if_not_exist(), options.if_exists()) {
        (TableNotExistOption::Create, TableExistsOption::Fail) => Mode::Create,
        (TableNotExistOption::Create, TableExistsOption::Append) => Mode::CreateAppend,
        (TableNotExistOption::Create, TableExistsOption::Replace) => Mode::Replace,
        (TableNotExistOption::Fail, TableExistsOption::Append) => Mode::Append,
        (TableNotExistOption::Fail, TableExistsOption::Replace) => Mode::ReplaceExisting,
        (TableNotExistOption::Fail, TableExistsOption::Fail) => {
            return Err(Error::invalid("if_not_exist=fail with if_exists=fail can never succeed"));
        }
        (TableNotExistOption::Unspecified, _) | (_, TableExistsOption::Unspecified) => {
            return Err(Error::invalid(
                "table_definition_options must say what to do if the table exists and if it does not",
            ));
        }
    };
    Ok(Write::Ingest { table: name, mode, temporary: ingest.temporary, on })
}

fn unsupported(command: &Command) -> Error {
    let url = command.clone().into_any().type_url;
    let name = url.strip_prefix(FLIGHT_SQL).unwrap_or(&url);
    Error::unsupported(format!("{name} is not supported by this server"))
}

fn sql_text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Error::invalid("the command is neither a Flight SQL command nor UTF-8 SQL text"))?;
    checked_sql(text.to_owned())
}

/// Refuses texts that are empty or too long.
pub(in crate::flight) fn checked_sql(sql: String) -> Result<String> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Error::exhausted("4 MiB", "the SQL text is too long; put rows with DoPut instead"));
    }
    if sql.trim().is_empty() {
        return Err(Error::invalid("expected one SQL statement, found none"));
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damaged;
    use crate::error::Kind;
    use arrow_flight::sql::{
        CommandPreparedStatementQuery, CommandStatementQuery, CommandStatementUpdate, ProstMessageExt,
    };
    use proptest::prelude::*;

    fn query(sql: &str) -> Vec<u8> {
        CommandStatementQuery { query: sql.into(), transaction_id: None }.as_any().encode_to_vec()
    }

    #[test]
    fn commands_and_plain_text_read_the_same() {
        let sql = |on| Read::Statement("SELECT 1".into(), on);
        assert_eq!(read_command(&query("SELECT 1")).unwrap(), sql(On::Auto));
        assert_eq!(read_command(b"SELECT 1").unwrap(), sql(On::Join));
        let path = FlightDescriptor::new_path(vec!["s".into(), "t".into()]);
        let Read::Table(table) = read(&path).unwrap() else { panic!("a path is a table") };
        assert_eq!(select_all(&table.to_sql()), "SELECT * FROM \"s\".\"t\"");
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_kind() {
        let descriptor = |bytes: &[u8]| FlightDescriptor::new_cmd(bytes.to_vec());
        assert_eq!(read(&descriptor(b"")).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(read(&descriptor(&[0xff, 0xfe])).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(read(&FlightDescriptor::default()).unwrap_err().kind(), Kind::Invalid);
        assert_eq!(write(&descriptor(b"SELECT 1")).unwrap_err().kind(), Kind::Invalid);
        let plan = arrow_flight::sql::CommandStatementSubstraitPlan::default().as_any().encode_to_vec();
        assert_eq!(read(&descriptor(&plan)).unwrap_err().kind(), Kind::Unsupported);
        let no_options = CommandStatementIngest { table: "t".into(), ..Default::default() };
        let refused = write(&descriptor(&no_options.as_any().encode_to_vec())).unwrap_err();
        assert!(refused.to_string().contains("table_definition_options"), "{refused}");
    }

    /// Commands that no driver was seen to send, beside those that were.
    fn commands() -> Vec<Vec<u8>> {
        let handle = Bytes::from_static(b"0123456789abcdef");
        let update =
            CommandStatementUpdate { query: "DELETE FROM t".into(), transaction_id: Some(handle.clone()) };
        let prepared = CommandPreparedStatementQuery { prepared_statement_handle: handle };
        let mut commands = damaged::files("commands");
        commands.extend([
            query("SELECT 1"),
            update.as_any().encode_to_vec(),
            prepared.as_any().encode_to_vec(),
        ]);
        commands.push(b"SELECT * FROM wells".to_vec());
        commands
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever comes as a command, a path or a handle gives something to do or a clean error.
        #[test]
        fn commands_are_taken_or_refused(bytes in damaged::damaged(commands()), kind in -1_i32..4) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let handles = [statement_handle(&bytes).map(|_| ()), transaction_handle(&bytes).map(|_| ())];
            let descriptor = FlightDescriptor { r#type: kind, cmd: bytes.into(), path: vec![text; 2] };
            let asked = [
                read(&descriptor).map(|_| ()),
                read_command(&descriptor.cmd).map(|_| ()),
                write(&descriptor).map(|_| ()),
                exchange_statement(&descriptor).map(|_| ()),
            ];
            for error in asked.into_iter().chain(handles).filter_map(Result::err) {
                let kinds = [Kind::Invalid, Kind::NotFound, Kind::Unsupported, Kind::Exhausted];
                prop_assert!(kinds.contains(&error.kind()), "{error:?}");
            }
        }
    }
}
