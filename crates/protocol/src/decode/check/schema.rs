//! A schema's header, checked before anything is made of it: how many fields, how deep, how long their texts.
//! Runs on: the task of the call; pure.
//! Never: builds a field.

use arrow::ipc;

use crate::error::{Error, Result};

/// Nested fields in each other. The flatbuffers' own limit of 64 is near, and says no column.
pub const DEPTH_MAX: usize = 50;
/// Fields of a schema, nested ones included.
const FIELDS_MAX: usize = 100_000;
/// Checks a schema before it is read: its size, its depth and its widths.
///
/// Errors: `Invalid` naming the column.
pub(crate) fn schema(header: ipc::Schema<'_>, header_bytes: usize) -> Result<()> {
    let mut seen = Seen { fields: 0, text_bytes: 0, text_bytes_max: header_bytes.saturating_mul(4) };
    if header.endianness() != ipc::Endianness::Little {
        return Err(Error::unsupported(
            "its numbers are big-endian, and those of this server little-endian; write it on a little-endian machine",
        ));
    }
    let Some(fields) = header.fields() else {
        return Err(Error::invalid("a schema without a list of fields"));
    };
    for field in fields {
        seen.field(field, 1)
            .map_err(|error| error.context(format!("column \"{}\"", field.name().unwrap_or_default())))?;
    }
    Ok(())
}

/// What a schema has so far. Parts of a flatbuffer can be used many times over, so that a few bytes are many fields.
struct Seen {
    fields: usize,
    text_bytes: usize,
    text_bytes_max: usize,
}

impl Seen {
    fn field(&mut self, field: ipc::Field<'_>, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!("more than {DEPTH_MAX} types nested in each other")));
        }
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(Error::invalid(format!("a schema of more than {FIELDS_MAX} fields")));
        }
        self.text(field.name());
        for pair in field.custom_metadata().into_iter().flatten() {
            self.text(pair.key());
            self.text(pair.value());
        }
        if self.text_bytes > self.text_bytes_max {
            return Err(Error::invalid("a schema whose names and metadata are larger than itself"));
        }
        let width = match field.type_type() {
            ipc::Type::FixedSizeBinary => field.type_as_fixed_size_binary().map(|binary| binary.byteWidth()),
            ipc::Type::FixedSizeList => field.type_as_fixed_size_list().map(|list| list.listSize()),
            _ => None,
        };
        if let Some(width) = width.filter(|width| *width < 0) {
            return Err(Error::invalid(format!("a width of {width}")));
        }
        field.children().into_iter().flatten().try_for_each(|child| self.field(child, depth + 1))
    }

    fn text(&mut self, text: Option<&str>) {
        self.text_bytes += text.map_or(0, str::len);
    }
}
