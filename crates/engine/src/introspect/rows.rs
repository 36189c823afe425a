//! A catalog query -> its rows, value by value.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use crate::connection::Connection;
use crate::error::Result;
use crate::read::query;

/// One row of a catalog query's answer.
pub(crate) struct Row<'batch> {
    batch: &'batch RecordBatch,
    index: usize,
}

impl Row<'_> {
    pub(crate) fn text(&self, column: usize) -> String {
        self.text_or_none(column).unwrap_or_default()
    }

    pub(crate) fn text_or_none(&self, column: usize) -> Option<String> {
        let texts = self.batch.column(column).as_string::<i32>();
        texts.is_valid(self.index).then(|| texts.value(self.index).to_owned())
    }

    pub(crate) fn int_or_none(&self, column: usize) -> Option<i32> {
        let numbers = self.batch.column(column).as_primitive::<Int32Type>();
        numbers.is_valid(self.index).then(|| numbers.value(self.index))
    }

    pub(crate) fn long(&self, column: usize) -> i64 {
        self.batch.column(column).as_primitive::<Int64Type>().value(self.index)
    }

    pub(crate) fn long_or_none(&self, column: usize) -> Option<i64> {
        let numbers = self.batch.column(column).as_primitive::<Int64Type>();
        numbers.is_valid(self.index).then(|| numbers.value(self.index))
    }

    pub(crate) fn flag(&self, column: usize) -> bool {
        let flags = self.batch.column(column).as_boolean();
        flags.is_valid(self.index) && flags.value(self.index)
    }
}

/// Runs a catalog query and reads its rows.
pub(crate) fn rows<T>(connection: &Connection, sql: &str, read: impl Fn(Row<'_>) -> T) -> Result<Vec<T>> {
    let batches = query(connection, sql)?;
    Ok(batches
        .iter()
        .flat_map(|batch| (0..batch.num_rows()).map(move |index| Row { batch, index }))
        .map(read)
        .collect())
}
