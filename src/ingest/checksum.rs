//! RecordBatch -> a checksum of its values, the same however they lie in memory.
//! Runs on: the thread that appends; one pass over the bytes.
//! Never: depends on slices, offsets or padding: a retry may be cut and aligned in another way.

use arrow::array::{Array, ArrayData, RecordBatch, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};

/// Adds up the content of batches, in order.
#[derive(Default)]
pub(super) struct Checksum(Xxh3);

impl Checksum {
    /// The checksum of one batch.
    pub(super) fn of(batch: &RecordBatch) -> Result<u64> {
        let mut checksum = Self::default();
        checksum.add(batch)?;
        Ok(checksum.value())
    }

    /// Adds a batch. Empty ones do not count; where a stream is cut into batches does.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.number(batch.num_rows() as u64);
        for column in batch.columns() {
            self.array(&column.to_data())?;
        }
        Ok(())
    }

    /// What has been added so far.
    pub(super) fn value(&self) -> u64 {
        self.0.digest()
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn nulls(&mut self, nulls: Option<&NullBuffer>) {
        match nulls.filter(|nulls| nulls.null_count() > 0) {
            None => self.number(0),
            Some(nulls) => {
                self.number(nulls.null_count() as u64);
                self.bits(nulls.inner());
            }
        }
    }

    fn bits(&mut self, bits: &BooleanBuffer) {
        let chunks = bits.bit_chunks();
        for chunk in &chunks {
            self.0.update(&chunk.to_le_bytes());
        }
        self.0.update(&chunks.remainder_bits().to_le_bytes());
    }

    fn array(&mut self, data: &ArrayData) -> Result<()> {
        self.number(data.len() as u64);
        self.nulls(data.nulls());
        match data.data_type() {
            DataType::Null => Ok(()),
            DataType::Boolean => {
                self.bits(&BooleanBuffer::new(data.buffers()[0].clone(), data.offset(), data.len()));
                Ok(())
            }
            DataType::Utf8 | DataType::Binary => {
                self.texts(data, data.buffer::<i32>(0).iter().map(|offset| i64::from(*offset)));
                Ok(())
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.texts(data, data.buffer::<i64>(0).iter().copied());
                Ok(())
            }
            DataType::List(_) | DataType::Map(..) => {
                self.lists(data, data.buffer::<i32>(0).iter().map(|offset| i64::from(*offset)))
            }
            DataType::LargeList(_) => self.lists(data, data.buffer::<i64>(0).iter().copied()),
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                self.array(&data.child_data()[0].slice(data.offset() * size, data.len() * size))
            }
            DataType::Struct(_) => data
                .child_data()
                .iter()
                .try_for_each(|child| self.array(&child.slice(data.offset(), data.len()))),
            DataType::Utf8View => self.array(&cast(&make_array(data.clone()), &DataType::Utf8)?.to_data()),
            DataType::BinaryView => {
                self.array(&cast(&make_array(data.clone()), &DataType::Binary)?.to_data())
            }
            other => {
                let width = match other {
                    DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
                    other => other.primitive_width(),
                };
                let width = width.ok_or_else(|| {
                    Error::unsupported(format!(
                        "columns of type {other} have no checksum; send them without an idempotency key or \
                         producer, or cast them first"
                    ))
                })?;
                let from = data.offset() * width;
                self.0.update(&data.buffers()[0][from..from + data.len() * width]);
                Ok(())
            }
        }
    }

    /// Offsets from the first one, and the bytes between the first and the last.
    fn texts(&mut self, data: &ArrayData, offsets: impl Iterator<Item = i64>) {
        let (first, last) = self.offsets(data, offsets);
        self.0.update(&data.buffers()[1][first..last]);
    }

    fn lists(&mut self, data: &ArrayData, offsets: impl Iterator<Item = i64>) -> Result<()> {
        let (first, last) = self.offsets(data, offsets);
        self.array(&data.child_data()[0].slice(first, last - first))
    }

    /// `ArrayData::buffer` starts at the array's own offset already.
    fn offsets(&mut self, data: &ArrayData, offsets: impl Iterator<Item = i64>) -> (usize, usize) {
        let mut bounds: Option<(i64, i64)> = None;
        for offset in offsets.take(data.len() + 1) {
            let (first, _) = *bounds.get_or_insert((offset, offset));
            self.0.update(&(offset - first).to_le_bytes());
            bounds = Some((first, offset));
        }
        let (first, last) = bounds.unwrap_or_default();
        (usize::try_from(first).unwrap_or_default(), usize::try_from(last).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray, StringArray, StringViewArray,
        StructArray,
    };
    use arrow::datatypes::{Field, Int32Type, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| Field::new(format!("c{index}"), column.data_type().clone(), true))
            .collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    fn columns(numbers: &[Option<i64>]) -> RecordBatch {
        let texts = || {
            numbers
                .iter()
                .map(|number| number.map(|number| "x".repeat((number % 30).unsigned_abs() as usize)))
        };
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
            numbers.iter().map(|number| number.map(|number| vec![Some(number as i32), None])),
        );
        let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            numbers.iter().map(|number| number.map(i64::to_le_bytes)),
            8,
        )
        .unwrap();
        let ints: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let bools: ArrayRef =
            Arc::new(BooleanArray::from_iter(numbers.iter().map(|n| n.map(|n| n % 2 == 0))));
        let nested = StructArray::from(vec![
            (Arc::new(Field::new("a", DataType::Int64, true)), Arc::clone(&ints)),
            (Arc::new(Field::new("b", DataType::Boolean, true)), Arc::clone(&bools)),
        ]);
        batch(vec![
            ints,
            bools,
            Arc::new(StringArray::from_iter(texts())),
            Arc::new(StringViewArray::from_iter(texts())),
            Arc::new(list),
            Arc::new(fixed),
            Arc::new(nested),
        ])
    }

    proptest! {
        /// A slice has the checksum of the same rows built alone; other rows have another.
        #[test]
        fn slices_count_as_the_rows_they_hold(
            numbers in proptest::collection::vec(proptest::option::of(any::<i64>()), 1..80),
            from in 0_usize..40,
        ) {
            let from = from.min(numbers.len() - 1);
            let whole = columns(&numbers);
            let sliced = whole.slice(from, numbers.len() - from);
            let alone = columns(&numbers[from..]);
            prop_assert_eq!(Checksum::of(&sliced).unwrap(), Checksum::of(&alone).unwrap());
            let mut other = numbers[from..].to_vec();
            other[0] = match other[0] { None => Some(1), Some(number) => Some(number ^ 1) };
            prop_assert_ne!(Checksum::of(&columns(&other)).unwrap(), Checksum::of(&alone).unwrap());
        }
    }
}
