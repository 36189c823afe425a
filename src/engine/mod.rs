//! DuckDB, and nothing else: open, prepare, append, read. The only place that names the duckdb crate.
//! Runs on: threads the bridges (`ingest::writer`, `query::reader`) give it. Everything here may block.
//! Never: async, gRPC types, waiting for a client.
//!
//! What a caller may assume about threads: a [`Session`] is one DuckDB connection; it may move between
//! threads but is used by one at a time. A [`Cursor`] stays on the thread that opened it. [`Interrupt`] may
//! be called from anywhere, at any time, and is a no-op when its statement is over.

mod appender;
mod cursor;
mod database;
mod describe;
mod error;
mod ffi;
mod interrupt;
mod maintenance;
mod segment;
mod session;
mod statement;
mod tables;

pub use appender::{Insert, append, describe_rows};
pub use cursor::{Cursor, Step};
pub use database::{Database, Options};
pub use interrupt::Interrupt;
pub use maintenance::Maintenance;
pub use segment::{Segment, UNIT_ROWS, Unit};
pub use session::Session;
pub use statement::{Class, Described, describe};
pub use tables::{TableInfo, find_table, list_tables};
