//! Rows of a RecordBatch -> typed values for a statement's parameters.
//! Never: turns a value into text; drops or invents one.

use std::collections::VecDeque;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use duckdb::connection::Connection as DuckDBConnection;
use duckdb::value::Value;
use duckdb::vector::Unknown;
use duckdb::{DuckDBType, Parameters, ToValue};

use crate::connection::Connection;
use crate::duckdb_error::from_duckdb;
use crate::error::{Error, Result};
use crate::plain::check_importable;
use crate::table_functions::Segment;

/// Values of all rows of `batch`, row by row, in the order of its columns.
pub(crate) fn values(connection: &Connection, batch: &RecordBatch) -> Result<Vec<Vec<Value>>> {
    let mut rows: Vec<Vec<Value>> = Vec::new();
    rows.resize_with(batch.num_rows(), || Vec::with_capacity(batch.num_columns()));
    for (index, array) in batch.columns().iter().enumerate() {
        let column = match plain_values(connection.duckdb(), array)? {
            Some(values) => values,
            None => imported_values(connection, &batch.project(&[index])?)?,
        };
        for (row, value) in rows.iter_mut().zip(column) {
            row.push(value);
        }
    }
    Ok(rows)
}

/// Values of the common types, made directly; `None` for the others.
fn plain_values(connection: &DuckDBConnection, array: &dyn Array) -> Result<Option<Vec<Value>>> {
    fn numbers<T: ArrowPrimitiveType>(
        connection: &DuckDBConnection,
        array: &dyn Array,
    ) -> duckdb::Result<Vec<Value>>
    where
        T::Native: ToValue + DuckDBType,
    {
        let array = array.as_primitive::<T>();
        array.iter().map(|value| value.value(connection)).collect()
    }
    let values = match array.data_type() {
        DataType::Int8 => numbers::<Int8Type>(connection, array),
        DataType::Int16 => numbers::<Int16Type>(connection, array),
        DataType::Int32 => numbers::<Int32Type>(connection, array),
        DataType::Int64 => numbers::<Int64Type>(connection, array),
        DataType::UInt8 => numbers::<UInt8Type>(connection, array),
        DataType::UInt16 => numbers::<UInt16Type>(connection, array),
        DataType::UInt32 => numbers::<UInt32Type>(connection, array),
        DataType::UInt64 => numbers::<UInt64Type>(connection, array),
        DataType::Float32 => numbers::<Float32Type>(connection, array),
        DataType::Float64 => numbers::<Float64Type>(connection, array),
        DataType::Boolean => array.as_boolean().iter().map(|value| value.value(connection)).collect(),
        DataType::Utf8 => {
            array.as_string::<i32>().iter().map(|value| value.map(str::to_owned).value(connection)).collect()
        }
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().map(|value| value.map(str::to_owned).value(connection)).collect()
        }
        _ => return Ok(None),
    };
    values.map(Some).map_err(from_duckdb)
}

/// Values of a one-column batch of any type, by way of the engine's own Arrow importer.
fn imported_values(connection: &Connection, batch: &RecordBatch) -> Result<Vec<Value>> {
    let note = |error| connection.database().note(error);
    let rows = batch.num_rows();
    check_importable(batch.schema_ref())?;
    let unit = VecDeque::from([batch.clone()]);
    let published = connection.publish(Segment::new(batch.schema(), vec![unit]));
    let sql = format!("FROM {}", published.source());
    let mut result = connection.duckdb().query(sql, Parameters::None).map_err(note)?;
    let mut values = Vec::with_capacity(rows);
    while let Some(chunk) = result.next_chunk().map_err(note)? {
        let vector = chunk.get_vector_at::<Unknown>(0).map_err(note)?;
        for row in 0..vector.len() {
            values.push(vector.get_value_slow(row).map_err(note)?);
        }
    }
    if values.len() != rows {
        return Err(Error::internal(format!("{} of {rows} parameter values were converted", values.len())));
    }
    Ok(values)
}
