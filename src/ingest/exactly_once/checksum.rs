//! RecordBatch -> a checksum of its values, the same however they lie in memory.
//! Runs on: the thread that appends; one pass over the bytes.
//! Never: depends on slices, offsets, padding or what lies below a NULL: a retry may be cut and aligned in another way.

use arrow::array::{Array, ArrayData, MutableArrayData, RecordBatch, make_array};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UnionFields, UnionMode};
use xxhash_rust::xxh3::Xxh3;

use crate::engine;
use crate::error::{Error, Result};

/// Encoded columns are made plain in pieces of this size, and again for each pass over them.
const PIECE_BYTES: usize = 4 << 20;

/// Adds up the content of batches, in order.
#[derive(Default)]
pub(in crate::ingest) struct Checksum(Xxh3);

/// Calls a function with the pieces of a column, in order; as often as it is asked to.
type Pieces<'a> = dyn Fn(&mut dyn FnMut(&ArrayData) -> Result<()>) -> Result<()> + 'a;

impl Checksum {
    /// The checksum of one batch.
    pub(in crate::ingest) fn of(batch: &RecordBatch) -> Result<u64> {
        let mut checksum = Self::default();
        checksum.add(batch)?;
        Ok(checksum.value())
    }

    /// Adds a batch, encoded or plain: both have the same checksum. Empty ones do not count; where a stream is cut
    /// into batches does.
    pub(in crate::ingest) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
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
    pub(in crate::ingest) fn value(&self) -> u64 {
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

    /// Adds the values. What lies below a NULL, or below that of the array around it, is no value and does not count.
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
            DataType::Boolean => self.booleans(pieces),
            DataType::Utf8 | DataType::Binary | DataType::LargeUtf8 | DataType::LargeBinary => {
                self.offsets(pieces)?;
                pieces(&mut |piece| {
                    for (first, last) in runs(piece) {
                        self.0.update(&piece.buffers()[1][first..last]);
                    }
                    Ok(())
                })
            }
            DataType::List(field) | DataType::LargeList(field) | DataType::Map(field, _) => {
                self.offsets(pieces)?;
                self.array(field.data_type(), &|visit| {
                    pieces(&mut |piece| visit(&joined(&piece.child_data()[0], &runs(piece))?))
                })
            }
            DataType::FixedSizeList(field, size) => {
                let size = usize::try_from(*size).unwrap_or_default();
                self.rows(field.data_type(), 0, size, pieces, &nulls_of)
            }
            DataType::Struct(fields) => fields
                .iter()
                .enumerate()
                .try_for_each(|(index, field)| self.rows(field.data_type(), index, 1, pieces, &nulls_of)),
            DataType::Union(members, UnionMode::Sparse) => self.members(members, pieces),
            // Equal to the same numbers in the width that most clients send.
            DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
                let wide = DataType::Decimal128(*precision, *scale);
                self.content(&wide, false, &|visit| {
                    pieces(&mut |piece| visit(&cast(&make_array(piece.clone()), &wide)?.to_data()))
                })
            }
            DataType::Utf8View => self.converted(&DataType::Utf8, pieces),
            DataType::BinaryView => self.converted(&DataType::Binary, pieces),
            other => self.fixed(other, pieces),
        }
    }

    /// Bits, with zeros in the place of NULLs.
    fn booleans(&mut self, pieces: &Pieces<'_>) -> Result<()> {
        let mut bits = Bits::default();
        pieces(&mut |piece| {
            let values = BooleanBuffer::new(piece.buffers()[0].clone(), piece.offset(), piece.len());
            match nulls_of(piece) {
                Some(nulls) => bits.add(&mut self.0, &(&values & nulls.inner())),
                None => bits.add(&mut self.0, &values),
            }
            Ok(())
        })?;
        bits.end(&mut self.0);
        Ok(())
    }

    /// Each member of a union: which rows have it, and their values.
    fn members(&mut self, members: &UnionFields, pieces: &Pieces<'_>) -> Result<()> {
        members.iter().enumerate().try_for_each(|(index, (code, field))| {
            let has = |piece: &ArrayData| {
                let codes = &piece.buffer::<i8>(0)[..piece.len()];
                BooleanBuffer::from_iter(codes.iter().map(|found| *found == code))
            };
            let mut bits = Bits::default();
            pieces(&mut |piece| {
                bits.add(&mut self.0, &has(piece));
                Ok(())
            })?;
            bits.end(&mut self.0);
            self.rows(field.data_type(), index, 1, pieces, &|piece| Some(NullBuffer::new(has(piece))))
        })
    }

    /// Values of one width.
    fn fixed(&mut self, data_type: &DataType, pieces: &Pieces<'_>) -> Result<()> {
        let width = match data_type {
            DataType::FixedSizeBinary(width) => usize::try_from(*width).ok(),
            other => other.primitive_width(),
        };
        let width = width.ok_or_else(|| {
            Error::unsupported(format!(
                "columns of type {data_type} have no checksum; send them without an idempotency key or \
                 producer, or cast them first"
            ))
        })?;
        pieces(&mut |piece| {
            let from = piece.offset() * width;
            let values = &piece.buffers()[0][from..from + piece.len() * width];
            match nulls_of(piece) {
                None => self.0.update(values),
                Some(nulls) => self.with_zeros(values, width, &nulls),
            }
            Ok(())
        })
    }

    fn converted(&mut self, data_type: &DataType, pieces: &Pieces<'_>) -> Result<()> {
        self.array(data_type, &|visit| {
            pieces(&mut |piece| visit(&cast(&make_array(piece.clone()), data_type)?.to_data()))
        })
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

    /// A child with `size` elements for each row of the array around it, without the rows that are NULL there.
    fn rows(
        &mut self,
        data_type: &DataType,
        index: usize,
        size: usize,
        pieces: &Pieces<'_>,
        nulls: &dyn Fn(&ArrayData) -> Option<NullBuffer>,
    ) -> Result<()> {
        self.array(data_type, &|visit| {
            pieces(&mut |piece| {
                let child = piece.child_data()[index].slice(piece.offset() * size, piece.len() * size);
                match nulls(piece) {
                    None => visit(&child),
                    Some(nulls) => {
                        let runs: Vec<_> =
                            nulls.valid_slices().map(|(start, end)| (start * size, end * size)).collect();
                        visit(&joined(&child, &runs)?)
                    }
                }
            })
        })
    }

    /// Adds the offsets that the values would have if nothing else lay between them.
    fn offsets(&mut self, pieces: &Pieces<'_>) -> Result<()> {
        let mut sum = 0_u64;
        self.number(sum);
        pieces(&mut |piece| {
            let offsets = Offsets::of(piece);
            for row in 0..piece.len() {
                let (start, end) = offsets.range(row);
                if piece.is_valid(row) {
                    sum += (end - start) as u64;
                }
                self.number(sum);
            }
            Ok(())
        })
    }
}

fn nulls_of(piece: &ArrayData) -> Option<NullBuffer> {
    piece.nulls().filter(|nulls| nulls.null_count() > 0).cloned()
}

/// Where the elements of rows begin and end.
enum Offsets<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl<'a> Offsets<'a> {
    /// `ArrayData::buffer` starts at the array's own offset already.
    fn of(piece: &'a ArrayData) -> Self {
        match piece.data_type() {
            DataType::LargeUtf8 | DataType::LargeBinary | DataType::LargeList(_) => {
                Self::Wide(piece.buffer::<i64>(0))
            }
            _ => Self::Narrow(piece.buffer::<i32>(0)),
        }
    }

    fn range(&self, row: usize) -> (usize, usize) {
        let (start, end) = match self {
            Self::Narrow(offsets) => (i64::from(offsets[row]), i64::from(offsets[row + 1])),
            Self::Wide(offsets) => (offsets[row], offsets[row + 1]),
        };
        (usize::try_from(start).unwrap_or_default(), usize::try_from(end).unwrap_or_default())
    }
}

/// The runs of elements that belong to values.
fn runs(piece: &ArrayData) -> Vec<(usize, usize)> {
    let offsets = Offsets::of(piece);
    let Some(nulls) = nulls_of(piece) else {
        let last = piece.len().checked_sub(1);
        return last.map(|last| (offsets.range(0).0, offsets.range(last).1)).into_iter().collect();
    };
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for row in nulls.valid_indices() {
        let (start, end) = offsets.range(row);
        match runs.last_mut() {
            _ if start == end => {}
            Some((_, last)) if *last == start => *last = end,
            _ => runs.push((start, end)),
        }
    }
    runs
}

/// The elements of several runs, one behind the other.
fn joined(data: &ArrayData, runs: &[(usize, usize)]) -> Result<ArrayData> {
    if let [(start, end)] = runs {
        return Ok(data.slice(*start, end - start));
    }
    let length = runs.iter().map(|(start, end)| end - start).sum();
    let mut joined = MutableArrayData::new(vec![data], false, length);
    runs.iter().try_for_each(|(start, end)| joined.try_extend(0, *start, *end))?;
    Ok(joined.freeze())
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
mod tests;
