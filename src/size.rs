//! RecordBatch -> the bytes that its rows take.
//! A leaf: both sides of the wire ask it.
//! Never: counts what shared buffers hold beside the rows.

use arrow::array::RecordBatch;

/// Bytes of the rows of a batch, not of the larger buffers they may be a part of.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}
