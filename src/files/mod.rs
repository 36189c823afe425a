//! Files of rows: what they are, where their bytes lie, and the batches in them.
//! Runs on: threads that read; blocks.
//! Never: writes a file; changes a value silently; holds more of a file than one piece.

pub mod arrow;
pub mod body;
pub mod fence;
pub mod found;
pub mod input;
pub mod lake;
pub mod parquet;
pub mod sniff;
pub mod store;
pub mod text;
