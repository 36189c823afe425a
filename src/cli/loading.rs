//! Rooms of the load command that are ready before it.
#![allow(dead_code)]

#[path = "load/input.rs"]
mod input;
#[path = "load/parquet/mod.rs"]
mod parquet;
