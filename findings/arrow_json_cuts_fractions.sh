#!/usr/bin/env bash
# arrow-json 60.1.0 (Rust): a number with a fraction is read into an integer column by cutting the fraction off, without an
# error; the same number as text is an error.
#
# Guess before the run: the reader is strict about its schema, as it is for text such as "1.5", for true and for numbers past
# the column's range, so 1.5 in an Int64 column raises; only 1.0 or 1e3 might pass as the integers that they are.
# Seen: 1.5 is 1 and -0.9 is 0. The way is over a double, so an integer of more than 53 bits that is written with ".0" comes
# out as a neighbour: 9007199254740993.0 ends with 2, while without ".0" it is exact. A Decimal column rounds instead:
# 1.555 is 1.56 with two places.
# Consequence: a wrong schema, or one guessed from the first rows, loses data in silence. Who must not lose it reads numbers as
# Float64 or Decimal first and checks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/src"
cat > "$work/Cargo.toml" <<'TOML'
[package]
name = "fractions"
version = "0.1.0"
edition = "2024"

[dependencies]
arrow = { version = "=60.1.0", default-features = false, features = ["json"] }
TOML
cat > "$work/src/main.rs" <<'RUST'
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::json::ReaderBuilder;
use arrow::util::display::array_value_to_string;

fn read(number: &str, kind: DataType) -> Result<String, String> {
    let schema = Arc::new(Schema::new(vec![Field::new("x", kind, true)]));
    let text = format!("{{\"x\": {number}}}\n");
    let mut reader = ReaderBuilder::new(schema).build(text.as_bytes()).unwrap();
    let batch = reader.next().unwrap().map_err(|error| error.to_string())?;
    Ok(array_value_to_string(batch.column(0), 0).unwrap())
}

fn main() {
    let money = DataType::Decimal128(10, 2);
    let mut wrong = 0;
    for (number, kind, expected) in [
        ("1.0", DataType::Int64, Some("1")),
        ("1e3", DataType::Int64, Some("1000")),
        ("1.5", DataType::Int64, Some("1")),
        ("-0.9", DataType::Int64, Some("0")),
        ("9007199254740993", DataType::Int64, Some("9007199254740993")),
        ("9007199254740993.0", DataType::Int64, Some("9007199254740992")),
        ("\"7\"", DataType::Int64, Some("7")),
        ("\"1.5\"", DataType::Int64, None),
        ("true", DataType::Int64, None),
        ("9223372036854775808", DataType::Int64, None),
        ("1.555", money, Some("1.56")),
    ] {
        let seen = read(number, kind.clone());
        println!("{number:20} as {kind}: {seen:?}");
        wrong += i32::from(seen.ok().as_deref() != expected);
    }
    std::process::exit(wrong.min(1));
}
RUST
cd "$work"
CARGO_TARGET_DIR="$work/target" cargo run --quiet
# Output seen:
# 1.0                  as Int64: Ok("1")
# 1e3                  as Int64: Ok("1000")
# 1.5                  as Int64: Ok("1")
# -0.9                 as Int64: Ok("0")
# 9007199254740993     as Int64: Ok("9007199254740993")
# 9007199254740993.0   as Int64: Ok("9007199254740992")
# "7"                  as Int64: Ok("7")
# "1.5"                as Int64: Err("Json error: whilst decoding field 'x': failed to parse \"1.5\" as Int64")
# true                 as Int64: Err("Json error: whilst decoding field 'x': expected primitive got true")
# 9223372036854775808  as Int64: Err("Json error: whilst decoding field 'x': failed to parse 9223372036854775808 as Int64")
# 1.555                as Decimal128(10, 2): Ok("1.56")
