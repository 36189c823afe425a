//! The only unsafe code: Arrow structs across the C Data Interface, vectors lent to DuckDB, prepared statements kept
//! beside the connection they belong to, and results in arrays of our size.
//! Never: decides anything; each function is one conversion or one loan.
#![allow(unsafe_code)]

mod arrays;
mod arrow;
mod raw_connection;
mod vectors;

pub(crate) use arrays::{Arrays, Bounds};
pub(crate) use arrow::{import_batch, import_schema};
pub(crate) use raw_connection::RawConnection;
pub(crate) use vectors::{Importer, write_lists};
