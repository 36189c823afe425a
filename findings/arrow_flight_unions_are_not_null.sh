#!/usr/bin/env bash
# arrow-flight 60.1.0 (Rust): the encoder marks each union as NOT NULL, so a struct or list of unions with a NULL cannot be read
# on the other side.
#
# Guess before the run: FlightDataEncoderBuilder changes the schema for dictionaries alone, which it hydrates; a schema without
# dictionaries goes over as it is.
# Seen: while it looks for dictionaries, it builds each union field anew, and the new one is not nullable, whatever the old one
# was. A top-level union arrives with a schema that denies its NULLs. Inside of a struct, a list or a fixed-size list the
# stream ends with an error when a union value is NULL ("Found unmasked nulls for non-nullable …", "cannot contain nulls").
# The same batches go through arrow-ipc's own stream writer and reader unchanged.
# Consequence: who sends unions by Flight cannot nest them, and who makes a table from the received schema makes a column
# that refuses its own rows.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "unions"
version = "0.1.0"
edition = "2024"

[dependencies]
arrow = { version = "=60.1.0", default-features = false, features = ["ipc"] }
arrow-flight = { version = "=60.1.0", default-features = false }
futures = "=0.3.34"
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema, UnionFields};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_flight::{decode::FlightRecordBatchStream, encode::FlightDataEncoderBuilder};
use futures::{TryStreamExt, executor::block_on, stream};

fn by_flight(batch: &RecordBatch) -> Result<RecordBatch, String> {
    let data = FlightDataEncoderBuilder::new().build(stream::iter([Ok(batch.clone())]));
    let back: Result<Vec<_>, _> = block_on(FlightRecordBatchStream::new_from_flight_data(data).try_collect());
    back.map(|mut batches| batches.remove(0)).map_err(|error| error.to_string())
}

fn by_ipc(batch: &RecordBatch) -> RecordBatch {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    StreamReader::try_new(&bytes[..], None).unwrap().next().unwrap().unwrap()
}

/// A dense union of `number` and a text, as a field and as an array.
fn union(number: Option<i32>) -> (Arc<Field>, ArrayRef) {
    let of = [Field::new("number", DataType::Int32, true), Field::new("text", DataType::Utf8, true)];
    let fields = UnionFields::try_new([0, 1], of).unwrap();
    let children: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![number])), Arc::new(StringArray::from(vec!["x"]))];
    let array = UnionArray::try_new(fields, vec![0i8, 1].into(), Some(vec![0, 0].into()), children).unwrap();
    (Arc::new(Field::new("u", array.data_type().clone(), true)), Arc::new(array))
}

fn main() {
    let mut as_seen = true;
    for number in [Some(7), None] {
        let (field, array) = union(number);
        let list = ListArray::new(field.clone(), OffsetBuffer::from_lengths([1usize, 1]), array.clone(), None);
        let fixed = FixedSizeListArray::new(field.clone(), 1, array.clone(), None);
        let of: StructArray = vec![(field, array.clone())].into();
        for (what, column) in [
            ("union", array),
            ("struct", Arc::new(of) as ArrayRef),
            ("list", Arc::new(list)),
            ("fixed-size list", Arc::new(fixed)),
        ] {
            let field = Field::new("x", column.data_type().clone(), true);
            let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![column]).unwrap();
            assert_eq!(by_ipc(&batch), batch);
            let seen = by_flight(&batch).map(|back| back.schema() == batch.schema());
            println!("{what} with {number:?}: same schema = {seen:?}");
            let raises = number.is_none() && what != "union";
            as_seen &= if raises { seen.is_err() } else { seen == Ok(false) };
            if what == "union" {
                as_seen &= !by_flight(&batch).unwrap().schema().field(0).is_nullable();
            }
        }
    }
    std::process::exit(i32::from(!as_seen));
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet
# Output seen:
# union with Some(7): same schema = Ok(false)
# struct with Some(7): same schema = Ok(false)
# list with Some(7): same schema = Ok(false)
# fixed-size list with Some(7): same schema = Ok(false)
# union with None: same schema = Ok(false)
# struct with None: same schema = Err("Arrow error: Invalid argument error: Found unmasked nulls for non-nullable StructArray field \"u\"")
# list with None: same schema = Err("Arrow error: Invalid argument error: Non-nullable field of ListArray \"u\" cannot contain nulls")
# fixed-size list with None: same schema = Err("Arrow error: Invalid argument error: Found unmasked nulls for non-nullable FixedSizeListArray field \"u\"")
