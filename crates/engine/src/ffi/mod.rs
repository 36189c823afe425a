//! The only unsafe code: Arrow structs across the C Data Interface, vectors lent to DuckDB, and prepared
//! statements kept beside the connection they belong to.
//! Never: decides anything; each function is one conversion or one loan.
#![allow(unsafe_code)]

mod arrow;
mod raw_connection;
mod vectors;

pub(crate) use arrow::{import_batch, import_schema};
pub(crate) use raw_connection::RawConnection;
pub(crate) use vectors::{Importer, write_lists};
