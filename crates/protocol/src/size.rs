//! RecordBatch -> the bytes that its rows take; and the rows of a row group.
//! A leaf: both sides of the wire ask it.
//! Never: counts what shared buffers hold beside the rows.

use arrow::array::{Array, ArrayData, RecordBatch};
use arrow::datatypes::DataType;

/// Rows of a unit: DuckDB's row group. A unit is taken by one thread whole, so only the last unit of a load
/// may be shorter; anything else leaves fragments that nearly double the file.
pub const UNIT_ROWS: usize = 122_880;

/// Bytes of the rows of a batch, not of the larger buffers they may be a part of.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| rows_bytes(&column.to_data())).sum()
}

/// arrow-rs counts a list's values whole, whatever slice of the lists is asked about.
fn rows_bytes(data: &ArrayData) -> usize {
    let (rows, from) = (data.len(), data.offset());
    let nulls = if data.nulls().is_some() { rows.div_ceil(8) } else { 0 };
    let child = |from: usize, rows: usize| {
        data.child_data().first().map_or(0, |child| rows_bytes(&child.slice(from, rows)))
    };
    match data.data_type() {
        DataType::List(_) | DataType::Map(..) if !data.buffers()[0].is_empty() => {
            let offsets = &data.buffers()[0].typed_data::<i32>()[from..=from + rows];
            let (first, last) = (offsets[0] as usize, offsets[rows] as usize);
            nulls + size_of_val(offsets) + child(first, last - first)
        }
        DataType::LargeList(_) if !data.buffers()[0].is_empty() => {
            let offsets = &data.buffers()[0].typed_data::<i64>()[from..=from + rows];
            let (first, last) = (offsets[0] as usize, offsets[rows] as usize);
            nulls + size_of_val(offsets) + child(first, last - first)
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            nulls + child(from * size, rows * size)
        }
        // Slices of a struct have slices of its columns.
        DataType::Struct(_) => nulls + data.child_data().iter().map(rows_bytes).sum::<usize>(),
        _ => data.get_slice_memory_size().unwrap_or_else(|_| data.get_array_memory_size()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, FixedSizeListArray, Int64Array, ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    /// A half is half of it, however deep its values lie.
    #[test]
    fn slices_are_their_rows() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..6000));
        let item = Arc::new(Field::new("item", DataType::Int64, true));
        let lists: ArrayRef = Arc::new(ListArray::new(
            Arc::clone(&item),
            OffsetBuffer::from_lengths(vec![3; 2000]),
            Arc::clone(&numbers),
            None,
        ));
        let fixed: ArrayRef = Arc::new(FixedSizeListArray::new(Arc::clone(&item), 3, numbers, None));
        let of_lists = Arc::new(Field::new("item", lists.data_type().clone(), true));
        let deep: ArrayRef = Arc::new(ListArray::new(
            of_lists,
            OffsetBuffer::from_lengths(vec![1; 2000]),
            Arc::clone(&lists),
            None,
        ));
        let column = Arc::new(Field::new("deep", deep.data_type().clone(), true));
        let structs: ArrayRef = Arc::new(StructArray::from(vec![(column, Arc::clone(&deep))]));
        for (name, array) in [("lists", lists), ("fixed", fixed), ("deep", deep), ("structs", structs)] {
            let batch = RecordBatch::try_from_iter([(name, array)]).unwrap();
            let whole = batch_bytes(&batch);
            assert!((48_000..70_000).contains(&whole), "{name}: {whole}");
            for part in
                [batch.slice(0, 1000), batch.slice(1000, 1000), batch.slice(500, 1500).slice(300, 1000)]
            {
                let half = batch_bytes(&part);
                assert!((whole / 2..=whole / 2 + 8).contains(&half), "{name}: {half} of {whole}");
            }
            assert!(batch_bytes(&batch.slice(7, 1)) < 48, "{name}");
        }
    }
}
