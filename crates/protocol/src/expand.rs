//! What encoded columns take once they are plain, and where to cut a batch so that each part stays below a bound.
//! Runs on: the task that decodes a stream, the thread that appends it. Pure.
//! Never: makes anything plain to find out; counts longer than the bound that it was given.
//!
//! A dictionary, a run or a view says in a few bytes what its plain form repeats: a message of some kilobytes can
//! stand for gigabytes. [`expansion`] says how much, [`slices`] cuts.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, GenericListArray, GenericListViewArray, MapArray, OffsetSizeTrait,
    RecordBatch, RunArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowNativeType, DataType, Field, FieldRef, Int16Type, Int32Type, Int64Type, IntervalUnit,
    RunEndIndexType, Schema, UnionMode,
};

use crate::size::UNIT_ROWS;

/// Rows that are counted at once; what a data chunk of the engine holds.
const BLOCK_ROWS: usize = 2048;
/// Rows that say the same in less than half of their plain size are worth cutting; below this much nothing is.
const SLACK_BYTES: u64 = 64 * 1024;

/// Whether batches of `schema` may stand for more than they hold. `plain` is its plain form.
pub fn may_expand(schema: &Schema, plain: &Schema) -> bool {
    let mut fields = schema.fields().iter().zip(plain.fields());
    fields.any(|(offered, plain)| offered.data_type() != plain.data_type() || repeats(offered.data_type()))
}

/// Bytes that the plain form of a batch takes beside the batch itself, counted up to `bytes_max` and not far beyond.
pub fn expansion(batch: &RecordBatch, plain: &Schema, bytes_max: usize) -> usize {
    let columns = expanding(batch, plain);
    let bytes = cost_of(&columns, 0, batch.num_rows(), as_u64(bytes_max));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Bytes of the longest value of an array in its plain form.
pub fn longest_value(values: &dyn Array) -> usize {
    let entry = entry_cost(values, u64::MAX);
    let longest = (0..values.len()).map(entry).max().unwrap_or_default();
    usize::try_from(longest).unwrap_or(usize::MAX)
}

/// Whether a decimal is as wide as DuckDB's own of that precision; the importer lends its numbers as they are.
///
/// Source: DuckDB's `DecimalType`: 2, 4, 8 and 16 bytes for up to 4, 9, 18 and 38 digits.
pub fn is_engines_decimal(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Decimal32(5..=9, 0..) | DataType::Decimal64(10..=18, 0..))
}

/// Bytes of one value of a type that has a width in its plain form.
pub fn plain_width(data_type: &DataType) -> Option<usize> {
    let width = match data_type {
        DataType::Null => 4,
        DataType::Boolean => 1,
        DataType::Float16 => 4,
        DataType::Decimal32(..) | DataType::Decimal64(..) if is_engines_decimal(data_type) => {
            data_type.primitive_width()?
        }
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => 16,
        DataType::Interval(IntervalUnit::DayTime) => 16,
        DataType::FixedSizeBinary(width) => usize::try_from(*width).ok()?.max(1),
        other => other.primitive_width()?,
    };
    Some(width)
}

/// Parts of a batch, in order, whose plain form takes at most `bytes_max` each; a row that takes more is a part of its
/// own. Parts of more rows than a row group end where one ends.
pub fn slices(batch: &RecordBatch, plain: &Schema, bytes_max: usize) -> Slices {
    Slices { columns: expanding(batch, plain), rows: batch.num_rows(), at: 0, bytes_max: as_u64(bytes_max) }
}

/// The rows of a part, and what their plain form takes.
pub struct Slices {
    columns: Vec<ArrayRef>,
    rows: usize,
    at: usize,
    bytes_max: u64,
}

impl Iterator for Slices {
    type Item = (Range<usize>, u64);

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.rows {
            return None;
        }
        let mut taken = 0;
        let mut bytes = 0;
        let mut step = BLOCK_ROWS;
        while self.at + taken < self.rows {
            let rows = step.min(self.rows - self.at - taken);
            let left = self.bytes_max - bytes;
            let more = cost_of(&self.columns, self.at + taken, rows, left);
            if more <= left {
                taken += rows;
                bytes += more;
            } else if taken >= BLOCK_ROWS || (rows == 1 && taken > 0) {
                break;
            } else if rows == 1 {
                (taken, bytes) = (1, more);
                break;
            } else {
                step = rows / 2;
            }
        }
        if taken > UNIT_ROWS {
            taken -= taken % UNIT_ROWS;
        }
        let range = self.at..self.at + taken;
        self.at = range.end;
        Some((range, bytes))
    }
}

/// Rows of a batch, without the values of lists that belong to other rows: making those plain would be for nothing.
pub fn slice(batch: &RecordBatch, rows: Range<usize>) -> Result<RecordBatch, arrow::error::ArrowError> {
    let columns =
        batch.columns().iter().map(|column| trimmed(&column.slice(rows.start, rows.len()))).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn trimmed(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::List(field) => trimmed_list(array.as_list::<i32>(), field),
        DataType::LargeList(field) => trimmed_list(array.as_list::<i64>(), field),
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let (offsets, values) = (rebased(map.offsets()), range_of(map.offsets()));
            let entries: ArrayRef = Arc::new(map.entries().slice(values.start, values.len()));
            let entries = trimmed(&entries);
            let nulls = map.nulls().cloned();
            Arc::new(MapArray::new(Arc::clone(field), offsets, entries.as_struct().clone(), nulls, *sorted))
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(trimmed).collect();
            Arc::new(StructArray::new(fields.clone(), columns, parts.nulls().cloned()))
        }
        _ => Arc::clone(array),
    }
}

fn trimmed_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, field: &FieldRef) -> ArrayRef {
    let (offsets, values) = (rebased(list.offsets()), range_of(list.offsets()));
    let values = trimmed(&list.values().slice(values.start, values.len()));
    Arc::new(GenericListArray::new(Arc::clone(field), offsets, values, list.nulls().cloned()))
}

fn rebased<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> OffsetBuffer<O> {
    let first = offsets[0];
    if first.is_zero() {
        return offsets.clone();
    }
    OffsetBuffer::new(offsets.iter().map(|offset| *offset - first).collect())
}

fn range_of<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Range<usize> {
    offsets[0].as_usize()..offsets[offsets.len() - 1].as_usize()
}

/// The columns that are converted, or stand for far more than they hold.
fn expanding(batch: &RecordBatch, plain: &Schema) -> Vec<ArrayRef> {
    let fields = batch.schema_ref().fields().iter().zip(plain.fields());
    let columns = fields.zip(batch.columns()).filter(|((offered, plain), column)| {
        if offered.data_type() != plain.data_type() {
            return true;
        }
        let held = || extent(&column.to_data()).saturating_mul(2).saturating_add(SLACK_BYTES);
        repeats(offered.data_type()) && {
            let held = held();
            cost(column, 0, column.len(), held) > held
        }
    });
    columns.map(|(_, column)| Arc::clone(column)).collect()
}

/// Whether values of a type can be in an array more often than they are in its buffers.
fn repeats(data_type: &DataType) -> bool {
    let child = |field: &Field| has_no_bytes(field.data_type()) || repeats(field.data_type());
    match data_type {
        DataType::Utf8View
        | DataType::BinaryView
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Dictionary(..)
        | DataType::RunEndEncoded(..)
        | DataType::Union(_, UnionMode::Dense) => true,
        DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => child(field),
        DataType::FixedSizeList(field, _) => child(field),
        DataType::Struct(fields) => fields.iter().any(|field| repeats(field.data_type())),
        DataType::Union(fields, UnionMode::Sparse) => {
            fields.iter().any(|(_, field)| repeats(field.data_type()))
        }
        _ => false,
    }
}

/// Whether values of a type take nothing on the wire, so that any number of them can be declared.
fn has_no_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null | DataType::FixedSizeBinary(0) | DataType::FixedSizeList(_, 0) => true,
        DataType::FixedSizeList(field, _) => has_no_bytes(field.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| has_no_bytes(field.data_type())),
        _ => false,
    }
}

/// Bytes of the buffers that an array reads.
fn extent(data: &ArrayData) -> u64 {
    let own: u64 = data.buffers().iter().map(|buffer| as_u64(buffer.len())).sum();
    own + data.child_data().iter().map(extent).sum::<u64>()
}

fn cost_of(columns: &[ArrayRef], from: usize, rows: usize, bytes_max: u64) -> u64 {
    let mut bytes = 0_u64;
    for column in columns {
        bytes = bytes.saturating_add(cost(column, from, rows, bytes_max.saturating_sub(bytes)));
        if bytes > bytes_max {
            break;
        }
    }
    bytes
}

/// Bytes of some rows of an array in their plain form. Stops counting above `bytes_max`; every value counts for a
/// byte at least, so that counting takes no more steps than that.
fn cost(array: &dyn Array, from: usize, rows: usize, bytes_max: u64) -> u64 {
    let data_type = array.data_type();
    if let Some(width) = plain_width(data_type) {
        return as_u64(width).saturating_mul(as_u64(rows));
    }
    let count = as_u64(rows);
    match data_type {
        DataType::Utf8 => texts(array.as_string::<i32>().value_offsets(), from, rows),
        DataType::LargeUtf8 => texts(array.as_string::<i64>().value_offsets(), from, rows),
        DataType::Binary => texts(array.as_binary::<i32>().value_offsets(), from, rows),
        DataType::LargeBinary => texts(array.as_binary::<i64>().value_offsets(), from, rows),
        DataType::Utf8View => views(array.as_string_view().views(), from, rows),
        DataType::BinaryView => views(array.as_binary_view().views(), from, rows),
        DataType::List(_) => list(array.as_list::<i32>(), from, rows, bytes_max),
        DataType::LargeList(_) => list(array.as_list::<i64>(), from, rows, bytes_max),
        DataType::ListView(_) => list_view(array.as_list_view::<i32>(), from, rows, bytes_max),
        DataType::LargeListView(_) => list_view(array.as_list_view::<i64>(), from, rows, bytes_max),
        DataType::Map(..) => {
            let map = array.as_map();
            let (first, last) =
                (map.value_offsets()[from] as usize, map.value_offsets()[from + rows] as usize);
            count * 4 + cost(map.entries(), first, last - first, bytes_max)
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or_default();
            count + cost(array.as_fixed_size_list().values(), from * size, rows * size, bytes_max)
        }
        DataType::Struct(_) => {
            count.saturating_add(cost_of(array.as_struct().columns(), from, rows, bytes_max))
        }
        DataType::Dictionary(..) => dictionary(array, from, rows, bytes_max),
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => array.as_run_opt::<Int16Type>().map(|run| runs(run, from, rows, bytes_max)),
            DataType::Int32 => array.as_run_opt::<Int32Type>().map(|run| runs(run, from, rows, bytes_max)),
            _ => array.as_run_opt::<Int64Type>().map(|run| runs(run, from, rows, bytes_max)),
        }
        .unwrap_or_default(),
        DataType::Union(fields, mode) => {
            let union = array.as_union();
            let mut bytes = count;
            if *mode == UnionMode::Sparse {
                for (id, _) in fields.iter() {
                    bytes = bytes.saturating_add(cost(union.child(id), from, rows, bytes_max));
                }
                return bytes;
            }
            for row in from..from + rows {
                let child = union.child(union.type_id(row));
                bytes = bytes.saturating_add(cost(child, union.value_offset(row), 1, bytes_max));
                if bytes > bytes_max {
                    break;
                }
            }
            bytes
        }
        _ => count,
    }
}

fn texts<O: OffsetSizeTrait>(offsets: &[O], from: usize, rows: usize) -> u64 {
    let length = offsets[from + rows] - offsets[from];
    as_u64(length.as_usize()) + as_u64(rows) * as_u64(size_of::<O>())
}

/// The length is the first word of a view.
fn views(views: &[u128], from: usize, rows: usize) -> u64 {
    views[from..from + rows].iter().map(|view| u64::from(*view as u32) + 16).sum()
}

fn list<O: OffsetSizeTrait>(list: &GenericListArray<O>, from: usize, rows: usize, bytes_max: u64) -> u64 {
    let (first, last) = (list.value_offsets()[from].as_usize(), list.value_offsets()[from + rows].as_usize());
    let own = as_u64(rows) * as_u64(size_of::<O>());
    own.saturating_add(cost(list.values(), first, last - first, bytes_max))
}

/// Rows of a list view may share values; each counts them as its own.
fn list_view<O: OffsetSizeTrait>(
    list: &GenericListViewArray<O>,
    from: usize,
    rows: usize,
    bytes_max: u64,
) -> u64 {
    let mut bytes = 0_u64;
    for row in from..from + rows {
        let (first, count) = (list.value_offsets()[row].as_usize(), list.value_sizes()[row].as_usize());
        let own = 2 * as_u64(size_of::<O>());
        bytes = bytes.saturating_add(own).saturating_add(cost(list.values(), first, count, bytes_max));
        if bytes > bytes_max {
            break;
        }
    }
    bytes
}

fn dictionary(array: &dyn Array, from: usize, rows: usize, bytes_max: u64) -> u64 {
    let values = array.as_any_dictionary().values();
    if let Some(width) = plain_width(values.data_type()) {
        return as_u64(width).saturating_mul(as_u64(rows));
    }
    if values.is_empty() {
        return as_u64(rows).saturating_mul(4);
    }
    let entry = entry_cost(values, bytes_max);
    let mut bytes = 0_u64;
    let mut at = from;
    while at < from + rows && bytes <= bytes_max {
        let block = array.slice(at, BLOCK_ROWS.min(from + rows - at));
        let keys = block.as_any_dictionary().normalized_keys();
        at += keys.len();
        for (row, key) in keys.into_iter().enumerate() {
            bytes = bytes.saturating_add(if block.is_null(row) { 4 } else { entry(key) });
            if bytes > bytes_max {
                break;
            }
        }
    }
    bytes
}

/// The cost of single values; looks up what is the same for all of them once.
fn entry_cost(values: &dyn Array, bytes_max: u64) -> Box<dyn Fn(usize) -> u64 + '_> {
    match values.data_type() {
        DataType::Utf8 => {
            let offsets = values.as_string::<i32>().value_offsets();
            Box::new(|index| texts(offsets, index, 1))
        }
        DataType::LargeUtf8 => {
            let offsets = values.as_string::<i64>().value_offsets();
            Box::new(|index| texts(offsets, index, 1))
        }
        _ => Box::new(move |index| cost(values, index, 1, bytes_max).max(1)),
    }
}

fn runs<R: RunEndIndexType>(array: &RunArray<R>, from: usize, rows: usize, bytes_max: u64) -> u64 {
    // Beside its values, expanding takes two lists of indices.
    let mut bytes = as_u64(rows).saturating_mul(8);
    if rows == 0 {
        return bytes;
    }
    let ends = array.run_ends();
    let entry = entry_cost(array.values(), bytes_max);
    let (mut row, last) = (ends.offset() + from, ends.offset() + from + rows);
    let mut run = ends.get_physical_index(from);
    while row < last && bytes <= bytes_max {
        let Some(end) = ends.values().get(run) else { break };
        let end = end.as_usize().min(last);
        bytes = bytes.saturating_add(entry(run).saturating_mul(as_u64(end.saturating_sub(row))));
        row = end.max(row);
        run += 1;
    }
    bytes
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
