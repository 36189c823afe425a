//! The schema of a stream with integers of 128 bits, which arrow-rs has no type for.
//! Runs on: the task of the call, once per stream.
//! Never: changes what a buffer holds: such integers lie as DuckDB's HUGEINT does, 16 bytes from the lowest on.
//!
//! Polars writes them as Arrow's integers of that width.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Metadata, Schema};
use arrow::ipc;
use arrow::ipc::convert::try_fb_to_schema;

use crate::error::{Error, Result};
use crate::extension;

const BITS: i32 = 128;

/// The schema that a header declares, already checked for its depth and size.
///
/// Errors: `Invalid` for what arrow-rs cannot read.
pub(super) fn schema(header: ipc::Schema<'_>) -> Result<Schema> {
    let fields = header.fields().into_iter().flatten();
    if !fields.clone().any(has_wide) {
        return Ok(try_fb_to_schema(header)?);
    }
    let metadata = header.custom_metadata().into_iter().flatten();
    let metadata = metadata.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned())));
    let metadata: HashMap<String, String> = metadata.collect();
    let fields = fields.map(field).collect::<Result<Vec<_>>>()?;
    Ok(Schema::new_with_metadata(fields, metadata))
}

fn has_wide(field: ipc::Field<'_>) -> bool {
    is_wide(field) || field.children().into_iter().flatten().any(has_wide)
}

fn is_wide(field: ipc::Field<'_>) -> bool {
    field.type_as_int().is_some_and(|int| int.bitWidth() == BITS)
}

fn field(read: ipc::Field<'_>) -> Result<Field> {
    if !has_wide(read) {
        // Panics where it cannot be read, and the decoder catches that.
        return Ok(Field::from(read));
    }
    let name = read.name().unwrap_or_default();
    let of = |data_type| Ok(Field::new(name, data_type, read.nullable()).with_metadata(metadata(read)));
    let children = || read.children().into_iter().flatten().map(|child| field(child).map(Arc::new));
    let item = || children().next().unwrap_or_else(|| Err(Error::invalid("a list without an element")));
    if read.dictionary().is_some() {
        return Err(Error::unsupported(format!(
            "column \"{name}\": a dictionary of integers of {BITS} bits; send them plain"
        )));
    }
    match read.type_type() {
        ipc::Type::Int => {
            let is_signed = read.type_as_int().is_some_and(|int| int.is_signed());
            let type_name = if is_signed { "hugeint" } else { "uhugeint" };
            let more = format!("{{\"type_name\":\"{type_name}\",\"vendor_name\":\"DuckDB\"}}");
            let mut known = metadata(read);
            known.insert(extension::NAME.to_owned(), "arrow.opaque".to_owned());
            known.insert(extension::METADATA.to_owned(), more);
            Ok(Field::new(name, DataType::FixedSizeBinary(BITS / 8), read.nullable()).with_metadata(known))
        }
        ipc::Type::Struct_ => of(DataType::Struct(children().collect::<Result<_>>()?)),
        ipc::Type::List => of(DataType::List(item()?)),
        ipc::Type::LargeList => of(DataType::LargeList(item()?)),
        ipc::Type::ListView => of(DataType::ListView(item()?)),
        ipc::Type::LargeListView => of(DataType::LargeListView(item()?)),
        ipc::Type::FixedSizeList => {
            let length = read.type_as_fixed_size_list().map_or(0, |list| list.listSize());
            of(DataType::FixedSizeList(item()?, length))
        }
        ipc::Type::Map => of(DataType::Map(item()?, read.type_as_map().is_some_and(|map| map.keysSorted()))),
        other => Err(Error::unsupported(format!(
            "column \"{name}\": integers of {BITS} bits inside of {}; send them plain",
            other.variant_name().unwrap_or("a type that is not known")
        ))),
    }
}

fn metadata(read: ipc::Field<'_>) -> Metadata {
    let pairs = read.custom_metadata().into_iter().flatten();
    pairs.filter_map(|pair| Some((pair.key()?.to_owned(), pair.value()?.to_owned()))).collect()
}
