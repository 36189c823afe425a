//! What `expand` says of the plain form before there is one, held against the plain form.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, DictionaryArray, Int32Array, Int64Array, LargeListViewArray, ListArray,
    NullArray, RecordBatch, RunArray, StringArray, StringViewArray, StructArray,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use pintail_protocol::expand::{expansion, may_expand, slice, slices};
use pintail_protocol::size::UNIT_ROWS;

use super::{plain_batch, plain_schema};

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
    let taken: usize = whole.columns()[..4].iter().map(|column| extent(&column.to_data())).sum();
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

fn extent(data: &ArrayData) -> usize {
    let own: usize = data.buffers().iter().map(arrow::buffer::Buffer::len).sum();
    own + data.child_data().iter().map(extent).sum::<usize>()
}
