//! Row groups: batches are gathered into units of one row group, and units become rows of the table.
//! Runs on: the thread that owns the transaction.
//! Never: changes the order of rows.

mod append;
mod dead_letters;
mod gather;
mod offending_row;
mod rows;

pub(super) use append::append;
pub(super) use gather::{Gather, Take};
pub(super) use rows::Rows;
