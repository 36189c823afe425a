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

use super::plain::is_engines_decimal;
use super::segment::UNIT_ROWS;

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

#[cfg(test)]
mod tests {
    use super::super::plain::{plain_batch, plain_schema};
    use super::*;
    use arrow::array::{
        DictionaryArray, Int32Array, Int64Array, LargeListViewArray, ListArray, NullArray, StringArray,
        StringViewArray,
    };
    use arrow::buffer::ScalarBuffer;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Schema, SchemaRef};

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let field = |(index, column): (usize, &ArrayRef)| {
            Field::new(format!("c{index}"), column.data_type().clone(), true)
        };
        let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    /// `rows` rows over ten values of `length` bytes; every eleventh is NULL.
    fn words(rows: usize, length: usize) -> DictionaryArray<Int32Type> {
        let values: Vec<String> = (0..10).map(|n| n.to_string().repeat(length)).collect();
        let keys = (0..rows).map(|row| (row % 11 != 10).then_some((row % 11) as i32));
        DictionaryArray::new(Int32Array::from_iter(keys), Arc::new(StringArray::from(values)))
    }

    fn encoded(rows: usize) -> RecordBatch {
        let words = words(rows, 50);
        let runs = RunArray::try_new(
            &Int32Array::from(vec![rows as i32 / 3, rows as i32]),
            &StringArray::from(vec!["a long value that is repeated", "b"]),
        )
        .unwrap();
        let offsets: Vec<i32> = (0..=rows as i32).collect();
        let item = Arc::new(Field::new("item", words.data_type().clone(), true));
        let lists = ListArray::new(item, OffsetBuffer::new(offsets.into()), Arc::new(words.clone()), None);
        let parts = StructArray::from(vec![(
            Arc::new(Field::new("w", words.data_type().clone(), true)),
            Arc::new(words.clone()) as ArrayRef,
        )]);
        let numbers = Int64Array::from_iter_values(0..rows as i64);
        batch(vec![Arc::new(words), Arc::new(runs), Arc::new(lists), Arc::new(parts), Arc::new(numbers)])
    }

    fn parts(batch: &RecordBatch, plain: &SchemaRef, bytes_max: usize) -> Vec<RecordBatch> {
        let ranges = slices(batch, plain, bytes_max);
        ranges.map(|(rows, _)| plain_batch(slice(batch, rows).unwrap(), plain).unwrap()).collect()
    }

    #[test]
    fn slices_made_plain_are_the_batch_made_plain() {
        let batch = encoded(10_000);
        let plain = plain_schema(&batch.schema());
        let whole = plain_batch(batch.clone(), &plain).unwrap();
        for bytes_max in [1, 1000, 100_000, 10_000_000] {
            let parts = parts(&batch, &plain, bytes_max);
            assert_eq!(concat_batches(&plain, &parts).unwrap(), whole, "{bytes_max}");
        }
        assert_eq!(parts(&batch, &plain, 1).len(), 10_000);
        assert_eq!(parts(&batch, &plain, 10_000_000).len(), 1);
    }

    #[test]
    fn a_slice_takes_what_was_said() {
        let batch = encoded(20_000);
        let plain = plain_schema(&batch.schema());
        let ranges: Vec<_> = slices(&batch, &plain, 300_000).collect();
        assert!(ranges.len() > 5, "{}", ranges.len());
        for (rows, bytes) in ranges {
            assert!(bytes <= 300_000, "{rows:?}: {bytes}");
            let made = plain_batch(slice(&batch, rows).unwrap(), &plain).unwrap();
            // All but the column of plain numbers are counted, with what expanding runs takes on the way.
            let taken: usize = made.columns()[..4].iter().map(Array::get_array_memory_size).sum();
            // Texts are gathered in buffers that grow.
            assert!(taken as u64 <= bytes * 3 / 2 + 20_000, "{taken} of {bytes}");
        }
        let whole = plain_batch(batch.clone(), &plain).unwrap();
        let taken: usize = whole.columns()[..4].iter().map(|column| extent(&column.to_data()) as usize).sum();
        let said = expansion(&batch, &plain, usize::MAX);
        assert!(said >= taken && said < taken + 20_000 * 20, "{said} for {taken}");
    }

    #[test]
    fn parts_of_many_rows_end_with_a_row_group() {
        let batch = batch(vec![Arc::new(words(400_000, 1))]);
        let plain = plain_schema(&batch.schema());
        let rows: Vec<usize> = slices(&batch, &plain, 1_000_000).map(|(rows, _)| rows.len()).collect();
        assert_eq!(rows, [UNIT_ROWS, UNIT_ROWS, UNIT_ROWS, 400_000 - 3 * UNIT_ROWS]);
    }

    /// What is plain already stands for itself, views included; what shares its values among rows does not.
    #[test]
    fn only_what_repeats_expands() {
        let long = "a value longer than twelve bytes";
        let texts = StringViewArray::from_iter_values((0..5000).map(|n| format!("{n} {long}")));
        let ordinary = batch(vec![
            Arc::new(Int64Array::from_iter_values(0..5000)),
            Arc::new(texts),
            Arc::new(NullArray::new(5000)),
        ]);
        let plain = plain_schema(&ordinary.schema());
        assert_eq!(expansion(&ordinary, &plain, usize::MAX), 0);
        assert_eq!(slices(&ordinary, &plain, 1).count(), 1);

        let values = StringViewArray::from(vec!["x".repeat(100_000)]);
        let shared = StringViewArray::new(
            ScalarBuffer::from(vec![values.views()[0]; 5000]),
            values.data_buffers().to_vec(),
            None,
        );
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let lists = LargeListViewArray::new(
            item,
            vec![0_i64; 5000].into(),
            vec![1000_i64; 5000].into(),
            Arc::new(Int64Array::from_iter_values(0..1000)),
            None,
        );
        let item = Arc::new(Field::new("item", DataType::Null, true));
        let offsets = OffsetBuffer::<i32>::from_lengths(vec![1_000_000; 1000]);
        let nulls = ListArray::new(item, offsets, Arc::new(NullArray::new(1_000_000_000)), None);
        for (column, bytes) in [
            (Arc::new(shared) as ArrayRef, 500_000_000),
            (Arc::new(lists), 40_000_000),
            (Arc::new(nulls), 4_000_000_000),
        ] {
            let batch = batch(vec![column]);
            let plain = plain_schema(&batch.schema());
            assert!(may_expand(&batch.schema(), &plain));
            assert!(expansion(&batch, &plain, usize::MAX) >= bytes);
            assert!(slices(&batch, &plain, 8_000_000).all(|(_, bytes)| bytes <= 8_000_000));
            // Counting stops where it is enough.
            assert!(expansion(&batch, &plain, 1000) > 1000);
        }
    }
}
