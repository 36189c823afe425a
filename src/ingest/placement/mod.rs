//! Placement: where the rows of a put go: the table, found or made, and the INSERT that takes them.
//! Runs on: the thread that appends. Blocks for catalog look-ups.
//! Never: goes by what a table looked like in another transaction: where a table is looked up inside of the transaction
//! that inserts, the engine refuses the rows when somebody changes the table meanwhile.

mod begin;
mod key;
mod patience;
mod place;
mod plan;
mod statement;
mod table;

pub(super) use begin::{begin, prepare, remove_if_empty};
pub(super) use key::key_of;
pub(super) use patience::Patience;
pub(super) use place::place;
pub(super) use plan::{Placement, Transaction, Wanted};
