//! Run-end encoded columns as the IPC writer can write them.
//! Runs on: whoever encodes a batch. Never: changes a value, or copies a column without runs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListViewArray, OffsetSizeTrait, RecordBatch, RecordBatchOptions,
    StructArray, new_empty_array,
};
use arrow::compute::concat;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use crate::error::Result;

/// Rebuilds columns with runs in them. arrow-ipc 60 announces the data buffers of views below an empty slice of runs,
/// and then leaves them out; no reader takes that message.
pub(super) fn writable(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.schema_ref().fields().iter().any(|field| has_runs(field.data_type())) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(rebuilt).collect::<Result<Vec<_>, ArrowError>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &rows)?)
}

fn rebuilt(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        other if !has_runs(other) => Ok(Arc::clone(column)),
        // Of list views `concat` keeps the values as they are, and the writer takes those that the rows refer to.
        DataType::ListView(item) => list_view::<i32>(column.as_list_view(), item),
        DataType::LargeListView(item) => list_view::<i64>(column.as_list_view(), item),
        DataType::Struct(fields) => {
            let structs = column.as_struct();
            let columns = structs.columns().iter().map(rebuilt).collect::<Result<Vec<_>, _>>()?;
            let (nulls, rows) = (structs.nulls().cloned(), structs.len());
            Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), columns, nulls, rows)?))
        }
        other => concat(&[&*new_empty_array(other), &**column]),
    }
}

/// The same lists over no more values than they span.
fn list_view<O: OffsetSizeTrait>(
    list: &GenericListViewArray<O>,
    item: &FieldRef,
) -> Result<ArrayRef, ArrowError> {
    let rows = || list.offsets().iter().zip(list.sizes()).filter(|(_, size)| **size > O::zero());
    let from = rows().map(|(offset, _)| offset.as_usize()).min().unwrap_or_default();
    let to = rows().map(|(offset, size)| offset.as_usize() + size.as_usize()).max().unwrap_or_default();
    let values = rebuilt(&list.values().slice(from, to - from))?;
    let moved = list.offsets().iter().zip(list.sizes()).map(|(offset, size)| match *size > O::zero() {
        true => O::usize_as(offset.as_usize() - from),
        false => O::zero(),
    });
    let (offsets, sizes) = (moved.collect(), list.sizes().clone());
    let nulls = list.nulls().cloned();
    Ok(Arc::new(GenericListViewArray::<O>::try_new(Arc::clone(item), offsets, sizes, values, nulls)?))
}

fn has_runs(kind: &DataType) -> bool {
    match kind {
        DataType::RunEndEncoded(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_runs(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_runs(field.data_type())),
        DataType::Union(fields, _) => fields.iter().any(|(_, field)| has_runs(field.data_type())),
        DataType::Dictionary(_, values) => has_runs(values),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryViewArray, Int16Array, ListArray, ListViewArray, MapArray, RunArray, StringArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Fields, Int16Type};
    use arrow::ipc::reader::StreamReader;
    use arrow::ipc::writer::StreamWriter;

    use super::*;

    /// Empty slices of runs, alone and below lists and maps, are read again as they were.
    #[test]
    fn empty_slices_of_runs_are_written() {
        let long: &[u8] = b"more than the twelve bytes that a view holds";
        let runs: ArrayRef = Arc::new(
            RunArray::<Int16Type>::try_new(&Int16Array::from(vec![1]), &BinaryViewArray::from(vec![long]))
                .unwrap(),
        );
        let item = Arc::new(Field::new("item", runs.data_type().clone(), true));
        let lengths = OffsetBuffer::from_lengths([1usize, 0]);
        let list = ListArray::new(Arc::clone(&item), lengths.clone(), Arc::clone(&runs), None);
        let fields = Fields::from(vec![
            Field::new("key", DataType::Utf8, false),
            Field::new("value", runs.data_type().clone(), true),
        ]);
        let entries = StructArray::new(
            fields.clone(),
            vec![Arc::new(StringArray::from(vec!["k"])), Arc::clone(&runs)],
            None,
        );
        let entry = Arc::new(Field::new("entries", DataType::Struct(fields), false));
        let map = MapArray::new(entry, lengths, entries, None, false);
        let offsets = || vec![0_i32, 1, 0].into();
        let views = ListViewArray::new(
            Arc::clone(&item),
            offsets(),
            vec![0_i32, 0, 1].into(),
            Arc::clone(&runs),
            None,
        );
        let views: ArrayRef = Arc::new(views);
        let below = Arc::new(Field::new("below", views.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(below, Arc::clone(&views))]));
        for column in [
            views.slice(0, 2),
            views.slice(1, 2),
            views.slice(1, 0),
            structs.slice(1, 0),
            structs.slice(0, 2),
            views,
            structs,
            runs.slice(0, 0),
            Arc::new(list.slice(1, 1)) as ArrayRef,
            Arc::new(map.slice(1, 1)) as ArrayRef,
            runs,
        ] {
            let batch = writable(RecordBatch::try_from_iter([("x", Arc::clone(&column))]).unwrap()).unwrap();
            let mut bytes = Vec::new();
            let mut writer = StreamWriter::try_new(&mut bytes, batch.schema_ref()).unwrap();
            writer.write(&batch).unwrap();
            writer.finish().unwrap();
            let back = StreamReader::try_new(&bytes[..], None).unwrap().next().unwrap().unwrap();
            assert_eq!(back.column(0), &column);
        }
    }
}
