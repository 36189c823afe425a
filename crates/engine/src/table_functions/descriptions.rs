//! Engine column types -> Arrow schema, without running anything.
//! Runs on: the thread that prepares a statement. Blocks for microseconds.
//! Never: reads a row.
//!
//! A bound statement knows its column types, but the C API converts types to Arrow only inside a callback.
//! So the columns are left under the connection's token, and the bind callback of `pintail_describe(token)` converts
//! them with the same exporter, settings and connection that the running result will use.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::Schema;
use duckdb::DuckDBType;
use duckdb::arrow::ArrowExporter;
use duckdb::bind_arguments::BindArgument;
use duckdb::connection::{Connection as DuckDBConnection, Context};
use duckdb::data_chunk::DataChunkRef;
use duckdb::logical_type::LogicalType;
use duckdb::signature::{FunctionParameter, SignatureBuilder};
use duckdb::table_function::{
    BindFunctionHandle, ExecColumnInfo, TableFunctionBuilder, TableFunctionCallbacks,
};

use crate::ffi::{self, RawConnection};

enum Entry {
    Asked(Vec<(String, LogicalType)>),
    Answered(Schema),
}

/// Questions and answers of `pintail_describe`, by token.
#[derive(Clone, Default)]
pub(crate) struct Descriptions(Arc<Mutex<HashMap<String, Entry>>>);

impl Descriptions {
    pub(crate) fn register(&self, connection: &DuckDBConnection) -> duckdb::Result<()> {
        TableFunctionBuilder::new(
            "pintail_describe",
            SignatureBuilder::new().param(FunctionParameter::new::<String>("token")),
            DescribeFunction(self.clone()),
        )
        .register(connection)
    }

    /// The Arrow schema that `connection`, which one thread uses at a time, would give a result of `columns`.
    pub(crate) fn arrow_schema(
        &self,
        connection: &RawConnection,
        columns: Vec<(String, LogicalType)>,
    ) -> duckdb::Result<Schema> {
        let token = connection.token();
        self.set(token, Entry::Asked(columns));
        let bound = connection.bind_describing();
        let entry = self.take(token);
        bound?;
        match entry {
            Some(Entry::Answered(schema)) => Ok(schema),
            _ => Err(duckdb::Error::api_error("the engine did not describe the result's columns")),
        }
    }

    fn set(&self, token: &str, entry: Entry) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), entry);
    }

    fn take(&self, token: &str) -> Option<Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(token)
    }
}

struct DescribeFunction(Descriptions);

impl TableFunctionCallbacks for DescribeFunction {
    type BindData = ();
    type GlobalState = ();
    type LocalState = ();

    fn bind(
        &self,
        context: &Context,
        arguments: Vec<BindArgument>,
        output: BindFunctionHandle<'_>,
    ) -> duckdb::Result<()> {
        let token = match arguments.first().and_then(|argument| argument.value.as_ref()) {
            Some(value) => value.get::<String>()?.unwrap_or_default(),
            None => String::new(),
        };
        let Some(Entry::Asked(columns)) = self.0.take(&token) else {
            return Err(duckdb::Error::invalid_input("pintail_describe is internal to the server"));
        };
        let borrowed: Vec<(&str, LogicalType)> =
            columns.iter().map(|(name, logical_type)| (name.as_str(), logical_type.clone())).collect();
        let schema = ffi::import_schema(ArrowExporter::new(context, &borrowed, None)?.schema()?)?;
        self.0.set(&token, Entry::Answered(schema));
        output.add_result_column("described", &bool::logical_type(context)?)
    }

    fn exec(
        &self,
        _bind: &(),
        _global: Option<&()>,
        _local: Option<&mut ()>,
        _context: &Context,
        _output: DataChunkRef<'_>,
        _columns: ExecColumnInfo<'_>,
    ) -> duckdb::Result<()> {
        Ok(())
    }
}
