//! DoPut: rows into a table, native or by Flight SQL, rows for parameters, and statements that change something.
//! Runs on: the task of the call.
//! Never: answers before COMMIT has returned; reads on when the budget is used up.

mod answer;
mod bulk;
mod dispatch;
mod gathered;
mod in_progress;
mod opened;
mod prepared;
mod puts;
mod repeated;
mod rows;
mod table;

pub(super) use bulk::change_in_bulk;
pub(super) use dispatch::dispatch;
pub(super) use in_progress::put_in_progress;
pub(super) use opened::{no_sources, open};
pub(super) use puts::Puts;
pub(super) use rows::{Destination, RowStream, store};
pub(super) use table::{IntoTable, PutTable, put_into_table};
