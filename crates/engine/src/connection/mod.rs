//! A connection to the database: its way from the pool and back, its transactions, what it keeps prepared.

#[allow(clippy::module_inception, reason = "the folder is about this one type")]
mod connection;
mod dropping;
mod grouped;
mod kept;
mod tables;
mod transaction;

pub use connection::{Connection, SchemaPath};
