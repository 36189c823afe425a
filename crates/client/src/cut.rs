//! A batch -> parts that each make one message.
//! Runs on: async tasks of the caller; pure.
//! Never: takes rows for equally large; counts what a slice shares with others and does not hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch};
use arrow::datatypes::{ByteViewType, DataType, UnionMode};

/// Bytes of a view that are the value itself.
const INLINE_BYTES: usize = 12;

/// Parts of a batch, in order, of at most `bytes_max` each; a row that takes more is a part of its own.
pub(super) fn cut(batch: RecordBatch, bytes_max: usize) -> Vec<RecordBatch> {
    let mut parts = Vec::new();
    halve(batch, bytes_max, &mut parts);
    parts
}

fn halve(batch: RecordBatch, bytes_max: usize, parts: &mut Vec<RecordBatch>) {
    let rows = batch.num_rows();
    let bytes = batch.columns().iter().fold(0_usize, |sum, column| sum.saturating_add(bytes(column)));
    if rows < 2 || bytes <= bytes_max {
        parts.push(compacted(batch));
        return;
    }
    let half = rows / 2;
    halve(batch.slice(0, half), bytes_max, parts);
    halve(batch.slice(half, rows - half), bytes_max, parts);
}

/// Views take along every value of the batch that they are a slice of; here they keep their own.
fn compacted(batch: RecordBatch) -> RecordBatch {
    let compact = |column: &ArrayRef| -> Option<ArrayRef> {
        match column.data_type() {
            DataType::Utf8View => compacted_views(column.as_string_view()),
            DataType::BinaryView => compacted_views(column.as_binary_view()),
            _ => None,
        }
    };
    let columns: Vec<Option<ArrayRef>> = batch.columns().iter().map(compact).collect();
    if columns.iter().all(Option::is_none) {
        return batch;
    }
    let columns = columns.into_iter().zip(batch.columns());
    let columns = columns.map(|(new, old)| new.unwrap_or_else(|| Arc::clone(old))).collect();
    // The same types and lengths as before, so that this does not fail.
    RecordBatch::try_new(batch.schema(), columns).unwrap_or(batch)
}

fn compacted_views<V: ByteViewType>(views: &GenericByteViewArray<V>) -> Option<ArrayRef> {
    let held: usize = views.data_buffers().iter().map(arrow::buffer::Buffer::len).sum();
    (held > used(views).saturating_mul(2)).then(|| Arc::new(views.gc()) as ArrayRef)
}

/// Bytes of the values that are not in the views themselves.
fn used<V: ByteViewType>(views: &GenericByteViewArray<V>) -> usize {
    // The length is the first word of a view.
    views.views().iter().map(|view| *view as u32 as usize).filter(|length| *length > INLINE_BYTES).sum()
}

/// Bytes that an array takes in a message. What all parts of it have to take along, such as a dictionary, is left out.
fn bytes(array: &ArrayRef) -> usize {
    let rows = array.len();
    let validity = rows / 8;
    let own = match array.data_type() {
        DataType::Null => 0,
        DataType::Boolean => rows / 8,
        DataType::Utf8 => texts(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => texts(array.as_string::<i64>().value_offsets()),
        DataType::Binary => texts(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => texts(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => rows * 16 + used(array.as_string_view()),
        DataType::BinaryView => rows * 16 + used(array.as_binary_view()),
        DataType::List(_) => list(array.as_list::<i32>().value_offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => {
            list(array.as_list::<i64>().value_offsets(), array.as_list::<i64>().values())
        }
        DataType::Map(..) => {
            let entries: ArrayRef = Arc::new(array.as_map().entries().clone());
            list(array.as_map().value_offsets(), &entries)
        }
        DataType::ListView(_) => {
            let views = array.as_list_view::<i32>();
            list_view(views.value_offsets(), views.value_sizes(), views.values())
        }
        DataType::LargeListView(_) => {
            let views = array.as_list_view::<i64>();
            list_view(views.value_offsets(), views.value_sizes(), views.values())
        }
        DataType::FixedSizeList(..) => bytes(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(bytes).sum(),
        DataType::Union(members, mode) => {
            let union = array.as_union();
            let children: Vec<&ArrayRef> = members.iter().map(|(code, _)| union.child(code)).collect();
            let held: usize = children.iter().map(|child| bytes(child)).sum();
            match mode {
                UnionMode::Sparse => rows + held,
                // About as much for each row.
                UnionMode::Dense => {
                    let of: usize = children.iter().map(Array::len).sum();
                    rows * 5 + held / of.max(1) * rows
                }
            }
        }
        DataType::Dictionary(index, _) => rows * index.primitive_width().unwrap_or_default(),
        DataType::RunEndEncoded(..) => 0,
        DataType::FixedSizeBinary(width) => rows * usize::try_from(*width).unwrap_or_default(),
        other => rows * other.primitive_width().unwrap_or(16),
    };
    own.saturating_add(validity)
}

fn texts<O: OffsetSizeTrait>(offsets: &[O]) -> usize {
    let length = offsets[offsets.len() - 1] - offsets[0];
    length.as_usize() + size_of_val(offsets)
}

fn list<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> usize {
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    size_of_val(offsets) + bytes(&values.slice(first, last - first))
}

fn list_view<O: OffsetSizeTrait>(offsets: &[O], sizes: &[O], values: &ArrayRef) -> usize {
    let elements: usize = sizes.iter().map(|size| size.as_usize()).sum();
    2 * size_of_val(offsets) + bytes(values) / values.len().max(1) * elements.min(values.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, LargeStringArray, ListArray, StringViewArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Int32Type, Schema};

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let fields = columns.iter().enumerate();
        let fields = fields.map(|(n, column)| Field::new(format!("c{n}"), column.data_type().clone(), true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
    }

    /// One long text among short ones is alone in its part, and the others are not cut to pieces for it.
    #[test]
    fn rows_of_any_size_are_cut_by_what_they_take() {
        let texts = |n: usize| if n == 70_000 { "x".repeat(900_000) } else { n.to_string() };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(0..100_000)),
            Arc::new(LargeStringArray::from_iter_values((0..100_000).map(texts))),
            Arc::new(StringViewArray::from_iter_values((0..100_000).map(texts))),
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..100_000).map(|n| Some(vec![Some(n); if n == 99_999 { 50_000 } else { 1 }])),
            )),
        ];
        let whole = batch(columns);
        let sliced = whole.slice(10, 99_990);
        let parts = cut(sliced.clone(), 1 << 20);
        assert!(parts.len() > 5 && parts.len() < 40, "{}", parts.len());
        for part in &parts {
            let taken: usize = part.columns().iter().map(bytes).sum();
            assert!(taken <= 1 << 20 || part.num_rows() == 1, "{taken} for {} rows", part.num_rows());
            let views = part.column(2).as_string_view();
            let held: usize = views.data_buffers().iter().map(arrow::buffer::Buffer::len).sum();
            assert!(held <= 2 * used(views), "{held} bytes of values");
        }
        assert_eq!(concat_batches(&sliced.schema(), &parts).unwrap(), sliced);
        // A slice of something large is small.
        assert_eq!(cut(whole.slice(5, 1000), 1 << 20).len(), 1);
        assert_eq!(cut(whole.slice(0, 0), 1).len(), 1);
    }
}
