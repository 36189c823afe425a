//! RecordBatch -> a checksum of its values, the same however they lie in memory.
//! Runs on: the thread that appends; one pass over the bytes.
//! Never: depends on slices, offsets or padding: a retry may be cut and aligned in another way.

use arrow::array::{Array, ArrayData, RecordBatch, make_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::Xxh3;

use crate::engine;
use crate::error::{Error, Result};

/// Encoded columns are made plain in pieces of this size, and again for each pass over them.
const PIECE_BYTES: usize = 4 << 20;

/// Adds up the content of batches, in order.
#[derive(Default)]
pub(super) struct Checksum(Xxh3);

/// Calls a function with the pieces of a column, in order; as often as it is asked to.
type Pieces<'a> = dyn Fn(&mut dyn FnMut(&ArrayData) -> Result<()>) -> Result<()> + 'a;

impl Checksum {
    /// The checksum of one batch.
    pub(super) fn of(batch: &RecordBatch) -> Result<u64> {
        let mut checksum = Self::default();
        checksum.add(batch)?;
        Ok(checksum.value())
    }

    /// Adds a batch, encoded or plain: both have the same checksum. Empty ones do not count; where a stream is cut
    /// into batches does.
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.number(batch.num_rows() as u64);
        let plain = engine::plain_schema(batch.schema_ref());
        if !engine::may_expand(batch.schema_ref(), &plain) {
            return batch.columns().iter().try_for_each(|column| self.one(&column.to_data()));
        }
        for index in 0..batch.num_columns() {
            let column = batch.project(&[index])?;
            let plain = std::sync::Arc::new(plain.project(&[index])?);
            self.array(plain.field(0).data_type(), &|visit| {
                for (rows, _) in engine::slices(&column, &plain, PIECE_BYTES) {
                    let piece = engine::plain_batch(engine::slice(&column, rows)?, &plain)?;
                    visit(&piece.column(0).to_data())?;
                }
                Ok(())
            })?;
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

    fn one(&mut self, data: &ArrayData) -> Result<()> {
        self.array(data.data_type(), &|visit| visit(data))
    }

    fn array(&mut self, data_type: &DataType, pieces: &Pieces<'_>) -> Result<()> {
        let (mut rows, mut nulls, mut count, mut first) = (0, 0, 0, None);
        pieces(&mut |piece| {
            if count == 0 {
                first = Some(piece.clone());
            }
            count += 1;
            rows += piece.len() as u64;
            nulls += piece.null_count() as u64;
            Ok(())
        })?;
        self.number(rows);
        self.number(nulls);
        match first.filter(|_| count == 1) {
            Some(only) => self.content(data_type, nulls > 0, &|visit| visit(&only)),
            None => self.content(data_type, nulls > 0, pieces),
        }
    }

    fn content(&mut self, data_type: &DataType, has_nulls: bool, pieces: &Pieces<'_>) -> Result<()> {
        if has_nulls {
            let mut bits = Bits::default();
            pieces(&mut |piece| {
                match piece.nulls() {
                    Some(nulls) => bits.add(&mut self.0, nulls.inner()),
                    None => bits.add(&mut self.0, &BooleanBuffer::new_set(piece.len())),
                }
                Ok(())
            })?;
            bits.end(&mut self.0);
        }
        match data_type {
            DataType::Null => Ok(()),
            DataType::Boolean => {
                let mut bits = Bits::default();
                pieces(&mut |piece| {
                    let values = BooleanBuffer::new(piece.buffers()[0].clone(), piece.offset(), piece.len());
                    bits.add(&mut self.0, &values);
                    Ok(())
                })?;
                bits.end(&mut self.0);
                Ok(())
            }
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets(pieces)?;
                pieces(&mut |piece| {
                    let (first, last) = bounds(piece);
                    self.0.update(&piece.buffers()[1][first..last]);
                    Ok(())
                })
            }
            DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
                self.offsets(pieces)?;
                self.array(field.data_type(), &|visit| {
                    pieces(&mut |piece| {
                        let (first, last) = bounds(piece);
                        visit(&piece.child_data()[0].slice(first, last - first))
                    })
                })
            }
            DataType::FixedSizeList(field, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                self.array(field.data_type(), &|visit| {
                    pieces(&mut |piece| {
                        visit(&piece.child_data()[0].slice(piece.offset() * size, piece.len() * size))
                    })
                })
            }
            DataType::Struct(fields) => fields.iter().enumerate().try_for_each(|(index, field)| {
                self.array(field.data_type(), &|visit| {
                    pieces(&mut |piece| visit(&piece.child_data()[index].slice(piece.offset(), piece.len())))
                })
            }),
            DataType::Utf8View => self.converted(&DataType::Utf8, pieces),
            DataType::BinaryView => self.converted(&DataType::Binary, pieces),
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
                pieces(&mut |piece| {
                    let from = piece.offset() * width;
                    self.0.update(&piece.buffers()[0][from..from + piece.len() * width]);
                    Ok(())
                })
            }
        }
    }

    fn converted(&mut self, data_type: &DataType, pieces: &Pieces<'_>) -> Result<()> {
        self.array(data_type, &|visit| {
            pieces(&mut |piece| visit(&cast(&make_array(piece.clone()), data_type)?.to_data()))
        })
    }

    /// Offsets from the first one.
    fn offsets(&mut self, pieces: &Pieces<'_>) -> Result<()> {
        let (mut before, mut is_first) = (0, true);
        pieces(&mut |piece| {
            let mut last = before;
            // A later piece begins where the one before has ended.
            let skipped = usize::from(!std::mem::take(&mut is_first));
            each_offset(piece, |index, offset| {
                last = before + offset;
                if index >= skipped {
                    self.0.update(&last.to_le_bytes());
                }
            });
            before = last;
            Ok(())
        })
    }
}

/// Calls a function with each offset of a piece, from its first one. `ArrayData::buffer` starts at the array's own
/// offset already.
fn each_offset(piece: &ArrayData, mut visit: impl FnMut(usize, i64)) {
    let mut first = None;
    let mut each = |index: usize, offset: i64| visit(index, offset - *first.get_or_insert(offset));
    if is_wide(piece.data_type()) {
        let offsets = piece.buffer::<i64>(0).iter().take(piece.len() + 1);
        offsets.enumerate().for_each(|(index, offset)| each(index, *offset));
    } else {
        let offsets = piece.buffer::<i32>(0).iter().take(piece.len() + 1);
        offsets.enumerate().for_each(|(index, offset)| each(index, i64::from(*offset)));
    }
}

/// Where the values of a piece begin and end.
fn bounds(piece: &ArrayData) -> (usize, usize) {
    let at = |index: usize| {
        if is_wide(piece.data_type()) {
            piece.buffer::<i64>(0).get(index).copied()
        } else {
            piece.buffer::<i32>(0).get(index).map(|offset| i64::from(*offset))
        }
    };
    let bound = |index: usize| usize::try_from(at(index).unwrap_or_default()).unwrap_or_default();
    (bound(0), bound(piece.len()))
}

fn is_wide(data_type: &DataType) -> bool {
    matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_))
}

/// Bits on their way into the sum, 64 at a time, wherever the pieces that they come in end.
#[derive(Default)]
struct Bits {
    word: u64,
    filled: usize,
}

impl Bits {
    fn add(&mut self, sum: &mut Xxh3, bits: &BooleanBuffer) {
        let chunks = bits.bit_chunks();
        for chunk in &chunks {
            self.push(sum, chunk, 64);
        }
        self.push(sum, chunks.remainder_bits(), chunks.remainder_len());
    }

    fn push(&mut self, sum: &mut Xxh3, bits: u64, count: usize) {
        self.word |= bits << self.filled;
        if self.filled + count < 64 {
            self.filled += count;
            return;
        }
        sum.update(&self.word.to_le_bytes());
        self.word = if self.filled == 0 { 0 } else { bits >> (64 - self.filled) };
        self.filled = self.filled + count - 64;
    }

    /// The last bits count even when there are none.
    fn end(self, sum: &mut Xxh3) {
        sum.update(&self.word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, ListArray,
        RunArray, StringArray, StringViewArray, StructArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type, Schema};
    use proptest::prelude::*;
    use std::sync::Arc;

    /// An encoded batch counts as its plain form, however large that is: it is never made as a whole.
    #[test]
    fn encoded_batches_count_as_their_plain_form() {
        let rows = 30_000_i32;
        let texts = StringArray::from_iter((0..10).map(|n| (n != 3).then(|| n.to_string().repeat(900))));
        let keys = || Int32Array::from_iter((0..rows).map(|row| (row % 7 != 0).then_some(row % 10)));
        let words = DictionaryArray::new(keys(), Arc::new(texts));
        let numbers = Int64Array::from_iter_values((0..10).map(|n| n * 1000));
        let numbers = DictionaryArray::new(keys(), Arc::new(numbers));
        let flags = BooleanArray::from_iter((0..10).map(|n| Some(n % 3 == 0)));
        let flags = DictionaryArray::new(keys(), Arc::new(flags));
        let item = Arc::new(Field::new("item", words.data_type().clone(), true));
        let offsets = OffsetBuffer::<i32>::from_lengths((0..rows).map(|row| (row % 3) as usize));
        let lists = ListArray::new(item, offsets, Arc::new(words.clone()), None);
        let runs = RunArray::try_new(
            &Int32Array::from(vec![1, 10_001, rows]),
            &StringArray::from(vec![Some("a"), None, Some("a text that is repeated very often")]),
        )
        .unwrap();
        let long = StringViewArray::from(vec!["v".repeat(2000)]);
        let view = long.views()[0];
        let views = vec![view; rows as usize];
        let views = StringViewArray::new(views.into(), long.data_buffers().to_vec(), None);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(words),
            Arc::new(numbers),
            Arc::new(flags),
            Arc::new(lists),
            Arc::new(runs),
            Arc::new(views),
        ];
        for column in columns {
            let encoded = batch(vec![column]);
            let plain = engine::plain_schema(&encoded.schema());
            let pieces = engine::slices(&encoded, &plain, PIECE_BYTES).count();
            let whole = engine::plain_batch(encoded.clone(), &plain).unwrap();
            assert_eq!(Checksum::of(&encoded).unwrap(), Checksum::of(&whole).unwrap(), "{pieces} pieces");
            let slice = encoded.slice(1001, 20_000);
            let expected = Checksum::of(&whole.slice(1001, 20_000)).unwrap();
            assert_eq!(Checksum::of(&slice).unwrap(), expected);
        }
    }

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
