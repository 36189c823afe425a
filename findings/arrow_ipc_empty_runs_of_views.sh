#!/usr/bin/env bash
# arrow-ipc 60.1.0 (Rust): an empty slice of a run-end encoded array of string or binary views is written as a message that
# its own reader refuses.
#
# Guess before the run: slicing any array to no rows and writing it gives an empty array back, as it does for every other
# type, and for runs that are empty from the beginning.
# Seen: the list of variadic buffer counts is made from the slice, which still has the data buffers of its parent's views,
# and the buffers from a fresh empty array, which has none. The reader says "Invalid variadic count 1 for BinaryView column".
# The same inside of a list, where the slice comes about by itself: a list column cut to rows whose lists are empty.
# Consequence: a writer that cuts batches by rows rebuilds such columns first, for example with `concat`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "empty-runs"
version = "0.1.0"
edition = "2024"

[dependencies]
arrow = { version = "=60.1.0", default-features = false, features = ["ipc"] }
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::compute::concat;
use arrow::datatypes::{Field, Int16Type};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};

fn trip(array: ArrayRef) -> Result<bool, String> {
    let batch = RecordBatch::try_from_iter([("x", array)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let back = StreamReader::try_new(&bytes[..], None).unwrap().next().unwrap();
    back.map(|back| back == batch).map_err(|error| error.to_string())
}

fn runs(values: Vec<Option<&[u8]>>) -> ArrayRef {
    let ends = Int16Array::from_iter_values(1..=values.len() as i16);
    Arc::new(RunArray::<Int16Type>::try_new(&ends, &BinaryViewArray::from(values)).unwrap())
}

fn main() {
    let long: &[u8] = b"more than the twelve bytes that a view holds";
    let one = runs(vec![Some(long)]);
    let item = Arc::new(Field::new("item", one.data_type().clone(), true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([1usize, 0]), one.clone(), None);
    let rebuilt = |array: &dyn Array| concat(&[&*new_empty_array(array.data_type()), array]).unwrap();
    let mut wrong = 0;
    for (what, array, works) in [
        ("one run", one.clone(), true),
        ("runs that are empty from the beginning", runs(vec![]), true),
        ("one run, sliced to none", one.slice(0, 0), false),
        ("a list, sliced to its empty row", Arc::new(list.slice(1, 1)) as ArrayRef, false),
        ("the slice, rebuilt", rebuilt(&one.slice(0, 0)), true),
        ("the list's slice, rebuilt", rebuilt(&list.slice(1, 1)), true),
    ] {
        let seen = trip(array);
        println!("{what}: {seen:?}");
        let expected = if works { seen == Ok(true) } else { seen.is_err() };
        wrong += i32::from(!expected);
    }
    std::process::exit(wrong.min(1));
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet
