//! Headers of Arrow IPC messages -> what decoding them would take, held against the message and the limits.
//! Runs on: the task of the call, before anything of the message is decoded.
//! Never: allocates what a message declares; lets a message through whose declarations do not fit together.
//!
//! Decoding allocates what a compressed buffer declares, and an allocation that fails ends the process: nothing can
//! catch it. So the header alone decides whether a message is decoded, and how much room that needs.

mod schema;

use arrow::datatypes::{DataType, Field, Schema, UnionFields, UnionMode};
use arrow::ipc;

use crate::error::{Error, Result};
use crate::expand;

pub use schema::DEPTH_MAX;
pub(super) use schema::schema;

/// Values of one array; Arrow's own recommendation for what every implementation can read.
const LENGTH_MAX: usize = i32::MAX as usize;
/// What a compressed buffer may declare beyond twice what its values take: writers pad.
const SLACK_BYTES: usize = 64 * 1024;
/// LZ4 says at most this many bytes with one.
const LZ4_EXPANSION: usize = 255;
/// What an array takes beside its buffers, and what a buffer takes beside its bytes.
const ARRAY_BYTES: usize = 256;
const BUFFER_BYTES: usize = 64;

/// What decoding a message takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Bytes that the decoded arrays keep alive.
    pub(super) held: usize,
    /// Bytes that their plain form takes beside them, at most; what views repeat is not in it.
    pub(super) expanded: usize,
}

/// What a message is held against.
pub(super) struct Limits<'a> {
    /// Bytes that a message may unpack to, named by `setting`.
    pub(super) bytes_max: usize,
    /// The setting's name.
    pub(super) setting: &'static str,
    /// Bytes of the longest value of a dictionary, by its id.
    pub(super) longest_value: &'a dyn Fn(i64) -> usize,
}

/// Checks the header of a record batch with columns of `schema` against its body.
///
/// Errors: `Invalid` or, for what a setting bounds, `Exhausted`, naming the column and what it declares.
pub(super) fn batch(
    header: ipc::RecordBatch<'_>,
    version: ipc::MetadataVersion,
    body: &[u8],
    schema: &Schema,
    limits: &Limits<'_>,
) -> Result<Sizes> {
    let rows = length("rows", header.length())?;
    let codec = header.compression().map(|compression| compression.codec());
    let mut check = Check {
        nodes: header.nodes().into_iter().flatten(),
        buffers: header.buffers().into_iter().flatten(),
        variadic: header.variadicBufferCounts().into_iter().flatten(),
        has_union_nulls: version < ipc::MetadataVersion::V5,
        codec,
        body,
        limits,
        arrays: 0,
        buffers_seen: 0,
        unpacked: 0,
        copied: 0,
        raw: 0,
        expanded: 0,
    };
    for field in schema.fields() {
        let column = || format!("column \"{}\"", field.name());
        let found = check.field(field.name(), field).map_err(|error| error.context(column()))?;
        if found != rows {
            return Err(Error::invalid(format!("{found} values in a batch of {rows} rows")).context(column()));
        }
    }
    if check.nodes.next().is_some() || check.buffers.next().is_some() || check.variadic.next().is_some() {
        return Err(Error::invalid("the batch has more columns or buffers than its schema"));
    }
    Ok(check.sizes())
}

struct Check<'a, N, B, V> {
    nodes: N,
    buffers: B,
    variadic: V,
    has_union_nulls: bool,
    codec: Option<ipc::CompressionType>,
    body: &'a [u8],
    limits: &'a Limits<'a>,
    arrays: usize,
    buffers_seen: usize,
    /// Bytes that compressed buffers declare.
    unpacked: usize,
    /// Bytes that are copied once more, because they do not lie where they can be read.
    copied: usize,
    /// Bytes that a compressed body holds as they are.
    raw: usize,
    expanded: usize,
}

impl<'a, N, B, V> Check<'a, N, B, V>
where
    N: Iterator<Item = &'a ipc::FieldNode>,
    B: Iterator<Item = &'a ipc::Buffer>,
    V: Iterator<Item = i64>,
{
    fn sizes(&self) -> Sizes {
        let whole_body = self.codec.is_none() || self.raw > 0;
        let held = if whole_body { self.body.len() } else { 0 };
        let beside = self.arrays * ARRAY_BYTES + self.buffers_seen * BUFFER_BYTES;
        Sizes {
            held: held.saturating_add(self.unpacked).saturating_add(self.copied).saturating_add(beside),
            expanded: self.expanded,
        }
    }

    /// Checks an array and those below it; gives its length.
    fn field(&mut self, name: &str, field: &Field) -> Result<usize> {
        let data_type = field.data_type();
        let (values, has_nulls) = self.node()?;
        match data_type {
            DataType::Null => {}
            DataType::Boolean => {
                self.validity(values, has_nulls)?;
                self.buffer("values", Some(values.div_ceil(8)))?;
            }
            DataType::Utf8 | DataType::Binary => self.texts(values, has_nulls, 4)?,
            DataType::LargeUtf8 | DataType::LargeBinary => self.texts(values, has_nulls, 8)?,
            DataType::Utf8View | DataType::BinaryView => self.views(values, has_nulls)?,
            DataType::List(child) | DataType::Map(child, _) => {
                self.validity(values, has_nulls)?;
                self.offsets(values, 4)?;
                self.child(child, name)?;
            }
            DataType::LargeList(child) => {
                self.validity(values, has_nulls)?;
                self.offsets(values, 8)?;
                self.child(child, name)?;
            }
            DataType::ListView(child) | DataType::LargeListView(child) => {
                let width = if matches!(data_type, DataType::ListView(_)) { 4 } else { 8 };
                self.validity(values, has_nulls)?;
                self.buffer("offsets", Some(bytes(values, width)?))?;
                self.buffer("sizes", Some(bytes(values, width)?))?;
                self.child(child, name)?;
            }
            DataType::FixedSizeList(child, size) => {
                self.validity(values, has_nulls)?;
                self.fixed_size_list(values, child, *size, name)?;
            }
            DataType::Struct(children) => {
                self.validity(values, has_nulls)?;
                children.iter().try_for_each(|child| self.member(values, child, name))?;
            }
            DataType::Union(children, mode) => self.union(name, values, (children, *mode))?,
            DataType::Dictionary(index, of) => {
                self.validity(values, has_nulls)?;
                let width = index.primitive_width().unwrap_or_default();
                self.buffer("indices", Some(bytes(values, width)?))?;
                #[expect(deprecated, reason = "arrow-rs keeps the ids of dictionaries nowhere else")]
                let id = field.dict_id();
                let longest = expand::plain_width(of)
                    .unwrap_or_else(|| id.map_or(0, |id| (self.limits.longest_value)(id)).max(4));
                self.expands(values, longest);
            }
            DataType::RunEndEncoded(ends, of) => {
                let runs = self.child(ends, name)?;
                let before = self.unpacked + self.raw;
                let found = self.child(of, name)?;
                if found != runs {
                    return Err(Error::invalid(format!("{found} values for {runs} runs")));
                }
                let longest = (self.unpacked + self.raw).saturating_sub(before).saturating_add(16);
                self.expands(values, expand::plain_width(of.data_type()).unwrap_or(longest));
                // Expanding takes two lists of indices.
                self.expands(values, 8);
            }
            DataType::FixedSizeBinary(width) => {
                self.validity(values, has_nulls)?;
                let width = usize::try_from(*width).map_err(|_| Error::invalid("a negative width"))?;
                self.buffer("values", Some(bytes(values, width)?))?;
            }
            other => {
                let width = other
                    .primitive_width()
                    .ok_or_else(|| Error::unsupported(format!("columns of type {other} are not taken")))?;
                self.validity(values, has_nulls)?;
                self.buffer("values", Some(bytes(values, width)?))?;
                let plain = expand::plain_width(other).unwrap_or(width);
                if plain != width {
                    self.expands(values, plain);
                }
            }
        }
        Ok(values)
    }

    fn fixed_size_list(&mut self, values: usize, child: &Field, size: i32, name: &str) -> Result<()> {
        let size = usize::try_from(size).map_err(|_| Error::invalid(format!("lists of {size}")))?;
        let wanted = bytes(values, size)?;
        let found = self.child(child, name)?;
        if found < wanted {
            let text = format!("{found} values for {values} lists of {size}, which are {wanted}");
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    /// A child with one value for each of the array around it.
    fn member(&mut self, values: usize, child: &Field, name: &str) -> Result<()> {
        let found = self.child(child, name)?;
        if found != values {
            let text = format!("field \"{}\" has {found} values where {values} are", child.name());
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    fn union(
        &mut self,
        name: &str,
        values: usize,
        (children, mode): (&UnionFields, UnionMode),
    ) -> Result<()> {
        if self.has_union_nulls {
            self.buffer("validity", None)?;
        }
        self.buffer("type ids", Some(values))?;
        match mode {
            UnionMode::Sparse => children.iter().try_for_each(|(_, child)| self.member(values, child, name)),
            UnionMode::Dense => {
                self.buffer("offsets", Some(bytes(values, 4)?))?;
                children.iter().try_for_each(|(_, child)| self.child(child, name).map(|_| ()))
            }
        }
    }

    /// As [`Check::field`], for one inside of the field `name`.
    fn child(&mut self, child: &Field, name: &str) -> Result<usize> {
        self.field(child.name(), child).map_err(|error| error.context(format!("inside of \"{name}\"")))
    }

    fn expands(&mut self, values: usize, width: usize) {
        self.expanded = self.expanded.saturating_add(values.saturating_mul(width));
    }

    /// The length of the next array, and whether it has NULLs.
    fn node(&mut self) -> Result<(usize, bool)> {
        let node =
            self.nodes.next().ok_or_else(|| Error::invalid("the batch has fewer columns than its schema"))?;
        self.arrays += 1;
        let values = length("values", node.length())?;
        let nulls = node.null_count();
        if !usize::try_from(nulls).is_ok_and(|nulls| nulls <= values) {
            return Err(Error::invalid(format!("{nulls} NULLs among {values} values")));
        }
        Ok((values, nulls > 0))
    }

    fn validity(&mut self, values: usize, has_nulls: bool) -> Result<()> {
        let wanted = values.div_ceil(8);
        let found = self.sized_buffer("validity", wanted)?;
        if has_nulls && found < wanted {
            return Err(too_short("validity", found, wanted));
        }
        Ok(())
    }

    fn offsets(&mut self, values: usize, width: usize) -> Result<()> {
        let wanted = bytes(values + 1, width)?;
        let found = self.sized_buffer("offsets", wanted)?;
        // Without values there need not be a single offset.
        if values > 0 && found < wanted {
            return Err(too_short("offsets", found, wanted));
        }
        // arrow-rs would read the last of them across the end.
        if !found.is_multiple_of(width) {
            return Err(Error::invalid(format!(
                "its offsets are {found} bytes, which is no whole number of offsets of {width}"
            )));
        }
        Ok(())
    }

    fn texts(&mut self, values: usize, has_nulls: bool, width: usize) -> Result<()> {
        self.validity(values, has_nulls)?;
        self.offsets(values, width)?;
        self.buffer("values", None)
    }

    fn views(&mut self, values: usize, has_nulls: bool) -> Result<()> {
        self.validity(values, has_nulls)?;
        self.buffer("views", Some(bytes(values, 16)?))?;
        let count = self.variadic.next().ok_or_else(|| Error::invalid("no count of its buffers"))?;
        let count =
            usize::try_from(count).map_err(|_| Error::invalid(format!("{count} buffers of values")))?;
        // Ends at the last buffer there is, however many are declared.
        (0..count).try_for_each(|_| self.buffer("values", None))
    }

    /// The next buffer, which is to hold `wanted` bytes where that is known.
    fn buffer(&mut self, what: &str, wanted: Option<usize>) -> Result<()> {
        match wanted {
            None => self.next_buffer(what, None).map(|_| ()),
            Some(wanted) => {
                let found = self.sized_buffer(what, wanted)?;
                if found < wanted { Err(too_short(what, found, wanted)) } else { Ok(()) }
            }
        }
    }

    fn sized_buffer(&mut self, what: &str, wanted: usize) -> Result<usize> {
        self.next_buffer(what, Some(wanted))
    }

    /// The next buffer's length, unpacked. One of a known size that declares far more is refused.
    fn next_buffer(&mut self, what: &str, wanted: Option<usize>) -> Result<usize> {
        let buffer = self
            .buffers
            .next()
            .ok_or_else(|| Error::invalid("the batch has fewer buffers than its schema"))?;
        self.buffers_seen += 1;
        let (offset, length) = (buffer.offset(), buffer.length());
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let end = range.and_then(|(offset, length)| offset.checked_add(length));
        let Some(((offset, length), end)) = range.zip(end).filter(|(_, end)| *end <= self.body.len()) else {
            return Err(Error::invalid(format!(
                "its {what} are {length} bytes at {offset}, outside of a body of {}",
                self.body.len()
            )));
        };
        let Some(codec) = self.codec.filter(|_| length > 0) else {
            // Read where it lies, unless it lies askew.
            self.copied += if offset.is_multiple_of(8) { 0 } else { length };
            self.raw += length;
            return Ok(length);
        };
        let prefix = self.body[offset..end].first_chunk::<8>().ok_or_else(|| {
            Error::invalid(format!("its {what} are {length} bytes, too few for a compressed buffer"))
        })?;
        let packed = length - prefix.len();
        let unpacked = match i64::from_le_bytes(*prefix) {
            // Not compressed, and not aligned because of the prefix.
            -1 => {
                self.raw += packed;
                self.copied += packed;
                return Ok(packed);
            }
            declared => usize::try_from(declared)
                .map_err(|_| Error::invalid(format!("its {what} declare {declared} bytes uncompressed")))?,
        };
        let says_too_much = wanted.is_some_and(|wanted| unpacked > wanted.saturating_mul(2) + SLACK_BYTES);
        if says_too_much {
            let wanted = wanted.unwrap_or_default();
            return Err(Error::invalid(format!(
                "its {what} declare {unpacked} bytes uncompressed where its values take {wanted}"
            )));
        }
        if codec == ipc::CompressionType::LZ4_FRAME && unpacked > packed.saturating_mul(LZ4_EXPANSION) {
            return Err(Error::invalid(format!(
                "its {what} declare {unpacked} bytes uncompressed in {packed} bytes of LZ4, which cannot hold them"
            )));
        }
        self.unpacked = self.unpacked.saturating_add(unpacked);
        if self.unpacked > self.limits.bytes_max {
            return Err(Error::exhausted(
                self.limits.setting,
                format!(
                    "its {what} declare {unpacked} bytes uncompressed, which makes {} for the batch where {} are \
                     allowed; send smaller batches",
                    self.unpacked, self.limits.bytes_max
                ),
            ));
        }
        Ok(unpacked)
    }
}

fn too_short(what: &str, found: usize, wanted: usize) -> Error {
    Error::invalid(format!("its {what} are {found} bytes where its values take {wanted}"))
}

fn length(what: &str, declared: i64) -> Result<usize> {
    usize::try_from(declared).ok().filter(|length| *length <= LENGTH_MAX).ok_or_else(|| {
        Error::invalid(format!("{declared} {what} are declared; an array holds 0 to {LENGTH_MAX}"))
    })
}

fn bytes(values: usize, width: usize) -> Result<usize> {
    values
        .checked_mul(width)
        .ok_or_else(|| Error::invalid(format!("{values} values of {width} bytes are more than memory has")))
}

#[cfg(test)]
mod tests;
