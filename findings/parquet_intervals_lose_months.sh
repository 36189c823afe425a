#!/usr/bin/env bash
# parquet 60.1.0 (Rust): an INTERVAL column of a file without an Arrow schema is read as days and milliseconds; its months are
# left out without an error.
#
# Guess before the run: Parquet's INTERVAL has months, days and milliseconds, and Arrow has a type with all three, MonthDayNano,
# so that is what the column becomes; or the reader refuses the type.
# Seen: it becomes Interval(DayTime). 14 months, 3 days and 1.5 seconds are 3 days and 1.5 seconds, and one month is an interval
# of nothing. Days and milliseconds, which have no sign in Parquet, come out negative past 31 bits.
# Consequence: files with intervals by DuckDB, which embeds no Arrow schema, are read wrong, and in silence.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "intervals"
version = "0.1.0"
edition = "2024"

[dependencies]
arrow-array = "=60.1.0"
bytes = "=1.12.2"
parquet = { version = "=60.1.0", default-features = false, features = ["arrow"] }
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use arrow_array::{Array, IntervalDayTimeArray};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

const INTERVALS: [[u32; 3]; 4] = [[0, 3, 1500], [14, 3, 1500], [1, 0, 0], [0, 3_000_000_000, 0]];

/// A file with the intervals, each of months, days and milliseconds.
fn file() -> Bytes {
    let schema = parse_message_type("message m { required fixed_len_byte_array(12) x (INTERVAL); }").unwrap();
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<FixedLenByteArray> =
        INTERVALS.iter().map(|parts| parts.map(u32::to_le_bytes).concat().into()).collect();
    column.typed::<FixedLenByteArrayType>().write_batch(&values, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap().into()
}

fn main() {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file()).unwrap();
    println!("type: {}", builder.schema().field(0).data_type());
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    let Some(read) = batch.column(0).as_any().downcast_ref::<IntervalDayTimeArray>() else {
        std::process::exit(1);
    };
    let mut as_seen = read.null_count() == 0;
    for ([months, days, millis], value) in INTERVALS.into_iter().zip(read.values()) {
        println!(
            "{months} months, {days} days, {millis} ms: {} days, {} ms",
            value.days, value.milliseconds
        );
        as_seen &= value.days == days as i32 && value.milliseconds == millis as i32;
    }
    std::process::exit(i32::from(!as_seen));
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet
# Output seen:
# type: Interval(DayTime)
# 0 months, 3 days, 1500 ms: 3 days, 1500 ms
# 14 months, 3 days, 1500 ms: 3 days, 1500 ms
# 1 months, 0 days, 0 ms: 0 days, 0 ms
# 0 months, 3000000000 days, 0 ms: -1294967296 days, 0 ms
