//! A batch of one file -> the same rows as the columns that are sent.
//! Runs on: the thread that reads the file.
//! Never: turns a value into another one, or into NULL.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Longest value in a message, in characters.
const SHOWN_CHARS: usize = 80;

/// Brings batches of one file to the columns that are sent.
pub(in super::super) struct Adapter {
    shown: String,
    sent: SchemaRef,
    /// Where each sent column is in the file; `None` for one that it lacks.
    places: Vec<Option<usize>>,
    is_same: bool,
}

impl Adapter {
    /// For a file with columns of `own`, those of its folders included. Columns are found by name, without case; those
    /// that `own` lacks are NULL.
    pub(in super::super) fn new(shown: &str, own: &SchemaRef, sent: &SchemaRef) -> Self {
        let known: HashMap<String, usize> = own
            .fields()
            .iter()
            .enumerate()
            .map(|(place, field)| (field.name().to_lowercase(), place))
            .collect();
        let places = sent.fields().iter().map(|field| known.get(&field.name().to_lowercase()).copied());
        Self {
            shown: shown.to_owned(),
            sent: Arc::clone(sent),
            places: places.collect(),
            is_same: own.fields() == sent.fields(),
        }
    }

    /// The rows as they are sent.
    ///
    /// Errors: `Invalid` naming file, column, row and the value that its type does not hold.
    pub(in super::super) fn adapt(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.is_same && batch.schema_ref().fields() == self.sent.fields() {
            return Ok(batch.clone());
        }
        let rows = batch.num_rows();
        let columns = self.sent.fields().iter().zip(&self.places).map(|(field, place)| match place {
            None => Ok(new_null_array(field.data_type(), rows)),
            Some(place) => {
                let column = batch.columns().get(*place).ok_or_else(|| {
                    Error::internal(format!("{}: a batch lacks column \"{}\"", self.shown, field.name()))
                })?;
                fit(column, field).map_err(|_| self.misfit(column, field))
            }
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.sent), columns, &options)?)
    }

    /// Looks for the row behind a failure, one by one.
    fn misfit(&self, column: &ArrayRef, field: &Field) -> Error {
        let row = (0..column.len()).find(|row| fit(&column.slice(*row, 1), field).is_err());
        let place = row.map_or(String::new(), |row| format!(", row {} of a batch", row + 1));
        let found = row.and_then(|row| value(column, row)).map_or(String::new(), |value| format!(" {value}"));
        Error::invalid(format!(
            "cannot load {}: column \"{}\"{place}: the value{found} of type {} is not one of {} exactly, which is what \
             the column has in other files or in the table; cast the column in this file, or load it into a table of \
             its own",
            self.shown,
            field.name(),
            column.data_type(),
            field.data_type()
        ))
    }
}

fn value(column: &ArrayRef, row: usize) -> Option<String> {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).ok()?;
    let text = formatter.value(row).try_to_string().ok()?;
    Some(text.chars().take(SHOWN_CHARS).collect())
}

/// `array` in the type of `to`, every value the same.
fn fit(array: &ArrayRef, to: &Field) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    if array.data_type() == to.data_type() {
        return Ok(Arc::clone(array));
    }
    match (array.data_type(), to.data_type()) {
        (T::Null, other) => Ok(new_null_array(other, array.len())),
        (T::Dictionary(_, values), _) if **values != *to.data_type() => {
            fit(&exactly(array, &values.clone())?, to)
        }
        (T::RunEndEncoded(_, values), _) if values.data_type() != to.data_type() => {
            fit(&exactly(array, &values.data_type().clone())?, to)
        }
        (T::Struct(_), T::Struct(fields)) => {
            let parts = array.as_struct();
            let children = fields.iter().map(|field| {
                let place = parts
                    .fields()
                    .iter()
                    .position(|own| own.name().to_lowercase() == field.name().to_lowercase());
                match place {
                    Some(place) => fit(parts.column(place), field),
                    None => Ok(new_null_array(field.data_type(), parts.len())),
                }
            });
            let children = children.collect::<Result<Vec<_>, _>>()?;
            let nulls = parts.nulls().cloned();
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, nulls, parts.len())?))
        }
        (T::List(_), T::List(item)) => fit_list(array.as_list::<i32>(), item),
        (T::LargeList(_), T::LargeList(item)) => fit_list(array.as_list::<i64>(), item),
        (T::FixedSizeList(_, length), T::FixedSizeList(item, same)) if length == same => {
            let list = array.as_fixed_size_list();
            let values = fit(list.values(), item)?;
            let nulls = list.nulls().cloned();
            let fitted = FixedSizeListArray::try_new_with_length(
                Arc::clone(item),
                *length,
                values,
                nulls,
                list.len(),
            )?;
            Ok(Arc::new(fitted))
        }
        // Another kind of list first, another kind of element then.
        (
            T::List(own) | T::ListView(own) | T::LargeListView(own) | T::FixedSizeList(own, _),
            T::List(_) | T::LargeList(_),
        ) if array.data_type() != &with_item(to.data_type(), own) => {
            fit(&exactly(array, &with_item(to.data_type(), own))?, to)
        }
        (T::Map(..), T::Map(entries, sorted)) => {
            let map = array.as_map();
            let T::Struct(pair) = entries.data_type() else {
                return Err(ArrowError::InvalidArgumentError("a map without pairs".to_owned()));
            };
            let (offsets, first, count) = rebased(map.offsets());
            let own = map.entries().slice(first, count);
            let columns = own
                .columns()
                .iter()
                .zip(pair)
                .map(|(column, field)| fit(column, field))
                .collect::<Result<_, _>>()?;
            let pairs =
                StructArray::try_new_with_length(pair.clone(), columns, own.nulls().cloned(), own.len())?;
            let nulls = map.nulls().cloned();
            Ok(Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, *sorted)?))
        }
        (_, other) => exactly(array, other),
    }
}

fn with_item(list: &DataType, item: &FieldRef) -> DataType {
    match list {
        DataType::LargeList(_) => DataType::LargeList(Arc::clone(item)),
        _ => DataType::List(Arc::clone(item)),
    }
}

fn fit_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, item: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let (offsets, first, count) = rebased(list.offsets());
    let values = fit(&list.values().slice(first, count), item)?;
    Ok(Arc::new(GenericListArray::try_new(Arc::clone(item), offsets, values, list.nulls().cloned())?))
}

/// Offsets from 0 on, and the elements they stand for: those of other rows need not fit.
fn rebased<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> (OffsetBuffer<O>, usize, usize) {
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let moved = OffsetBuffer::new(offsets.iter().map(|offset| *offset - first).collect());
    (moved, first.as_usize(), (last - first).as_usize())
}

/// A cast that fails where a value would become another one.
fn exactly(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let fitted = cast_with_options(array, to, &CastOptions { safe: false, ..Default::default() })?;
    if !can_change(array.data_type(), to) {
        return Ok(fitted);
    }
    let back =
        cast_with_options(&fitted, array.data_type(), &CastOptions { safe: true, ..Default::default() })?;
    let same: BooleanArray = not_distinct(&back, array)?;
    if same.true_count() == same.len() {
        return Ok(fitted);
    }
    Err(ArrowError::CastError(format!("a value of {} is not one of {to}", array.data_type())))
}

/// Whether a cast between the types may give another value without an error: rounded, or beyond its range.
fn can_change(from: &DataType, to: &DataType) -> bool {
    let is_number = from.is_integer() || from.is_decimal();
    (is_number && to.is_floating()) || (from.is_temporal() && to.is_temporal())
}
