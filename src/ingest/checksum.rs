//! RecordBatch -> a checksum of its values, the same however they lie in memory.
//! Runs on: the thread that appends; one pass over the bytes.
//! Never: depends on slices, offsets, padding or what lies below a NULL: a retry may be cut and aligned in another way.

use arrow::array::{Array, ArrayData, MutableArrayData, OffsetSizeTrait, RecordBatch, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UnionMode};
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

    /// Adds an array. What lies below its NULLs, or below those of the array around it, is no value and does not count.
    fn array(&mut self, data: &ArrayData) -> Result<()> {
        self.number(data.len() as u64);
        self.nulls(data.nulls());
        let nulls = data.nulls().filter(|nulls| nulls.null_count() > 0);
        match data.data_type() {
            DataType::Null => Ok(()),
            DataType::Boolean => {
                let bits = BooleanBuffer::new(data.buffers()[0].clone(), data.offset(), data.len());
                match nulls {
                    None => self.bits(&bits),
                    Some(nulls) => self.bits(&(&bits & nulls.inner())),
                }
                Ok(())
            }
            DataType::Utf8 | DataType::Binary => {
                self.texts(data, data.buffer::<i32>(0));
                Ok(())
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                self.texts(data, data.buffer::<i64>(0));
                Ok(())
            }
            DataType::List(_) | DataType::Map(..) => self.lists(data, data.buffer::<i32>(0)),
            DataType::LargeList(_) => self.lists(data, data.buffer::<i64>(0)),
            DataType::FixedSizeList(_, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                self.rows(&data.child_data()[0].slice(data.offset() * size, data.len() * size), size, nulls)
            }
            DataType::Struct(_) => data
                .child_data()
                .iter()
                .try_for_each(|child| self.rows(&child.slice(data.offset(), data.len()), 1, nulls)),
            DataType::Union(members, UnionMode::Sparse) => {
                let codes = &data.buffer::<i8>(0)[..data.len()];
                for (code, child) in members.iter().map(|(code, _)| code).zip(data.child_data()) {
                    let has = BooleanBuffer::from_iter(codes.iter().map(|found| *found == code));
                    self.bits(&has);
                    let child = child.slice(data.offset(), data.len());
                    self.rows(&child, 1, Some(&NullBuffer::new(has)))?;
                }
                Ok(())
            }
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
                let values = &data.buffers()[0][from..from + data.len() * width];
                match nulls {
                    None => self.0.update(values),
                    Some(nulls) => self.with_zeros(values, width, nulls),
                }
                Ok(())
            }
        }
    }

    /// Values of one width, with zeros in the place of NULLs, which is what most clients have there.
    fn with_zeros(&mut self, values: &[u8], width: usize, nulls: &NullBuffer) {
        const ZEROS: [u8; 256] = [0; 256];
        let mut done = 0;
        for (start, end) in nulls.valid_slices().chain([(nulls.len(), nulls.len())]) {
            let mut missing = (start - done) * width;
            while missing > 0 {
                let some = missing.min(ZEROS.len());
                self.0.update(&ZEROS[..some]);
                missing -= some;
            }
            self.0.update(&values[start * width..end * width]);
            done = end;
        }
    }

    /// Offsets from the first one, and the bytes between them; those of NULLs are empty.
    fn texts<O: OffsetSizeTrait>(&mut self, data: &ArrayData, offsets: &[O]) {
        let runs = self.offsets(data, offsets);
        for (first, last) in runs {
            self.0.update(&data.buffers()[1][first..last]);
        }
    }

    fn lists<O: OffsetSizeTrait>(&mut self, data: &ArrayData, offsets: &[O]) -> Result<()> {
        let child = &data.child_data()[0];
        match self.offsets(data, offsets).as_slice() {
            [] => self.array(&child.slice(0, 0)),
            [(first, last)] => self.array(&child.slice(*first, last - first)),
            runs => self.array(&joined(child, runs)?),
        }
    }

    /// A child with `size` elements for each row of the array around it, without the rows that are NULL there.
    fn rows(&mut self, child: &ArrayData, size: usize, nulls: Option<&NullBuffer>) -> Result<()> {
        match nulls {
            None => self.array(child),
            Some(nulls) => {
                let runs: Vec<_> =
                    nulls.valid_slices().map(|(start, end)| (start * size, end * size)).collect();
                self.array(&joined(child, &runs)?)
            }
        }
    }

    /// Adds the offsets that the values would have if nothing else lay between them, and gives the runs of elements
    /// that belong to values. `ArrayData::buffer` starts at the array's own offset already.
    fn offsets<O: OffsetSizeTrait>(&mut self, data: &ArrayData, offsets: &[O]) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        let mut sum = 0_u64;
        self.number(sum);
        // An empty array may come without any offset.
        let offsets = offsets.get(..=data.len()).unwrap_or_default();
        for (row, pair) in offsets.windows(2).enumerate() {
            let (start, end) = (pair[0].as_usize(), pair[1].as_usize());
            if end > start && data.is_valid(row) {
                sum += (end - start) as u64;
                match runs.last_mut() {
                    Some((_, last)) if *last == start => *last = end,
                    _ => runs.push((start, end)),
                }
            }
            self.number(sum);
        }
        runs
    }
}

/// The elements of several runs, one behind the other.
fn joined(data: &ArrayData, runs: &[(usize, usize)]) -> Result<ArrayData> {
    let length = runs.iter().map(|(start, end)| end - start).sum();
    let mut joined = MutableArrayData::new(vec![data], false, length);
    runs.iter().try_for_each(|(start, end)| joined.try_extend(0, *start, *end))?;
    Ok(joined.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, FixedSizeListArray, Int64Array, ListArray,
        MapArray, StringArray, StringViewArray, StructArray, UnionArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type, Schema, UnionFields};
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

    /// `values` of every kind with `valid` rows, and anything at all below the NULLs of all of them.
    fn with_below(values: &[i64], valid: &[bool], below: &[i64]) -> RecordBatch {
        let nulls = || Some(NullBuffer::from(valid.to_vec()));
        let numbers: Vec<i64> = valid
            .iter()
            .zip(values.iter().zip(below))
            .map(|(valid, (a, b))| if *valid { *a } else { *b })
            .collect();
        let ints: ArrayRef = Arc::new(Int64Array::from(numbers.clone()));
        let field =
            |name: &str, array: &ArrayRef| Arc::new(Field::new(name, array.data_type().clone(), true));
        // A row of n has n % 5 elements, also below a NULL.
        let ends = || OffsetBuffer::from_lengths(numbers.iter().map(|n| n.rem_euclid(5) as usize));
        let elements: Vec<i64> = numbers.iter().flat_map(|n| vec![*n; n.rem_euclid(5) as usize]).collect();
        let text: Vec<u8> = elements.iter().map(|n| b'a' + n.rem_euclid(26) as u8).collect();
        let elements: ArrayRef = Arc::new(Int64Array::from(elements));
        let item = field("item", &elements);
        let list: ArrayRef =
            Arc::new(ListArray::new(Arc::clone(&item), ends(), Arc::clone(&elements), nulls()));
        let pairs = StructArray::from(vec![
            (Arc::new(Field::new("key", DataType::Int64, false)), Arc::clone(&elements)),
            (Arc::new(Field::new("value", DataType::Int64, true)), Arc::clone(&elements)),
        ]);
        let entries = Arc::new(Field::new("entries", pairs.data_type().clone(), false));
        let doubled: ArrayRef =
            Arc::new(Int64Array::from_iter_values(numbers.iter().flat_map(|n| [*n, !*n])));
        // The child has no NULLs of its own, so what is below those of the struct is anything.
        let plain_list: ArrayRef = Arc::new(ListArray::new(item, ends(), elements, None));
        let union = UnionArray::try_new(
            UnionFields::try_new(
                [0, 1],
                [Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)],
            )
            .unwrap(),
            valid.iter().map(|valid| i8::from(!*valid)).collect(),
            None,
            // A row has the first member where it is valid, and a second one that is the same everywhere.
            vec![Arc::clone(&ints), Arc::new(Int64Array::from(vec![7; values.len()]))],
        );
        batch(vec![
            Arc::new(Int64Array::new(numbers.clone().into(), nulls())),
            Arc::new(BooleanArray::new(numbers.iter().map(|n| n % 2 == 0).collect(), nulls())),
            Arc::new(StringArray::new(ends(), text.clone().into(), nulls())),
            Arc::new(BinaryArray::new(ends(), text.into(), nulls())),
            Arc::new(MapArray::new(entries, ends(), pairs, nulls(), false)),
            Arc::new(FixedSizeListArray::new(field("item", &doubled), 2, doubled, nulls())),
            Arc::new(StructArray::new(
                vec![field("a", &ints), field("l", &plain_list)].into(),
                vec![ints, plain_list],
                nulls(),
            )),
            list,
            Arc::new(union.unwrap()),
        ])
    }

    proptest! {
        /// Equal rows have one checksum, whatever lies below their NULLs and wherever the batch was cut out of.
        #[test]
        fn what_lies_below_a_null_does_not_count(
            rows in proptest::collection::vec((any::<i64>(), any::<bool>(), any::<i64>(), any::<i64>()), 1..60),
            from in 0_usize..30,
        ) {
            let column = |pick: fn(&(i64, bool, i64, i64)) -> i64| rows.iter().map(pick).collect::<Vec<_>>();
            let (values, one, two) = (column(|row| row.0), column(|row| row.2), column(|row| row.3));
            let valid: Vec<bool> = rows.iter().map(|row| row.1).collect();
            let from = from.min(rows.len() - 1);
            let cut = |below: &[i64]| with_below(&values, &valid, below).slice(from, rows.len() - from);
            let alone = with_below(&values[from..], &valid[from..], &two[from..]);
            for column in 0..alone.num_columns() {
                let of = |batch: &RecordBatch| Checksum::of(&batch.project(&[column]).unwrap()).unwrap();
                prop_assert_eq!(of(&cut(&one)), of(&cut(&two)), "column {}", column);
                prop_assert_eq!(of(&cut(&one)), of(&alone), "column {}", column);
                if let Some(row) = (from..rows.len()).find(|row| valid[*row]) {
                    let mut other = values.clone();
                    // Another last digit, another number of elements.
                    other[row] ^= 1;
                    let other = with_below(&other[from..], &valid[from..], &two[from..]);
                    prop_assert_ne!(of(&other), of(&alone), "column {}", column);
                }
            }
        }

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
