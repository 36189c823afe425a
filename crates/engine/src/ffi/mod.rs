//! The only unsafe code: Arrow structs across the C Data Interface, vectors lent to DuckDB, prepared statements kept
//! beside the connection they belong to, results in arrays of our size, how malloc is set up, and what the engine may take of it.
//! Never: decides anything; each function is one conversion or one loan.
#![allow(unsafe_code)]

mod arrays;
mod arrow;
mod malloc;
mod memory;
mod raw_connection;
mod vectors;

pub(crate) use arrays::{Arrays, Bounds};
pub(crate) use arrow::{import_batch, import_schema};
pub use malloc::tune_malloc;
pub(crate) use memory::hold_allocations;
pub use memory::trim_malloc;
pub(crate) use raw_connection::RawConnection;
pub(crate) use vectors::{Importer, write_lists};
