//! Run-end encoded columns as the IPC writer can write them.
//! Runs on: whoever encodes a batch. Never: changes a value, or copies a column without runs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::error::Result;

/// Rebuilds columns with runs in them. arrow-ipc 60 announces the data buffers of views below an empty slice of runs,
/// and then leaves them out; no reader takes that message.
pub(super) fn writable(batch: RecordBatch) -> Result<RecordBatch> {
    if !batch.schema_ref().fields().iter().any(|field| has_runs(field.data_type())) {
        return Ok(batch);
    }
    let rebuilt = |column: &ArrayRef| match has_runs(column.data_type()) {
        true => concat(&[&*new_empty_array(column.data_type()), &**column]),
        false => Ok(Arc::clone(column)),
    };
    let columns = batch.columns().iter().map(rebuilt).collect::<Result<Vec<_>, ArrowError>>()?;
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns, &rows)?)
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
        BinaryViewArray, Int16Array, ListArray, MapArray, RunArray, StringArray, StructArray,
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
        let list = ListArray::new(item, lengths.clone(), Arc::clone(&runs), None);
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
        for column in [
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
