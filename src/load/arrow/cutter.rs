//! Some rows of a record batch -> the nodes, buffers and body of a message, read where they lie.
//! Runs on: threads that read; blocks.
//! Never: reads outside of the batch's body; goes on beyond its bound.

use crate::error::{Error, Result};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::super::input::Input;
use super::layout::Frame;

/// Where buffers begin, as the decoder likes them.
const ALIGNMENT: usize = 64;
/// Bytes of a view that are the value itself.
const INLINE_BYTES: u32 = 12;
/// Bytes between values that are read along with them.
const BETWEEN_BYTES: u64 = 64 * 1024;

/// Where the parts of a record batch lie in its file, as its header says.
pub(super) struct BatchLayout {
    pub(super) frame: Frame,
    pub(super) nodes: Vec<(u64, u64)>,
    pub(super) buffers: Vec<(u64, u64)>,
    pub(super) counts: Vec<u64>,
    pub(super) schema: SchemaRef,
}

/// Why rows were not cut.
pub(super) enum Stop {
    /// They take more than is wanted at once.
    TooLarge,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub(super) type Cut<T> = Result<T, Stop>;

/// Some rows of a batch on their way into a message.
pub(super) struct Cutter<'a> {
    batch: &'a BatchLayout,
    input: &'a Input,
    node: usize,
    buffer: usize,
    count: usize,
    pub(super) nodes: Vec<(u64, u64)>,
    pub(super) buffers: Vec<(u64, u64)>,
    pub(super) body: Vec<u8>,
    bytes_max: u64,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(batch: &'a BatchLayout, input: &'a Input, bytes_max: u64) -> Self {
        Self {
            batch,
            input,
            node: 0,
            buffer: 0,
            count: 0,
            nodes: Vec::with_capacity(batch.nodes.len()),
            buffers: Vec::with_capacity(batch.buffers.len()),
            body: Vec::new(),
            bytes_max,
        }
    }

    pub(super) fn rows(&mut self, from: u64, count: u64) -> Cut<()> {
        for field in self.batch.schema.fields() {
            self.field(field, from, count).map_err(|stop| match stop {
                Stop::Failed(error) => Stop::Failed(error.context(format!("column \"{}\"", field.name()))),
                stop => stop,
            })?;
        }
        Ok(())
    }

    fn field(&mut self, field: &Field, from: u64, count: u64) -> Cut<()> {
        let Some((length, nulls)) = self.batch.nodes.get(self.node).copied() else {
            return Err(Error::invalid("the batch has fewer columns than its schema").into());
        };
        if from.checked_add(count).is_none_or(|end| end > length) {
            return Err(Error::invalid(format!("it has {length} values where more are needed")).into());
        }
        self.node += 1;
        let place = self.nodes.len();
        self.nodes.push((count, 0));
        if field.data_type().is_null() {
            self.nodes[place].1 = count;
            return Ok(());
        }
        let validity = self.validity(from, count, nulls)?;
        if let Some(validity) = &validity {
            self.nodes[place].1 = (validity.len() - validity.count_set_bits()) as u64;
        }
        match field.data_type() {
            DataType::Boolean => {
                let bits = self.bits(from, count)?;
                self.push(bits.sliced().as_slice())
            }
            DataType::Utf8 | DataType::Binary => {
                let (first, last) = self.offsets::<4>(from, count)?;
                self.copy(first, last - first)
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                let (first, last) = self.offsets::<8>(from, count)?;
                self.copy(first, last - first)
            }
            DataType::Utf8View | DataType::BinaryView => self.views(from, count, validity.as_ref()),
            DataType::List(item) | DataType::Map(item, _) => {
                let (first, last) = self.offsets::<4>(from, count)?;
                self.field(item, first, last - first)
            }
            DataType::LargeList(item) => {
                let (first, last) = self.offsets::<8>(from, count)?;
                self.field(item, first, last - first)
            }
            DataType::ListView(item) => {
                let (first, last) = self.list_views::<4>(from, count, validity.as_ref())?;
                self.field(item, first, last - first)
            }
            DataType::LargeListView(item) => {
                let (first, last) = self.list_views::<8>(from, count, validity.as_ref())?;
                self.field(item, first, last - first)
            }
            DataType::FixedSizeList(item, size) => {
                let size = u64::try_from(*size).unwrap_or_default();
                let (Some(from), Some(count)) = (from.checked_mul(size), count.checked_mul(size)) else {
                    return Err(Error::invalid(format!("lists of {size} values")).into());
                };
                self.field(item, from, count)
            }
            DataType::Struct(fields) => fields.iter().try_for_each(|field| self.field(field, from, count)),
            DataType::Dictionary(index, _) => self.fixed(from, count, index.primitive_width()),
            DataType::FixedSizeBinary(width) => self.fixed(from, count, usize::try_from(*width).ok()),
            other => self.fixed(from, count, other.primitive_width()),
        }
    }

    /// The next buffer of the batch.
    fn next(&mut self) -> Cut<(u64, u64)> {
        let buffer = self.batch.buffers.get(self.buffer).copied();
        self.buffer += 1;
        buffer.ok_or_else(|| Error::invalid("the batch has fewer buffers than its schema").into())
    }

    /// Some bytes of a buffer.
    fn bytes(&self, buffer: (u64, u64), from: u64, count: u64) -> Cut<Vec<u8>> {
        let (offset, length) = buffer;
        let end = from.checked_add(count).filter(|end| *end <= length);
        let at = offset.checked_add(length).filter(|end| *end <= self.batch.frame.body);
        if end.is_none() || at.is_none() {
            return Err(Error::invalid(format!(
                "{count} bytes at {from} of a buffer of {length} at {offset} are not in its body of {}",
                self.batch.frame.body
            ))
            .into());
        }
        if (self.body.len() as u64).saturating_add(count) > self.bytes_max {
            return Err(Stop::TooLarge);
        }
        let length = usize::try_from(count).map_err(|_| Stop::TooLarge)?;
        let mut bytes = vec![0; length];
        self.input.read_at(self.batch.frame.body_at() + offset + from, &mut bytes)?;
        Ok(bytes)
    }

    fn push(&mut self, bytes: &[u8]) -> Cut<()> {
        if (self.body.len() as u64).saturating_add(bytes.len() as u64) > self.bytes_max {
            return Err(Stop::TooLarge);
        }
        self.buffers.push((self.body.len() as u64, bytes.len() as u64));
        self.body.extend_from_slice(bytes);
        self.body.resize(self.body.len().next_multiple_of(ALIGNMENT), 0);
        Ok(())
    }

    /// Bytes of the next buffer as they are.
    fn copy(&mut self, from: u64, count: u64) -> Cut<()> {
        let buffer = self.next()?;
        let bytes = self.bytes(buffer, from, count)?;
        self.push(&bytes)
    }

    fn fixed(&mut self, from: u64, count: u64, width: Option<usize>) -> Cut<()> {
        let width = width.ok_or_else(|| Error::unsupported("columns of this type are not taken"))? as u64;
        match from.checked_mul(width).zip(count.checked_mul(width)) {
            Some((from, count)) => self.copy(from, count),
            None => Err(Error::invalid("it has more values than memory has bytes").into()),
        }
    }

    /// Bits of the next buffer.
    fn bits(&mut self, from: u64, count: u64) -> Cut<BooleanBuffer> {
        let buffer = self.next()?;
        let first = from / 8;
        let bytes = self.bytes(buffer, first, (from + count).div_ceil(8) - first)?;
        let length = usize::try_from(count).map_err(|_| Stop::TooLarge)?;
        Ok(BooleanBuffer::new(Buffer::from_vec(bytes), (from % 8) as usize, length))
    }

    fn validity(&mut self, from: u64, count: u64, nulls: u64) -> Cut<Option<BooleanBuffer>> {
        if nulls == 0 {
            self.next()?;
            self.push(&[])?;
            return Ok(None);
        }
        let bits = self.bits(from, count)?;
        self.push(bits.sliced().as_slice())?;
        Ok(Some(bits))
    }

    /// Numbers of the next buffer.
    fn numbers<const WIDTH: usize>(&mut self, from: u64, count: u64) -> Cut<Vec<u64>> {
        let buffer = self.next()?;
        let width = WIDTH as u64;
        let bytes = self.bytes(buffer, from * width, count * width)?;
        let number = |bytes: &[u8; WIDTH]| {
            let mut number = [0; 8];
            number[..WIDTH].copy_from_slice(bytes);
            u64::from_le_bytes(number)
        };
        Ok(bytes.as_chunks::<WIDTH>().0.iter().map(number).collect())
    }

    fn push_numbers<const WIDTH: usize>(&mut self, numbers: impl Iterator<Item = u64>) -> Cut<()> {
        let bytes: Vec<u8> =
            numbers.flat_map(|number| number.to_le_bytes().into_iter().take(WIDTH)).collect();
        self.push(&bytes)
    }

    /// Offsets, from 0 on; gives what they were.
    fn offsets<const WIDTH: usize>(&mut self, from: u64, count: u64) -> Cut<(u64, u64)> {
        if count == 0 {
            self.next()?;
            self.push_numbers::<WIDTH>(std::iter::once(0))?;
            return Ok((0, 0));
        }
        let offsets = self.numbers::<WIDTH>(from, count + 1)?;
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        if !offsets.is_sorted() {
            return Err(Error::invalid("its offsets go back").into());
        }
        self.push_numbers::<WIDTH>(offsets.iter().map(|offset| offset - first))?;
        Ok((first, last))
    }

    /// Where lists begin and how long they are; gives the elements that they need.
    fn list_views<const WIDTH: usize>(
        &mut self,
        from: u64,
        count: u64,
        validity: Option<&BooleanBuffer>,
    ) -> Cut<(u64, u64)> {
        let mut offsets = self.numbers::<WIDTH>(from, count)?;
        let mut sizes = self.numbers::<WIDTH>(from, count)?;
        for row in 0..sizes.len() {
            if validity.is_some_and(|validity| !validity.value(row)) || sizes[row] == 0 {
                (offsets[row], sizes[row]) = (0, 0);
            }
        }
        let used = || offsets.iter().zip(&sizes).filter(|(_, size)| **size > 0);
        let first = used().map(|(offset, _)| *offset).min().unwrap_or_default();
        let last = used().map(|(offset, size)| offset.saturating_add(*size)).max().unwrap_or_default();
        self.push_numbers::<WIDTH>(offsets.iter().map(|offset| offset.saturating_sub(first)))?;
        self.push_numbers::<WIDTH>(sizes.iter().copied())?;
        Ok((first, last))
    }

    /// Views, with the values that they need in the first of their buffers.
    fn views(&mut self, from: u64, count: u64, validity: Option<&BooleanBuffer>) -> Cut<()> {
        let buffer = self.next()?;
        let bytes = self.bytes(buffer, from.saturating_mul(16), count.saturating_mul(16))?;
        let mut views: Vec<u128> =
            bytes.as_chunks::<16>().0.iter().map(|view| u128::from_le_bytes(*view)).collect();
        let buffers = self.batch.counts.get(self.count).copied();
        self.count += 1;
        let buffers = buffers.ok_or_else(|| Error::invalid("no count of its buffers"))?;
        let buffers = (0..buffers).map(|_| self.next()).collect::<Cut<Vec<_>>>()?;
        if let Some(validity) = validity {
            views.iter_mut().zip(validity).filter(|(_, valid)| !valid).for_each(|(view, _)| *view = 0);
        }
        let mut values = Vec::new();
        for (index, buffer) in buffers.iter().enumerate() {
            let mut own: Vec<&mut u128> = views
                .iter_mut()
                .filter(|view| length(**view) > INLINE_BYTES && place(**view).0 as usize == index)
                .collect();
            self.gather(*buffer, &mut own, &mut values)?;
        }
        let long = views.iter().any(|view| length(*view) > INLINE_BYTES && place(*view).0 != 0);
        if long {
            return Err(Error::invalid("a view names a buffer that is not there").into());
        }
        let views: Vec<u8> = views.iter().flat_map(|view| view.to_le_bytes()).collect();
        self.push(&views)?;
        for index in 0..buffers.len() {
            self.push(if index == 0 { &values } else { &[] })?;
        }
        Ok(())
    }

    /// Reads the values of views into one buffer, and points the views there.
    fn gather(&self, buffer: (u64, u64), views: &mut [&mut u128], values: &mut Vec<u8>) -> Cut<()> {
        views.sort_unstable_by_key(|view| place(**view).1);
        let mut next = 0;
        while next < views.len() {
            let first = u64::from(place(*views[next]).1);
            let (mut end, mut last) = (first, next);
            while let Some(view) = views.get(last) {
                let at = u64::from(place(**view).1);
                if at > end.saturating_add(BETWEEN_BYTES) {
                    break;
                }
                end = end.max(at + u64::from(length(**view)));
                last += 1;
            }
            let bytes = self.bytes(buffer, first, end - first)?;
            if (values.len() as u64 + bytes.len() as u64).saturating_add(self.body.len() as u64)
                > self.bytes_max
            {
                return Err(Stop::TooLarge);
            }
            for view in &mut views[next..last] {
                let at = values.len() as u64 + u64::from(place(**view).1) - first;
                let at = u32::try_from(at).map_err(|_| Stop::TooLarge)?;
                // The first buffer is number 0.
                **view = (**view & u128::from(u64::MAX)) | (u128::from(at) << 96);
            }
            values.extend_from_slice(&bytes);
            next = last;
        }
        Ok(())
    }
}

/// The length of the value of a view.
fn length(view: u128) -> u32 {
    view as u32
}

/// The buffer of a view that is not inline, and where in it the value lies.
fn place(view: u128) -> (u32, u32) {
    ((view >> 64) as u32, (view >> 96) as u32)
}
