#!/usr/bin/env bash
# arrow-flight 60.1.0 (Rust): the encoder sends no message for a batch without rows; of a stream of such batches only the schema
# arrives.
#
# Guess before the run: each batch is at least one message, and a large one several, as the splitting is by size; an empty batch is
# a message of zero rows, as in arrow-ipc's stream writer.
# Seen: a batch is cut into slices until its rows are used up, so one with no rows is cut into none. [1 row, 0 rows, 1 row]
# arrives as two batches, and [0 rows] as none. arrow-ipc passes all of them.
# Consequence: batches cannot be counted or paired over Flight, an empty batch is no sign of life on a stream that waits, and a
# reader that takes the schema from the first batch has none for an empty result.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "empty-batches"
version = "0.1.0"
edition = "2024"

[dependencies]
arrow = { version = "=60.1.0", default-features = false, features = ["ipc"] }
arrow-flight = { version = "=60.1.0", default-features = false }
futures = "=0.3.34"
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_flight::{decode::FlightRecordBatchStream, encode::FlightDataEncoderBuilder};
use futures::{StreamExt, TryStreamExt, executor::block_on, stream};

fn batch(rows: &usize) -> RecordBatch {
    let array: ArrayRef = Arc::new(Int32Array::from(vec![7; *rows]));
    RecordBatch::try_from_iter([("x", array)]).unwrap()
}

fn rows(batches: &[RecordBatch]) -> Vec<usize> {
    batches.iter().map(RecordBatch::num_rows).collect()
}

/// The number of messages, and the rows of each batch that they make.
fn by_flight(batches: &[RecordBatch]) -> (usize, Vec<usize>) {
    let input = stream::iter(batches.to_vec()).map(Ok);
    let messages: Vec<_> = block_on(FlightDataEncoderBuilder::new().build(input).try_collect()).unwrap();
    let count = messages.len();
    let decoder = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages).map(Ok));
    let back: Vec<_> = block_on(decoder.try_collect()).unwrap();
    (count, rows(&back))
}

fn by_ipc(batches: &[RecordBatch]) -> Vec<usize> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    let back: Result<Vec<_>, _> = StreamReader::try_new(&bytes[..], None).unwrap().collect();
    rows(&back.unwrap())
}

fn main() {
    let mut as_seen = true;
    for sent in [&[1usize, 2, 1][..], &[1, 0, 1], &[0], &[0, 0, 0]] {
        let batches: Vec<_> = sent.iter().map(batch).collect();
        let (messages, flight) = by_flight(&batches);
        let ipc = by_ipc(&batches);
        println!("{sent:?}: Flight {messages} messages with the schema's, {flight:?}; IPC {ipc:?}");
        let left: Vec<_> = sent.iter().copied().filter(|rows| *rows > 0).collect();
        as_seen &= ipc == sent && flight == left && messages == 1 + left.len();
    }
    std::process::exit(i32::from(!as_seen));
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet
# Output seen:
# [1, 2, 1]: Flight 4 messages with the schema's, [1, 2, 1]; IPC [1, 2, 1]
# [1, 0, 1]: Flight 3 messages with the schema's, [1, 1]; IPC [1, 0, 1]
# [0]: Flight 1 messages with the schema's, []; IPC [0]
# [0, 0, 0]: Flight 1 messages with the schema's, []; IPC [0, 0, 0]
