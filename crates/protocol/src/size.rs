//! RecordBatch -> the bytes that its rows take; and the rows of a row group.
//! A leaf: both sides of the wire ask it.
//! Never: counts what shared buffers hold beside the rows.

use arrow::array::RecordBatch;

/// Rows of a unit: DuckDB's row group. A unit is taken by one thread whole, so only the last unit of a load
/// may be shorter; anything else leaves fragments that nearly double the file.
pub const UNIT_ROWS: usize = 122_880;

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
